//! Slots that are filled in place and published together.

#![allow(unsafe_code)]

use core::{fmt, mem::MaybeUninit};

use super::{producer::Producer, storage::Storage};

/// Free slots, from [`Producer::claim`]. Dropping it publishes nothing; what was written into it is then forgotten.
///
/// The slots are two slices, because they may go on at the first slot of the ring. They are not initialised.
pub struct Chunk<'a, T, S: Storage<T>> {
    producer: &'a mut Producer<T, S>,
    len: usize,
}

impl<'a, T, S: Storage<T>> Chunk<'a, T, S> {
    /// `producer` has at least `len` free slots.
    #[inline]
    pub(super) fn new(producer: &'a mut Producer<T, S>, len: usize) -> Self {
        Self { producer, len }
    }

    /// How many slots were claimed.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no slot was claimed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slots, in order. The second slice is where the ring begins again, and mostly empty.
    #[inline]
    pub fn as_mut_slices(&mut self) -> (&mut [MaybeUninit<T>], &mut [MaybeUninit<T>]) {
        let Producer { slots, tail, .. } = &*self.producer;
        slots.mark_written(*tail, self.len);
        // SAFETY: alive with the producer's storage; no more were claimed than there are.
        let (first, second) = unsafe { slots.runs(*tail, self.len) };
        // SAFETY: the slots are free and the producer's, which is borrowed for as long as the slices.
        let first = unsafe { &mut *first };
        // SAFETY: as above; the runs do not overlap.
        (first, unsafe { &mut *second })
    }

    /// Publishes the first `n` slots, all at once. The others are free again.
    ///
    /// # Panics
    ///
    /// If that is more than was claimed.
    ///
    /// # Safety
    ///
    /// The first `n` slots were initialised.
    #[inline]
    pub unsafe fn commit(self, n: usize) {
        assert!(n <= self.len, "{n} slots were committed of a chunk of {}", self.len);
        self.producer.publish(n);
    }

    /// Fills slots from `values` for as long as both last, and publishes those, all at once. Returns how many.
    ///
    /// Where the iterator panics, what it gave before is published.
    #[inline]
    pub fn fill_from_iter(self, values: impl IntoIterator<Item = T>) -> usize {
        let mut filled = Filled { producer: self.producer, count: 0 };
        for value in values.into_iter().take(self.len) {
            // SAFETY: the slots are alive with the producer's storage.
            let slot = unsafe { filled.producer.slots.to_fill(filled.producer.tail.wrapping_add(filled.count as u64)) };
            // SAFETY: one of the slots that were claimed.
            unsafe { slot.write(value) };
            filled.count += 1;
        }
        filled.count
    }

    /// Fills slots from `values` for as long as both last, and publishes those, all at once. Returns how many.
    #[inline]
    pub fn copy_from_slice(mut self, values: &[T]) -> usize
    where
        T: Copy,
    {
        let count = values.len().min(self.len);
        let (first, second) = self.as_mut_slices();
        let (one, other) = values[..count].split_at(count.min(first.len()));
        first[..one.len()].write_copy_of_slice(one);
        second[..other.len()].write_copy_of_slice(other);
        // SAFETY: as many slots were written just now.
        unsafe { self.commit(count) };
        count
    }
}

/// Publishes what was filled, also where the rest was not to be had.
struct Filled<'a, T, S: Storage<T>> {
    producer: &'a mut Producer<T, S>,
    count: usize,
}

impl<T, S: Storage<T>> Drop for Filled<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.producer.publish(self.count);
    }
}

impl<T, S: Storage<T>> fmt::Debug for Chunk<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("len", &self.len).finish_non_exhaustive()
    }
}
