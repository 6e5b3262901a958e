//! The slots themselves, and where a ring keeps them.

#![allow(unsafe_code)]

use core::{
    cell::UnsafeCell,
    fmt,
    mem::MaybeUninit,
    ptr::{self, NonNull},
};

use super::ring::Ring;

/// Where an end finds its ring: on the heap, with or without parking words, or borrowed from an `Inline`.
///
/// A bound for code that takes any of them. It cannot be implemented elsewhere: nothing else can make what it returns.
///
/// # Safety
///
/// `ring` and `slots` return the same ones each time, whose capacity is a power of two, and they stay valid for as long as
/// `self` lives, also when `self` is moved. There is one producer and one consumer for each ring.
pub unsafe trait Storage<T> {
    /// The words that the ends share.
    #[doc(hidden)]
    fn ring(&self) -> &Ring;

    /// The slots of the ring.
    #[doc(hidden)]
    fn slots(&self) -> Slots<T>;

    /// Called after each publication, each release and by an end that goes: wakes the other one, if it sleeps.
    #[doc(hidden)]
    #[inline]
    fn wake(&mut self) {}
}

/// A power of two of slots, found by position. Whatever the position, the slot lies inside the ring.
pub struct Slots<T> {
    first: NonNull<UnsafeCell<MaybeUninit<T>>>,
    mask: u64,
    /// Under loom a cell for each slot, so that loom sees an access that nothing orders.
    #[cfg(strait_loom)]
    marks: alloc::sync::Arc<[loom::cell::UnsafeCell<()>]>,
}

impl<T> Clone for Slots<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            first: self.first,
            mask: self.mask,
            #[cfg(strait_loom)]
            marks: self.marks.clone(),
        }
    }
}

impl<T> fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("mask", &self.mask).finish_non_exhaustive()
    }
}

/// A run of slots and, where it wraps, the rest of it from the first slot on.
pub(super) type Runs<T> = (*mut [MaybeUninit<T>], *mut [MaybeUninit<T>]);

impl<T> Slots<T> {
    /// The slots that `slots` are; their number is a power of two. Using them is `unsafe`.
    pub(super) fn new(slots: NonNull<[UnsafeCell<MaybeUninit<T>>]>) -> Self {
        debug_assert!(slots.len().is_power_of_two());
        Self {
            first: slots.cast(),
            mask: slots.len() as u64 - 1,
            #[cfg(strait_loom)]
            marks: (0..slots.len()).map(|_| loom::cell::UnsafeCell::new(())).collect(),
        }
    }

    #[inline]
    pub(super) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// The slot at `position`.
    ///
    /// # Safety
    ///
    /// The slots are alive.
    #[inline]
    unsafe fn slot(&self, position: u64) -> *mut MaybeUninit<T> {
        // SAFETY: the mask keeps the index inside the ring, which is alive.
        let slot = unsafe { self.first.add((position & self.mask) as usize) };
        UnsafeCell::raw_get(slot.as_ptr())
    }

    /// The slot at `position`, for a value to be written there.
    ///
    /// # Safety
    ///
    /// The slots are alive.
    #[inline]
    pub(super) unsafe fn to_fill(&self, position: u64) -> *mut T {
        self.mark_written(position, 1);
        // SAFETY: alive, by the caller's contract.
        unsafe { self.slot(position) }.cast()
    }

    /// The slot at `position`, for its value to be read.
    ///
    /// # Safety
    ///
    /// The slots are alive.
    #[inline]
    pub(super) unsafe fn filled(&self, position: u64) -> *const T {
        self.mark_read(position, 1);
        // SAFETY: alive, by the caller's contract.
        unsafe { self.slot(position) }.cast_const().cast()
    }

    /// The `count` slots from `position` on.
    ///
    /// # Safety
    ///
    /// The slots are alive, and `count` is at most their number.
    #[inline]
    pub(super) unsafe fn runs(&self, position: u64, count: usize) -> Runs<T> {
        let to_the_end = (self.capacity() - (position & self.mask)) as usize;
        let first = count.min(to_the_end);
        // SAFETY: alive, by the caller's contract.
        let start = unsafe { self.slot(position) };
        let again = UnsafeCell::raw_get(self.first.as_ptr());
        (ptr::slice_from_raw_parts_mut(start, first), ptr::slice_from_raw_parts_mut(again, count - first))
    }

    /// Drops the `count` values from `position` on, each once, also where one of them panics.
    ///
    /// # Safety
    ///
    /// The slots are alive, these are filled and the caller's, and count as free from now on.
    #[inline]
    pub(super) unsafe fn drop_values(&self, position: u64, count: usize) {
        if !core::mem::needs_drop::<T>() {
            return;
        }
        self.mark_written(position, count);
        // SAFETY: alive by the caller's contract; no more than all of them are filled.
        let (first, second) = unsafe { self.runs(position, count) };
        // Dropped at the end, also where a value of the first run panics.
        let _second = DropValues(second as *mut [T]);
        drop(DropValues(first as *mut [T]));
    }

    /// Tells loom that the caller reads these slots.
    #[inline]
    pub(super) fn mark_read(&self, position: u64, count: usize) {
        let _ = (position, count);
        #[cfg(strait_loom)]
        for index in 0..count as u64 {
            self.marks[(position.wrapping_add(index) & self.mask) as usize].with(|_| ());
        }
    }

    /// Tells loom that the caller writes these slots.
    #[inline]
    pub(super) fn mark_written(&self, position: u64, count: usize) {
        let _ = (position, count);
        #[cfg(strait_loom)]
        for index in 0..count as u64 {
            self.marks[(position.wrapping_add(index) & self.mask) as usize].with_mut(|_| ());
        }
    }
}

/// Values that are dropped with it.
struct DropValues<T>(*mut [T]);

impl<T> Drop for DropValues<T> {
    fn drop(&mut self) {
        // SAFETY: made by `drop_values` alone, of values that are its caller's to drop; each run has one of these.
        unsafe { self.0.drop_in_place() }
    }
}
