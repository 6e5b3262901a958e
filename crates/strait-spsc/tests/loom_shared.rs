//! Slots in two memories under loom: the code itself, and for each of its rules a mutant that breaks it.
//!
//! Under loom every word of a value has a cell that loom watches.
#![cfg(strait_loom)]

mod loom_support;

use loom::thread;
use loom_support::model;
use strait_spsc::slots::shared::{HeapConsumer, HeapProducer, PopError, PushError, channel, channel_at};

/// Just before positions come round to 0.
const LATE: u64 = u64::MAX;

type Value = [u64; 2];

fn value(number: u64) -> Value {
    [number, !number]
}

/// Pushes the values from 1 to `last`, one by one, and goes.
fn push_all(mut producer: HeapProducer<Value>, last: u64) {
    for number in 1..=last {
        loop {
            match producer.try_push(&value(number)) {
                Ok(()) => break,
                Err(PushError::Full) => thread::yield_now(),
                Err(PushError::Abandoned) => return,
                Err(PushError::Corrupt(corrupt)) => panic!("{corrupt}"),
            }
        }
    }
}

/// Pops up to `batch` at a time until the producer is gone, and finds the values from 1 to `last` in order.
fn pop_all(consumer: &mut HeapConsumer<Value>, batch: usize, last: u64) {
    let (mut next, mut values) = (1, [[0; 2]; 3]);
    loop {
        match consumer.pop_slice(&mut values[..batch]) {
            Ok(count) => {
                for popped in &values[..count] {
                    assert_eq!(*popped, value(next), "not the next value");
                    next += 1;
                }
            }
            Err(PopError::Empty) => thread::yield_now(),
            Err(PopError::Abandoned) => break,
            Err(PopError::Corrupt(corrupt)) => panic!("{corrupt}"),
        }
    }
    assert_eq!(next - 1, last, "value lost");
}

// Three values through two slots, over the wrap of positions and of the ring.
fn stream() {
    model(3, || {
        let (producer, mut consumer) = channel_at(2, LATE).unwrap();
        let pushing = thread::spawn(move || push_all(producer, 3));
        pop_all(&mut consumer, 1, 3);
        pushing.join().unwrap();
    });
}

// Three values through two slots, as many at a time as there are.
fn batches() {
    model(3, || {
        let (mut producer, mut consumer) = channel_at(2, LATE).unwrap();
        let pushing = thread::spawn(move || {
            let values = [value(1), value(2), value(3)];
            let mut pushed = 0;
            while pushed < values.len() {
                match producer.push_slice(&values[pushed..]) {
                    Ok(count) => pushed += count,
                    Err(PushError::Full) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        pop_all(&mut consumer, 3, 3);
        pushing.join().unwrap();
    });
}

// Two values through one slot: every push waits for a pop.
fn one_slot() {
    model(3, || {
        let (producer, mut consumer) = channel(1).unwrap();
        let pushing = thread::spawn(move || push_all(producer, 2));
        pop_all(&mut consumer, 1, 2);
        pushing.join().unwrap();
    });
}

// One value, and the producer goes at once.
fn end() {
    model(4, || {
        let (producer, mut consumer) = channel(2).unwrap();
        let pushing = thread::spawn(move || push_all(producer, 1));
        pop_all(&mut consumer, 1, 1);
        pushing.join().unwrap();
    });
}

// The consumer takes one and goes; the producer gets to know, and is not stuck.
fn consumer_goes() {
    model(3, || {
        let (producer, mut consumer) = channel(1).unwrap();
        let pushing = thread::spawn(move || push_all(producer, 3));
        while let Err(PopError::Empty) = consumer.try_pop() {
            thread::yield_now();
        }
        drop(consumer);
        pushing.join().unwrap();
    });
}

// The consumer goes to sleep for data while the producer pushes.
fn sleep_for_data() {
    model(4, || {
        let (mut producer, mut consumer) = channel(1).unwrap();
        let pushing = thread::spawn(move || {
            producer.try_push(&value(1)).unwrap();
            producer.must_ring_data()
        });
        consumer.arm_data();
        let ready = consumer.is_ready();
        assert!(pushing.join().unwrap() || ready, "nobody wakes the consumer");
    });
}

// The producer goes to sleep for room while the consumer pops.
fn sleep_for_room() {
    model(4, || {
        let (mut producer, mut consumer) = channel(1).unwrap();
        producer.try_push(&value(1)).unwrap();
        let popping = thread::spawn(move || {
            assert_eq!(consumer.try_pop(), Ok(value(1)));
            consumer.must_ring_space()
        });
        producer.arm_space();
        let room = !producer.is_full().unwrap();
        assert!(popping.join().unwrap() || room, "nobody wakes the producer");
    });
}

holds! {
    values_arrive_whole_and_in_order: stream;
    batches_arrive_whole_and_in_order: batches;
    one_slot_is_handed_back_and_forth: one_slot;
    a_value_before_the_end_is_popped: end;
    a_producer_learns_that_the_consumer_is_gone: consumer_goes;
    a_consumer_that_sleeps_for_data_is_woken: sleep_for_data;
    a_producer_that_sleeps_for_room_is_woken: sleep_for_room;
}

mutants! {
    mutant_tail_is_stored_relaxed: shared_tail_relaxed in stream fails with "Causality violation";
    mutant_tail_is_loaded_without_fence: shared_tail_no_acquire in stream fails with "Causality violation";
    mutant_batch_is_published_relaxed: shared_tail_relaxed in batches fails with "Causality violation";
    mutant_head_is_stored_relaxed: shared_head_relaxed in one_slot fails with "Causality violation";
    mutant_head_is_loaded_without_fence: shared_head_no_acquire in one_slot fails with "Causality violation";
    mutant_full_ring_is_written: shared_full_is_not_looked_at in one_slot fails with "Causality violation";
    mutant_end_is_shown_relaxed: shared_close_relaxed in end fails with "value lost";
    mutant_end_is_loaded_without_fence: shared_close_no_acquire in end fails with "value lost";
    mutant_end_without_a_second_look: shared_end_without_second_look in end fails with "value lost";
    mutant_consumer_sleeps_without_fence: sleeper_no_fence in sleep_for_data fails with "nobody wakes the consumer";
    mutant_producer_rings_without_fence: ringer_no_fence in sleep_for_data fails with "nobody wakes the consumer";
    mutant_producer_sleeps_without_fence: sleeper_no_fence in sleep_for_room fails with "nobody wakes the producer";
    mutant_consumer_rings_without_fence: ringer_no_fence in sleep_for_room fails with "nobody wakes the producer";
}
