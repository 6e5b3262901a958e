//! Slots between two real processes: two files, each mapped writable by one of them and read-only by the other.
#![cfg(not(strait_loom))]
#![allow(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use memmap2::{MmapOptions, MmapRaw};
use strait_spsc::slots::shared::{Consumer, Geometry, PopError, Producer, PushError, control};
use strait_sync::{RawWords, Words, WordsMut};

const DIRECTORY: &str = "STRAIT_SLOTS_DIRECTORY";
const VALUES: u64 = 50_000;

type Value = [u64; 6];

fn ring() -> Geometry<Value> {
    Geometry::new(0, control::BYTES, 256).unwrap()
}

fn value(number: u64) -> Value {
    std::array::from_fn(|index| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(index as u32))
}

/// A mapped file.
struct Mapped {
    raw: RawWords,
    _map: MmapRaw,
}

impl Mapped {
    fn new(map: MmapRaw) -> Self {
        let base = std::ptr::NonNull::new(map.as_mut_ptr()).unwrap();
        // SAFETY: the map is page aligned, keeps its address until it is dropped, and is only accessed through this.
        let raw = unsafe { RawWords::new(base, map.len()) };
        Self { raw, _map: map }
    }
}

// SAFETY: the map lives as long as `self`, at the same address.
unsafe impl Words for Mapped {
    fn raw(&self) -> &RawWords {
        &self.raw
    }
}

/// A file that is mapped writable.
struct Own(Mapped);

// SAFETY: as for `Mapped`.
unsafe impl Words for Own {
    fn raw(&self) -> &RawWords {
        self.0.raw()
    }
}

// SAFETY: it is mapped writable.
unsafe impl WordsMut for Own {}

fn own(directory: &Path, name: &str) -> Own {
    let file = OpenOptions::new().read(true).write(true).open(directory.join(name)).unwrap();
    Own(Mapped::new(MmapOptions::new().map_raw(&file).unwrap()))
}

fn peers(directory: &Path, name: &str) -> Mapped {
    let file = File::open(directory.join(name)).unwrap();
    Mapped::new(MmapOptions::new().map_raw_read_only(&file).unwrap())
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
    for (name, len_bytes) in [("producer", ring().end()), ("consumer", control::BYTES)] {
        File::create(directory.path().join(name)).unwrap().set_len(len_bytes as u64).unwrap();
    }
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
