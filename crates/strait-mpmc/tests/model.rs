//! Any sequence of operations against a queue that cannot be wrong, at positions that come round.
#![cfg(not(strait_loom))]

use std::{collections::VecDeque, sync::Arc};

use proptest::prelude::*;
use strait_mpmc::{
    PopError, PushError, Queue,
    shared::{self, Geometry, Identity, SharedQueue},
};
use strait_sync::Heap;

#[derive(Clone, Debug)]
enum Op {
    Push,
    Pop,
    PushBatch(usize),
    PopBatch(usize),
    Close,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => Just(Op::Push),
        8 => Just(Op::Pop),
        4 => (0..6usize).prop_map(Op::PushBatch),
        4 => (0..6usize).prop_map(Op::PopBatch),
        1 => Just(Op::Close),
    ];
    prop::collection::vec(op, 1..120)
}

/// A capacity, and a position from which on the operations may pass 2^64.
fn place() -> impl Strategy<Value = (usize, u64)> {
    (1..4u32)
        .prop_flat_map(|power| (Just(1 << power), prop_oneof![Just(0), (0..64u64).prop_map(|back| u64::MAX - back)]))
}

/// The queue that cannot be wrong.
struct Naive {
    values: VecDeque<u64>,
    capacity: usize,
    closed: bool,
    next: u64,
}

impl Naive {
    /// `count` new values, and how many of them fit; `None` where the queue is closed.
    fn push(&mut self, count: usize) -> (Vec<u64>, Option<usize>) {
        let values: Vec<u64> = (self.next..self.next + count as u64).collect();
        self.next += count as u64;
        let fit = (!self.closed).then(|| count.min(self.capacity - self.values.len()));
        self.values.extend(&values[..fit.unwrap_or(0)]);
        (values, fit)
    }

    fn pop(&mut self, max: usize) -> Vec<u64> {
        let count = max.min(self.values.len());
        self.values.drain(..count).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_in_one_process_is_a_queue((capacity, start) in place(), ops in ops()) {
        let queue = Queue::starting_at(capacity, start).unwrap();
        let mut naive = Naive { values: VecDeque::new(), capacity, closed: false, next: 0 };
        for op in ops {
            match op {
                Op::Push => {
                    let (values, fit) = naive.push(1);
                    let expected = match fit {
                        None => Err(PushError::Closed(values[0])),
                        Some(0) => Err(PushError::Full(values[0])),
                        Some(_) => Ok(()),
                    };
                    prop_assert_eq!(queue.try_push(values[0]), expected);
                }
                Op::PushBatch(count) => {
                    let (mut values, fit) = naive.push(count);
                    let left = values[fit.unwrap_or(0)..].to_vec();
                    let expected = match fit {
                        _ if count == 0 => Ok(0),
                        None => Err(PushError::Closed(())),
                        Some(0) => Err(PushError::Full(())),
                        Some(fit) => Ok(fit),
                    };
                    prop_assert_eq!(queue.push_batch(&mut values), expected);
                    prop_assert_eq!(values, left);
                }
                Op::Pop | Op::PopBatch(_) => {
                    let max = if let Op::PopBatch(max) = op { max } else { 1 };
                    let expected = naive.pop(max);
                    let mut values = Vec::new();
                    let result = if let Op::Pop = op {
                        queue.try_pop().map(|value| values.push(value)).map(|()| 1)
                    } else {
                        queue.pop_batch(&mut values, max)
                    };
                    let none = if naive.closed { PopError::Closed } else { PopError::Empty };
                    prop_assert_eq!(result, if expected.is_empty() && max > 0 { Err(none) } else { Ok(expected.len()) });
                    prop_assert_eq!(values, expected);
                }
                Op::Close => {
                    queue.close();
                    naive.closed = true;
                }
            }
            prop_assert_eq!(queue.len(), naive.values.len());
            prop_assert_eq!(queue.is_full(), naive.values.len() == capacity);
        }
    }

    #[test]
    fn the_shared_queue_is_a_queue((capacity, start) in place(), ops in ops()) {
        const SLOT: usize = 20;
        let geometry = Geometry::new(capacity as u64, SLOT as u64, 2).unwrap();
        let memory = Arc::new(Heap::zeroed(geometry.total_bytes() as usize));
        let queue = SharedQueue::create_at(memory, geometry, start).unwrap();
        let mut producer = queue.attach(Identity { pid: 1, start_time: 0 }).unwrap();
        let mut consumer = queue.attach(Identity { pid: 2, start_time: 0 }).unwrap();
        let mut naive = Naive { values: VecDeque::new(), capacity, closed: false, next: 0 };
        // Messages of 8 to 20 bytes: the value, and some of it again.
        let message = |value: u64| [value.to_le_bytes(), value.to_le_bytes(), value.to_le_bytes()].concat()[..8 + value as usize % 13].to_vec();
        for op in ops {
            match op {
                Op::Push | Op::PushBatch(_) => {
                    let count = if let Op::PushBatch(count) = op { count } else { 1 };
                    let (values, fit) = naive.push(count);
                    let messages: Vec<Vec<u8>> = values.into_iter().map(message).collect();
                    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
                    let expected = match fit {
                        _ if count == 0 => Ok(0),
                        None => Err(shared::PushError::Closed),
                        Some(0) => Err(shared::PushError::Full),
                        Some(fit) => Ok(fit),
                    };
                    prop_assert_eq!(producer.push_batch(&messages), expected);
                }
                Op::Pop | Op::PopBatch(_) => {
                    let max = if let Op::PopBatch(max) = op { max } else { 1 };
                    let expected = naive.pop(max);
                    let (mut buffer, mut lens) = (vec![0; max * SLOT], vec![0; max]);
                    let result = consumer.pop_batch(&mut buffer, &mut lens);
                    let none = if naive.closed { shared::PopError::Closed } else { shared::PopError::Empty };
                    prop_assert_eq!(result, if expected.is_empty() && max > 0 { Err(none) } else { Ok(expected.len()) });
                    for (index, &value) in expected.iter().enumerate() {
                        prop_assert_eq!(&buffer[index * SLOT..][..lens[index]], message(value));
                    }
                }
                Op::Close => {
                    queue.close();
                    naive.closed = true;
                }
            }
            prop_assert_eq!(queue.len(), naive.values.len() as u64);
        }
        prop_assert_eq!(producer.stats().pushes - consumer.stats().pops, queue.len());
    }
}
