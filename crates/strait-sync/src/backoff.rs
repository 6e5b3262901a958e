//! Waiting without the kernel: backoff on contention, and a spin that knows when to stop.

/// Exponential backoff on contention, as everybody uses it.
pub use crossbeam_utils::Backoff;

/// An adaptive spin: as long as spinning pays off, up to a limit, and short where it doesn't.
///
/// ```
/// use std::time::Duration;
/// use strait_sync::Spin;
///
/// let mut spin = Spin::new(Duration::from_micros(50));
/// let mut looks = 0;
/// assert!(spin.until(|| { looks += 1; looks == 3 }));
/// ```
#[cfg(feature = "std")]
#[derive(Clone, Debug)]
pub struct Spin {
    limit: core::time::Duration,
    budget: core::time::Duration,
}

#[cfg(feature = "std")]
impl Spin {
    /// Looks before the clock is read at all: a reading takes about as long as an answer that comes at once, and nobody
    /// looks meanwhile. Some microseconds.
    const FIRST_LOOKS: u32 = 256;
    /// Looks between two readings of the clock.
    const LOOKS: u32 = 64;
    /// How often the processor is given away before the caller parks.
    const YIELDS: u32 = 2;

    /// Spins for at most `limit`; with a `limit` of zero it looks once and gives up.
    pub fn new(limit: core::time::Duration) -> Self {
        Self { limit, budget: limit }
    }

    /// Calls `ready` until it returns true or the budget is used up; returns what it returned last.
    ///
    /// A spin that succeeded doubles the next budget (up to the limit), one that failed halves it (down to a sixteenth).
    #[cfg(not(strait_loom))]
    #[inline]
    pub fn until(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        if self.limit.is_zero() {
            return false;
        }
        for _ in 0..Self::FIRST_LOOKS {
            crate::primitive::spin_hint();
            if ready() {
                self.budget = self.limit.min(self.budget * 2);
                return true;
            }
        }
        self.until_slow(&mut ready)
    }

    #[cfg(not(strait_loom))]
    fn until_slow(&mut self, ready: &mut dyn FnMut() -> bool) -> bool {
        let start = std::time::Instant::now();
        while start.elapsed() < self.budget {
            for _ in 0..Self::LOOKS {
                crate::primitive::spin_hint();
                if ready() {
                    self.budget = self.limit.min(self.budget * 2);
                    return true;
                }
            }
        }
        self.budget = (self.budget / 2).max(self.limit / 16);
        for _ in 0..Self::YIELDS {
            std::thread::yield_now();
            if ready() {
                return true;
            }
        }
        false
    }

    /// Under loom there is no time: one look, so that the model goes on to park.
    #[cfg(strait_loom)]
    pub fn until(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        let _ = (self.limit, self.budget, Self::FIRST_LOOKS, Self::LOOKS, Self::YIELDS);
        ready()
    }
}

#[cfg(all(test, not(strait_loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::Spin;

    #[test]
    fn zero_limit_looks_once() {
        let mut looks = 0;
        assert!(!Spin::new(Duration::ZERO).until(|| {
            looks += 1;
            false
        }));
        assert_eq!(looks, 1);
    }

    #[test]
    fn gives_up_and_shrinks_its_budget() {
        let mut spin = Spin::new(Duration::from_millis(4));
        let start = Instant::now();
        assert!(!spin.until(|| false));
        assert!(start.elapsed() >= Duration::from_millis(4));
        assert_eq!(spin.budget, Duration::from_millis(2));
        assert!(spin.until(|| true));
    }
}
