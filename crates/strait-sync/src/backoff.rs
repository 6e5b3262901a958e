//! Waiting without the kernel: backoff on contention, and a spin that knows when to stop.

/// Exponential backoff on contention, as everybody uses it.
pub use crossbeam_utils::Backoff;

/// A spin before a sleep: as long as a sleep and its wake-up would cost, and no longer.
///
/// It gives up early where the processor is wanted by others, because then what is waited for may be waiting for this very
/// processor; and where spins have failed lately it looks just once, but for a trial now and then.
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
    /// How much spinning has paid off lately, 0 to [`Spin::CREDIT`].
    credit: u32,
    /// Spins left out since the last trial.
    skipped: u32,
}

#[cfg(feature = "std")]
impl Spin {
    /// Looks before the clock is read at all: a reading takes about as long as an answer that comes at once, and nobody
    /// looks meanwhile. Some microseconds.
    const FIRST_LOOKS: u32 = 256;
    /// Looks between two yields, after those.
    const LOOKS: u32 = 32;
    /// Most credit; a success earns one, a failure costs half.
    const CREDIT: u32 = 8;
    /// Without credit, one in so many spins is tried.
    const TRIAL: u32 = 16;
    /// A yield that takes longer has let somebody else run.
    const YIELD: core::time::Duration = core::time::Duration::from_micros(4);

    /// Spins for at most `limit`; with a `limit` of zero it looks once and gives up.
    pub fn new(limit: core::time::Duration) -> Self {
        Self { limit, credit: Self::CREDIT, skipped: 0 }
    }

    /// Calls `ready` until it returns true, or until spinning does not pay any more; returns what it returned last.
    #[cfg(not(strait_loom))]
    #[inline]
    pub fn until(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        if self.limit.is_zero() {
            return false;
        }
        if self.credit == 0 && self.skipped < Self::TRIAL {
            self.skipped += 1;
            return false;
        }
        self.skipped = 0;
        for _ in 0..Self::FIRST_LOOKS {
            crate::primitive::spin_hint();
            if ready() {
                self.credit = (self.credit + 1).min(Self::CREDIT);
                return true;
            }
        }
        let found = self.until_slow(&mut ready);
        self.credit = if found { (self.credit + 1).min(Self::CREDIT) } else { self.credit / 2 };
        found
    }

    #[cfg(not(strait_loom))]
    fn until_slow(&self, ready: &mut dyn FnMut() -> bool) -> bool {
        let start = std::time::Instant::now();
        let mut before = start;
        loop {
            std::thread::yield_now();
            for _ in 0..Self::LOOKS {
                if ready() {
                    return true;
                }
                crate::primitive::spin_hint();
            }
            let now = std::time::Instant::now();
            if now - start >= self.limit || now - before >= Self::YIELD {
                return false;
            }
            before = now;
        }
    }

    /// Under loom there is no time: one look, so that the model goes on to park.
    #[cfg(strait_loom)]
    pub fn until(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        let _ = (
            self.limit,
            self.credit,
            self.skipped,
            Self::CREDIT,
            Self::TRIAL,
            Self::FIRST_LOOKS,
            Self::LOOKS,
            Self::YIELD,
        );
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
        let mut spin = Spin::new(Duration::from_millis(4));
        let start = Instant::now();
        assert!(!spin.until(|| false));
        // It may give up sooner, where others want the processor; never much later.
        assert!(start.elapsed() < Duration::from_secs(2));
        assert!(spin.until(|| true));
    }

    #[test]
    fn failures_end_the_spinning_but_for_trials_and_a_success_brings_it_back() {
        let mut spin = Spin::new(Duration::from_micros(1));
        let mut looks = 0;
        let mut wait = |spin: &mut Spin, found_at: u32| {
            looks = 0;
            spin.until(|| {
                looks += 1;
                looks == found_at
            });
            looks
        };
        while spin.credit > 0 {
            wait(&mut spin, u32::MAX);
        }
        for _ in 0..Spin::TRIAL {
            assert_eq!(wait(&mut spin, u32::MAX), 1);
        }
        assert_eq!(wait(&mut spin, 100), 100, "the trial");
        assert!(wait(&mut spin, u32::MAX) > 100, "there is credit again");
    }
}
