//! The ring against a queue that cannot be wrong: any sequence of operations, many laps, positions that wrap.
#![cfg(not(strait_loom))]

mod common;

use std::collections::VecDeque;

use common::{check_bytes, check_copy, fill, meta, trust};
use proptest::prelude::*;
use strait_spsc::{
    ClaimError,
    records::{HeapConsumer, HeapGuard, HeapProducer, channel_at},
};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Claim and drop, having scribbled over all of it.
    Drop(usize),
    Send {
        max: usize,
        len: usize,
    },
    Stage {
        max: usize,
        len: usize,
    },
    Publish,
    Copy,
    Borrow,
    Forget,
    Hold,
    Clone(usize),
    DropGuard(usize),
}

fn ops(max: usize) -> impl Strategy<Value = Vec<Op>> {
    let claim = move || (0..=max).prop_flat_map(|max| (Just(max), 0..=max));
    let op = prop_oneof![
        1 => (0..=max).prop_map(Op::Drop),
        4 => claim().prop_map(|(max, len)| Op::Send { max, len }),
        4 => claim().prop_map(|(max, len)| Op::Stage { max, len }),
        2 => Just(Op::Publish),
        4 => Just(Op::Copy),
        2 => Just(Op::Borrow),
        1 => Just(Op::Forget),
        3 => Just(Op::Hold),
        1 => any::<usize>().prop_map(Op::Clone),
        3 => any::<usize>().prop_map(Op::DropGuard),
    ];
    proptest::collection::vec(op, 1..400)
}

struct Model {
    producer: HeapProducer,
    consumer: HeapConsumer,
    /// Number and length of what is published and not received, and of what is staged.
    published: VecDeque<(u64, usize)>,
    staged: Vec<(u64, usize)>,
    held: Vec<(u64, HeapGuard)>,
    sent: u64,
    words: Vec<u64>,
}

impl Model {
    fn send(&mut self, max: usize, len: Option<usize>, publish: bool) {
        let room = self.producer.has_room(max).unwrap();
        let number = self.sent;
        match self.producer.try_claim(max) {
            Ok(mut grant) => {
                assert!(room);
                assert_eq!(grant.as_mut_slice().len(), max);
                assert_eq!(grant.as_mut_slice().as_ptr() as usize % 16, 0);
                fill(number, grant.as_mut_slice());
                let Some(len) = len else { return };
                self.sent += 1;
                self.staged.push((number, len));
                match publish {
                    true => grant.commit(len, meta(number)),
                    false => grant.stage(len, meta(number)),
                }
                if publish {
                    self.published.extend(self.staged.drain(..));
                }
            }
            Err(ClaimError::Full) => {
                assert!(!room);
                assert!(!self.producer.has_staged(), "a full ring publishes");
                self.published.extend(self.staged.drain(..));
                assert!(!self.published.is_empty() || !self.held.is_empty(), "an empty ring has room for any message");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn receive(&mut self, op: Op) {
        assert_eq!(self.consumer.is_ready(), !self.published.is_empty());
        let Some(record) = self.consumer.next().unwrap() else {
            assert!(self.published.is_empty());
            return;
        };
        let (number, len) = self.published.pop_front().expect("nothing that was not published");
        assert_eq!((record.len(), record.meta()), (len, meta(number)));
        match op {
            Op::Borrow => check_bytes(number, record.as_slice(trust())),
            Op::Forget => {
                std::mem::forget(record);
                self.published.push_front((number, len));
            }
            Op::Hold => match record.into_guard(trust()) {
                Ok(guard) => self.held.push((number, guard)),
                Err((record, error)) => {
                    assert!(error.need_bytes > error.limit_bytes && !self.held.is_empty());
                    check_copy(number, &record, &mut self.words);
                }
            },
            _ => check_copy(number, &record, &mut self.words),
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Drop(max) => self.send(max, None, false),
            Op::Send { max, len } => self.send(max, Some(len), true),
            Op::Stage { max, len } => self.send(max, Some(len), false),
            Op::Publish => {
                assert_eq!(self.producer.publish(), !self.staged.is_empty());
                self.published.extend(self.staged.drain(..));
            }
            Op::Copy | Op::Borrow | Op::Forget | Op::Hold => self.receive(op),
            Op::Clone(index) if !self.held.is_empty() => {
                let (number, guard) = &self.held[index % self.held.len()];
                self.held.push((*number, guard.clone()));
            }
            Op::DropGuard(index) if !self.held.is_empty() => {
                let index = index % self.held.len();
                self.held.swap_remove(index);
            }
            Op::Clone(_) | Op::DropGuard(_) => {}
        }
        for (number, guard) in &self.held {
            assert_eq!(guard.meta(), meta(*number));
            check_bytes(*number, guard);
        }
        let occupied = self.producer.occupied_bytes().unwrap();
        assert!(occupied < self.producer.capacity_bytes());
        assert!(self.consumer.held_bytes() <= occupied);
        assert!(!self.held.is_empty() || self.consumer.held_bytes() == 0);
        assert!(!self.published.is_empty() || self.producer.position() == self.consumer.position());
    }

    fn finish(mut self) {
        self.producer.close();
        self.published.extend(self.staged.drain(..));
        while !self.published.is_empty() {
            assert!(!self.consumer.at_end().unwrap());
            self.receive(Op::Copy);
        }
        assert!(self.consumer.at_end().unwrap());
        self.held.clear();
        assert_eq!(self.producer.occupied_bytes().unwrap(), 0, "all is released");
    }
}

fn run(capacity: u64, align: u64, position: u64, ops: &[Op]) {
    let (mut producer, consumer) = channel_at(capacity, align, position).unwrap();
    producer.set_rewind(true);
    let words = vec![0; producer.max_message_bytes().div_ceil(8)];
    let (published, staged, held) = Default::default();
    let mut model = Model { producer, consumer, published, staged, held, sent: 0, words };
    for &op in ops {
        model.step(op);
    }
    model.finish();
}

/// At the beginning, and so close to the end that the positions soon wrap.
fn positions() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), (0u64..64).prop_map(|steps| 0u64.wrapping_sub(64 * steps))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 100 } else { 2000 }))]

    #[test]
    fn does_as_a_queue_does_aligned_to_16(position in positions(), ops in ops(48)) {
        run(256, 16, position, &ops);
    }

    #[test]
    fn does_as_a_queue_does_aligned_to_64(position in positions(), ops in ops(112)) {
        run(512, 64, position, &ops);
    }

    #[test]
    fn does_as_a_queue_does_in_the_smallest_ring(position in positions(), ops in ops(16)) {
        run(128, 16, position, &ops);
    }

    // Long enough for the string copy.
    #[test]
    fn does_as_a_queue_does_with_long_messages(position in positions(), ops in ops(4080)) {
        run(16 << 10, 16, position, &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 8 } else { 200 }))]

    // Long enough to rewind.
    #[test]
    fn does_as_a_queue_does_where_it_rewinds(position in positions(), ops in ops(40_000)) {
        run(1 << 20, 16, position, &ops);
    }
}
