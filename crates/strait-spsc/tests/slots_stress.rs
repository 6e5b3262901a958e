//! Two real threads and many values, all of them checked.
#![cfg(not(strait_loom))]

mod common;

use std::{thread, time::Duration};

use common::Random;
use strait_spsc::slots::{ChunkError, Inline, PopError, PushError, Storage, blocking_channel, channel_at, shared};

const VALUES: u64 = if cfg!(debug_assertions) { 100_000 } else { 2_000_000 };
const LATE: u64 = u64::MAX - 1000;

/// A value that has its number in more places than one, and memory of its own.
fn value(number: u64) -> Box<[u64; 2]> {
    Box::new([number, !number])
}

#[track_caller]
fn check(number: u64, value: &[u64; 2]) {
    assert_eq!(*value, [number, !number]);
}

fn push<S: Storage<Box<[u64; 2]>>>(mut producer: strait_spsc::slots::Producer<Box<[u64; 2]>, S>) {
    let (mut random, mut next) = (Random(42), 0);
    while next < VALUES {
        let want = random.below(20).min((VALUES - next) as usize);
        if want < 10 {
            match producer.try_push(value(next)) {
                Ok(()) => next += 1,
                Err(PushError::Full(_)) => thread::yield_now(),
                Err(PushError::Abandoned(_)) => panic!("the consumer went"),
            }
            continue;
        }
        match producer.claim(want) {
            Ok(chunk) => next += chunk.fill_from_iter((next..).map(value)) as u64,
            Err(ChunkError::TooFew { .. }) => thread::yield_now(),
            Err(ChunkError::Abandoned) => panic!("the consumer went"),
        }
    }
}

fn pop<S: Storage<Box<[u64; 2]>>>(mut consumer: strait_spsc::slots::Consumer<Box<[u64; 2]>, S>) {
    let (mut random, mut next) = (Random(7), 0);
    loop {
        let want = random.below(20);
        if want < 10 {
            match consumer.try_pop() {
                Ok(value) => {
                    check(next, &value);
                    next += 1;
                }
                Err(PopError::Empty) => thread::yield_now(),
                Err(PopError::Abandoned) => break,
            }
            continue;
        }
        let chunk = match consumer.read_chunk(want) {
            Ok(chunk) => chunk,
            Err(ChunkError::TooFew { .. }) => {
                thread::yield_now();
                continue;
            }
            Err(ChunkError::Abandoned) => break,
        };
        let (first, second) = chunk.as_slices();
        for (number, value) in (next..).zip(first.iter().chain(second)) {
            check(number, value);
        }
        let gone = random.below(want + 1);
        match random.below(2) {
            0 => chunk.commit(gone),
            _ => assert_eq!(chunk.into_iter().take(gone).count(), gone),
        }
        next += gone as u64;
    }
    assert_eq!(next, VALUES);
}

#[test]
fn on_the_heap() {
    let (producer, consumer) = channel_at(32, LATE).unwrap();
    let pushing = thread::spawn(move || push(producer));
    pop(consumer);
    pushing.join().unwrap();
}

#[test]
fn inline() {
    static RING: Inline<Box<[u64; 2]>, 32> = Inline::new();
    let (producer, consumer) = RING.try_split().unwrap();
    let pushing = thread::spawn(move || push(producer));
    pop(consumer);
    pushing.join().unwrap();
    assert!(RING.try_split().is_some(), "both ends are gone");
}

#[test]
fn with_ends_that_sleep() {
    const VALUES: u64 = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    let (mut producer, mut consumer) = blocking_channel(4).unwrap();
    let pushing = thread::spawn(move || {
        let mut random = Random(3);
        for number in 0..VALUES {
            if random.below(5_000) == 0 {
                thread::sleep(Duration::from_micros(300));
            }
            producer.push(value(number), None).unwrap();
        }
    });
    let mut random = Random(5);
    for number in 0..VALUES {
        if random.below(5_000) == 0 {
            thread::sleep(Duration::from_micros(300));
        }
        check(number, &consumer.pop(None).unwrap());
    }
    assert_eq!(consumer.pop(None).unwrap_err(), PopError::Abandoned);
    pushing.join().unwrap();
}

#[test]
fn shared_in_batches() {
    let (mut producer, mut consumer) = shared::channel_at::<[u64; 5]>(64, LATE).unwrap();
    let pushing = thread::spawn(move || {
        let (mut random, mut next) = (Random(11), 0);
        while next < VALUES {
            let want = (random.below(40) + 1).min((VALUES - next) as usize);
            let values: Vec<[u64; 5]> = (next..).take(want).map(|number| [number; 5]).collect();
            match producer.push_slice(&values) {
                Ok(count) => next += count as u64,
                Err(shared::PushError::Full) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    });
    let (mut random, mut next, mut values) = (Random(13), 0, [[0; 5]; 40]);
    loop {
        match consumer.pop_slice(&mut values[..=random.below(39)]) {
            Ok(count) => {
                for value in &values[..count] {
                    assert_eq!(*value, [next; 5]);
                    next += 1;
                }
            }
            Err(shared::PopError::Empty) => thread::yield_now(),
            Err(shared::PopError::Abandoned) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(next, VALUES);
    pushing.join().unwrap();
}
