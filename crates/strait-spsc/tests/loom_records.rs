//! The record ring under loom: the code itself, and for each of its rules a mutant that breaks it.
//!
//! The ring has 8 units of 16 bytes. A message of 0 bytes takes one unit, one of 1 to 16 bytes two. Every word of the ring
//! that need not be clear looks like a commit at the start, as after many laps, and so does every payload word.
#![cfg(strait_loom)]
#![allow(unsafe_code)]

use loom::thread;
use strait_spsc::{
    ClaimError,
    records::{Consumer, Geometry, HeapConsumer, HeapGuard, HeapProducer, Meta, Producer, Record, control},
};
use strait_sync::{
    Heap, HonestPeer, WordsMut, mutant,
    primitive::{Arc, Ordering},
};

const UNIT: u64 = 16;
const CAPACITY: u64 = 8 * UNIT;
const BIG: usize = 16; // two units
const SMALL: usize = 0; // one unit

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Claim that much, commit that much.
    Send(usize, usize),
    /// Claim that much and drop the grant.
    Drop(usize),
    /// Claim that much, stage that much.
    Stage(usize, usize),
    Publish,
}
use Op::{Drop, Publish, Send, Stage};

fn model(bound: usize, test: impl Fn() + Sync + std::marker::Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.max_branches = 20_000;
    model.check(test);
}

/// A ring that looks like one that has run for many laps, at `position`.
fn ring(position: u64) -> (HeapProducer, HeapConsumer) {
    let ring = Geometry::new(0, control::BYTES, CAPACITY, UNIT).unwrap();
    let ours = Arc::new(Heap::zeroed(control::BYTES + CAPACITY as usize));
    let theirs = Arc::new(Heap::zeroed(control::BYTES));
    for word in 0..(CAPACITY / 8) as usize {
        ours.copy_in(ring.data() + 8 * word, &pattern(77, 8));
    }
    ours.store(ring.data() + (position % CAPACITY) as usize, 0, Ordering::Relaxed);
    // SAFETY: the memories are new, the one producer is the next line's; the ring is as it would be at this position.
    let consumer = unsafe { Consumer::starting_at(theirs.clone(), 0, ours.clone(), ring, position) }.unwrap();
    // SAFETY: as above; the consumer's head is at `position`.
    let producer = unsafe { Producer::starting_at(ours, ring, theirs, 0, position) }.unwrap();
    (producer, consumer)
}

/// Payload words that look like the commit of a small message.
fn pattern(value: u8, len: usize) -> Vec<u8> {
    std::iter::repeat_n([value % 16, 0, 0, 0x80, 0, 0, 0, 0], len.div_ceil(8)).flatten().take(len).collect()
}

fn meta(value: u8) -> Meta {
    Meta { timestamp: u64::from(value) << 40 | 1, checksum: value.into() }
}

/// Runs the operations; those that send carry the values 1, 2, 3…
fn produce(producer: &mut HeapProducer, ops: &[Op]) {
    let mut value = 0;
    for &op in ops {
        let (max, len) = match op {
            Send(max, len) | Stage(max, len) => (max, len),
            Drop(max) => (max, 0),
            Publish => {
                producer.publish();
                continue;
            }
        };
        while !producer.has_room(max).unwrap_or_else(|corrupt| panic!("{corrupt}")) {
            thread::yield_now();
        }
        let mut grant = producer.try_claim(max).unwrap();
        grant.as_mut_slice().copy_from_slice(&pattern(value + 1, max));
        match op {
            Send(..) => grant.commit(len, meta(value + 1)),
            Stage(..) => grant.stage(len, meta(value + 1)),
            _ => continue,
        }
        value += 1;
    }
}

fn check(record: &Record<'_, Arc<Heap>, Arc<Heap>>) -> u8 {
    let value = record.meta().checksum as u8;
    assert_eq!(record.meta(), meta(value), "never sent: meta");
    let mut words = [0; BIG / 8];
    record.copy_to(&mut words);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take(record.len()).collect();
    assert_eq!(bytes, pattern(value, record.len()), "never sent: payload");
    value
}

/// Waits for the next record.
fn wait(consumer: &mut HeapConsumer) -> Record<'_, Arc<Heap>, Arc<Heap>> {
    while !consumer.is_ready() {
        thread::yield_now();
    }
    consumer.next().unwrap_or_else(|corrupt| panic!("{corrupt}")).expect("it is ready")
}

/// Receives until the stream ends, and finds all that was sent, in order.
fn drain(consumer: &mut HeapConsumer, first: u8, last: u8) {
    let mut next = first;
    loop {
        if let Some(record) = consumer.next().unwrap_or_else(|corrupt| panic!("{corrupt}")) {
            assert_eq!(check(&record), next, "out of order");
            next += 1;
        } else if consumer.at_end().unwrap() {
            break;
        } else {
            thread::yield_now();
        }
    }
    assert_eq!(next - 1, last, "record lost");
}

/// One producer that runs `ops` and closes, one consumer that copies.
fn stream(position: u64, ops: &'static [Op], bound: usize) {
    let sent = ops.iter().filter(|op| matches!(op, Send(..) | Stage(..))).count() as u8;
    model(bound, move || {
        let (mut producer, mut consumer) = ring(position);
        let thread = thread::spawn(move || {
            produce(&mut producer, ops);
            producer.close();
            assert_eq!(producer.try_claim(0).unwrap_err(), ClaimError::Closed);
        });
        drain(&mut consumer, 1, sent);
        thread.join().unwrap();
    });
}

/// Near the end of the position space, two units before the end of the buffer.
const LATE: u64 = u64::MAX - 2 * UNIT + 1;

// Padding at the last unit, then a record at offset 0.
fn wrap() {
    stream(LATE, &[Send(SMALL, SMALL), Send(BIG, BIG), Send(SMALL, SMALL)], 4);
}
// A record that ends exactly where the buffer does, and more than the ring holds.
fn exact_end() {
    stream(LATE, &[Send(BIG, BIG), Send(BIG, BIG), Send(BIG, BIG), Send(BIG, BIG)], 3);
}
// Claims that are dropped, and claims of which only a part is committed.
fn dropped() {
    stream(0, &[Send(BIG, SMALL), Drop(BIG), Send(SMALL, SMALL), Drop(BIG), Send(BIG, SMALL)], 4);
}
// A batch with padding inside.
fn batch() {
    stream(LATE, &[Stage(SMALL, SMALL), Stage(BIG, BIG), Stage(BIG, SMALL), Publish, Send(SMALL, SMALL)], 4);
}
// A batch whose first word is the padding's.
fn batch_begins_with_padding() {
    stream(LATE, &[Send(SMALL, SMALL), Stage(BIG, BIG), Stage(SMALL, SMALL), Publish], 4);
}
// Grants of a batch that are dropped between staged ones.
fn batch_with_drops() {
    stream(LATE, &[Drop(BIG), Stage(BIG, SMALL), Drop(BIG), Stage(SMALL, SMALL), Drop(SMALL), Publish], 4);
}
// A batch that is longer than the ring: the full ring publishes it.
fn batch_fills_the_ring() {
    stream(0, &[Stage(BIG, BIG), Stage(BIG, BIG), Stage(BIG, BIG), Stage(BIG, BIG)], 3);
}
// A commit, and the end right behind it.
fn close_behind_a_send() {
    stream(0, &[Send(SMALL, SMALL)], 4);
}

#[test]
fn records_wrap_behind_padding() {
    wrap();
}
#[test]
fn records_end_exactly_at_the_end() {
    exact_end();
}
#[test]
fn dropped_grants_leave_no_trace() {
    dropped();
}
#[test]
fn a_batch_wraps() {
    batch();
}
#[test]
fn a_batch_begins_with_padding() {
    batch_begins_with_padding();
}
#[test]
fn a_batch_with_dropped_grants() {
    batch_with_drops();
}
#[test]
fn a_full_ring_publishes_the_open_batch() {
    batch_fills_the_ring();
}
#[test]
fn close_loses_nothing() {
    close_behind_a_send();
}

macro_rules! mutants {
    ($($test:ident: $mutant:ident in $model:ident fails with $expected:literal;)*) => { $(
        #[test]
        #[should_panic(expected = $expected)]
        fn $test() {
            mutant::with(stringify!($mutant), $model);
        }
    )* };
}

mutants! {
    mutant_no_zero_after_the_record: no_zero in wrap fails with "never sent";
    mutant_no_zero_at_the_exact_end: no_zero in exact_end fails with "never sent";
    mutant_no_zero_after_the_batch: no_zero in batch fails with "never sent";
    mutant_no_zero_after_dropped_grants: no_zero in batch_with_drops fails with "never sent";
    mutant_zero_after_the_commit: zero_after_commit in wrap fails with "never sent";
    mutant_zero_at_the_claim: zero_at_claim in dropped fails with "never sent";
    mutant_no_reserve: no_reserve in exact_end fails with "record lost";
    mutant_commit_relaxed: commit_relaxed in wrap fails with "Causality violation";
    mutant_batch_commit_relaxed: commit_relaxed in batch_begins_with_padding fails with "Causality violation";
    mutant_consumer_without_fence: commit_no_acquire in wrap fails with "Causality violation";
    mutant_batch_publishes_its_first_word_first: first_word_first in batch fails with "Causality violation";
    mutant_padding_goes_first: first_word_first in batch_begins_with_padding fails with "never sent";
    mutant_close_relaxed: close_relaxed in close_behind_a_send fails with "record lost";
    mutant_end_without_fence: end_no_acquire in close_behind_a_send fails with "record lost";
    mutant_end_without_second_look: end_without_second_look in close_behind_a_send fails with "record lost";
}

fn hold(consumer: &mut HeapConsumer) -> HeapGuard {
    // SAFETY: producer and consumer are the real ones; what they do to each other's bytes is what loom checks.
    let trust = unsafe { HonestPeer::assume() };
    wait(consumer).into_guard(trust).map_err(|(_, error)| error).unwrap()
}

fn release(guard: HeapGuard, value: u8) {
    assert_eq!(*guard, pattern(value, guard.len()));
}

/// Receives these values by copy.
fn receive(consumer: &mut HeapConsumer, values: std::ops::RangeInclusive<u8>) {
    for value in values {
        assert_eq!(check(&wait(consumer)), value, "out of order");
    }
}

/// A ring that is full of records 1 (big), 2 (small), 3 and 4 (big).
fn full_ring() -> (HeapConsumer, HeapProducer) {
    let (mut producer, consumer) = ring(0);
    produce(&mut producer, &[Send(BIG, BIG), Send(SMALL, SMALL), Send(BIG, BIG), Send(BIG, BIG)]);
    (consumer, producer)
}

/// Sends record 5 into a full ring as soon as 1 and 2 are released: behind padding, its payload where the payload of 1 was.
fn send_fifth(producer: &mut HeapProducer) {
    while !producer.has_room(BIG).unwrap_or_else(|corrupt| panic!("{corrupt}")) {
        thread::yield_now();
    }
    let mut grant = producer.try_claim(BIG).unwrap();
    grant.as_mut_slice().copy_from_slice(&pattern(5, BIG));
    grant.commit(BIG, meta(5));
    // Looks at the head once more, which must not have gone back.
    producer.occupied_bytes().unwrap_or_else(|corrupt| panic!("{corrupt}"));
}

/// A full ring, and a thread that sends record 5.
fn full_ring_and_thread() -> (HeapConsumer, thread::JoinHandle<()>) {
    let (consumer, mut producer) = full_ring();
    (consumer, thread::spawn(move || send_fifth(&mut producer)))
}

// Space is used again as soon as it is released, and not before it was read.
fn space_is_used_again() {
    model(4, || {
        let (mut consumer, producer) = full_ring_and_thread();
        receive(&mut consumer, 1..=5);
        producer.join().unwrap();
    });
}

// Two guards end on two threads, in any order; then the ring goes on.
fn guards_on_two_threads() {
    model(3, || {
        let (mut consumer, producer) = full_ring_and_thread();
        let (first, second) = (hold(&mut consumer), hold(&mut consumer));
        let other = thread::spawn(move || release(second, 2));
        release(first, 1);
        other.join().unwrap();
        assert_eq!(consumer.held_bytes(), 0, "head lost");
        receive(&mut consumer, 3..=5);
        producer.join().unwrap();
    });
}

// A guard ends on another thread while the consumer goes on by copy: its head must come after the guard's reads.
fn guard_elsewhere_then_copies() {
    model(3, || {
        let (mut consumer, producer) = full_ring_and_thread();
        let first = hold(&mut consumer);
        let other = thread::spawn(move || release(first, 1));
        receive(&mut consumer, 2..=3);
        other.join().unwrap();
        receive(&mut consumer, 4..=5);
        producer.join().unwrap();
    });
}

// A record that needed the head of a guard on another thread, received while that thread may still be ending its guard.
// Producer and consumer share a thread: what matters is what the guard's thread has done in between.
fn guard_elsewhere_makes_room() {
    model(4, || {
        let (mut consumer, mut producer) = full_ring();
        let first = hold(&mut consumer);
        receive(&mut consumer, 2..=4);
        let other = thread::spawn(move || release(first, 1));
        send_fifth(&mut producer);
        receive(&mut consumer, 5..=5);
        other.join().unwrap();
        assert_eq!(consumer.held_bytes(), 0, "head lost");
    });
}

// Two holders of one record, on two threads.
fn two_holders() {
    model(3, || {
        let (mut consumer, producer) = full_ring_and_thread();
        let first = hold(&mut consumer);
        let second = first.clone();
        receive(&mut consumer, 2..=2);
        let other = thread::spawn(move || release(second, 1));
        release(first, 1);
        other.join().unwrap();
        receive(&mut consumer, 3..=5);
        producer.join().unwrap();
    });
}

// A guard is held over copied records, which then are released with it.
fn held_over_copies() {
    model(3, || {
        let (mut consumer, producer) = full_ring_and_thread();
        let first = hold(&mut consumer);
        receive(&mut consumer, 2..=3);
        release(first, 1);
        receive(&mut consumer, 4..=5);
        assert_eq!(consumer.held_bytes(), 0, "head lost");
        producer.join().unwrap();
    });
}

#[test]
fn space_is_read_before_it_is_used_again() {
    space_is_used_again();
}
#[test]
fn guards_end_in_any_order_on_any_thread() {
    guards_on_two_threads();
}
#[test]
fn copies_go_on_while_a_guard_ends_elsewhere() {
    guard_elsewhere_then_copies();
}
#[test]
fn a_guard_that_ends_elsewhere_makes_room() {
    guard_elsewhere_makes_room();
}
#[test]
fn a_record_is_held_until_its_last_holder_ends() {
    two_holders();
}
#[test]
fn a_guard_holds_what_was_received_after_it() {
    held_over_copies();
}

mutants! {
    mutant_head_relaxed: head_relaxed in space_is_used_again fails with "Causality violation";
    mutant_producer_without_fence: head_no_acquire in space_is_used_again fails with "Causality violation";
    mutant_guard_head_relaxed: head_relaxed in guards_on_two_threads fails with "Causality violation";
    mutant_head_outside_the_lock: head_outside_lock in guards_on_two_threads fails with "head lost";
    mutant_log_head_after_the_published_one: log_head_after in guard_elsewhere_makes_room fails with "not released";
    mutant_held_relaxed: held_relaxed in guard_elsewhere_then_copies fails with "head went back";
    mutant_copies_pass_a_guard: pass_held in held_over_copies fails with "Causality violation";
    mutant_clone_is_not_counted: clone_not_counted in two_holders fails with "Out of bounds access";
}

// The producer goes to sleep for room while a guard ends on another thread.
fn sleep_for_room() {
    model(4, || {
        let (mut consumer, mut producer) = full_ring();
        let first = hold(&mut consumer);
        receive(&mut consumer, 2..=2);
        let other = thread::spawn(move || first.release());
        producer.arm_space();
        let room = producer.has_room(BIG).unwrap();
        assert!(other.join().unwrap() || room, "nobody wakes the producer");
    });
}

// The consumer goes to sleep for data while the producer sends.
fn sleep_for_data() {
    model(4, || {
        let (mut producer, mut consumer) = ring(0);
        let other = thread::spawn(move || {
            produce(&mut producer, &[Send(BIG, BIG)]);
            producer.must_ring_data()
        });
        consumer.arm_data();
        let ready = consumer.is_ready();
        assert!(other.join().unwrap() || ready, "nobody wakes the consumer");
    });
}

#[test]
fn a_producer_that_sleeps_for_room_is_woken() {
    sleep_for_room();
}
#[test]
fn a_consumer_that_sleeps_for_data_is_woken() {
    sleep_for_data();
}

mutants! {
    mutant_producer_sleeps_without_fence: sleeper_no_fence in sleep_for_room fails with "nobody wakes the producer";
    mutant_guard_rings_without_fence: ringer_no_fence in sleep_for_room fails with "nobody wakes the producer";
    mutant_consumer_sleeps_without_fence: sleeper_no_fence in sleep_for_data fails with "nobody wakes the consumer";
    mutant_producer_rings_without_fence: ringer_no_fence in sleep_for_data fails with "nobody wakes the consumer";
}
