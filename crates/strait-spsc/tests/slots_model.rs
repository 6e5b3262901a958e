//! Any sequence of operations on slots against a queue that cannot be wrong, at positions that wrap.
#![cfg(not(strait_loom))]

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use proptest::prelude::*;
use strait_spsc::slots::{ChunkError, Consumer, Inline, PopError, Producer, PushError, channel_at, shared};

/// A value that counts how many of its kind live.
#[derive(Debug)]
struct Live {
    number: u64,
    live: Rc<Cell<usize>>,
}

impl Live {
    fn new(number: u64, live: &Rc<Cell<usize>>) -> Self {
        live.set(live.get() + 1);
        Self { number, live: live.clone() }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Push,
    Pop,
    Peek,
    /// Claim that many, fill that many.
    Claim(usize, usize),
    /// Read that many in place, release that many.
    Read(usize, usize),
    /// Read that many, take that many out.
    Take(usize, usize),
    /// The same, and leak the iterator.
    Leak(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let counts = || (0usize..10, 0usize..10);
    prop_oneof![
        4 => Just(Op::Push),
        3 => Just(Op::Pop),
        1 => Just(Op::Peek),
        3 => counts().prop_map(|(claim, fill)| Op::Claim(claim, fill)),
        2 => counts().prop_map(|(read, release)| Op::Read(read, release)),
        2 => counts().prop_map(|(read, take)| Op::Take(read, take)),
        1 => counts().prop_map(|(read, take)| Op::Leak(read, take)),
    ]
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), (0u64..40).prop_map(|before| u64::MAX - before), any::<u64>()]
}

/// The ring, and what is in it. `hidden` slots are empty, but a leaked iterator has not shown that yet: the next call does, refused
/// or not.
struct Model<'a, S: strait_spsc::slots::Storage<Live>> {
    producer: &'a mut Producer<Live, S>,
    consumer: &'a mut Consumer<Live, S>,
    queue: VecDeque<u64>,
    hidden: usize,
    next: u64,
    live: Rc<Cell<usize>>,
}

impl<S: strait_spsc::slots::Storage<Live>> Model<'_, S> {
    fn free(&self) -> usize {
        self.producer.capacity() - self.queue.len() - self.hidden
    }

    fn fresh(&mut self) -> Live {
        self.next += 1;
        Live::new(self.next, &self.live)
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Push => {
                let (free, value) = (self.free(), self.fresh());
                let number = value.number;
                match self.producer.try_push(value) {
                    Ok(()) => self.queue.push_back(number),
                    Err(PushError::Full(back)) => assert_eq!((free, back.number), (0, number)),
                    Err(PushError::Abandoned(_)) => panic!("the consumer lives"),
                }
            }
            Op::Pop => {
                let popped = self.consumer.try_pop().map(|value| value.number);
                assert_eq!(popped, self.queue.pop_front().ok_or(PopError::Empty));
                self.hidden = 0;
            }
            Op::Peek => assert_eq!(self.consumer.peek().map(|value| value.number), self.queue.front().copied()),
            Op::Claim(claim, fill) => {
                let (free, first) = (self.free(), self.next + 1);
                match self.producer.claim(claim) {
                    Ok(chunk) => {
                        assert_eq!(chunk.len(), claim);
                        let live = self.live.clone();
                        let filled = chunk.fill_from_iter((first..).take(fill).map(|number| Live::new(number, &live)));
                        assert_eq!(filled, claim.min(fill));
                        self.queue.extend(first..first + filled as u64);
                        self.next += filled as u64;
                    }
                    Err(error) => {
                        assert!(free < claim);
                        assert_eq!(error, ChunkError::TooFew { available: free });
                    }
                }
            }
            Op::Read(read, count) | Op::Take(read, count) | Op::Leak(read, count) => self.read(op, read, count),
        }
    }

    fn read(&mut self, op: Op, read: usize, count: usize) {
        let chunk = match self.consumer.read_chunk(read) {
            Ok(chunk) => chunk,
            Err(error) => {
                assert!(self.queue.len() < read);
                self.hidden = 0;
                return assert_eq!(error, ChunkError::TooFew { available: self.queue.len() });
            }
        };
        let (first, second) = chunk.as_slices();
        let seen: Vec<u64> = first.iter().chain(second).map(|value| value.number).collect();
        assert_eq!(seen, self.queue.iter().take(read).copied().collect::<Vec<_>>());
        let count = count.min(read);
        let gone: Vec<u64> = self.queue.drain(..count).collect();
        match op {
            Op::Read(..) => chunk.commit(count),
            Op::Take(..) => {
                let taken: Vec<u64> = chunk.into_iter().take(count).map(|value| value.number).collect();
                assert_eq!(taken, gone);
            }
            _ => {
                let mut taken = chunk.into_iter();
                for number in gone {
                    assert_eq!(taken.next().map(|value| value.number), Some(number));
                }
                std::mem::forget(taken);
                self.hidden += count;
                return;
            }
        }
        self.hidden = 0;
    }

    fn check(&self) {
        assert_eq!(self.live.get(), self.queue.len(), "each value is dropped once, when it leaves");
        assert_eq!(self.consumer.len(), self.queue.len());
        assert_eq!(self.producer.len(), self.queue.len() + self.hidden);
        assert_eq!(self.consumer.is_empty(), self.queue.is_empty());
        assert_eq!(self.producer.is_full(), self.free() == 0);
        assert!(self.producer.stats().high_water <= self.producer.capacity() as u64);
    }
}

/// Runs the operations, and drops both ends with what is left in the ring.
fn run<S: strait_spsc::slots::Storage<Live>>(
    (mut producer, mut consumer): (Producer<Live, S>, Consumer<Live, S>),
    live: &Rc<Cell<usize>>,
    ops: &[Op],
) -> usize {
    let (queue, live) = (VecDeque::new(), live.clone());
    let mut model = Model { producer: &mut producer, consumer: &mut consumer, queue, hidden: 0, next: 0, live };
    for &op in ops {
        model.step(op);
        model.check();
    }
    model.queue.len()
}

/// Values of a shared ring: longer than one copy, and not a multiple of a word.
type Plain = [u8; 300];

fn plain(number: u64) -> Plain {
    std::array::from_fn(|index| (number.wrapping_mul(31) as u8).wrapping_add(index as u8))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 5_000 }))]

    #[test]
    fn slots_are_a_queue(shift in 0u32..4, start in start(), ops in proptest::collection::vec(op(), 0..200)) {
        let live = Rc::new(Cell::new(0));
        run(channel_at(1 << shift, start).unwrap(), &live, &ops);
        prop_assert_eq!(live.get(), 0, "what was left is dropped with the ring");
    }

    #[test]
    fn inline_slots_are_a_queue(ops in proptest::collection::vec(op(), 0..200)) {
        let live = Rc::new(Cell::new(0));
        let mut ring = Inline::<Live, 8>::new();
        let left = run(ring.split(), &live, &ops);
        prop_assert_eq!(live.get(), left, "what was left is still there");
        let (_, mut consumer) = ring.split();
        for _ in 0..left {
            prop_assert!(consumer.try_pop().is_ok());
        }
        prop_assert!(consumer.is_empty());
        prop_assert_eq!(live.get(), 0);
    }

    #[test]
    fn shared_slots_are_a_queue(
        shift in 0u32..4,
        start in start(),
        ops in proptest::collection::vec((any::<bool>(), 0usize..10), 0..100),
    ) {
        let (mut producer, mut consumer) = shared::channel_at::<Plain>(1 << shift, start).unwrap();
        let (mut queue, mut next) = (VecDeque::new(), 0);
        for (push, count) in ops {
            if push {
                let values: Vec<Plain> = (next..).take(count).map(plain).collect();
                let room = producer.capacity() - queue.len();
                match producer.push_slice(&values) {
                    Ok(pushed) => {
                        prop_assert_eq!(pushed, count.min(room));
                        queue.extend(next..next + pushed as u64);
                        next += pushed as u64;
                    }
                    Err(error) => prop_assert_eq!((error, room), (shared::PushError::Full, 0)),
                }
            } else {
                let mut values = vec![[0; 300]; count];
                prop_assert_eq!(consumer.is_ready(), !queue.is_empty());
                match consumer.pop_slice(&mut values) {
                    Ok(popped) => {
                        prop_assert_eq!(popped, count.min(queue.len()));
                        for (number, value) in queue.drain(..popped).zip(&values) {
                            prop_assert_eq!(&plain(number), value);
                        }
                    }
                    Err(error) => prop_assert_eq!((error, queue.len()), (shared::PopError::Empty, 0)),
                }
            }
            prop_assert_eq!(producer.len().unwrap(), queue.len());
        }
    }
}
