//! Values that are read in place, or taken, and released together.

#![allow(unsafe_code)]

use core::fmt;

use strait_sync::mutant;

use super::{consumer::Consumer, storage::Storage};

/// The oldest values, from [`Consumer::read_chunk`]. Dropping it releases nothing: the values stay in the ring.
///
/// They are two slices, because they may go on at the first slot of the ring. As an iterator it moves them out one by one:
///
/// ```
/// let (mut producer, mut consumer) = strait_spsc::slots::channel(4)?;
/// producer.claim(3)?.fill_from_iter(["a".to_owned(), "b".to_owned(), "c".to_owned()]);
/// let two: Vec<String> = consumer.read_chunk(3)?.into_iter().take(2).collect();
/// assert_eq!(two, ["a", "b"]);
/// assert_eq!(consumer.try_pop()?, "c", "what was not taken stays");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReadChunk<'a, T, S: Storage<T>> {
    consumer: &'a mut Consumer<T, S>,
    len: usize,
}

impl<'a, T, S: Storage<T>> ReadChunk<'a, T, S> {
    /// `consumer` has at least `len` values.
    #[inline]
    pub(super) fn new(consumer: &'a mut Consumer<T, S>, len: usize) -> Self {
        Self { consumer, len }
    }

    /// How many values there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values, oldest first. The second slice is where the ring begins again, and mostly empty.
    #[inline]
    pub fn as_slices(&self) -> (&[T], &[T]) {
        let Consumer { slots, head, .. } = &*self.consumer;
        slots.mark_read(*head, self.len);
        // SAFETY: alive with the consumer's storage; there are no more values than slots.
        let (first, second) = unsafe { slots.runs(*head, self.len) };
        // SAFETY: the slots are filled and the consumer's, which is borrowed for as long as the slices.
        let first = unsafe { &*first };
        // SAFETY: as above.
        let second = unsafe { &*second };
        // SAFETY: filled.
        let first = unsafe { first.assume_init_ref() };
        // SAFETY: filled.
        (first, unsafe { second.assume_init_ref() })
    }

    /// Drops the first `n` values, each once, and releases their slots, all at once. The others stay in the ring.
    ///
    /// Where a drop panics, the other values are dropped all the same.
    ///
    /// # Panics
    ///
    /// If that is more than there are.
    #[inline]
    pub fn commit(self, n: usize) {
        assert!(n <= self.len, "{n} values were committed of a chunk of {}", self.len);
        let Self { consumer, .. } = self;
        let head = consumer.head;
        // Passed before they are dropped, so that none is dropped twice; released after, so that none is overwritten before.
        consumer.pass(n);
        mutant!(slots_release_before_drop, (), consumer.release());
        let release = ReleaseOnDrop { consumer };
        // SAFETY: alive with the consumer's storage; filled, the consumer's, and passed.
        unsafe { release.consumer.slots.drop_values(head, n) };
    }

    /// Drops all values, each once, and releases their slots, all at once.
    #[inline]
    pub fn commit_all(self) {
        let len = self.len;
        self.commit(len);
    }
}

impl<'a, T, S: Storage<T>> IntoIterator for ReadChunk<'a, T, S> {
    type Item = T;
    type IntoIter = Taken<'a, T, S>;

    #[inline]
    fn into_iter(self) -> Taken<'a, T, S> {
        Taken { left: self.len, release: ReleaseOnDrop { consumer: self.consumer } }
    }
}

/// Moves the values of a [`ReadChunk`] out. When it is dropped the slots of those that were taken are released, all at once;
/// the others stay in the ring. Where it is leaked ([`core::mem::forget`]) they are released with what is popped next, or where
/// that is refused.
pub struct Taken<'a, T, S: Storage<T>> {
    release: ReleaseOnDrop<'a, T, S>,
    left: usize,
}

impl<T, S: Storage<T>> Iterator for Taken<'_, T, S> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        let consumer = &mut *self.release.consumer;
        // SAFETY: the slots are alive with the consumer's storage.
        let slot = unsafe { consumer.slots.filled(consumer.head) };
        // SAFETY: one of the chunk's values, and the consumer passes it now, so that it counts as free even where this iterator
        // is leaked.
        let value = unsafe { slot.read() };
        consumer.pass(1);
        Some(value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T, S: Storage<T>> ExactSizeIterator for Taken<'_, T, S> {}
impl<T, S: Storage<T>> core::iter::FusedIterator for Taken<'_, T, S> {}

/// Releases what the consumer has passed, also where a value's drop panics.
struct ReleaseOnDrop<'a, T, S: Storage<T>> {
    consumer: &'a mut Consumer<T, S>,
}

impl<T, S: Storage<T>> Drop for ReleaseOnDrop<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.consumer.release();
    }
}

impl<T, S: Storage<T>> fmt::Debug for ReadChunk<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadChunk").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T, S: Storage<T>> fmt::Debug for Taken<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").field("left", &self.left).finish_non_exhaustive()
    }
}
