//! From one thread to another.

use std::sync::Arc;

use strait_spsc::{
    records,
    slots::{self, ChunkError, shared},
};
use strait_sync::Heap;
use zerocopy::IntoBytes;

use super::{
    Bench, Conditions, Kind, Shape, Value,
    ablations::{AsOurs, NoCachedIndex, NoStatistics, UnpaddedIndices},
    flow::{self, CAPACITY, InSequence, Item, Pop, Push},
    ping_pong,
};

/// A ring from one thread to another, with room for [`CAPACITY`] items.
pub trait Spsc: 'static {
    /// How it is called in the results.
    const NAME: &'static str;
    /// The pushing end.
    type Producer<T: Item>: Push<T>;
    /// The popping end.
    type Consumer<T: Item>: Pop<T>;

    /// Makes one.
    fn open<T: Item>() -> (Self::Producer<T>, Self::Consumer<T>);
}

const SINGLE: Shape = Shape { title: "one item at a time", suffix: "", threads: 2 };
const CHUNKS: Shape = Shape { title: "chunks of 64", suffix: "-chunks", threads: 2 };
const PING_PONG: Shape = Shape { title: "ping-pong", suffix: "", threads: 2 };

fn bench<T: Item>(
    (engine, kind): (&'static str, Kind),
    shape: Shape,
    run: impl Fn(&Conditions) -> Result<Value, super::Failed> + 'static,
) -> Bench {
    let run = Box::new(move |conditions: &Conditions| run(conditions).map(|value| vec![value]));
    Bench { scenario: "spsc", shape, engine, kind, payload_bytes: size_of::<T>(), run }
}

fn throughput<E: Spsc, T: Item>(kind: Kind, shape: Shape) -> Bench {
    bench::<T>((E::NAME, kind), shape, move |conditions| {
        let (producer, consumer) = E::open::<T>();
        let chunks = shape == CHUNKS;
        let value = flow::items_per_s::<T, InSequence>(vec![producer], vec![consumer], chunks, conditions)?;
        Ok(Value { metric: "items_per_s", value, unit: "1/s" })
    })
}

fn round_trips<E: Spsc, T: Item>(kind: Kind) -> Bench {
    bench::<T>((E::NAME, kind), PING_PONG, |conditions| {
        let ((ask, asked), (reply, answer)) = (E::open::<T>(), E::open::<T>());
        let value = ping_pong::rtt_p50((ask, answer), (reply, asked), conditions)?;
        Ok(Value { metric: "rtt_p50", value, unit: "ns" })
    })
}

/// All that is measured of an engine without chunks.
pub fn single<E: Spsc>(kind: Kind) -> Vec<Bench> {
    vec![
        throughput::<E, u64>(kind, SINGLE),
        throughput::<E, [u64; 8]>(kind, SINGLE),
        round_trips::<E, u64>(kind),
        round_trips::<E, [u64; 8]>(kind),
    ]
}

/// What is measured of an engine that has chunks, beside [`single`].
pub fn chunks<E: Spsc>(kind: Kind) -> Vec<Bench> {
    vec![throughput::<E, u64>(kind, CHUNKS), throughput::<E, [u64; 8]>(kind, CHUNKS)]
}

pub(super) fn own() -> Vec<Bench> {
    let ours =
        [single::<Slots>, single::<Shared>, single::<Records>, chunks::<Slots>, chunks::<Shared>, chunks::<Records>];
    let ablations = [
        throughput::<AsOurs, u64>,
        throughput::<UnpaddedIndices, u64>,
        throughput::<NoCachedIndex, u64>,
        throughput::<NoStatistics, u64>,
    ];
    let ours = ours.into_iter().flat_map(|benches| benches(Kind::Ours));
    ours.chain(ablations.into_iter().map(|bench| bench(Kind::Ablation, SINGLE))).collect()
}

/// Slots on the heap.
pub struct Slots;

impl Spsc for Slots {
    const NAME: &'static str = "strait-spsc-slots";
    type Producer<T: Item> = slots::Producer<T>;
    type Consumer<T: Item> = slots::Consumer<T>;

    fn open<T: Item>() -> (Self::Producer<T>, Self::Consumer<T>) {
        slots::channel(CAPACITY).expect("a power of two")
    }
}

impl<T: Item> Push<T> for slots::Producer<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> bool {
        slots::Producer::try_push(self, value).is_ok()
    }

    #[inline]
    fn push_chunk(&mut self, values: &[T]) -> usize {
        let room = match self.claim(values.len()) {
            Ok(chunk) => return chunk.copy_from_slice(values),
            Err(ChunkError::TooFew { available }) => available,
            Err(_) => 0,
        };
        self.claim(room).map_or(0, |chunk| chunk.copy_from_slice(values))
    }
}

impl<T: Item> Pop<T> for slots::Consumer<T> {
    #[inline]
    fn try_pop(&mut self) -> Option<T> {
        slots::Consumer::try_pop(self).ok()
    }

    #[inline]
    fn pop_chunk(&mut self, max: usize, see: &mut impl FnMut(&[T])) -> usize {
        let chunk = match self.read_chunk(max) {
            Err(ChunkError::TooFew { available: 1.. }) => {
                let there = self.len().min(max);
                self.read_chunk(there)
            }
            chunk => chunk,
        };
        chunk.map_or(0, |chunk| {
            let (first, second) = chunk.as_slices();
            see(first);
            see(second);
            let count = chunk.len();
            chunk.commit_all();
            count
        })
    }
}

/// Slots in two memories, as between processes.
pub struct Shared;

impl Spsc for Shared {
    const NAME: &'static str = "strait-spsc-shared";
    type Producer<T: Item> = shared::HeapProducer<T>;
    type Consumer<T: Item> = shared::HeapConsumer<T>;

    fn open<T: Item>() -> (Self::Producer<T>, Self::Consumer<T>) {
        shared::channel(CAPACITY).expect("a power of two")
    }
}

impl<T: Item> Push<T> for shared::Producer<T, Arc<Heap>, Arc<Heap>> {
    #[inline]
    fn try_push(&mut self, value: T) -> bool {
        shared::Producer::try_push(self, &value).is_ok()
    }

    #[inline]
    fn push_chunk(&mut self, values: &[T]) -> usize {
        self.push_slice(values).unwrap_or(0)
    }
}

impl<T: Item> Pop<T> for shared::Consumer<T, Arc<Heap>, Arc<Heap>> {
    #[inline]
    fn try_pop(&mut self) -> Option<T> {
        shared::Consumer::try_pop(self).ok()
    }

    #[inline]
    fn pop_chunk(&mut self, max: usize, see: &mut impl FnMut(&[T])) -> usize {
        let mut values = [T::of(0); flow::CHUNK];
        let max = max.min(values.len());
        let count = self.pop_slice(&mut values[..max]).unwrap_or(0);
        see(&values[..count]);
        count
    }
}

/// A ring of records, each with one item.
pub struct Records;

impl Spsc for Records {
    const NAME: &'static str = "strait-spsc-records";
    type Producer<T: Item> = records::HeapProducer;
    type Consumer<T: Item> = records::HeapConsumer;

    fn open<T: Item>() -> (Self::Producer<T>, Self::Consumer<T>) {
        // A record has a header of 16 bytes and is a multiple of them.
        let record_bytes = 16 + size_of::<T>().next_multiple_of(16);
        records::channel((CAPACITY * record_bytes).next_power_of_two() as u64).expect("a power of two")
    }
}

impl<T: Item> Push<T> for records::HeapProducer {
    #[inline]
    fn try_push(&mut self, value: T) -> bool {
        let Ok(mut grant) = self.try_claim(size_of::<T>()) else { return false };
        grant.as_mut_slice().copy_from_slice(value.as_bytes());
        grant.commit(size_of::<T>(), records::Meta::default());
        true
    }

    #[inline]
    fn push_chunk(&mut self, values: &[T]) -> usize {
        let mut count = 0;
        for value in values {
            let Ok(mut grant) = self.try_claim(size_of::<T>()) else { break };
            grant.as_mut_slice().copy_from_slice(value.as_bytes());
            grant.stage(size_of::<T>(), records::Meta::default());
            count += 1;
        }
        self.publish();
        count
    }
}

impl<T: Item> Pop<T> for records::HeapConsumer {
    #[inline]
    fn try_pop(&mut self) -> Option<T> {
        let record = self.next().ok()??;
        let mut value = [0u64; 8];
        record.copy_to(&mut value);
        Some(T::read_from_prefix(value.as_bytes()).expect("an item is at most 8 words").0)
    }
}
