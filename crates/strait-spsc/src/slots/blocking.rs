//! Ends that sleep until there is room, or a value.
//!
//! They are ends like the others, over a storage that also has a line of parking words for each side. Whatever an end shows
//! the other one, [`Storage::wake`] follows, and wakes it if it sleeps: a full fence and a load for each publication and each
//! release, which the ends of [`channel`](super::channel) do without.

#![allow(unsafe_code)]

use core::{fmt, time::Duration};
use std::time::Instant;

use strait_sync::{Heap, Parker, Spin, Unparker, primitive::Arc};

use super::{
    consumer::Consumer,
    error::{CapacityError, PopError, PushError},
    heap::OnHeap,
    producer::Producer,
    ring::{End, Ring},
    storage::{Slots, Storage},
};

/// How long an end looks before it sleeps: about what a sleep and its wake-up cost.
const SPIN: Duration = Duration::from_micros(50);

/// One side's line of parking words: whether it sleeps, and how often it has woken the other.
#[derive(Clone, Copy)]
struct Side {
    ticket: usize,
    wakes: usize,
}

const PRODUCER: Side = Side { ticket: 0, wakes: 8 };
const CONSUMER: Side = Side { ticket: 128, wakes: 136 };
const PARKING_BYTES: usize = 256;

/// Says that an end's ring lies on the heap and that the ends wake each other. See [`blocking_channel`].
pub struct Parking<T> {
    heap: OnHeap<T>,
    words: Arc<Heap>,
    own: Side,
    other: Side,
    parker: Parker,
    unparker: Unparker,
}

/// The pushing end of a ring whose ends can sleep.
pub type BlockingProducer<T> = Producer<T, Parking<T>>;
/// The popping end of a ring whose ends can sleep.
pub type BlockingConsumer<T> = Consumer<T, Parking<T>>;

// SAFETY: as `OnHeap`, of which it has one.
unsafe impl<T> Storage<T> for Parking<T> {
    #[inline]
    fn ring(&self) -> &Ring {
        self.heap.ring()
    }

    #[inline]
    fn slots(&self) -> Slots<T> {
        self.heap.slots()
    }

    #[inline]
    fn wake(&mut self) {
        self.unparker.unpark(&self.words, self.own.wakes, &self.words, self.other.ticket);
    }
}

impl<T> Parking<T> {
    fn new(heap: OnHeap<T>, words: Arc<Heap>, own: Side, other: Side) -> Self {
        Self { heap, words, own, other, parker: Parker::default(), unparker: Unparker::default() }
    }

    /// Waits until `ready` returns true or the deadline passes.
    fn wait(&mut self, deadline: Option<Instant>, ready: impl Fn(&Ring) -> bool) {
        let ring = self.heap.ring();
        if !Spin::new(SPIN).until(|| ready(ring)) {
            let (words, ticket, wakes) = (&self.words, self.own.ticket, self.other.wakes);
            // How it ended does not matter: the caller looks for itself.
            let _ = self.parker.park(words, ticket, words, wakes, deadline, || ready(ring));
        }
    }
}

impl<T> fmt::Debug for Parking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").field("heap", &self.heap).finish_non_exhaustive()
    }
}

/// A ring of `capacity` slots on the heap whose ends can also sleep: [`push`](Producer::push) and [`pop`](Consumer::pop).
///
/// # Errors
///
/// [`CapacityError`] where the capacity is not a power of two.
///
/// # Panics
///
/// As [`channel`](super::channel).
///
/// ```
/// use std::{thread, time::{Duration, Instant}};
/// use strait_spsc::slots::{PopError, blocking_channel};
///
/// let (mut producer, mut consumer) = blocking_channel(2)?;
/// let pushing = thread::spawn(move || {
///     for number in 0..100 {
///         producer.push(number, None).expect("the consumer stays");
///     }
/// });
/// let deadline = Some(Instant::now() + Duration::from_secs(30));
/// for number in 0..100 {
///     assert_eq!(consumer.pop(deadline), Ok(number));
/// }
/// assert_eq!(consumer.pop(deadline), Err(PopError::Abandoned));
/// pushing.join().unwrap();
/// # Ok::<(), strait_spsc::slots::CapacityError>(())
/// ```
pub fn blocking_channel<T>(capacity: usize) -> Result<(BlockingProducer<T>, BlockingConsumer<T>), CapacityError> {
    let (one, other) = OnHeap::pair(capacity, 0)?;
    let words = Arc::new(Heap::zeroed(PARKING_BYTES));
    // SAFETY: a new ring; this is its one producer.
    let producer = unsafe { Producer::new(Parking::new(one, words.clone(), PRODUCER, CONSUMER)) };
    // SAFETY: as above; its one consumer.
    Ok((producer, unsafe { Consumer::new(Parking::new(other, words, CONSUMER, PRODUCER)) }))
}

impl<T> Producer<T, Parking<T>> {
    /// Pushes a value. Waits for a free slot until `deadline`, or without end where there is none.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] where the deadline has passed, [`PushError::Abandoned`] where the consumer is gone.
    pub fn push(&mut self, value: T, deadline: Option<Instant>) -> Result<(), PushError<T>> {
        if self.free(1) == 0 {
            let full = self.head;
            self.storage.wait(deadline, |ring| ring.head() != full || ring.is_gone(End::Consumer));
        }
        self.try_push(value)
    }
}

impl<T> Consumer<T, Parking<T>> {
    /// Pops the oldest value. Waits for one until `deadline`, or without end where there is none.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] where the deadline has passed, [`PopError::Abandoned`] where the producer is gone and every value was
    /// popped.
    pub fn pop(&mut self, deadline: Option<Instant>) -> Result<T, PopError> {
        if self.ready(1) == 0 {
            self.release_leaked();
            let empty = self.head;
            self.storage.wait(deadline, |ring| ring.tail() != empty || ring.is_gone(End::Producer));
        }
        self.try_pop()
    }
}
