//! A writer in another process, over a shared file, that is killed wherever it happens to be.
#![cfg(not(strait_loom))]
#![allow(unsafe_code)]

mod common;

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{Random, check, fill, len_of};
use memmap2::{MmapOptions, MmapRaw};
use strait_seqlock::{
    ReadError,
    snapshot::{Geometry, Reader, Writer, control},
};
use strait_sync::{RawWords, Words, WordsMut};

const ROUNDS: u64 = 200;
const MAX: usize = 32 << 10;
const FILE: &str = "STRAIT_SEQLOCK_FILE";

fn geometry() -> Geometry {
    Geometry::new(MAX).unwrap().at(128).unwrap()
}

/// A shared file, mapped read-only.
struct Peer {
    words: RawWords,
    _map: MmapRaw,
}

impl Peer {
    fn new(map: MmapRaw) -> Self {
        let base = std::ptr::NonNull::new(map.as_mut_ptr()).unwrap();
        // SAFETY: the mapping is as long as it says, aligned to a page, and lives as long as the words do.
        let words = unsafe { RawWords::new(base, map.len()) };
        Self { words, _map: map }
    }
}

// SAFETY: the mapping does not move, and lives as long as `self`.
unsafe impl Words for Peer {
    fn raw(&self) -> &RawWords {
        &self.words
    }
}

/// The same, mapped for writing too.
struct Own(Peer);

// SAFETY: as for `Peer`.
unsafe impl Words for Own {
    fn raw(&self) -> &RawWords {
        self.0.raw()
    }
}

// SAFETY: mapped writable.
unsafe impl WordsMut for Own {}

/// The writer's process: goes on where the last one was killed, and writes until it is killed itself.
#[test]
fn role_writer() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let file = File::options().read(true).write(true).open(path).unwrap();
    let own = Own(Peer::new(MmapOptions::new().map_raw(&file).unwrap()));
    // SAFETY: the parent starts one writer at a time.
    let mut writer = unsafe { Writer::take_over(own, geometry()) }.unwrap();
    let mut bytes = vec![0; 2048];
    loop {
        let version = writer.version() + 1;
        let mut claim = writer.claim();
        let len = len_of(version, MAX);
        while claim.len() < len {
            let piece = &mut bytes[..(len - claim.len()).min(2048)];
            fill(version, claim.len(), piece);
            claim.append(piece).unwrap();
        }
        claim.commit();
        writer.notify();
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start_writer(path: &Path) -> Killed {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "role_writer", "--nocapture"]).env(FILE, path);
    Killed(command.stdout(Stdio::null()).spawn().unwrap())
}

#[test]
fn the_last_value_outlives_its_writer_and_the_next_writer_goes_on() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(geometry().end() as u64).unwrap();
    let read_only = File::open(file.path()).unwrap();
    let peer = Peer::new(MmapOptions::new().map_raw_read_only(&read_only).unwrap());
    let mut reader = Reader::new(peer, geometry()).unwrap();
    let observer = Peer::new(MmapOptions::new().map_raw_read_only(&read_only).unwrap());
    let (mut random, mut bytes, mut last, mut half_written) = (Random(11), Vec::new(), 0, 0);
    for round in 0..ROUNDS {
        let writer = start_writer(file.path());
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(reader.wait_changed(last, Some(deadline)).unwrap() > last);
        let kill = Instant::now() + Duration::from_micros(random.next() % 3000);
        while Instant::now() < kill {
            match reader.read_to_vec(&mut bytes) {
                Ok(snapshot) => {
                    assert!(snapshot.version >= last);
                    last = snapshot.version;
                    check(last, &bytes, MAX);
                }
                Err(ReadError::Contended { .. }) => thread::yield_now(),
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        drop(writer);
        // Nobody writes now: the first attempt succeeds, and each one reads the same.
        for _ in 0..2 {
            let snapshot = reader.read_to_vec(&mut bytes).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert!(snapshot.version >= last, "{} after {last}", snapshot.version);
            last = snapshot.version;
            check(last, &bytes, MAX);
        }
        let sequence = |slot| observer.load(128 + control::SLOTS + slot * control::SLOT_BYTES + control::SEQUENCE);
        half_written += u64::from((0..geometry().slots()).any(|slot| sequence(slot) % 2 == 1));
    }
    assert!(half_written > ROUNDS / 10, "only {half_written} of {ROUNDS} writers died in the middle of a write");
}
