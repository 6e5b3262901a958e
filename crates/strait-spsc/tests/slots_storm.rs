//! Slots between two real processes, one of which is killed wherever it happens to be, a thousand times.
//!
//! `STRAIT_STORM_ROUNDS` is how often (default 1000), `STRAIT_SEED` decides who and when; the moments themselves are the machine's.
#![cfg(not(strait_loom))]

mod common;

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{
    Random,
    mapped::{Mapped, Own, make, own, peers},
};
use strait_spsc::slots::shared::{Consumer, Geometry, PopError, Producer, PushError, control};
use strait_sync::{Heap, Words, WordsMut};

const DIRECTORY: &str = "STRAIT_SLOTS_DIRECTORY";
const ROLE: &str = "STRAIT_SLOTS_ROLE";
const START: &str = "STRAIT_SLOTS_START";

const CAPACITY: usize = 32;
const BATCH: usize = 5;
/// No call waits for the other end: it must end at once, and a little later on a machine that does much else.
const GRACE: Duration = Duration::from_secs(2);

type Value = [u64; 6];

fn ring() -> Geometry<Value> {
    Geometry::new(0, control::BYTES, CAPACITY).unwrap()
}

fn value(number: u64) -> Value {
    std::array::from_fn(|index| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(index as u32))
}

/// What the child tells in a file of its own.
mod report {
    pub(super) const BYTES: usize = 128;
    /// How many values it may have pushed, or popped, when the call returns that it is in.
    pub(super) const BEGUN: usize = 0;
    /// How many it has, by the calls that have returned.
    pub(super) const DONE: usize = 8;
}

/// Which end the child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Produces,
    Consumes,
}

/// The files of one round, in which positions begin at `start`.
struct Round<'a> {
    directory: &'a Path,
    start: u64,
}

impl Round<'_> {
    /// Files of a ring that nobody has used.
    fn make(&self) {
        make(self.directory, "producer", ring().end());
        make(self.directory, "consumer", control::BYTES);
        make(self.directory, "report", report::BYTES);
        // So that neither end, whichever comes first, finds the other somewhere else.
        // ORDERING: Relaxed; the child is started after it.
        own(self.directory, "producer").store(ring().control() + control::TAIL, self.start, Ordering::Relaxed);
        // ORDERING: as above.
        own(self.directory, "consumer").store(control::HEAD, self.start, Ordering::Relaxed);
    }

    fn producer(&self) -> Producer<Value, Own, Mapped> {
        let (own, peers) = (own(self.directory, "producer"), peers(self.directory, "consumer"));
        Producer::starting_at(own, ring(), peers, 0, self.start).unwrap()
    }

    fn consumer(&self) -> Consumer<Value, Own, Mapped> {
        let (own, peers) = (own(self.directory, "consumer"), peers(self.directory, "producer"));
        Consumer::starting_at(own, 0, peers, ring(), self.start).unwrap()
    }
}

/// Pushes 1 to `BATCH` values from number `next` on; returns how many.
fn push(producer: &mut Producer<Value, Own, Mapped>, next: u64) -> Option<usize> {
    let values: [Value; BATCH] = std::array::from_fn(|index| value(next + index as u64));
    match in_time(|| producer.push_slice(&values[..1 + next as usize % BATCH])) {
        Ok(count) => Some(count),
        Err(PushError::Full) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Pops up to `BATCH` values, and checks that they are those from number `next` on; returns how many.
fn pop(consumer: &mut Consumer<Value, impl WordsMut, Mapped>, next: u64) -> Option<usize> {
    let mut values = [[0; 6]; BATCH];
    let count = match in_time(|| consumer.pop_slice(&mut values)) {
        Ok(count) => count,
        Err(PopError::Empty) => return None,
        Err(error) => panic!("{error}"),
    };
    for (number, popped) in (next..).zip(&values[..count]) {
        assert_eq!(*popped, value(number), "value {number}");
    }
    Some(count)
}

#[track_caller]
fn in_time<R>(call: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = call();
    assert!(start.elapsed() < GRACE, "a call took {:?}", start.elapsed());
    result
}

/// The child: does nothing unless it was started as one; pushes or pops until it is killed.
#[test]
fn child_is_one_end() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let round = Round { directory: Path::new(&directory), start: env::var(START).unwrap().parse().unwrap() };
    let report = own(round.directory, "report");
    // ORDERING: Release; the calls stay between the two that tell of them. The parent reads it after this process has ended.
    let tell = |offset, number| report.store(offset, number, Ordering::Release);
    let role = env::var(ROLE).unwrap();
    let mut call: Box<dyn FnMut(u64) -> Option<usize>> = if role == "Produces" {
        let mut producer = round.producer();
        Box::new(move |next| push(&mut producer, next))
    } else {
        let mut consumer = round.consumer();
        Box::new(move |next| pop(&mut consumer, next))
    };
    let (mut next, born) = (0, Instant::now());
    // One whose parent is gone ends, too.
    while born.elapsed() < Duration::from_secs(60) {
        tell(report::BEGUN, next + BATCH as u64);
        match call(next) {
            Some(count) => next += count as u64,
            None => thread::yield_now(),
        }
        tell(report::DONE, next);
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(round: &Round<'_>, role: Role) -> Killed {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child_is_one_end", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, round.directory).env(ROLE, format!("{role:?}")).env(START, round.start.to_string());
    Killed(command.stdout(Stdio::null()).spawn().unwrap())
}

/// Makes calls for a while and kills the other end; returns how many values went through this one.
fn calls_until_killed(mut child: Killed, after: Duration, mut call: impl FnMut(u64) -> Option<usize>) -> u64 {
    let (mut next, born) = (0, Instant::now());
    let mut began = None;
    while began.is_none_or(|began: Instant| began.elapsed() < after) {
        match call(next) {
            Some(count) => next += count as u64,
            None => thread::yield_now(),
        }
        // A ring's worth has gone through: the child is there.
        if next > CAPACITY as u64 {
            began.get_or_insert_with(Instant::now);
        }
        assert!(born.elapsed() < Duration::from_secs(30), "the other end does nothing");
    }
    let ended = child.0.try_wait().unwrap();
    assert!(ended.is_none(), "the other end ended by itself: {ended:?}");
    drop(child);
    next
}

#[test]
fn what_a_killed_end_had_pushed_comes_and_what_it_had_not_popped_stays() {
    let rounds = env::var("STRAIT_STORM_ROUNDS").map_or(1000, |rounds| rounds.parse().expect("a number"));
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let (mut within, mut values) = (0, 0);
    for number in 0..rounds {
        // In many rounds positions wrap.
        let round = Round { directory: directory.path(), start: 0u64.wrapping_sub(random.next() % 4000) };
        round.make();
        let role = if number % 2 == 0 { Role::Produces } else { Role::Consumes };
        let after = Duration::from_micros(random.next() % 1500);
        let child = start(&round, role);
        let report = peers(directory.path(), "report");
        let went = match role {
            Role::Produces => {
                let mut consumer = round.consumer();
                let mut next = calls_until_killed(child, after, |next| pop(&mut consumer, next));
                while let Some(count) = pop(&mut consumer, next) {
                    next += count as u64;
                }
                assert!(!consumer.is_abandoned(), "the dead say nothing");
                next
            }
            Role::Consumes => {
                let mut producer = round.producer();
                let mut next = calls_until_killed(child, after, |next| push(&mut producer, next));
                while let Some(count) = push(&mut producer, next) {
                    next += count as u64;
                }
                // Full: what the dead consumer had not released is all there, and nothing else is.
                let head = next - CAPACITY as u64;
                let (scratch, peers) = (Arc::new(Heap::zeroed(control::BYTES)), peers(directory.path(), "producer"));
                let position = round.start.wrapping_add(head);
                let mut rest = Consumer::starting_at(scratch, 0, peers, ring(), position).unwrap();
                let mut looked = head;
                while let Some(count) = pop(&mut rest, looked) {
                    looked += count as u64;
                }
                assert_eq!(looked, next, "round {number}: what stays of a ring that is full");
                head
            }
        };
        let (done, begun) = (report.load(report::DONE), report.load(report::BEGUN));
        assert!(
            (done..=begun).contains(&went),
            "round {number}, {role:?}: {went} went, {done} were done, {begun} begun"
        );
        within += u64::from(done < went);
        values += went;
    }
    println!("{rounds} killed, {within} of them after a call had taken effect and before it returned; {values} values");
    assert!(values > rounds * CAPACITY as u64, "this was no storm");
}
