//! Sleeping and waking with words that have one writer each.
//!
//! A sleeper writes a *ticket* into its own memory; the other side only reads it. So it works where each side maps the
//! other's memory read-only, and a wake-up costs a system call only once per sleep.
//!
//! ```text
//! sleeper                                    other side
//!   ticket = fresh number                      publish
//!   fence(SeqCst)                              fence(SeqCst)
//!   look once more: published?  -> disarm      ticket != 0 and not yet rung? -> ring
//!   sleep
//! ```
//!
//! *No lost wake-up.* The two fences are totally ordered. If the sleeper's comes first, the other side reads the ticket and
//! rings; if it comes second, the sleeper's last look sees what was published. Take either fence away and loom finds the
//! sleeper that nobody wakes (`tests/loom_ticket.rs`).
//!
//! *One ring per sleep.* Each sleep has a ticket of its own, and the other side remembers, in private memory, the last
//! one that it rang for.

use crate::{
    mutant,
    primitive::{Ordering, fence},
    words::{Words, WordsMut},
};

/// The sleeper's end of one ticket word.
///
/// ```
/// use strait_sync::{Heap, Ringer, Sleeper};
/// let (own, mut sleeper, mut ringer) = (Heap::zeroed(128), Sleeper::default(), Ringer::default());
/// assert!(!ringer.must_ring(&own, 0));
/// sleeper.arm(&own, 0);
/// assert!(ringer.must_ring(&own, 0));
/// assert!(!ringer.must_ring(&own, 0), "once per sleep");
/// ```
#[derive(Debug, Default)]
pub struct Sleeper {
    ticket: u64,
    armed: bool,
}

impl Sleeper {
    /// Shows a fresh ticket in the word at `offset` of one's own memory.
    ///
    /// The caller must look once more for what it waits for, *after* this and before it sleeps.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside `own`.
    #[inline]
    pub fn arm(&mut self, own: &impl WordsMut, offset: usize) {
        self.ticket += 1; // a u64 does not come round to 0, which stands for "awake"
        self.armed = true;
        // ORDERING: Relaxed; the fence below orders it before the caller's last look, and pairs with the one in
        // `Ringer::must_ring`.
        own.store(offset, self.ticket, Ordering::Relaxed);
        mutant!(sleeper_no_fence, fence(Ordering::SeqCst), ());
    }

    /// Takes the ticket back. Does nothing where none is shown.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside `own`.
    #[inline]
    pub fn disarm(&mut self, own: &impl WordsMut, offset: usize) {
        if self.armed {
            self.armed = false;
            // ORDERING: Relaxed; a ring that comes late is spurious and harmless.
            own.store(offset, 0, Ordering::Relaxed);
        }
    }

    /// Whether a ticket is shown.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.armed
    }
}

/// The other end of a ticket word: decides whether a publication needs a wake-up.
#[derive(Debug, Default)]
pub struct Ringer {
    rung: u64,
}

impl Ringer {
    /// Whether the sleeper must be woken now. True at most once per ticket.
    ///
    /// Called *after* a publication. Whatever a peer writes into its ticket word, the worst is a needless wake-up of itself.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside `peer`.
    #[inline]
    pub fn must_ring(&mut self, peer: &impl Words, offset: usize) -> bool {
        // ORDERING: SeqCst; pairs with the fence in `Sleeper::arm`: either the ticket is seen here, or the sleeper's last look
        // sees what was published before this.
        mutant!(ringer_no_fence, fence(Ordering::SeqCst), ());
        let ticket = peer.load(offset);
        if ticket == 0 || ticket == self.rung {
            return false;
        }
        self.rung = ticket;
        true
    }
}

/// How [`Parker::park`] ended.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// What was waited for is there.
    Ready,
    /// The deadline has passed and it is not there.
    TimedOut,
}

/// Sleeps on a futex word of the other side, in slices, until something is ready or a deadline passes.
///
/// The futex word belongs to whoever wakes, the ticket to whoever sleeps: again one writer each.
///
/// ```
/// use std::{sync::{Arc, atomic::Ordering}, time::{Duration, Instant}};
/// use strait_sync::{Heap, Parked, Parker, Unparker, Words, WordsMut};
///
/// let (mine, theirs) = (Arc::new(Heap::zeroed(128)), Arc::new(Heap::zeroed(128)));
/// let (sleeper, waker) = (mine.clone(), theirs.clone());
/// let thread = std::thread::spawn(move || {
///     let deadline = Some(Instant::now() + Duration::from_secs(5));
///     Parker::default().park(&sleeper, 0, &waker, 8, deadline, || waker.load(0) == 1)
/// });
/// theirs.store(0, 1, Ordering::Release); // publish
/// Unparker::default().unpark(&theirs, 8, &mine, 0);
/// assert_eq!(thread.join().unwrap(), Parked::Ready);
/// ```
#[cfg(feature = "std")]
#[derive(Debug, Default)]
pub struct Parker {
    sleeper: Sleeper,
}

#[cfg(feature = "std")]
impl Parker {
    /// A peer that dies between publishing and waking wakes nobody: no single sleep is longer than this.
    const SLICE: core::time::Duration = core::time::Duration::from_millis(100);

    /// Parks until `ready` returns true or `deadline` passes (`None` waits without end).
    ///
    /// `ticket` is an offset in `own`, `wakes` one in `other`. `ready` is called at least once and at least every 100 ms,
    /// and must look at what the other side publishes with an acquire.
    ///
    /// # Panics
    ///
    /// If an offset is not a multiple of 8 inside its memory.
    pub fn park(
        &mut self,
        own: &impl WordsMut,
        ticket: usize,
        other: &impl Words,
        wakes: usize,
        deadline: Option<std::time::Instant>,
        mut ready: impl FnMut() -> bool,
    ) -> Parked {
        loop {
            if ready() {
                return Parked::Ready;
            }
            // Read before the last look: a wake-up after it changes the word, and the futex does not sleep.
            let seen = other.load(wakes) as u32;
            self.sleeper.arm(own, ticket);
            if ready() {
                self.sleeper.disarm(own, ticket);
                return Parked::Ready;
            }
            let slice = match deadline {
                None => Self::SLICE,
                Some(deadline) => deadline.saturating_duration_since(std::time::Instant::now()).min(Self::SLICE),
            };
            if slice.is_zero() {
                self.sleeper.disarm(own, ticket);
                return Parked::TimedOut;
            }
            other.raw().futex_wait(wakes, seen, Some(slice));
            self.sleeper.disarm(own, ticket);
        }
    }
}

/// Wakes a [`Parker`].
#[cfg(feature = "std")]
#[derive(Debug, Default)]
pub struct Unparker {
    ringer: Ringer,
}

#[cfg(feature = "std")]
impl Unparker {
    /// Wakes the other side if it sleeps. Call it after each publication.
    ///
    /// `wakes` is an offset in `own`, `ticket` one in `other`.
    ///
    /// # Panics
    ///
    /// If an offset is not a multiple of 8 inside its memory.
    #[inline]
    pub fn unpark(&mut self, own: &impl WordsMut, wakes: usize, other: &impl Words, ticket: usize) {
        if self.ringer.must_ring(other, ticket) {
            let count = own.load(wakes);
            // ORDERING: Release; pairs with the futex's own compare. Only this side writes the word.
            own.store(wakes, count.wrapping_add(1), Ordering::Release);
            own.raw().futex_wake(wakes);
        }
    }
}
