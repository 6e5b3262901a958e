//! One cell of the queue, and the line that a hot word has to itself.

#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use strait_sync::{
    mutant,
    primitive::{AtomicU64, Ordering},
};

/// What lies in here shares its cache line, and the one that the processor fetches along with it, with nothing else.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// The distance between two positions. The lowest bit of a position is free for a mark, such as [`CLOSED`].
pub(crate) const STEP: u64 = 2;
/// Marks a tail that moves no more.
pub(crate) const CLOSED: u64 = 1;

/// A place for one value, and the sequence that says whose turn it is.
///
/// For the claim of position `p` in a queue of `n` cells, the sequence of cell `p % n` is
///
/// | sequence | means |
/// |---|---|
/// | `p` | free: whoever moves the tail from `p` to `p + 1` may write |
/// | `p + 1` | full: whoever moves the head from `p` to `p + 1` may read |
/// | `p + n` | free for the next lap |
///
/// Each has lines of its own, so that one thread's cell does not slow down its neighbour's.
#[repr(C, align(128))]
pub(crate) struct Cell<T> {
    sequence: AtomicU64,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: a value is only touched by the one thread that claimed its position, as the sequence orders them, so that sharing the
// cell moves values between threads and never shares one.
unsafe impl<T: Send> Send for Cell<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Cell<T> {}

impl<T> Cell<T> {
    pub(crate) fn free_for(position: u64) -> Self {
        Self { sequence: AtomicU64::new(position), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// How far the cell is past being free for `position`: 0 is free, [`STEP`] is full, negative is a lap behind.
    #[inline]
    pub(crate) fn past(&self, position: u64) -> i64 {
        // ORDERING: Acquire; pairs with the release stores in `fill` and `take`: the value is written before it is read, and
        // read before it is overwritten.
        self.sequence.load(Ordering::Acquire).wrapping_sub(position) as i64
    }

    /// Puts `value` here and shows it to the consumers.
    ///
    /// # Safety
    ///
    /// The caller has claimed `position` of the tail, and found the cell free for it; it calls this once.
    #[inline]
    pub(crate) unsafe fn fill(&self, position: u64, value: T) {
        // SAFETY: until the store below nobody else touches the value: consumers wait for the sequence, and producers for the
        // tail to come round, which finds the cell not free.
        self.value.with_mut(|place| unsafe { place.write(MaybeUninit::new(value)) });
        // ORDERING: Release; pairs with the acquire load in `past`, which then shows the value.
        self.sequence.store(position.wrapping_add(STEP), mutant!(fill_relaxed, Ordering::Release, Ordering::Relaxed));
    }

    /// Takes the value out and gives the cell to the producer that is `lap` further on.
    ///
    /// # Safety
    ///
    /// The caller has claimed `position` of the head, and found the cell full for it; it calls this once.
    #[inline]
    pub(crate) unsafe fn take(&self, position: u64, lap: u64) -> T {
        // SAFETY: until the store below nobody else touches the value, which `fill` has written: the claim is the caller's.
        let value = self.value.with_mut(|place| unsafe { place.read() });
        // ORDERING: Release; pairs with the acquire load in `past`: the value is read before the next one is written.
        self.sequence.store(position.wrapping_add(lap), mutant!(take_relaxed, Ordering::Release, Ordering::Relaxed));
        // SAFETY: `fill` has written it, which the acquire load in `past` has shown; it is read out once, by this claim.
        unsafe { value.assume_init() }
    }
}

#[cfg(strait_loom)]
use loom::cell::UnsafeCell;

/// loom's interface over the usual cell.
#[cfg(not(strait_loom))]
struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(strait_loom))]
impl<T> UnsafeCell<T> {
    fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline]
    fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}
