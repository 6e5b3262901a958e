//! Two real threads, many records of any size, all of it checked.
#![cfg(not(strait_loom))]

mod common;

use std::{sync::mpsc, thread};

use common::{Random, check_bytes, check_copy, fill, meta, trust};
use strait_spsc::records::{HeapConsumer, HeapGuard, HeapProducer, channel_at};

const RECORDS: u64 = if cfg!(debug_assertions) { 30_000 } else { 1_000_000 };
const CAPACITY: u64 = 16 << 10;

/// Calls `ready` until it says true, and leaves the processor to others after a while.
fn spin(mut ready: impl FnMut() -> bool) {
    let mut looks = 0;
    while !ready() {
        looks += 1;
        match looks % 64 {
            0 => thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
}

/// Mostly short messages, sometimes the longest.
fn size(random: &mut Random, longest: usize) -> usize {
    match random.below(16) {
        0 => random.below(longest + 1),
        1 => longest,
        2 => 0,
        _ => random.below(257),
    }
}

/// Sends all records, `batch` at a time.
fn produce(mut producer: HeapProducer, batch: u64) {
    let (mut random, longest) = (Random(42), producer.max_message_bytes());
    for number in 0..RECORDS {
        let len = size(&mut random, longest);
        let max = (len + random.below(100)).min(longest);
        spin(|| producer.has_room(max).unwrap());
        let mut grant = producer.try_claim(max).unwrap();
        fill(number, &mut grant.as_mut_slice()[..len]);
        match (number + 1) % batch {
            0 => grant.commit(len, meta(number)),
            _ => grant.stage(len, meta(number)),
        }
    }
    producer.close();
}

/// Receives all records in order; `each` gets the consumer where one is ready, and says what it received.
fn consume(consumer: &mut HeapConsumer, mut each: impl FnMut(&mut HeapConsumer, u64) -> usize) {
    let (mut random, longest) = (Random(42), consumer.max_message_bytes());
    for number in 0..RECORDS {
        let len = size(&mut random, longest);
        random.below(100);
        spin(|| consumer.is_ready());
        assert_eq!(each(consumer, number), len);
    }
    spin(|| consumer.at_end().unwrap());
}

fn copied(batch: u64, align: u64) {
    let (producer, mut consumer) = channel_at(CAPACITY, align, 0u64.wrapping_sub(CAPACITY * 3)).unwrap();
    let producing = thread::spawn(move || produce(producer, batch));
    let mut words = vec![0; consumer.max_message_bytes().div_ceil(8)];
    consume(&mut consumer, |consumer, number| {
        let record = consumer.next().unwrap().expect("it is ready");
        check_copy(number, &record, &mut words);
        record.len()
    });
    producing.join().unwrap();
}

#[test]
fn copied_one_by_one() {
    copied(1, 16);
}

#[test]
fn copied_in_batches() {
    copied(37, 16);
}

#[test]
fn copied_in_batches_aligned_to_64() {
    copied(7, 64);
}

#[test]
fn borrowed_in_place() {
    let (producer, mut consumer) = channel_at(CAPACITY, 16, 0).unwrap();
    let producing = thread::spawn(move || produce(producer, 3));
    consume(&mut consumer, |consumer, number| {
        let record = consumer.next().unwrap().expect("it is ready");
        check_bytes(number, record.as_slice(trust()));
        record.len()
    });
    producing.join().unwrap();
}

#[test]
fn in_place_with_guards_that_end_on_other_threads() {
    let (producer, mut consumer) = channel_at(CAPACITY, 16, 0u64.wrapping_sub(CAPACITY * 3)).unwrap();
    let producing = thread::spawn(move || produce(producer, 5));
    let (give, take) = mpsc::channel::<(u64, HeapGuard)>();
    let dropping = thread::spawn(move || {
        let (mut random, mut held) = (Random(9), Vec::new());
        loop {
            // What is held keeps the ring from going on: drop some of it also where nothing new arrives.
            let keep = match take.try_recv() {
                Ok((number, guard)) => {
                    check_bytes(number, &guard);
                    held.push((number, guard));
                    random.below(12)
                }
                Err(mpsc::TryRecvError::Empty) => {
                    thread::yield_now();
                    held.len().saturating_sub(1)
                }
                Err(mpsc::TryRecvError::Disconnected) => break,
            };
            while held.len() > keep {
                let index = random.below(held.len());
                let (number, guard) = held.swap_remove(index);
                check_bytes(number, &guard);
                match random.below(3) {
                    0 => drop(guard.clone()),
                    1 => assert!(!guard.clone().release(), "nobody sleeps"),
                    _ => {}
                }
            }
        }
    });
    let mut words = vec![0; consumer.max_message_bytes().div_ceil(8)];
    let mut copies = 0;
    consume(&mut consumer, |consumer, number| {
        let record = consumer.next().unwrap().expect("it is ready");
        let len = record.len();
        match record.into_guard(trust()) {
            Ok(guard) => give.send((number, guard)).unwrap(),
            Err((record, _too_many_held)) => {
                copies += 1;
                check_copy(number, &record, &mut words);
            }
        }
        len
    });
    drop(give);
    producing.join().unwrap();
    dropping.join().unwrap();
    assert_eq!(consumer.held_bytes(), 0, "head lost");
    assert!(copies < RECORDS, "some were held");
}
