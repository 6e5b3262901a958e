//! What the two ends share: three words, each on a line of its own.

use strait_sync::{
    mutant,
    primitive::{AtomicU64, Ordering},
};

/// A line of its own. Processors fetch cache lines of 64 bytes in pairs.
#[repr(C, align(128))]
#[derive(Debug)]
struct Line<T>(T);

/// The ends that live, as bits of a word.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum End {
    Producer = 1,
    Consumer = 2,
}

const BOTH: u64 = End::Producer as u64 | End::Consumer as u64;

/// The positions that the ends show each other, and which of them live.
///
/// Positions count slots since the ring began and wrap. Only the consumer writes `head`, only the producer `tail`; slots
/// from head to tail are filled and the consumer's, the others are free and the producer's.
#[repr(C)]
#[derive(Debug)]
pub struct Ring {
    head: Line<AtomicU64>,
    tail: Line<AtomicU64>,
    alive: Line<AtomicU64>,
}

#[cfg(not(strait_loom))]
const _: () = assert!(size_of::<Ring>() == 384 && align_of::<Ring>() == 128);

impl Ring {
    /// An empty ring at `position` whose two ends are about to be made.
    #[cfg(feature = "alloc")]
    pub(super) fn with_both_ends(position: u64) -> Self {
        Self {
            head: Line(AtomicU64::new(position)),
            tail: Line(AtomicU64::new(position)),
            alive: Line(AtomicU64::new(BOTH)),
        }
    }

    /// An empty ring without ends.
    #[cfg(not(strait_loom))]
    pub(super) const fn without_ends() -> Self {
        Self { head: Line(AtomicU64::new(0)), tail: Line(AtomicU64::new(0)), alive: Line(AtomicU64::new(0)) }
    }

    /// How far the consumer has released: what it read there it has read before the caller writes there.
    #[inline]
    pub(super) fn head(&self) -> u64 {
        // ORDERING: Acquire; pairs with the release store in `show_head`.
        self.head.0.load(mutant!(slots_head_no_acquire, Ordering::Acquire, Ordering::Relaxed))
    }

    /// Releases everything before `head`.
    #[inline]
    pub(super) fn show_head(&self, head: u64) {
        // ORDERING: Release; pairs with the acquire load in `head`. The values before it were read, or dropped, before.
        self.head.0.store(head, mutant!(slots_head_relaxed, Ordering::Release, Ordering::Relaxed));
    }

    /// How far the producer has published: the values before it can be read.
    #[inline]
    pub(super) fn tail(&self) -> u64 {
        // ORDERING: Acquire; pairs with the release store in `show_tail`.
        self.tail.0.load(mutant!(slots_tail_no_acquire, Ordering::Acquire, Ordering::Relaxed))
    }

    /// Publishes everything before `tail`.
    #[inline]
    pub(super) fn show_tail(&self, tail: u64) {
        // ORDERING: Release; pairs with the acquire load in `tail`. The values before it were written before.
        self.tail.0.store(tail, mutant!(slots_tail_relaxed, Ordering::Release, Ordering::Relaxed));
    }

    /// Whether `end` is gone. Then all that it ever published or released is visible.
    #[inline]
    pub(super) fn is_gone(&self, end: End) -> bool {
        // ORDERING: Acquire; pairs with the release in `leave`.
        let alive = self.alive.0.load(mutant!(slots_gone_no_acquire, Ordering::Acquire, Ordering::Relaxed));
        alive & end as u64 == 0
    }

    /// Shows that `end` is gone.
    #[inline]
    pub(super) fn leave(&self, end: End) {
        // ORDERING: Release; pairs with the acquire load in `is_gone`, and in `enter` for those who come next.
        self.alive.0.fetch_and(!(end as u64), mutant!(slots_leave_relaxed, Ordering::Release, Ordering::Relaxed));
    }

    /// Lets two new ends in where none are. Returns whether it did.
    #[cfg(not(strait_loom))]
    pub(super) fn enter(&self) -> bool {
        // ORDERING: Acquire; pairs with the release in `leave` of both ends that were here before: the new ones go on where
        // those ended. Nothing is published by it, and a failure is only reported.
        self.alive.0.compare_exchange(0, BOTH, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Forgets the ends, which their borrows say are no more. Returns whether the consumer was dropped as it should be, so that
    /// `head` says what is left.
    #[cfg(not(strait_loom))]
    pub(super) fn evict(&mut self) -> bool {
        let alive = core::mem::take(self.alive.0.get_mut());
        alive & End::Consumer as u64 == 0
    }

    /// Makes the ring empty, whatever it holds.
    #[cfg(not(strait_loom))]
    pub(super) fn forget_values(&mut self) {
        *self.head.0.get_mut() = *self.tail.0.get_mut();
    }
}
