//! Who makes a segment: written into it for people and tools.

use std::sync::atomic::{AtomicU64, Ordering};

use strait_region::OwnRegion;
use strait_sync::WordsMut;

/// The greatest pid has 22 bits.
const PID_BITS: u32 = 22;

/// Writes this process's pid and start time into the words at those offsets.
pub(crate) fn sign(own: &OwnRegion, pid_at: usize, start_at: usize) {
    let (pid, start_ticks) = this_process();
    // ORDERING: Relaxed, both; constants for observers.
    own.store(pid_at, pid.into(), Ordering::Relaxed);
    own.store(start_at, start_ticks, Ordering::Relaxed);
}

/// Pid and start time; asked for once in each process, forked ones too.
fn this_process() -> (u32, u64) {
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let pid = std::process::id();
    // ORDERING: Relaxed, both; one word that says all.
    let known = KNOWN.load(Ordering::Relaxed);
    if known & ((1 << PID_BITS) - 1) == u64::from(pid) {
        return (pid, known >> PID_BITS);
    }
    let start_ticks = strait_sync::process::start_ticks(None).unwrap_or(0);
    KNOWN.store(start_ticks << PID_BITS | u64::from(pid), Ordering::Relaxed);
    (pid, start_ticks)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_is_asked_once_and_says_the_same() {
        let first = super::this_process();
        assert_eq!(first, (std::process::id(), strait_sync::process::start_ticks(None).unwrap()));
        assert_eq!(first, super::this_process());
    }
}
