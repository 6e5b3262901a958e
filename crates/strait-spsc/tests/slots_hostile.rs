//! A peer of a shared ring of slots that writes what it likes: every answer is a value, nothing, or a typed error.
#![cfg(not(strait_loom))]

use std::sync::Arc;

use proptest::prelude::*;
use strait_spsc::{
    Corrupt, GeometryError, Violation,
    slots::shared::{Consumer, Geometry, HeapConsumer, HeapProducer, PopError, Producer, PushError, control},
};
use strait_sync::{Heap, WordsMut, primitive::Ordering};

type Value = [u32; 3];

/// Both memories of a ring of 4 slots: the test plays one of the two peers.
struct Bare {
    ring: Geometry<Value>,
    producers: Arc<Heap>,
    consumers: Arc<Heap>,
}

impl Bare {
    fn new() -> Self {
        let ring = Geometry::new(0, control::BYTES, 4).unwrap();
        let (producers, consumers) = (Arc::new(Heap::zeroed(ring.end())), Arc::new(Heap::zeroed(control::BYTES)));
        Self { ring, producers, consumers }
    }

    fn producer(&self, position: u64) -> HeapProducer<Value> {
        self.consumers.store(control::HEAD, position, Ordering::Relaxed);
        Producer::starting_at(self.producers.clone(), self.ring, self.consumers.clone(), 0, position).unwrap()
    }

    fn consumer(&self, position: u64) -> HeapConsumer<Value> {
        self.producers.store(control::TAIL, position, Ordering::Relaxed);
        Consumer::starting_at(self.consumers.clone(), 0, self.producers.clone(), self.ring, position).unwrap()
    }

    fn poke_tail(&self, tail: u64) {
        self.producers.store(control::TAIL, tail, Ordering::Release);
    }

    fn poke_head(&self, head: u64) {
        self.consumers.store(control::HEAD, head, Ordering::Release);
    }
}

const STARTS: [u64; 3] = [0, 7, u64::MAX - 1];

#[test]
fn tails_that_cannot_be() {
    for start in STARTS {
        for (ahead, what) in [
            (5, Violation::TailTooFarAhead),
            (1 << 40, Violation::TailTooFarAhead),
            (u64::MAX, Violation::TailWentBack),
        ] {
            let bare = Bare::new();
            let mut consumer = bare.consumer(start);
            bare.poke_tail(start.wrapping_add(ahead));
            let limit = if what == Violation::TailWentBack { start } else { start.wrapping_add(4) };
            let error = Corrupt { what, position: start, found: start.wrapping_add(ahead), limit };
            assert!(consumer.is_ready());
            assert_eq!(consumer.try_pop(), Err(PopError::Corrupt(error)));
            bare.poke_tail(start.wrapping_add(1));
            assert_eq!(consumer.try_pop(), Err(PopError::Corrupt(error)), "poisoned");
            assert_eq!(consumer.pop_slice(&mut []), Err(PopError::Corrupt(error)), "poisoned");
            assert!(consumer.is_ready(), "it has that to say");
        }
    }
}

#[test]
fn a_tail_that_goes_back() {
    let bare = Bare::new();
    let mut consumer = bare.consumer(0);
    bare.poke_tail(3);
    assert_eq!(consumer.try_pop(), Ok([0; 3]));
    bare.poke_tail(2);
    assert_eq!(consumer.pop_slice(&mut [[0; 3]; 2]), Ok(2), "it was believed before");
    let error = consumer.try_pop().unwrap_err();
    assert!(matches!(error, PopError::Corrupt(Corrupt { what: Violation::TailWentBack, found: 2, limit: 3, .. })));
}

#[test]
fn heads_that_cannot_be() {
    for start in STARTS {
        for (ahead, what) in [
            (3, Violation::HeadAheadOfTail),
            (1 << 40, Violation::HeadAheadOfTail),
            (u64::MAX, Violation::HeadWentBack),
        ] {
            let bare = Bare::new();
            let mut producer = bare.producer(start);
            assert_eq!(producer.push_slice(&[[1; 3]; 2]), Ok(2));
            bare.poke_head(start.wrapping_add(ahead));
            let error = producer.len().unwrap_err();
            assert_eq!(
                (error.what, error.found, error.position),
                (what, start.wrapping_add(ahead), start.wrapping_add(2))
            );
            bare.poke_head(start);
            assert_eq!(producer.try_push(&[1; 3]), Err(PushError::Corrupt(error)), "poisoned");
            assert_eq!(producer.is_full(), Err(error), "poisoned");
        }
    }
}

#[test]
fn an_error_says_what_was_found() {
    let bare = Bare::new();
    let mut consumer = bare.consumer(0);
    bare.poke_tail(9);
    let said = "corrupt ring at position 0: tail is more than a ring ahead of the head (found 0x9, limit 0x4)";
    assert_eq!(consumer.try_pop().unwrap_err().to_string(), said);
}

#[test]
fn ends_are_refused_where_the_memory_is_too_small() {
    let ring = Geometry::<Value>::new(0, control::BYTES, 64).unwrap();
    let (long, short) = (Arc::new(Heap::zeroed(ring.end())), Arc::new(Heap::zeroed(control::BYTES)));
    let too_short = GeometryError::OutOfBounds { need_bytes: ring.end(), len_bytes: control::BYTES };
    assert_eq!(Producer::new(short.clone(), ring, long.clone(), 0).unwrap_err(), too_short);
    assert_eq!(Consumer::new(long.clone(), 0, short.clone(), ring).unwrap_err(), too_short);
    let outside = GeometryError::OutOfBounds { need_bytes: 512, len_bytes: 384 };
    assert_eq!(Producer::new(long.clone(), ring, short.clone(), 128).unwrap_err(), outside);
    let odd = GeometryError::Offset { offset: 64, multiple_of: 128 };
    assert_eq!(Consumer::new(short, 64, long, ring).unwrap_err(), odd);
}

/// Words as a hostile peer would choose them: rarely anything, mostly what comes close to a position.
fn words() -> impl Strategy<Value = Vec<(bool, u64)>> {
    proptest::collection::vec((prop::bool::weighted(0.9), any::<u64>()), 1..60)
}

fn near(position: u64, (near, word): (bool, u64)) -> u64 {
    if near { position.wrapping_add(word % 7).wrapping_sub(1) } else { word }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 500 } else { 10_000 }))]

    #[test]
    fn any_tails_and_bytes_are_values_or_typed_errors(start in prop_oneof![Just(0), any::<u64>()], words in words()) {
        let bare = Bare::new();
        let mut consumer = bare.consumer(start);
        for (index, word) in words.into_iter().enumerate() {
            bare.poke_tail(near(consumer.stats().popped, word));
            bare.producers.store(control::BYTES + 8 * (index % 8), word.1, Ordering::Relaxed);
            let mut values = [[0; 3]; 3];
            match consumer.pop_slice(&mut values[..=index % 3]) {
                Ok(count) => prop_assert!((1..=index % 3 + 1).contains(&count)),
                Err(PopError::Empty) => {}
                Err(PopError::Abandoned) => prop_assert!(false, "nobody has closed it"),
                Err(error) => prop_assert_eq!(consumer.try_pop().unwrap_err(), error, "poisoned"),
            }
        }
    }

    #[test]
    fn any_heads_are_room_or_typed_errors(start in prop_oneof![Just(0), any::<u64>()], words in words()) {
        let bare = Bare::new();
        let mut producer = bare.producer(start);
        for (index, word) in words.into_iter().enumerate() {
            bare.poke_head(near(producer.stats().pushed.wrapping_sub(4), word));
            match producer.push_slice(&[[7; 3]; 3][..=index % 3]) {
                Ok(count) => prop_assert!((1..=index % 3 + 1).contains(&count)),
                Err(PushError::Full) => prop_assert!(producer.is_full().unwrap()),
                Err(PushError::Abandoned) => prop_assert!(false, "nobody has closed it"),
                Err(error) => prop_assert_eq!(producer.try_push(&[7; 3]).unwrap_err(), error, "poisoned"),
            }
        }
    }

    #[test]
    fn any_flags_and_tickets_are_only_flags(flags in any::<[u64; 4]>()) {
        let bare = Bare::new();
        let (mut producer, mut consumer) = (bare.producer(0), bare.consumer(0));
        producer.try_push(&[5; 3]).unwrap();
        bare.producers.store(control::PRODUCER_CLOSED, flags[0], Ordering::Relaxed);
        bare.producers.store(control::SPACE_TICKET, flags[1], Ordering::Relaxed);
        bare.consumers.store(control::CONSUMER_CLOSED, flags[2], Ordering::Relaxed);
        bare.consumers.store(control::DATA_TICKET, flags[3], Ordering::Relaxed);
        prop_assert_eq!(consumer.must_ring_space(), flags[1] != 0);
        prop_assert_eq!(producer.must_ring_data(), flags[3] != 0);
        prop_assert_eq!(consumer.try_pop(), Ok([5; 3]));
        let end = if flags[0] != 0 { PopError::Abandoned } else { PopError::Empty };
        prop_assert_eq!(consumer.try_pop(), Err(end));
        prop_assert_eq!(producer.push_slice(&[[5; 3]; 5]), Ok(4));
        let full = if flags[2] != 0 { PushError::Abandoned } else { PushError::Full };
        prop_assert_eq!(producer.try_push(&[5; 3]), Err(full));
    }
}
