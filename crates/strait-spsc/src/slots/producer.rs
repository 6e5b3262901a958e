//! The pushing end.

#![allow(unsafe_code)]

use core::{cell::Cell, fmt, marker::PhantomData};

use strait_sync::mutant;

#[cfg(feature = "alloc")]
use super::heap::OnHeap;
use super::{
    chunk::Chunk,
    error::{ChunkError, PushError},
    ring::End,
    stats::PushStats,
    storage::{Slots, Storage},
};
use crate::storage::unwinding;

/// The pushing end of a ring of slots. `S` says where the ring lies.
///
/// It can be sent to another thread, and is neither shared nor cloned, because a ring has one producer:
///
/// ```compile_fail,E0599
/// let (producer, _consumer) = strait_spsc::slots::channel::<u64>(8).unwrap();
/// let second = producer.clone();
/// ```
///
/// ```compile_fail,E0277
/// fn share<T: Sync>(_: T) {}
/// let (producer, _consumer) = strait_spsc::slots::channel::<u64>(8).unwrap();
/// share(producer);
/// ```
///
/// What cannot be sent cannot be pushed from one thread to another:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let (producer, _consumer) = strait_spsc::slots::channel::<std::rc::Rc<u64>>(8).unwrap();
/// send(producer);
/// ```
pub struct Producer<
    T,
    #[cfg(feature = "alloc")] S: Storage<T> = OnHeap<T>,
    #[cfg(not(feature = "alloc"))] S: Storage<T>,
> {
    pub(super) storage: S,
    pub(super) slots: Slots<T>,
    /// Where the next value goes: this end's own position, of which the ring gets a copy.
    pub(super) tail: u64,
    /// The consumer's position as last read; slots up to `head + capacity` are free.
    pub(super) head: u64,
    full: u64,
    high_water: u64,
    _values: PhantomData<Cell<T>>,
}

// SAFETY: sending it sends values along, which `T: Send` allows; the slots are used as `Storage` and the positions say, from
// whichever thread.
unsafe impl<T: Send, S: Storage<T> + Send> Send for Producer<T, S> {}

impl<T, S: Storage<T>> Producer<T, S> {
    /// # Safety
    ///
    /// It is the one producer of its ring, and goes on where the one before ended.
    pub(super) unsafe fn new(storage: S) -> Self {
        let (slots, ring) = (storage.slots(), storage.ring());
        let (tail, head) = (ring.tail(), ring.head());
        Self { storage, slots, tail, head, full: 0, high_water: 0, _values: PhantomData }
    }

    /// Pushes a value. The consumer sees it at once.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] where there is no free slot now, [`PushError::Abandoned`] where there never will be one, because the
    /// consumer is gone. Either gives the value back.
    ///
    /// While there is room a push succeeds, consumer or not: what nobody pops is dropped with the ring. Ask
    /// [`is_abandoned`](Self::is_abandoned) where that matters.
    ///
    /// ```
    /// use strait_spsc::slots::{PushError, channel};
    /// let (mut producer, consumer) = channel(2)?;
    /// producer.try_push(1).unwrap();
    /// producer.try_push(2).unwrap();
    /// assert_eq!(producer.try_push(3), Err(PushError::Full(3)));
    /// drop(consumer);
    /// assert_eq!(producer.try_push(3), Err(PushError::Abandoned(3)));
    /// # Ok::<(), strait_spsc::slots::CapacityError>(())
    /// ```
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.free(1) == 0 {
            self.full += 1;
            return Err(match self.is_abandoned() {
                true => PushError::Abandoned(value),
                false => PushError::Full(value),
            });
        }
        // SAFETY: the slots are alive with the storage.
        let slot = unsafe { self.slots.to_fill(self.tail) };
        // SAFETY: `free` says that the slot at the tail is free, so it is this end's alone.
        unsafe { slot.write(value) };
        self.publish(1);
        Ok(())
    }

    /// Claims `n` slots, to be filled in place and published together. Dropping the chunk is no operation.
    ///
    /// # Errors
    ///
    /// [`ChunkError::TooFew`] where fewer are free now (there are never more than [`capacity`](Self::capacity)),
    /// [`ChunkError::Abandoned`] where more never will be, because the consumer is gone.
    ///
    /// ```
    /// use strait_spsc::slots::{ChunkError, channel};
    /// let (mut producer, mut consumer) = channel(8)?;
    /// assert_eq!(producer.claim(5)?.fill_from_iter(["a", "b", "c"]), 3);
    /// assert_eq!(producer.claim(6).unwrap_err(), ChunkError::TooFew { available: 5 });
    /// assert_eq!(consumer.read_chunk(2)?.as_slices(), (&["a", "b"][..], &[][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn claim(&mut self, n: usize) -> Result<Chunk<'_, T, S>, ChunkError> {
        let available = self.free(n) as usize;
        if available < n {
            self.full += 1;
            return Err(match self.is_abandoned() {
                true => ChunkError::Abandoned,
                false => ChunkError::TooFew { available },
            });
        }
        Ok(Chunk::new(self, n))
    }

    /// How many slots are free: as many as were known to be, where those are `enough`, else as many as are now.
    #[inline]
    pub(super) fn free(&mut self, enough: usize) -> u64 {
        let known = self.slots.capacity() - self.tail.wrapping_sub(self.head);
        if known >= enough as u64 {
            return known;
        }
        self.head = self.storage.ring().head();
        let used = self.tail.wrapping_sub(self.head);
        self.high_water = self.high_water.max(used);
        mutant!(slots_full_is_not_looked_at, self.slots.capacity() - used, self.slots.capacity())
    }

    /// Publishes the next `n` slots, which are filled.
    #[inline]
    pub(super) fn publish(&mut self, n: usize) {
        self.tail = self.tail.wrapping_add(n as u64);
        self.storage.ring().show_tail(self.tail);
        self.storage.wake();
    }

    /// Number of slots.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.slots.capacity() as usize
    }

    /// How many values are in the ring. May be fewer by now, never more.
    #[inline]
    pub fn len(&self) -> usize {
        self.tail.wrapping_sub(self.storage.ring().head()) as usize
    }

    /// Whether the ring is empty. True stays true until the next push.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the ring is full. False stays false until the next push.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Whether the consumer is gone. True stays true.
    #[inline]
    pub fn is_abandoned(&self) -> bool {
        self.storage.ring().is_gone(End::Consumer)
    }

    /// What this end has counted. Nothing is counted for the sake of it, but for what was refused.
    ///
    /// ```
    /// let (mut producer, _consumer) = strait_spsc::slots::channel(2)?;
    /// for value in 0..5 {
    ///     let _ = producer.try_push(value);
    /// }
    /// let stats = producer.stats();
    /// assert_eq!((stats.pushed, stats.full, stats.high_water), (2, 3, 2));
    /// assert_eq!((stats.utilisation(), stats.drop_rate()), (1.0, 0.6));
    /// # Ok::<(), strait_spsc::slots::CapacityError>(())
    /// ```
    pub fn stats(&self) -> PushStats {
        let len = self.len() as u64;
        let high_water = self.high_water.max(len);
        PushStats { pushed: self.tail, full: self.full, high_water, len, capacity: self.slots.capacity() }
    }
}

impl<T, S: Storage<T>> Drop for Producer<T, S> {
    #[inline]
    fn drop(&mut self) {
        if !unwinding() {
            self.storage.ring().leave(End::Producer);
            mutant!(slots_leave_without_wake, self.storage.wake(), ());
        }
    }
}

impl<T, S: Storage<T>> fmt::Debug for Producer<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &self.capacity())
            .field("tail", &self.tail)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}
