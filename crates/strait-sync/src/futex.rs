//! A futex that works between processes.
//!
//! Source: futex(2). Always the shared form: the private one (what `std` and `atomic-wait` use) never reaches a waiter in
//! another process.

use core::time::Duration;

use rustix::thread::futex;

/// Why [`wait`] returned. Each is a reason to look again, none is a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexWait {
    /// Somebody woke the word, or a signal came.
    Woken,
    /// The word did not hold what was expected.
    Changed,
    /// The time is over.
    TimedOut,
}

/// Sleeps while `word` holds `expected`, for at most `timeout` (relative; `None` waits without end).
///
/// `word` may lie in memory that is mapped read-only.
///
/// ```
/// use std::{sync::atomic::AtomicU32, time::Duration};
/// use strait_sync::{FutexWait, wait};
/// let word = AtomicU32::new(7);
/// assert_eq!(wait(&word, 8, None), FutexWait::Changed);
/// assert_eq!(wait(&word, 7, Some(Duration::from_millis(1))), FutexWait::TimedOut);
/// ```
pub fn wait(word: &core::sync::atomic::AtomicU32, expected: u32, timeout: Option<Duration>) -> FutexWait {
    let timeout = timeout.map(|timeout| futex::Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref()) {
        Err(rustix::io::Errno::AGAIN) => FutexWait::Changed,
        Err(rustix::io::Errno::TIMEDOUT) => FutexWait::TimedOut,
        // Whatever else the kernel may say, the caller looks again, in slices that it bounds itself.
        Ok(()) | Err(_) => FutexWait::Woken,
    }
}

/// Wakes up to `sleepers` that [`wait`] on `word`; returns how many there were.
pub fn wake(word: &core::sync::atomic::AtomicU32, sleepers: u32) -> usize {
    // The kernel takes a signed count.
    let sleepers = sleepers.min(i32::MAX as u32);
    futex::wake(word, futex::Flags::empty(), sleepers).unwrap_or(0)
}
