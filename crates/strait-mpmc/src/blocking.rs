//! The queue to sleep on.

use std::{fmt, time::Instant, vec::Vec};

use strait_sync::Heap;

use crate::{
    error::{CapacityError, PopError, PushError},
    event,
    queue::Queue,
};

/// Consumers sleep here.
const ITEMS: usize = 0;
/// Producers sleep here.
const SPACE: usize = 128;

/// A [`Queue`] whose producers can sleep until there is room and whose consumers can sleep until there is something.
///
/// Its own type, because that costs each successful call a fence (some nanoseconds, see the README), which a queue that nobody
/// sleeps on need not pay.
///
/// ```
/// use std::{thread, time::{Duration, Instant}};
/// use strait_mpmc::{Blocking, PopError};
///
/// let queue = Blocking::new(2)?;
/// thread::scope(|scope| {
///     let worker = scope.spawn(|| {
///         let mut sum = 0;
///         while let Ok(job) = queue.pop(None) {
///             sum += job;
///         }
///         sum
///     });
///     for job in 1..=4 {
///         queue.push(job, Some(Instant::now() + Duration::from_secs(5))).unwrap();
///     }
///     queue.close(); // the worker takes what is left, and ends
///     assert_eq!(worker.join().unwrap(), 10);
/// });
/// # Ok::<(), strait_mpmc::CapacityError>(())
/// ```
pub struct Blocking<T, const COUNTED: bool = false> {
    queue: Queue<T, COUNTED>,
    events: Heap,
}

impl<T> Blocking<T> {
    /// Makes a queue with room for `capacity` values, which must be a power of two from 2 on.
    ///
    /// # Errors
    ///
    /// [`CapacityError`] for any other capacity; it is not rounded.
    pub fn new(capacity: usize) -> Result<Self, CapacityError> {
        Queue::new(capacity).map(Self::over)
    }
}

impl<T, const COUNTED: bool> Blocking<T, COUNTED> {
    /// Makes `queue` one to sleep on, such as one from [`Queue::counting`].
    pub fn over(queue: Queue<T, COUNTED>) -> Self {
        Self { queue, events: Heap::zeroed(256) }
    }

    /// Pushes `value`, if there is room now.
    ///
    /// # Errors
    ///
    /// As for [`Queue::try_push`].
    pub fn try_push(&self, value: T) -> Result<(), PushError<T>> {
        self.queue.try_push(value)?;
        event::notify(&self.events, ITEMS);
        Ok(())
    }

    /// Pushes `value`; waits until `deadline` for room (`None`: without end).
    ///
    /// # Errors
    ///
    /// Gives the value back where the queue was [`Full`](PushError::Full) until the deadline, or is
    /// [`Closed`](PushError::Closed).
    pub fn push(&self, value: T, deadline: Option<Instant>) -> Result<(), PushError<T>> {
        let mut waiting = Some(value);
        let done = event::until(&self.events, SPACE, deadline, None, || match self.try_push(waiting.take()?) {
            Err(PushError::Full(value)) => {
                waiting = Some(value);
                None
            }
            done => Some(done),
        });
        match (done, waiting) {
            (Some(done), _) => done,
            (None, Some(value)) => Err(PushError::Full(value)),
            (None, None) => unreachable!("an attempt that ends nothing gives the value back"),
        }
    }

    /// Pushes as many of `values` as there is room for now; see [`Queue::push_batch`].
    ///
    /// # Errors
    ///
    /// As for [`Queue::push_batch`].
    pub fn push_batch(&self, values: &mut Vec<T>) -> Result<usize, PushError<()>> {
        let count = self.queue.push_batch(values)?;
        event::notify(&self.events, ITEMS);
        Ok(count)
    }

    /// Pops the oldest value, if there is one now.
    ///
    /// # Errors
    ///
    /// As for [`Queue::try_pop`].
    pub fn try_pop(&self) -> Result<T, PopError> {
        let value = self.queue.try_pop()?;
        event::notify(&self.events, SPACE);
        Ok(value)
    }

    /// Pops the oldest value; waits until `deadline` for one (`None`: without end).
    ///
    /// # Errors
    ///
    /// [`Empty`](PopError::Empty) where there was none until the deadline, [`Closed`](PopError::Closed) once none can come.
    pub fn pop(&self, deadline: Option<Instant>) -> Result<T, PopError> {
        self.wait_for_items(deadline, || self.try_pop())
    }

    /// Pops at most `max` values to the end of `values`; waits until `deadline` for the first.
    ///
    /// # Errors
    ///
    /// As for [`pop`](Blocking::pop).
    pub fn pop_batch(&self, values: &mut Vec<T>, max: usize, deadline: Option<Instant>) -> Result<usize, PopError> {
        self.wait_for_items(deadline, || {
            let count = self.queue.pop_batch(values, max)?;
            event::notify(&self.events, SPACE);
            Ok(count)
        })
    }

    /// Closes the queue, as [`Queue::close`] does, and wakes all who sleep.
    pub fn close(&self) {
        self.queue.close();
        event::notify(&self.events, ITEMS);
        event::notify(&self.events, SPACE);
    }

    /// The queue itself, for its statistics and its length. What is pushed or popped through it wakes nobody.
    pub fn queue(&self) -> &Queue<T, COUNTED> {
        &self.queue
    }

    fn wait_for_items<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Result<R, PopError>,
    ) -> Result<R, PopError> {
        let done = event::until(&self.events, ITEMS, deadline, None, || match attempt() {
            Err(PopError::Empty) => None,
            done => Some(done),
        });
        done.unwrap_or(Err(PopError::Empty))
    }
}

impl<T, const COUNTED: bool> fmt::Debug for Blocking<T, COUNTED> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blocking").field(&self.queue).finish()
    }
}
