//! The queue inside one process: Dmitry Vyukov's bounded queue.
//!
//! Source: <https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue>. Each cell carries a sequence that says
//! whose turn it is ([`cell`](crate::cell)); a producer claims a position by moving the tail, fills its cell and then shows it;
//! a consumer claims by moving the head. Producers and consumers meet only in the cells.

#![allow(unsafe_code)]

mod claim;

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use strait_sync::primitive::{AtomicBool, AtomicU64, Ordering};

use self::claim::Refused;

use crate::{
    cell::{CLOSED, Cell, Line, STEP},
    error::{CapacityError, PopError, PushError},
    stats::{Counters, Stats},
};

/// A bounded queue for any number of producers and consumers of one process.
///
/// Values need only be `Send`. Used through `&self`: put it in an `Arc`, or lend it to scoped threads. Nothing here blocks; a queue to sleep on is
/// [`Blocking`](crate::Blocking). With `COUNTED` it also counts what costs something to count ([`Queue::counting`]).
///
/// Values that are still inside when the queue is dropped are dropped, each once, also where a drop panics.
///
/// ```
/// use strait_mpmc::{PopError, PushError, Queue};
///
/// let queue = Queue::new(2)?;
/// queue.try_push("one")?;
/// queue.try_push("two")?;
/// assert_eq!(queue.try_push("three"), Err(PushError::Full("three")));
/// assert_eq!(queue.try_pop(), Ok("one"));
/// queue.close();
/// assert_eq!(queue.try_pop(), Ok("two"));
/// assert_eq!(queue.try_pop(), Err(PopError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail
/// fn share(_: impl Sync) {}
/// share(strait_mpmc::Queue::<std::rc::Rc<u8>>::new(2)); // a queue of what cannot be sent cannot be shared
/// ```
pub struct Queue<T, const COUNTED: bool = false> {
    /// The next position to push, and [`CLOSED`].
    tail: Line<AtomicU64>,
    /// The next position to pop.
    head: Line<AtomicU64>,
    cells: Box<[Cell<T>]>,
    /// Where the positions began.
    start: u64,
    /// Says that the tail is marked, so that consumers need not look at the producers' line to know that it isn't.
    closed: AtomicBool,
    counters: Option<Box<Counters>>,
}

impl<T> Queue<T> {
    /// Makes a queue with room for `capacity` values, which must be a power of two from 2 on.
    ///
    /// # Errors
    ///
    /// [`CapacityError`] for any other capacity; it is not rounded.
    pub fn new(capacity: usize) -> Result<Self, CapacityError> {
        Self::build(capacity, 0)
    }

    /// A queue whose positions begin elsewhere, for tests of how they wrap.
    #[doc(hidden)]
    pub fn starting_at(capacity: usize, position: u64) -> Result<Self, CapacityError> {
        Self::build(capacity, position)
    }
}

impl<T> Queue<T, true> {
    /// Makes a queue that also counts failures, retries and its high-water mark, at about a nanosecond per call.
    ///
    /// # Errors
    ///
    /// As for [`Queue::new`].
    pub fn counting(capacity: usize) -> Result<Self, CapacityError> {
        Self::build(capacity, 0)
    }
}

impl<T, const COUNTED: bool> Queue<T, COUNTED> {
    pub(crate) fn build(capacity: usize, start: u64) -> Result<Self, CapacityError> {
        if capacity < 2 {
            return Err(CapacityError::TooSmall { capacity });
        }
        if !capacity.is_power_of_two() {
            return Err(CapacityError::NotAPowerOfTwo { capacity });
        }
        if capacity.checked_mul(size_of::<Cell<T>>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(CapacityError::TooLarge { capacity });
        }
        let (start, lap) = (start & !CLOSED, capacity as u64 * STEP);
        // Each cell is free for the first position from `start` on that lands in it.
        let cells = (0..capacity as u64)
            .map(|index| Cell::free_for(start.wrapping_add((index * STEP).wrapping_sub(start) & (lap - 1))));
        Ok(Self {
            tail: Line(AtomicU64::new(start)),
            head: Line(AtomicU64::new(start)),
            cells: cells.collect(),
            start,
            closed: AtomicBool::new(false),
            counters: COUNTED.then(Box::default),
        })
    }

    /// Pushes `value`, if there is room.
    ///
    /// A consumer that has claimed the oldest cell and is still reading it makes the queue full, too.
    ///
    /// # Errors
    ///
    /// Gives the value back where the queue is [`Full`](PushError::Full) or [`Closed`](PushError::Closed).
    #[inline]
    pub fn try_push(&self, value: T) -> Result<(), PushError<T>> {
        match self.claim_to_push(1) {
            Ok((position, _)) => {
                // SAFETY: this position was claimed just now, and its cell found free for it.
                unsafe { self.cell(position).fill(position, value) };
                Ok(())
            }
            Err(Refused::Full) => Err(PushError::Full(value)),
            Err(Refused::Closed) => Err(PushError::Closed(value)),
        }
    }

    /// Pops the oldest value.
    ///
    /// A producer that has claimed the oldest cell and is still writing it makes the queue empty, too, whatever
    /// others have pushed behind it.
    ///
    /// # Errors
    ///
    /// [`Empty`](PopError::Empty), or [`Closed`](PopError::Closed) once nothing can come any more.
    #[inline]
    pub fn try_pop(&self) -> Result<T, PopError> {
        let (position, _) = self.claim_to_pop(1)?;
        // SAFETY: this position was claimed just now, and its cell found full for it.
        Ok(unsafe { self.cell(position).take(position, self.lap()) })
    }

    /// Pushes as many of `values` as there is room for, taken from the front and kept together; returns how many.
    ///
    /// One claim for all of them, so that producers meet once per batch. What did not fit stays in `values`.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] or [`PushError::Closed`] where none were pushed. An empty batch is `Ok(0)`.
    pub fn push_batch(&self, values: &mut Vec<T>) -> Result<usize, PushError<()>> {
        if values.is_empty() {
            return Ok(0);
        }
        let (first, count) = self.claim_to_push(values.len()).map_err(|error| match error {
            Refused::Full => PushError::Full(()),
            Refused::Closed => PushError::Closed(()),
        })?;
        let mut position = first;
        // No code of the caller's runs before the last cell is filled: `Vec`'s drain only moves values.
        for value in values.drain(..count) {
            // SAFETY: `count` positions from `first` on were claimed just now, their cells found free.
            unsafe { self.cell(position).fill(position, value) };
            position = position.wrapping_add(STEP);
        }
        Ok(count)
    }

    /// Pops at most `max` values to the end of `values`; returns how many.
    ///
    /// One claim for all of them, so that consumers meet once per batch.
    ///
    /// # Errors
    ///
    /// As for [`try_pop`](Queue::try_pop), where there was none. A `max` of 0 is `Ok(0)`.
    pub fn pop_batch(&self, values: &mut Vec<T>, max: usize) -> Result<usize, PopError> {
        if max == 0 {
            return Ok(0);
        }
        let max = max.min(self.capacity());
        // Before the claim: what may panic must not leave claimed cells behind.
        values.reserve(max);
        let (first, count) = self.claim_to_pop(max)?;
        let mut position = first;
        for _ in 0..count {
            // SAFETY: `count` positions from `first` on were claimed just now, their cells found full.
            values.push(unsafe { self.cell(position).take(position, self.lap()) });
            position = position.wrapping_add(STEP);
        }
        Ok(count)
    }

    /// Lets no more values in. What is inside can still be popped; then pops say [`Closed`](PopError::Closed).
    ///
    /// A push either happens before this, and its value will be popped, or fails.
    pub fn close(&self) {
        // ORDERING: AcqRel: all that follows from the mark follows from this very word; see `nothing_can_come`.
        self.tail.0.fetch_or(CLOSED, Ordering::AcqRel);
        // ORDERING: Release; pairs with the acquire load in `nothing_can_come`, which then sees the mark.
        self.closed.store(true, Ordering::Release);
    }

    /// Whether [`close`](Queue::close) was called.
    pub fn is_closed(&self) -> bool {
        // ORDERING: Acquire; pairs with the release store in `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// How many values fit.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// How many values are inside at this moment, those included that are just being pushed or popped.
    pub fn len(&self) -> usize {
        self.stats().len() as usize
    }

    /// Whether nothing is inside at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room at this moment.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// What the queue has done so far. Pushes and pops follow from the positions, and cost nothing to count.
    pub fn stats(&self) -> Stats {
        // ORDERING: Acquire; pairs with nothing that matters: it keeps the tail's load behind the head's, so that the tail is
        // the later of the two and the difference is not negative.
        let head = self.head.0.load(Ordering::Acquire);
        // ORDERING: Relaxed: a momentary value.
        let tail = self.tail.0.load(Ordering::Relaxed);
        Stats {
            capacity: self.cells.len() as u64,
            pushes: (tail & !CLOSED).wrapping_sub(self.start) / STEP,
            pops: head.wrapping_sub(self.start) / STEP,
            counted: self.counters.as_ref().map(|counters| counters.read()),
        }
    }
}

impl<T, const COUNTED: bool> Drop for Queue<T, COUNTED> {
    fn drop(&mut self) {
        /// Drops what is left, also while a panic of a value's drop unwinds.
        struct Rest<'a, T, const COUNTED: bool>(&'a Queue<T, COUNTED>);
        impl<T, const COUNTED: bool> Drop for Rest<'_, T, COUNTED> {
            fn drop(&mut self) {
                while self.0.try_pop().is_ok() {}
            }
        }
        let rest = Rest(self);
        while rest.0.try_pop().is_ok() {}
    }
}

impl<T, const COUNTED: bool> fmt::Debug for Queue<T, COUNTED> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
