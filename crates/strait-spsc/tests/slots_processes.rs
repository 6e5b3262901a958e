//! Slots between two real processes: two files, each mapped writable by one of them and read-only by the other.
#![cfg(not(strait_loom))]

mod common;

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::mapped::{make, own, peers};
use strait_spsc::slots::shared::{Consumer, Geometry, PopError, Producer, PushError, control};

const DIRECTORY: &str = "STRAIT_SLOTS_DIRECTORY";
const VALUES: u64 = 50_000;

type Value = [u64; 6];

fn ring() -> Geometry<Value> {
    Geometry::new(0, control::BYTES, 256).unwrap()
}

fn value(number: u64) -> Value {
    std::array::from_fn(|index| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(index as u32))
}

/// Calls `attempt` until it gives something, for a generous while.
fn until<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < end, "the other process does nothing");
        thread::yield_now();
    }
}

/// The child: does nothing unless it was started as one.
#[test]
fn child_pushes() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let (own, peers) = (own(directory, "producer"), peers(directory, "consumer"));
    let mut producer = Producer::new(own, ring(), peers, 0).unwrap();
    for number in 0..VALUES {
        until(|| match producer.try_push(&value(number)) {
            Ok(()) => Some(()),
            Err(PushError::Full) => None,
            Err(error) => panic!("{error}"),
        });
    }
}

#[test]
fn values_travel_between_processes() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path(), "producer", ring().end());
    make(directory.path(), "consumer", control::BYTES);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_pushes", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .spawn()
        .unwrap();
    let (own, peers) = (own(directory.path(), "consumer"), peers(directory.path(), "producer"));
    let mut consumer = Consumer::new(own, 0, peers, ring()).unwrap();
    let (mut values, mut next) = ([[0; 6]; 100], 0);
    loop {
        let popped = until(|| match consumer.pop_slice(&mut values) {
            Ok(count) => Some(count),
            Err(PopError::Empty) => None,
            Err(PopError::Abandoned) => Some(0),
            Err(error) => panic!("{error}"),
        });
        if popped == 0 {
            break;
        }
        for popped in &values[..popped] {
            assert_eq!(*popped, value(next));
            next += 1;
        }
    }
    assert_eq!(next, VALUES);
    assert!(child.wait().unwrap().success());
}
