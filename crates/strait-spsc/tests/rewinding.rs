//! Long records in a large ring: while the consumer keeps up, they stay in the part that the caches hold.
#![cfg(not(strait_loom))]

mod common;

use std::{collections::VecDeque, ops::Range};

use strait_spsc::records::{HeapConsumer, HeapProducer, channel};

const CAPACITY: u64 = 4 << 20;
const LEN: usize = 100 << 10;
/// Where records may begin while the ring rewinds: up to 256 KiB and the record that got there.
const WARM: Range<u64> = 0..(256 + 100 + 1) << 10;

fn rewinding() -> (HeapProducer, HeapConsumer) {
    let (mut producer, consumer) = channel(CAPACITY).unwrap();
    producer.set_rewind(true);
    (producer, consumer)
}

fn send(producer: &mut HeapProducer, number: u8) -> u64 {
    let mut grant = producer.try_claim(LEN).unwrap();
    grant.as_mut_slice().fill(number);
    grant.commit(LEN, Default::default());
    producer.position() % CAPACITY
}

#[track_caller]
fn receive(consumer: &mut HeapConsumer, number: u8) {
    let mut words = vec![0u64; LEN / 8];
    consumer.next().unwrap().expect("a record").copy_to(&mut words);
    assert!(words.iter().all(|word| *word == u64::from_ne_bytes([number; 8])), "record {number}");
}

#[test]
fn a_ring_that_was_emptied_rewinds() {
    let (mut producer, mut consumer) = rewinding();
    for number in 0..200 {
        assert!(WARM.contains(&send(&mut producer, number)), "record {number}");
        receive(&mut consumer, number);
    }
    assert!(producer.position() > 4 * CAPACITY, "padding counts as bytes");
}

#[test]
fn a_ring_with_unread_records_goes_on() {
    let (mut producer, mut consumer) = rewinding();
    let mut ends = Vec::new();
    ends.push(send(&mut producer, 0));
    for number in 1..=200 {
        ends.push(send(&mut producer, number));
        receive(&mut consumer, number - 1);
    }
    assert!(ends.iter().any(|end| *end > CAPACITY / 2), "{ends:?}");
}

#[test]
fn staged_records_are_not_left_behind() {
    let (mut producer, mut consumer) = rewinding();
    let mut expected = VecDeque::new();
    for number in 0..120 {
        let mut grant = producer.try_claim(LEN).unwrap();
        grant.as_mut_slice().fill(number);
        grant.stage(LEN, Default::default());
        expected.push_back(number);
        if number % 2 == 1 {
            producer.publish();
            expected.drain(..).for_each(|number| receive(&mut consumer, number));
        }
    }
}

#[test]
fn a_dropped_claim_changes_nothing() {
    let (mut producer, mut consumer) = rewinding();
    for number in 0..20 {
        let before = producer.position();
        drop(producer.try_claim(LEN).unwrap());
        assert_eq!(producer.position(), before);
        send(&mut producer, number);
        receive(&mut consumer, number);
    }
}

#[test]
fn a_guard_does_not_hold_the_padding_before_it() {
    let (mut producer, mut consumer) = rewinding();
    for number in 0..200 {
        send(&mut producer, number);
        let guard = consumer.next().unwrap().expect("a record").into_guard(common::trust());
        let guard = guard.unwrap_or_else(|(_, error)| panic!("record {number}: {error}"));
        assert!(consumer.held_bytes() < 2 * LEN as u64);
        // So there is room for more while it is held.
        send(&mut producer, 255);
        receive(&mut consumer, 255);
        assert!(guard.iter().all(|byte| *byte == number));
    }
}

#[test]
fn a_ring_that_was_not_told_to_rewind_holds_its_capacity() {
    let (mut producer, mut consumer) = channel(CAPACITY).unwrap();
    for number in 0..4 {
        send(&mut producer, number);
        receive(&mut consumer, number);
    }
    let fit = std::iter::from_fn(|| producer.try_claim(LEN).ok().map(|grant| grant.commit(LEN, Default::default())));
    let fit = fit.count();
    assert!(fit >= 39, "{fit} of 40, as the buffer ends between two");
}
