//! What the handles do when they end, and what they refuse.
#![cfg(not(strait_loom))]
#![allow(unsafe_code)]

mod common;

use std::sync::Arc;

use common::{Bare, fill, meta, trust};
use strait_spsc::{
    ClaimError, GeometryError, TooManyHeld,
    records::{Consumer, Geometry, Producer, channel, channel_at, control, duplex},
};
use strait_sync::{Heap, Words};

#[test]
fn a_dropped_producer_ends_the_stream_without_what_was_staged() {
    let (mut producer, mut consumer) = channel(256).unwrap();
    producer.try_claim(8).unwrap().commit(8, meta(1));
    producer.try_claim(8).unwrap().stage(8, meta(2));
    assert!(producer.has_staged());
    drop(producer);
    assert!(!consumer.at_end().unwrap());
    assert_eq!(consumer.next().unwrap().unwrap().meta(), meta(1));
    assert!(consumer.at_end().unwrap());
    assert!(consumer.next().unwrap().is_none());
}

#[test]
fn close_publishes_what_was_staged_and_refuses_more() {
    let (mut producer, mut consumer) = channel(256).unwrap();
    producer.try_claim(8).unwrap().stage(8, meta(1));
    producer.close();
    assert_eq!(producer.try_claim(0).unwrap_err(), ClaimError::Closed);
    assert!(!producer.has_room(0).unwrap());
    assert!(consumer.next().unwrap().is_some());
    assert!(consumer.at_end().unwrap());
}

#[test]
#[should_panic(expected = "9 bytes were committed of a grant of 8")]
fn committing_more_than_was_claimed_panics() {
    let (mut producer, _consumer) = channel(256).unwrap();
    producer.try_claim(8).unwrap().commit(9, meta(1));
}

#[test]
#[should_panic(expected = "out of range")]
fn copying_to_too_few_words_panics() {
    let (mut producer, mut consumer) = channel(256).unwrap();
    producer.try_claim(9).unwrap().commit(9, meta(1));
    consumer.next().unwrap().unwrap().copy_to(&mut [0]);
}

#[test]
fn guards_keep_the_memory_and_its_bytes_after_both_ends_are_gone() {
    let bare = Bare::new(256, 16);
    let (mut producer, mut consumer) = (bare.producer(0), bare.consumer(0));
    let mut grant = producer.try_claim(40).unwrap();
    fill(3, grant.as_mut_slice());
    grant.commit(40, meta(3));
    let guard = consumer.next().unwrap().unwrap().into_guard(trust()).unwrap();
    let address = guard.as_ptr();
    let second = guard.clone();
    drop((producer, consumer));
    assert_eq!(Arc::strong_count(&bare.ours), 2, "the guards keep it");
    drop(guard);
    assert_eq!(bare.theirs.load(control::HEAD), 0, "still held");
    let moved = Box::new(second);
    assert_eq!(moved.as_ptr(), address);
    common::check_bytes(3, &moved);
    drop(moved);
    assert_eq!(bare.theirs.load(control::HEAD), 64);
    assert_eq!((Arc::strong_count(&bare.ours), Arc::strong_count(&bare.theirs)), (1, 1), "nothing leaks");
}

#[test]
fn no_more_than_half_the_ring_is_held() {
    let (mut producer, mut consumer) = channel(256).unwrap();
    for number in 0..3 {
        producer.try_claim(48).unwrap().commit(48, meta(number));
    }
    let first = consumer.next().unwrap().unwrap().into_guard(trust()).unwrap();
    let second = consumer.next().unwrap().unwrap().into_guard(trust()).unwrap();
    assert_eq!(consumer.held_bytes(), 128);
    let (record, error) = consumer.next().unwrap().unwrap().into_guard(trust()).unwrap_err();
    assert_eq!(error, TooManyHeld { need_bytes: 192, limit_bytes: 128 });
    assert_eq!(record.meta(), meta(2), "it can still be copied");
    drop(record);
    assert_eq!(consumer.held_bytes(), 192, "what was copied is held by the guard before it");
    drop(second);
    assert_eq!(consumer.held_bytes(), 192);
    assert!(!producer.has_room(48).unwrap());
    drop(first);
    assert_eq!(consumer.held_bytes(), 0);
    assert!(producer.has_room(48).unwrap());
}

#[test]
fn tickets_are_rung_once_and_for_the_right_side() {
    let (mut left, mut right) = duplex(256).unwrap();
    assert!(!left.producer.must_ring_data() && !right.consumer.must_ring_space());
    right.consumer.arm_data();
    assert!(!right.producer.must_ring_data(), "that is the other direction");
    assert!(left.producer.must_ring_data());
    assert!(!left.producer.must_ring_data());
    right.consumer.disarm_data();
    left.producer.arm_space();
    assert!(right.consumer.must_ring_space());
    left.producer.disarm_space();
    assert!(!right.consumer.must_ring_space());
}

#[test]
fn a_guard_says_whether_its_space_is_waited_for() {
    let (mut left, mut right) = duplex(256).unwrap();
    for number in 0..2 {
        left.producer.try_claim(8).unwrap().commit(8, meta(number));
    }
    let first = right.consumer.next().unwrap().unwrap().into_guard(trust()).unwrap();
    let second = right.consumer.next().unwrap().unwrap().into_guard(trust()).unwrap();
    left.producer.arm_space();
    assert!(!second.release(), "it makes no room yet");
    assert!(first.release());
}

#[test]
fn handles_are_refused_where_the_memory_is_too_small() {
    let ring = Geometry::new(0, 384, 256, 16).unwrap();
    let (long, short) = (Arc::new(Heap::zeroed(640)), Arc::new(Heap::zeroed(384)));
    let too_short = GeometryError::OutOfBounds { need_bytes: 640, len_bytes: 384 };
    // SAFETY: refused, so nothing is made.
    let refused = unsafe { Producer::new(short.clone(), ring, long.clone(), 0) }.unwrap_err();
    assert_eq!(refused, too_short);
    // SAFETY: as above.
    let refused = unsafe { Consumer::new(long.clone(), 0, short.clone(), ring) }.unwrap_err();
    assert_eq!(refused, too_short);
    // SAFETY: as above.
    let refused = unsafe { Producer::new(long.clone(), ring, short.clone(), 128) }.unwrap_err();
    assert_eq!(refused, GeometryError::OutOfBounds { need_bytes: 512, len_bytes: 384 });
    // SAFETY: as above.
    let refused = unsafe { Consumer::new(short, 64, long, ring) }.unwrap_err();
    assert_eq!(refused, GeometryError::Offset { offset: 64, multiple_of: 128 });
    assert_eq!(channel_at(256, 16, 8).unwrap_err(), GeometryError::Position { position: 8 });
    assert!(matches!(channel(100).unwrap_err(), GeometryError::Capacity { .. }));
}

#[test]
fn handles_can_be_sent_and_shared() {
    fn both<T: Send + Sync>() {}
    both::<strait_spsc::records::HeapProducer>();
    both::<strait_spsc::records::HeapConsumer>();
    both::<strait_spsc::records::HeapGuard>();
}

#[test]
fn one_sleep_is_rung_for_once_however_many_guards_end() {
    let (mut producer, mut consumer) = channel(4096).unwrap();
    for _ in 0..20 {
        producer.try_claim(16).unwrap().commit(16, meta(0));
    }
    let guards: Vec<_> = (0..20).map(|_| consumer.next().unwrap().unwrap().into_guard(trust()).unwrap()).collect();
    producer.arm_space();
    let rings = guards.into_iter().map(|guard| guard.release()).filter(|&must_ring| must_ring).count();
    assert_eq!(rings, 1);
    assert!(!consumer.must_ring_space(), "a guard has rung for this sleep");
    producer.disarm_space();
    producer.arm_space();
    assert!(consumer.must_ring_space(), "the next sleep is another one");
}
