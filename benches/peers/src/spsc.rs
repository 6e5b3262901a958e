//! Rings from one thread to another.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use ringbuf::{
    HeapCons, HeapProd, HeapRb,
    traits::{Consumer as _, Producer as _, Split},
};
use strait_benches::primitives::{
    Bench, Kind,
    flow::{CAPACITY, Item, Pop, Push},
    spsc::{Spsc, chunks, single},
};

pub fn peers() -> Vec<Bench> {
    let engines = [single::<Rtrb>, single::<Ringbuf>, single::<Crossbeam>, chunks::<Rtrb>, chunks::<Ringbuf>];
    engines.into_iter().flat_map(|benches| benches(Kind::Peer)).collect()
}

struct Rtrb;

struct RtrbProducer<T>(rtrb::Producer<T>);

struct RtrbConsumer<T>(rtrb::Consumer<T>);

impl Spsc for Rtrb {
    const NAME: &'static str = "rtrb";
    type Producer<T: Item> = RtrbProducer<T>;
    type Consumer<T: Item> = RtrbConsumer<T>;

    fn open<T: Item>() -> (RtrbProducer<T>, RtrbConsumer<T>) {
        let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
        (RtrbProducer(producer), RtrbConsumer(consumer))
    }
}

impl<T: Item> Push<T> for RtrbProducer<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> bool {
        self.0.push(value).is_ok()
    }

    #[inline]
    fn push_chunk(&mut self, values: &[T]) -> usize {
        self.0.push_partial_slice(values).0.len()
    }
}

impl<T: Item> Pop<T> for RtrbConsumer<T> {
    #[inline]
    fn try_pop(&mut self) -> Option<T> {
        self.0.pop().ok()
    }

    #[inline]
    fn pop_chunk(&mut self, max: usize, see: &mut impl FnMut(&[T])) -> usize {
        let chunk = match self.0.read_chunk(max) {
            Err(rtrb::chunks::ChunkError::TooFewSlots(there @ 1..)) => self.0.read_chunk(there),
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

struct Ringbuf;

struct RingbufProducer<T>(HeapProd<T>);

struct RingbufConsumer<T>(HeapCons<T>);

impl Spsc for Ringbuf {
    const NAME: &'static str = "ringbuf";
    type Producer<T: Item> = RingbufProducer<T>;
    type Consumer<T: Item> = RingbufConsumer<T>;

    fn open<T: Item>() -> (RingbufProducer<T>, RingbufConsumer<T>) {
        let (producer, consumer) = HeapRb::new(CAPACITY).split();
        (RingbufProducer(producer), RingbufConsumer(consumer))
    }
}

impl<T: Item> Push<T> for RingbufProducer<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> bool {
        self.0.try_push(value).is_ok()
    }

    #[inline]
    fn push_chunk(&mut self, values: &[T]) -> usize {
        self.0.push_slice(values)
    }
}

impl<T: Item> Pop<T> for RingbufConsumer<T> {
    #[inline]
    fn try_pop(&mut self) -> Option<T> {
        self.0.try_pop()
    }

    #[inline]
    fn pop_chunk(&mut self, max: usize, see: &mut impl FnMut(&[T])) -> usize {
        let (first, second) = self.0.as_slices();
        let first = &first[..first.len().min(max)];
        let second = &second[..second.len().min(max - first.len())];
        see(first);
        see(second);
        let count = first.len() + second.len();
        self.0.skip(count)
    }
}

struct Crossbeam;

struct CrossbeamEnd<T>(Arc<ArrayQueue<T>>);

impl Spsc for Crossbeam {
    const NAME: &'static str = "crossbeam-queue";
    type Producer<T: Item> = CrossbeamEnd<T>;
    type Consumer<T: Item> = CrossbeamEnd<T>;

    fn open<T: Item>() -> (CrossbeamEnd<T>, CrossbeamEnd<T>) {
        let queue = Arc::new(ArrayQueue::new(CAPACITY));
        (CrossbeamEnd(queue.clone()), CrossbeamEnd(queue))
    }
}

impl<T: Item> Push<T> for CrossbeamEnd<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> bool {
        self.0.push(value).is_ok()
    }
}

impl<T: Item> Pop<T> for CrossbeamEnd<T> {
    #[inline]
    fn try_pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}
