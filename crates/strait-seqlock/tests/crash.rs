//! A writer in another process, over a shared file, that is killed wherever it happens to be, a thousand times.
//!
//! `STRAIT_STORM_ROUNDS` is how often (default 1000), `STRAIT_SEED` decides when; the moments themselves are the machine's.
#![cfg(not(strait_loom))]
#![allow(unsafe_code)]

mod common;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use common::{
    Random, check, fill, len_of,
    mapped::{Mapped, Own},
    storm_rounds, within,
};
use strait_seqlock::{
    ReadError, WaitError,
    snapshot::{Geometry, Reader, Writer, control},
};
use strait_sync::{Words, WordsMut};

const MAX: usize = 32 << 10;
const FILE: &str = "STRAIT_SEQLOCK_FILE";

fn geometry() -> Geometry {
    Geometry::new(MAX).unwrap().at(128).unwrap()
}

/// Behind the snapshot: the last version whose commit has returned.
fn committed_at() -> usize {
    geometry().end().next_multiple_of(8)
}

/// The writer's process: goes on where the last one was killed, and writes until it is killed itself.
#[test]
fn role_writer() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let (own, report) = (Own::writable(Path::new(&path)), Own::writable(Path::new(&path)));
    // SAFETY: the parent starts one writer at a time.
    let mut writer = unsafe { Writer::take_over(own, geometry()) }.unwrap();
    let born = Instant::now();
    let mut bytes = vec![0; 2048];
    // One whose parent is gone ends, too.
    while born.elapsed() < Duration::from_secs(60) {
        let version = writer.version() + 1;
        let mut claim = writer.claim();
        let len = len_of(version, MAX);
        while claim.len() < len {
            let piece = &mut bytes[..(len - claim.len()).min(2048)];
            fill(version, claim.len(), piece);
            claim.append(piece).unwrap();
        }
        claim.commit();
        // ORDERING: Release; after the commit. The parent reads it after this process has ended.
        report.store(committed_at(), version, Ordering::Release);
        writer.notify();
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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
    file.as_file().set_len(committed_at() as u64 + 8).unwrap();
    let mut reader = Reader::new(Mapped::read_only(file.path()), geometry()).unwrap();
    let observer = Mapped::read_only(file.path());
    let (mut random, mut bytes, mut last, mut half_written) = (Random::seeded(), Vec::new(), 0, 0);
    let rounds = storm_rounds();
    for round in 0..rounds {
        let mut writer = start_writer(file.path());
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(reader.wait_changed(last, Some(deadline)).unwrap() > last);
        let kill = Instant::now() + Duration::from_micros(random.next() % 3000);
        while Instant::now() < kill {
            match within(Duration::ZERO, || reader.read_to_vec(&mut bytes)) {
                Ok(snapshot) => {
                    assert!(snapshot.version >= last);
                    last = snapshot.version;
                    check(last, &bytes, MAX);
                }
                Err(ReadError::Contended { .. }) => thread::yield_now(),
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        let ended = writer.0.try_wait().unwrap();
        assert!(ended.is_none(), "round {round}: the writer ended by itself: {ended:?}");
        drop(writer);
        // Nobody writes now: the first attempt succeeds, and each one reads the same.
        let committed = observer.load(committed_at());
        for _ in 0..2 {
            let snapshot = within(Duration::ZERO, || reader.read_to_vec(&mut bytes));
            let snapshot = snapshot.unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert!(snapshot.version >= last, "{} after {last}", snapshot.version);
            assert!(snapshot.version >= committed, "round {round}: version {committed} was committed and is lost");
            last = snapshot.version;
            check(last, &bytes, MAX);
        }
        // Who waits for the next one waits for its deadline, whatever the dead writer has left.
        let wait = Duration::from_micros(random.next() % 500);
        let waited = within(wait, || reader.wait_changed(last, Some(Instant::now() + wait)));
        assert_eq!(waited, Err(WaitError::TimedOut { version: last }), "round {round}");
        let sequence = |slot| observer.load(128 + control::SLOTS + slot * control::SLOT_BYTES + control::SEQUENCE);
        half_written += u64::from((0..geometry().slots()).any(|slot| sequence(slot) % 2 == 1));
    }
    println!("{rounds} killed, {half_written} of them in the middle of a write; {last} values");
    assert!(half_written > rounds / 10, "only {half_written} of {rounds} writers died in the middle of a write");
}
