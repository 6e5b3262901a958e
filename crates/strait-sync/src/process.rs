//! Which process it is that has a pid.

use std::{format, fs, string::String};

/// When process `pid` was started (`None`: this one), in clock ticks since boot: field 22 of `/proc/PID/stat`. Pids are given anew, and
/// the two together are not, as long as the machine runs.
///
/// `None` where there is no such process, or no `/proc` that shows it.
///
/// ```
/// use strait_sync::process::start_ticks;
/// assert_eq!(start_ticks(None), start_ticks(Some(std::process::id())));
/// assert_eq!(start_ticks(Some(u32::MAX)), None);
/// ```
pub fn start_ticks(pid: Option<u32>) -> Option<u64> {
    let path = pid.map_or_else(|| "/proc/self/stat".into(), |pid| format!("/proc/{pid}/stat"));
    // Not as text: the second field, the name in brackets, may hold any bytes. The third comes after the last bracket.
    let stat: String = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}
