//! When a call ends, without reading the clock before anybody has to wait.
//!
//! A reading of the clock costs about as much as moving a cache line. A warm call is over before the first one: what it is
//! given is a duration, and only who is about to wait turns it into an instant.

use std::time::{Duration, Instant};

/// The end of a call's patience.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    timeout: Option<Duration>,
    at: Option<Instant>,
}

impl Deadline {
    /// `timeout` from now, or from shortly after; `None` is never.
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        Self { timeout, at: None }
    }

    /// Fixes the end, if it is not fixed yet. Call it before anything that takes longer than a short spin.
    pub(crate) fn at(&mut self) -> Option<Instant> {
        if self.at.is_none()
            && let Some(timeout) = self.timeout
        {
            self.at = Instant::now().checked_add(timeout);
        }
        self.at
    }

    /// Time left; `None` is no limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self.at {
            None => self.timeout,
            Some(at) => Some(at.saturating_duration_since(Instant::now())),
        }
    }

    /// Whether the end has come. False for one that is not fixed yet, unless its timeout is zero.
    pub(crate) fn is_past(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// How long a caller still waits, as its server sees it.
///
/// By the kernel's coarse clock, which costs a fraction of a precise one and is behind by a tick, 1 to 10 ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remaining {
    left: Option<Duration>,
    since: Duration,
}

impl Remaining {
    /// `left` from now; `None` is no limit.
    #[inline]
    pub(crate) fn from_now(left: Option<Duration>) -> Self {
        let since = if left.is_some() { coarse_now() } else { Duration::ZERO };
        Self { left, since }
    }

    /// Time left now; `None` is no limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.left.map(|left| left.saturating_sub(coarse_now().saturating_sub(self.since)))
    }
}

/// Source: clock_gettime(2), CLOCK_MONOTONIC_COARSE.
#[inline]
fn coarse_now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    // Neither is ever negative on this clock.
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_fixed_once() {
        let mut deadline = Deadline::after(Some(Duration::from_secs(5)));
        assert_eq!(deadline.left(), Some(Duration::from_secs(5)));
        let at = deadline.at();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(deadline.at(), at);
        assert!(deadline.left() < Some(Duration::from_secs(5)));
    }

    #[test]
    fn zero_is_past_and_none_never_is() {
        assert!(Deadline::after(Some(Duration::ZERO)).is_past());
        assert!(!Deadline::after(None).is_past());
        assert_eq!(Deadline::after(None).at(), None);
    }

    #[test]
    fn what_remains_shrinks_and_ends_at_zero() {
        let remaining = Remaining::from_now(Some(Duration::from_millis(30)));
        assert!(remaining.left() <= Some(Duration::from_millis(30)));
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(remaining.left(), Some(Duration::ZERO));
        assert_eq!(Remaining::from_now(None).left(), None);
    }

    #[test]
    fn more_than_the_clock_can_count_is_never() {
        let mut deadline = Deadline::after(Some(Duration::MAX));
        assert_eq!(deadline.at(), None);
        assert!(!deadline.is_past());
    }
}
