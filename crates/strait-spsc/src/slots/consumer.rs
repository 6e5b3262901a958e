//! The popping end.

#![allow(unsafe_code)]

use core::{cell::Cell, fmt, marker::PhantomData};

use strait_sync::mutant;

#[cfg(feature = "alloc")]
use super::heap::OnHeap;
use super::{
    error::{ChunkError, PopError},
    read_chunk::ReadChunk,
    ring::End,
    stats::PopStats,
    storage::{Slots, Storage},
};
use crate::{slots::pace::hold_back, storage::unwinding};

/// The popping end of a ring of slots. `S` says where the ring lies.
///
/// It can be sent to another thread, and is neither shared nor cloned, because a ring has one consumer:
///
/// ```compile_fail,E0599
/// let (_producer, consumer) = strait_spsc::slots::channel::<u64>(8).unwrap();
/// let second = consumer.clone();
/// ```
///
/// ```compile_fail,E0277
/// fn share<T: Sync>(_: T) {}
/// let (_producer, consumer) = strait_spsc::slots::channel::<u64>(8).unwrap();
/// share(consumer);
/// ```
///
/// What was peeked at is not popped meanwhile:
///
/// ```compile_fail,E0502
/// let (_producer, mut consumer) = strait_spsc::slots::channel::<u64>(8).unwrap();
/// let next = consumer.peek();
/// let popped = consumer.try_pop();
/// assert_eq!(next, popped.as_ref().ok());
/// ```
pub struct Consumer<
    T,
    #[cfg(feature = "alloc")] S: Storage<T> = OnHeap<T>,
    #[cfg(not(feature = "alloc"))] S: Storage<T>,
> {
    pub(super) storage: S,
    pub(super) slots: Slots<T>,
    /// Where the next value is: this end's own position, of which the ring gets a copy.
    pub(super) head: u64,
    /// The producer's position as last read; slots up to it are filled.
    pub(super) tail: Cell<u64>,
    /// How many values the last look at the producer's position has found.
    found: Cell<u64>,
    empty: u64,
    _values: PhantomData<Cell<T>>,
}

// SAFETY: sending it sends values along, which `T: Send` allows; the slots are used as `Storage` and the positions say, from
// whichever thread.
unsafe impl<T: Send, S: Storage<T> + Send> Send for Consumer<T, S> {}

impl<T, S: Storage<T>> Consumer<T, S> {
    /// # Safety
    ///
    /// It is the one consumer of its ring, and goes on where the one before ended.
    pub(super) unsafe fn new(storage: S) -> Self {
        let (slots, ring) = (storage.slots(), storage.ring());
        let (tail, head) = (ring.tail(), ring.head());
        Self { storage, slots, head, tail: Cell::new(tail), found: Cell::new(0), empty: 0, _values: PhantomData }
    }

    /// Pops the oldest value. Its slot is free at once.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] where there is no value now, [`PopError::Abandoned`] where there never will be one.
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, PopError> {
        if self.ready(1) == 0 {
            self.find_more(1)?;
        }
        // SAFETY: the slots are alive with the storage.
        let slot = unsafe { self.slots.filled(self.head) };
        // Read into what is returned: measured, a move afterwards is a copy more.
        // SAFETY: `ready` says that the slot at the head is filled, so it is this end's alone; it is passed, and so free, below.
        let value = Ok(unsafe { slot.read() });
        self.pass(1);
        self.release();
        value
    }

    /// The oldest value, which stays in the ring; `None` where there is no value now.
    ///
    /// ```
    /// let (mut producer, mut consumer) = strait_spsc::slots::channel(2)?;
    /// assert_eq!(consumer.peek(), None);
    /// producer.try_push(7).unwrap();
    /// assert_eq!(consumer.peek(), Some(&7));
    /// assert_eq!(consumer.try_pop(), Ok(7));
    /// # Ok::<(), strait_spsc::slots::CapacityError>(())
    /// ```
    #[inline]
    pub fn peek(&self) -> Option<&T> {
        if self.ready(1) == 0 {
            return None;
        }
        // SAFETY: the slots are alive with the storage.
        let slot = unsafe { self.slots.filled(self.head) };
        // SAFETY: `ready` says that the slot at the head is filled. While `self` is borrowed it is not released.
        Some(unsafe { &*slot })
    }

    /// The oldest `n` values, to be read in place or taken, and released together. Dropping the chunk is no operation.
    ///
    /// # Errors
    ///
    /// [`ChunkError::TooFew`] where fewer are there now, [`ChunkError::Abandoned`] where none is and none will be.
    ///
    /// ```
    /// let (mut producer, mut consumer) = strait_spsc::slots::channel(4)?;
    /// producer.claim(4)?.fill_from_iter(1..);
    /// let chunk = consumer.read_chunk(3)?;
    /// assert_eq!(chunk.as_slices().0.iter().sum::<i32>(), 6);
    /// chunk.commit_all();
    /// assert_eq!(consumer.try_pop(), Ok(4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn read_chunk(&mut self, n: usize) -> Result<ReadChunk<'_, T, S>, ChunkError> {
        if self.ready(n) < n as u64 {
            self.find_more(n).map_err(|error| match (error, self.ready(0) as usize) {
                (PopError::Abandoned, 0) => ChunkError::Abandoned,
                (_, available) => ChunkError::TooFew { available },
            })?;
        }
        Ok(ReadChunk::new(self, n))
    }

    /// How many values are there: as many as were known to be, where those are `enough`, else as many as are now.
    #[inline]
    pub(super) fn ready(&self, enough: usize) -> u64 {
        let known = self.tail.get().wrapping_sub(self.head);
        if known >= enough as u64 {
            return known;
        }
        hold_back(self.found.get(), self.slots.capacity());
        self.tail.set(self.storage.ring().tail());
        let ready = self.tail.get().wrapping_sub(self.head);
        self.found.set(ready.wrapping_sub(known));
        mutant!(slots_empty_is_not_looked_at, ready, enough as u64)
    }

    /// Fewer than `n` values were there. Whether the producer has gone, and not without having pushed them.
    #[inline]
    fn find_more(&mut self, n: usize) -> Result<(), PopError> {
        let gone = self.storage.ring().is_gone(End::Producer);
        // The second look: what the producer pushed before it went is visible now.
        if gone && mutant!(slots_end_without_second_look, true, false) && self.ready(n) >= n as u64 {
            return Ok(());
        }
        self.release_leaked();
        self.empty += 1;
        Err(if gone { PopError::Abandoned } else { PopError::Empty })
    }

    /// Counts the next `n` slots as read. Nobody sees it before [`release`](Self::release).
    #[inline]
    pub(super) fn pass(&mut self, n: usize) {
        self.head = self.head.wrapping_add(n as u64);
    }

    /// Gives all slots that were read back to the producer.
    #[inline]
    pub(super) fn release(&mut self) {
        self.storage.ring().show_head(self.head);
        self.storage.wake();
    }

    /// Gives back what a leaked iterator has taken. Called before this end waits for values or says that there are too few: otherwise
    /// it and a producer that waits for room would wait for each other.
    #[inline]
    pub(super) fn release_leaked(&mut self) {
        if self.storage.ring().head() != self.head {
            self.release();
        }
    }

    /// Number of slots.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.slots.capacity() as usize
    }

    /// How many values are in the ring. May be more by now, never fewer.
    #[inline]
    pub fn len(&self) -> usize {
        self.storage.ring().tail().wrapping_sub(self.head) as usize
    }

    /// Whether the ring is empty. False stays false until the next pop.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the ring is full. True stays true until the next pop.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Whether the producer is gone. Values may still be there. True stays true.
    #[inline]
    pub fn is_abandoned(&self) -> bool {
        self.storage.ring().is_gone(End::Producer)
    }

    /// What this end has counted.
    pub fn stats(&self) -> PopStats {
        PopStats { popped: self.head, empty: self.empty }
    }
}

impl<T, S: Storage<T>> Drop for Consumer<T, S> {
    #[inline]
    fn drop(&mut self) {
        if !unwinding() {
            // What a leaked iterator has taken is not in the ring any more.
            self.storage.ring().show_head(self.head);
            self.storage.ring().leave(End::Consumer);
            self.storage.wake();
        }
    }
}

impl<T, S: Storage<T>> fmt::Debug for Consumer<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("capacity", &self.capacity())
            .field("head", &self.head)
            .field("tail", &self.tail.get())
            .finish_non_exhaustive()
    }
}
