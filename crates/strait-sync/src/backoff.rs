//! Waiting without the kernel: backoff on contention, and a spin that knows when to stop.

/// Exponential backoff on contention, as everybody uses it.
pub use crossbeam_utils::Backoff;

/// A spin before a sleep: as long as a sleep and its wake-up would cost, and no longer.
///
/// After the first microseconds it gives the processor away between looks: where more threads want to run than there are
/// processors, what is waited for may be waiting for this very processor. Where that turns out to be so, the next spin gives it
/// away at once. And where a processor that was given away does not come back within a millisecond, spins are left out for a while:
/// who sleeps is given a processor when woken, who has yielded to threads that compute waits until they have had their turn.
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
    /// The last spin was of no use but for giving the processor away: others wanted it.
    crowded: bool,
    /// So many spins are left out from now on; and so many were the last time.
    left_out: u32,
    left_out_last: u32,
}

#[cfg(feature = "std")]
impl Spin {
    /// Looks before the clock is read at all: a reading takes about as long as an answer that comes at once, and nobody
    /// looks meanwhile. Some microseconds.
    const FIRST_LOOKS: u32 = 256;
    /// Looks between two yields, after those.
    const LOOKS: u32 = 32;
    /// A yield takes a fraction of this where nobody else wants the processor, and more where somebody runs meanwhile.
    #[cfg(not(strait_loom))]
    const SWITCH: core::time::Duration = core::time::Duration::from_micros(2);
    /// Others that wait as well are back sooner, even many of them; those that compute have their turn, which is longer.
    #[cfg(not(strait_loom))]
    const TURN: core::time::Duration = core::time::Duration::from_millis(1);
    /// Spins that are left out at most: a try among others that compute costs some milliseconds.
    #[cfg(not(strait_loom))]
    const MAX_LEFT_OUT: u32 = 1024;

    /// Spins for at most `limit`; with a `limit` of zero it looks once and gives up.
    pub fn new(limit: core::time::Duration) -> Self {
        Self { limit, crowded: false, left_out: 0, left_out_last: 0 }
    }

    /// Calls `ready` until it returns true, the limit is reached, or others compute on this processor; returns what it returned last.
    #[cfg(not(strait_loom))]
    #[inline]
    pub fn until(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        if self.limit.is_zero() {
            return false;
        }
        if self.left_out > 0 {
            self.left_out -= 1;
            return false;
        }
        if !self.crowded {
            for _ in 0..Self::FIRST_LOOKS {
                crate::primitive::spin_hint();
                if ready() {
                    self.was_of_use();
                    return true;
                }
            }
        }
        self.until_slow(&mut ready, give_away)
    }

    /// `give_away` says how long the processor was away.
    #[cfg(not(strait_loom))]
    fn until_slow(&mut self, ready: &mut dyn FnMut() -> bool, give_away: fn() -> core::time::Duration) -> bool {
        let start = std::time::Instant::now();
        loop {
            let away = give_away();
            let others_ran = away >= Self::SWITCH;
            if away >= Self::TURN {
                self.crowded = true;
                self.left_out = (2 * self.left_out_last).clamp(1, Self::MAX_LEFT_OUT);
                self.left_out_last = self.left_out;
                return ready();
            }
            for look in 0..Self::LOOKS {
                if ready() {
                    // At a later look than the first it came from another processor.
                    self.crowded = others_ran && look == 0;
                    self.was_of_use();
                    return true;
                }
                crate::primitive::spin_hint();
            }
            if start.elapsed() >= self.limit {
                self.crowded = others_ran;
                return false;
            }
        }
    }

    /// Forgets step by step how long the processor once was away: an interrupt now and then is no reason to leave out many spins, and
    /// one spin in two that is of use among threads that compute is none to leave out few.
    #[cfg(not(strait_loom))]
    #[inline]
    fn was_of_use(&mut self) {
        self.left_out_last = self.left_out_last.saturating_sub(1);
    }

    /// Under loom there is no time: one look, so that the model goes on to park.
    #[cfg(strait_loom)]
    pub fn until(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        let _ = (self.limit, self.crowded, self.left_out, self.left_out_last, Self::FIRST_LOOKS, Self::LOOKS);
        ready()
    }
}

/// Gives the processor to whoever wants it; how long that took.
#[cfg(all(feature = "std", not(strait_loom)))]
fn give_away() -> core::time::Duration {
    let before = std::time::Instant::now();
    std::thread::yield_now();
    before.elapsed()
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
        // The real yield may take so long on a busy machine that the spin ends before.
        assert!(!spin.until_slow(&mut || false, || Duration::ZERO));
        assert!(start.elapsed() >= Duration::from_millis(4));
        assert!(spin.until(|| true));
    }

    #[test]
    fn where_others_ran_meanwhile_the_next_spin_gives_the_processor_away_at_once() {
        let mut spin = Spin::new(Duration::from_secs(5));
        let mut found_at = |ready_at: u32, give_away: fn() -> Duration| {
            let mut looks = 0;
            let mut ready = || {
                looks += 1;
                looks == ready_at
            };
            assert!(spin.until_slow(&mut ready, give_away));
            spin.crowded
        };
        let others_run = || Spin::SWITCH;
        assert!(!found_at(1, || Duration::ZERO));
        assert!(found_at(1, others_run));
        assert!(!found_at(2, others_run), "it came from another processor");
        assert!(found_at(Spin::LOOKS + 1, others_run));
    }

    #[test]
    fn a_crowded_spin_looks_once_before_it_yields() {
        let looks_of_one_lap = |crowded| {
            let mut looks = 0;
            let mut spin = Spin { crowded, ..Spin::new(Duration::from_nanos(1)) };
            assert!(!spin.until(|| {
                looks += 1;
                false
            }));
            looks
        };
        assert!(looks_of_one_lap(true) <= 1 + Spin::LOOKS);
        assert!(looks_of_one_lap(false) > 1 + Spin::FIRST_LOOKS);
    }

    #[test]
    fn spins_are_left_out_while_the_processor_does_not_come_back() {
        let mut spin = Spin::new(Duration::from_micros(50));
        let others_compute = || Spin::TURN;
        let mut left_out = || {
            assert!(!spin.until_slow(&mut || false, others_compute));
            let left_out = spin.left_out;
            for _ in 0..left_out {
                let mut looks = 0;
                let found = spin.until(|| {
                    looks += 1;
                    looks > 1
                });
                assert!(!found && looks == 1);
            }
            left_out
        };
        assert_eq!([(); 4].map(|()| left_out()), [1, 2, 4, 8]);
        for _ in 0..7 {
            assert!(spin.until_slow(&mut || true, || Duration::ZERO));
        }
        assert!(!spin.until_slow(&mut || false, others_compute));
        assert_eq!(spin.left_out, 2, "8, less one for each that was of use, and twice that");
        (spin.left_out, spin.crowded) = (0, false);
        let mut looks = 0;
        assert!(spin.until(|| {
            looks += 1;
            looks == 3
        }));
        assert_eq!(spin.left_out_last, 1, "one that ends before a yield counts too");
    }
}
