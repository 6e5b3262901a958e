//! The ring of slots under loom: the code itself, and for each of its rules a mutant that breaks it.
//!
//! Every slot has a cell that loom watches; values count how often they are dropped.
#![cfg(strait_loom)]
#![allow(unsafe_code)]

mod loom_support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use loom::thread;
use loom_support::model;
use strait_spsc::slots::{ChunkError, Consumer, PopError, Producer, PushError, blocking_channel, channel, channel_at};

/// Just before positions come round to 0.
const LATE: u64 = u64::MAX;

/// Pushes `values`, one by one, and goes.
fn push_all(mut producer: Producer<u8>, values: std::ops::RangeInclusive<u8>) {
    for mut value in values {
        loop {
            match producer.try_push(value) {
                Ok(()) => break,
                Err(PushError::Full(back)) => value = back,
                Err(PushError::Abandoned(_)) => return,
            }
            thread::yield_now();
        }
    }
}

/// Pops one by one until the producer is gone, and finds the values from 1 to `last` in order.
fn pop_all(consumer: &mut Consumer<u8>, last: u8) {
    let mut next = 1;
    loop {
        match consumer.try_pop() {
            Ok(value) => {
                assert_eq!(value, next, "not the next value");
                next += 1;
            }
            Err(PopError::Empty) => thread::yield_now(),
            Err(PopError::Abandoned) => break,
        }
    }
    assert_eq!(next - 1, last, "value lost");
}

// Three values through two slots, over the wrap of positions and of the ring.
fn stream() {
    model(4, || {
        let (producer, mut consumer) = channel_at(2, LATE).unwrap();
        let pushing = thread::spawn(move || push_all(producer, 1..=3));
        pop_all(&mut consumer, 3);
        pushing.join().unwrap();
    });
}

// The same through one slot: every push waits for a pop.
fn one_slot() {
    model(4, || {
        let (producer, mut consumer) = channel(1).unwrap();
        let pushing = thread::spawn(move || push_all(producer, 1..=2));
        pop_all(&mut consumer, 2);
        pushing.join().unwrap();
    });
}

// One value, and the producer goes at once.
fn end() {
    model(4, || {
        let (producer, mut consumer) = channel(2).unwrap();
        let pushing = thread::spawn(move || push_all(producer, 1..=1));
        pop_all(&mut consumer, 1);
        pushing.join().unwrap();
    });
}

// Chunks of two and one, filled in place over the end of the ring, and read in place.
fn chunks() {
    model(4, || {
        let (mut producer, mut consumer) = channel_at(2, LATE).unwrap();
        let pushing = thread::spawn(move || {
            let mut chunk = producer.claim(2).unwrap();
            let (first, second) = chunk.as_mut_slices();
            first[0].write(1);
            second[0].write(2);
            // SAFETY: both were written.
            unsafe { chunk.commit(2) };
            while producer.claim(1).is_err() {
                thread::yield_now();
            }
            assert_eq!(producer.claim(1).unwrap().len(), 1); // leaves no trace
            assert_eq!(producer.claim(1).unwrap().fill_from_iter([3, 4]), 1);
        });
        let mut popped = Vec::new();
        loop {
            let count = match consumer.read_chunk(3) {
                Err(ChunkError::TooFew { available }) => available,
                Err(ChunkError::Abandoned) => break,
                Ok(_) => panic!("a chunk longer than the ring"),
            };
            if count == 0 {
                thread::yield_now();
                continue;
            }
            let chunk = consumer.read_chunk(count).unwrap();
            let (first, second) = chunk.as_slices();
            popped.extend(first.iter().chain(second).copied());
            chunk.commit(count);
        }
        assert_eq!(popped, [1, 2, 3], "value lost");
        pushing.join().unwrap();
    });
}

/// A value whose drop is counted.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// Values dropped in place by a chunk while the producer waits for their slots.
fn drops_in_place() {
    model(4, || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (mut producer, mut consumer) = channel(2).unwrap();
        let values = dropped.clone();
        let pushing = thread::spawn(move || {
            assert_eq!(producer.claim(2).unwrap().fill_from_iter((0..2).map(|_| Counted(values.clone()))), 2);
            while producer.claim(1).is_err() {
                thread::yield_now();
            }
            assert!(producer.try_push(Counted(values)).is_ok());
        });
        loop {
            match consumer.read_chunk(2) {
                Ok(chunk) => break chunk.commit_all(),
                Err(_) => thread::yield_now(),
            }
        }
        pushing.join().unwrap();
        drop(consumer);
        assert_eq!(dropped.load(Ordering::Relaxed), 3, "dropped once each");
    });
}

// The consumer takes one and goes while the producer pushes three through two slots.
fn consumer_goes() {
    model(4, || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (mut producer, mut consumer) = channel(2).unwrap();
        let values = dropped.clone();
        let pushing = thread::spawn(move || {
            let (mut made, mut value) = (1, Counted(values.clone()));
            loop {
                value = match producer.try_push(value) {
                    Ok(()) if made == 3 => return made,
                    Ok(()) => {
                        made += 1;
                        Counted(values.clone())
                    }
                    Err(PushError::Full(back)) => back,
                    Err(PushError::Abandoned(_)) => return made,
                };
                thread::yield_now();
            }
        });
        while let Err(PopError::Empty) = consumer.try_pop().map(drop) {
            thread::yield_now();
        }
        drop(consumer);
        let made = pushing.join().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), made, "dropped once each");
    });
}

// Both ends go while values are in the ring; whoever is last drops them.
fn both_go() {
    model(4, || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (mut producer, mut consumer) = channel(2).unwrap();
        let values = dropped.clone();
        let pushing = thread::spawn(move || {
            for _ in 0..2 {
                assert!(producer.try_push(Counted(values.clone())).is_ok() || producer.is_abandoned());
            }
        });
        drop(consumer.try_pop());
        drop(consumer);
        pushing.join().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 2, "dropped once each");
    });
}

// One slot and two values: each end sleeps until the other has done something.
fn sleep() {
    model(3, || {
        let (mut producer, mut consumer) = blocking_channel(1).unwrap();
        let pushing = thread::spawn(move || {
            for value in 1..=2 {
                producer.push(value, None).unwrap();
            }
        });
        assert_eq!(consumer.pop(None), Ok(1));
        assert_eq!(consumer.pop(None), Ok(2));
        pushing.join().unwrap();
    });
}

// A consumer sleeps while the producer goes.
fn sleep_till_the_end() {
    model(4, || {
        let (producer, mut consumer) = blocking_channel::<u8>(1).unwrap();
        let going = thread::spawn(move || drop(producer));
        assert_eq!(consumer.pop(None), Err(PopError::Abandoned));
        going.join().unwrap();
    });
}

// A producer sleeps on a full ring while the consumer goes.
fn sleep_till_abandoned() {
    model(4, || {
        let (mut producer, consumer) = blocking_channel(1).unwrap();
        producer.try_push(1).unwrap();
        let going = thread::spawn(move || drop(consumer));
        assert_eq!(producer.push(2, None), Err(PushError::Abandoned(2)));
        going.join().unwrap();
    });
}

holds! {
    values_arrive_once_and_in_order: stream;
    one_slot_is_handed_back_and_forth: one_slot;
    a_value_before_the_end_is_popped: end;
    chunks_arrive_whole: chunks;
    values_are_dropped_in_place_before_their_slots_are_free: drops_in_place;
    nothing_is_dropped_twice_when_the_consumer_goes: consumer_goes;
    nothing_is_dropped_twice_when_both_go: both_go;
    a_sleeping_end_is_woken: sleep;
    a_sleeping_consumer_learns_of_the_end: sleep_till_the_end;
    a_sleeping_producer_learns_of_the_end: sleep_till_abandoned;
}

mutants! {
    mutant_tail_is_stored_relaxed: slots_tail_relaxed in stream fails with "Causality violation";
    mutant_tail_is_loaded_relaxed: slots_tail_no_acquire in stream fails with "Causality violation";
    mutant_head_is_stored_relaxed: slots_head_relaxed in one_slot fails with "Causality violation";
    mutant_head_is_loaded_relaxed: slots_head_no_acquire in one_slot fails with "Causality violation";
    mutant_full_ring_is_written: slots_full_is_not_looked_at in one_slot fails with "Causality violation";
    mutant_empty_ring_is_read: slots_empty_is_not_looked_at in end fails with "not the next value";
    mutant_end_is_shown_relaxed: slots_leave_relaxed in end fails with "value lost";
    mutant_end_is_loaded_relaxed: slots_gone_no_acquire in end fails with "value lost";
    mutant_end_without_a_second_look: slots_end_without_second_look in end fails with "value lost";
    mutant_chunk_is_published_relaxed: slots_tail_relaxed in chunks fails with "Causality violation";
    mutant_slots_are_free_before_values_are_dropped: slots_release_before_drop in drops_in_place fails with "Causality violation";
    mutant_sleeper_without_fence: sleeper_no_fence in sleep fails with "deadlock";
    mutant_ringer_without_fence: ringer_no_fence in sleep fails with "deadlock";
    mutant_producer_goes_without_a_wake_up: slots_leave_without_wake in sleep_till_the_end fails with "deadlock";
}
