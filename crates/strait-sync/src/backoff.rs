//! Waiting without the kernel: backoff on contention, and a spin that knows when to stop.

/// Exponential backoff on contention, as everybody uses it.
pub use crossbeam_utils::Backoff;

/// A spin before a sleep: as long as a sleep and its wake-up would cost, and no longer.
///
/// After the first microseconds it gives the processor away between looks: where more threads want to run than there are
/// processors, what is waited for may be waiting for this very processor.
///
/// ```
/// use std::time::Duration;
/// use strait_sync::Spin;
///
/// let spin = Spin::new(Duration::from_micros(50));
/// let mut looks = 0;
/// assert!(spin.until(|| { looks += 1; looks == 3 }));
/// ```
#[cfg(feature = "std")]
#[derive(Clone, Debug)]
pub struct Spin {
    limit: core::time::Duration,
}

#[cfg(feature = "std")]
impl Spin {
    /// Looks before the clock is read at all: a reading takes about as long as an answer that comes at once, and nobody
    /// looks meanwhile. Some microseconds.
    const FIRST_LOOKS: u32 = 256;
    /// Looks between two yields, after those.
    const LOOKS: u32 = 32;

    /// Spins for at most `limit`; with a `limit` of zero it looks once and gives up.
    pub fn new(limit: core::time::Duration) -> Self {
        Self { limit }
    }

    /// Calls `ready` until it returns true or the limit is reached; returns what it returned last.
    #[cfg(not(strait_loom))]
    #[inline]
    pub fn until(&self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        if self.limit.is_zero() {
            return false;
        }
        for _ in 0..Self::FIRST_LOOKS {
            crate::primitive::spin_hint();
            if ready() {
                return true;
            }
        }
        self.until_slow(&mut ready)
    }

    #[cfg(not(strait_loom))]
    fn until_slow(&self, ready: &mut dyn FnMut() -> bool) -> bool {
        let start = std::time::Instant::now();
        loop {
            std::thread::yield_now();
            for _ in 0..Self::LOOKS {
                if ready() {
                    return true;
                }
                crate::primitive::spin_hint();
            }
            if start.elapsed() >= self.limit {
                return false;
            }
        }
    }

    /// Under loom there is no time: one look, so that the model goes on to park.
    #[cfg(strait_loom)]
    pub fn until(&self, mut ready: impl FnMut() -> bool) -> bool {
        let _ = (self.limit, Self::FIRST_LOOKS, Self::LOOKS);
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
    fn gives_up_after_its_limit() {
        let spin = Spin::new(Duration::from_millis(4));
        let start = Instant::now();
        assert!(!spin.until(|| false));
        assert!(start.elapsed() >= Duration::from_millis(4));
        assert!(spin.until(|| true));
    }
}
