//! Slots between two memories: a producer that dies or stops under its consumer, and the other way round.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use strait::{
    region::{HEADER_BYTES, NamedRegion, NamedView},
    spsc::slots::shared::{Consumer, Geometry, PopError, Producer, PushError, control},
};

use super::Role;
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    journal::Journal,
    place::Place,
    region,
};

pub(super) const ROLES: &[Role] = &[
    Role { name: "producer", play: push, survive: pop_from_a_producer },
    Role { name: "consumer", play: pop, survive: push_to_a_consumer },
];

type Value = [u64; 6];
type Pushes = Producer<Value, Arc<NamedRegion>, Arc<NamedView>>;
type Pops = Consumer<Value, Arc<NamedRegion>, Arc<NamedView>>;

const VALUES: u64 = 300;
const CAPACITY: usize = 16;
const BATCH: usize = 5;
const DONE: &str = "done";

fn ring() -> Outcome<Geometry<Value>> {
    Geometry::new(HEADER_BYTES, HEADER_BYTES + control::BYTES, CAPACITY).told("the ring")
}

fn value(number: u64) -> Value {
    std::array::from_fn(|index| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(index as u32 * 7))
}

/// Two memories, made anew for each pair of ends: neither end goes on where another one ended.
fn memories(place: &Place) -> Outcome<[Arc<NamedRegion>; 2]> {
    Ok([
        region::make(place, "of the producer", ring()?.end())?,
        region::make(place, "of the consumer", control::BYTES)?,
    ])
}

fn producer(place: &Place) -> Outcome<Pushes> {
    let (own, peer) = (region::open(place, "of the producer")?, region::view(place, "of the consumer")?);
    Producer::new(own, ring()?, peer, HEADER_BYTES).told("the producer")
}

fn consumer(place: &Place) -> Outcome<Pops> {
    let (own, peer) = (region::open(place, "of the consumer")?, region::view(place, "of the producer")?);
    Consumer::new(own, HEADER_BYTES, peer, ring()?).told("the consumer")
}

/// Pushes up to a batch; how many, or `None` where the consumer has left. Shows now and then that it sleeps, as who waits would.
fn push_some(producer: &mut Pushes, next: u64) -> Outcome<Option<usize>> {
    let values: [Value; BATCH] = std::array::from_fn(|index| value(next + index as u64));
    match producer.push_slice(&values[..1 + next as usize % BATCH]) {
        Ok(count) => {
            producer.must_ring_data();
            Ok(Some(count))
        }
        Err(PushError::Full) => {
            producer.arm_space();
            std::thread::sleep(Duration::from_micros(200));
            producer.disarm_space();
            Ok(Some(0))
        }
        Err(PushError::Abandoned) => Ok(None),
        Err(error) => Err(format!("push: {error}")),
    }
}

/// Pops up to a batch, which must be what is next; how many, or `None` at the end.
fn pop_some(consumer: &mut Pops, next: u64) -> Outcome<Option<usize>> {
    let mut values = [[0; 6]; BATCH];
    match consumer.pop_slice(&mut values) {
        Ok(count) => {
            consumer.must_ring_space();
            match values[..count].iter().zip(next..).find(|(found, number)| **found != value(*number)) {
                Some((_, number)) => Err(format!("value {number} is torn, or another one")),
                None => Ok(Some(count)),
            }
        }
        Err(PopError::Empty) => {
            consumer.arm_data();
            std::thread::sleep(Duration::from_micros(200));
            consumer.disarm_data();
            Ok(Some(0))
        }
        Err(PopError::Abandoned) => Ok(None),
        Err(error) => Err(format!("pop: {error}")),
    }
}

fn push(place: &Place) -> Outcome {
    let (mut producer, done, mut next) = (producer(place)?, Journal::open(&place.data(), DONE)?, 0);
    while next < VALUES {
        let count = push_some(&mut producer, next)?.ok_or("the consumer has left")? as u64;
        next += count;
        if count > 0 {
            done.note(DONE, next)?;
        }
        pause(next);
    }
    Ok(())
}

/// One end is empty now, and the other full then.
fn pause(next: u64) {
    if next % 60 < 4 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn pop(place: &Place) -> Outcome {
    let (mut consumer, done, mut next) = (consumer(place)?, Journal::open(&place.data(), DONE)?, 0);
    while next < VALUES {
        let Some(count) = pop_some(&mut consumer, next)? else { return Err(format!("the producer left at {next}")) };
        next += count as u64;
        done.note(DONE, next)?;
        std::thread::sleep(Duration::from_micros(if next % 100 < 50 { 300 } else { 0 }));
    }
    Ok(())
}

/// How far the one end says that it is.
fn done(place: &Place) -> u64 {
    Journal::read(&place.data(), DONE, DONE).last().copied().unwrap_or(0)
}

fn pop_from_a_producer(case: &mut Case) -> Outcome {
    let mut memories_kept = memories(&case.place)?;
    case.each(|case| {
        let (mut consumer, mut next) = (consumer(&case.place)?, 0);
        loop {
            case.patience("popping")?;
            // Looked at before: what it pushed before it ended is there then.
            let over = case.is_over();
            match case.within("pop", CALL, || pop_some(&mut consumer, next))?? {
                Some(0) if over => break,
                Some(count) => next += count as u64,
                None => break,
            }
        }
        if next < done(&case.place) {
            return Err(format!("{} values were pushed, {next} came", done(&case.place)));
        }
        drop(consumer);
        renew(&case.place, &mut memories_kept)
    })?;
    drop(memories_kept);
    clean(&case.place)
}

/// Other memories for the next pair.
fn renew(place: &Place, kept: &mut [Arc<NamedRegion>; 2]) -> Outcome {
    let _ = std::fs::remove_file(place.data().join(DONE));
    for region in ["of the producer", "of the consumer"] {
        let _ = std::fs::remove_file(place.data().join(region));
    }
    *kept = memories(place)?;
    Ok(())
}

fn clean(place: &Place) -> Outcome {
    let left = crate::leaks::names(&place.data());
    if left.iter().any(|name| name != DONE) { Err(format!("regions are left: {left:?}")) } else { Ok(()) }
}

fn push_to_a_consumer(case: &mut Case) -> Outcome {
    let mut memories_kept = memories(&case.place)?;
    case.each(|case| {
        let (mut producer, mut next, begun) = (producer(&case.place)?, 0, Instant::now());
        while !case.is_over() && begun.elapsed() < PATIENCE {
            // It says that it has left when it has all.
            let Some(count) = case.within("push", CALL, || push_some(&mut producer, next))?? else { break };
            next += count as u64;
            pause(next);
        }
        // No more than a ring is on its way, and what was popped was pushed.
        let popped = done(&case.place);
        if popped > next {
            return Err(format!("{popped} values were popped of {next}"));
        }
        drop(producer);
        renew(&case.place, &mut memories_kept)
    })?;
    drop(memories_kept);
    clean(&case.place)
}
