//! Sleeping until something happened, for any number of sleepers and wakers on one word.
//!
//! The low half of the word is an epoch, and in its lowest bit whether somebody may sleep on it:
//!
//! ```text
//! sleeper                                       waker
//!   arm: set the bit, remember the word           make it happen
//!   fence(SeqCst)                                 fence(SeqCst)
//!   look once more: happened? -> done             bit set? -> next epoch, bit clear; wake all
//!   sleep while the word is what it was
//! ```
//!
//! *No lost wake-up.* The two fences are totally ordered. If the waker's comes first, the sleeper's last look sees what
//! happened. If the sleeper's comes first, the waker sees the word that the sleeper remembers, and changes it, or a
//! later one; either way the sleeper's word is gone, and whoever took it away wakes all. Take either fence away and loom finds
//! the sleeper that nobody wakes (`tests/loom_blocking.rs`).
//!
//! *Nothing to leave behind.* Nobody counts sleepers, so that one that is killed is forgotten at the next wake-up. A waker that
//! is killed before it wakes is why sleepers between processes sleep in slices. Waking all instead of one is what lets the
//! bit stand for any number of sleepers; and one alone might find its value behind a claim that is not filled yet.

use core::time::Duration;
use std::time::Instant;

use strait_sync::{
    Backoff, WordsMut, fail_point, mutant,
    primitive::{Ordering, fence},
};

const ARMED: u64 = 1;
/// Keeps the epoch inside the half word that a futex compares.
const LOW_HALF: u64 = u32::MAX as u64;
/// A word that changes under a caller this often is being looked after by others, or it is garbage.
const ATTEMPTS: usize = 128;

/// Says that something happened: wakes all that [`until`] lets sleep on the word at `offset`.
#[inline]
pub(crate) fn notify(memory: &impl WordsMut, offset: usize) {
    // ORDERING: SeqCst; pairs with the fence in `arm`: either the armed bit is seen here, or the sleeper's last look sees what
    // happened before this.
    mutant!(notify_no_fence, fence(Ordering::SeqCst), ());
    let word = memory.load(offset);
    if word & ARMED != 0 {
        wake(memory, offset, word);
    }
}

#[cold]
fn wake(memory: &impl WordsMut, offset: usize, mut word: u64) {
    for _ in 0..ATTEMPTS {
        // Clears the bit, and is another epoch.
        match memory.compare_exchange(offset, word, word.wrapping_add(ARMED) & LOW_HALF) {
            Ok(_) => break,
            Err(now) if now & ARMED == 0 => return, // somebody else wakes them
            Err(now) => word = now,
        }
    }
    fail_point!("mpmc.waking");
    memory.raw().futex_wake(offset);
}

/// Sets the armed bit. The caller must look once more after this, and may then sleep while the word is what this returns: but
/// only where the bit is set in that, because nobody wakes a sleeper that could not show itself.
fn arm(memory: &impl WordsMut, offset: usize) -> u64 {
    let mut word = memory.load(offset);
    for _ in 0..ATTEMPTS {
        if word & ARMED != 0 {
            break;
        }
        match memory.compare_exchange(offset, word, word | ARMED) {
            Ok(_) => word |= ARMED,
            Err(now) => word = now,
        }
    }
    // ORDERING: SeqCst; pairs with the fence in `notify`.
    mutant!(arm_no_fence, fence(Ordering::SeqCst), ());
    fail_point!("mpmc.armed");
    word
}

/// Calls `attempt` until it returns something, or `deadline` has passed (`None`: without end); sleeps in between, on the word at
/// `offset`, for at most `slice` at a time.
pub(crate) fn until<R>(
    memory: &impl WordsMut,
    offset: usize,
    deadline: Option<Instant>,
    slice: Option<Duration>,
    mut attempt: impl FnMut() -> Option<R>,
) -> Option<R> {
    let backoff = Backoff::new();
    loop {
        if let Some(done) = attempt() {
            return Some(done);
        }
        // Under loom nothing is gained by a spin: go on to sleep.
        if !backoff.is_completed() && cfg!(not(strait_loom)) {
            backoff.snooze();
            continue;
        }
        let seen = arm(memory, offset);
        if let Some(done) = attempt() {
            return Some(done);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return None;
        }
        let timeout = match (left, slice) {
            (Some(left), Some(slice)) => Some(left.min(slice)),
            (left, slice) => left.or(slice),
        };
        if seen & ARMED != 0 {
            memory.raw().futex_wait(offset, seen as u32, timeout);
        } else {
            backoff.snooze();
        }
    }
}

#[cfg(all(test, not(strait_loom)))]
mod tests {
    use strait_sync::{Heap, RawWords, Words};

    use super::*;

    /// A word that others change whenever somebody wants to.
    struct Restless(Heap);

    // SAFETY: the heap's.
    #[allow(unsafe_code)]
    unsafe impl Words for Restless {
        fn raw(&self) -> &RawWords {
            self.0.raw()
        }
    }

    // SAFETY: as above.
    #[allow(unsafe_code)]
    unsafe impl WordsMut for Restless {
        fn compare_exchange(&self, offset: usize, current: u64, _new: u64) -> Result<u64, u64> {
            // ORDERING: Relaxed: one thread.
            self.store(offset, current + 2, Ordering::Relaxed);
            Err(current + 2)
        }
    }

    #[test]
    fn a_sleeper_that_cannot_show_itself_does_not_sleep() {
        let (start, soon) = (Instant::now(), Duration::from_millis(50));
        let done = until(&Restless(Heap::zeroed(128)), 0, Some(start + Duration::from_secs(20)), None, || {
            (start.elapsed() > soon).then_some(())
        });
        assert_eq!(done, Some(()));
        assert!(start.elapsed() < Duration::from_secs(10), "it slept, and nobody could have woken it");
    }
}
