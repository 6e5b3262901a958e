//! A reader in another process that holds values in place, and is killed wherever it happens to be: with a value pinned, or
//! about to pin one, a thousand times. The writer's memory is mapped read-only there; its hazard word lies in memory of its own.
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
    Random, check, len_of,
    mapped::{Mapped, Own},
    storm_rounds, value, within,
};
use strait_seqlock::{
    PinError,
    snapshot::{Geometry, PinnedReader, Writer},
};
use strait_sync::{HonestPeer, Words, WordsMut};

const MAX: usize = 4 << 10;
const WRITER: &str = "STRAIT_SEQLOCK_WRITER";
const READER: &str = "STRAIT_SEQLOCK_READER";

/// Offset of the hazard word in the reader's memory. Behind it lies what it reports.
const HAZARD: usize = 0;
/// How many values it has held and checked.
const HELD: usize = 128;
/// The version that it holds now; 0 while it holds none.
const HOLDS: usize = 256;
const READER_BYTES: u64 = 4096;

fn geometry() -> Geometry {
    Geometry::new(MAX).unwrap().with_pins(1).unwrap()
}

/// The reader's process: pins the latest value and checks it twice, with time for the writer to come round in between, until it
/// is killed.
#[test]
fn role_reader() {
    let (Some(writer), Some(own)) = (std::env::var_os(WRITER), std::env::var_os(READER)) else { return };
    let (peer, own) = (Mapped::read_only(Path::new(&writer)), Own::writable(Path::new(&own)));
    let report = Own::writable(Path::new(&std::env::var_os(READER).unwrap()));
    // SAFETY: the parent grants a pin to this word before it starts this process, and goes by the protocol.
    let trust = unsafe { HonestPeer::assume() };
    let mut reader = PinnedReader::new(own, HAZARD, peer, geometry(), trust).unwrap();
    let (mut last, born) = (0, Instant::now());
    for held in 1.. {
        if born.elapsed() > Duration::from_secs(60) {
            return; // the parent is gone
        }
        let pinned = match reader.pin() {
            Ok(pinned) => pinned,
            Err(PinError::Contended { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        assert!(pinned.version() >= last, "{} after {last}", pinned.version());
        last = pinned.version();
        report.store(HOLDS, last, Ordering::Release);
        check(last, &pinned, MAX);
        // The writer writes about once a microsecond.
        let until = Instant::now() + Duration::from_micros(20);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        check(last, &pinned, MAX);
        report.store(HOLDS, 0, Ordering::Release);
        drop(pinned);
        report.store(HELD, held, Ordering::Release);
    }
}

struct Reader(Child);

impl Reader {
    fn start(writer: &Path, own: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "role_reader", "--nocapture"]).env(WRITER, writer).env(READER, own);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// Panics where the reader has ended by itself: it has found a value torn.
    fn expect_alive(&mut self, round: u64) {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "round {round}: the reader ended by itself: {ended:?}");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_reader_killed_while_it_pins_costs_one_slot_until_its_pin_is_revoked() {
    let files = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    let [shared, readers] = &files;
    shared.as_file().set_len(geometry().end() as u64).unwrap();
    readers.as_file().set_len(READER_BYTES).unwrap();
    // SAFETY: the file is new, and this is its only writer.
    let writer = unsafe { Writer::new(Own::writable(shared.path()), geometry()) }.unwrap();
    let mut writer = writer.with_pins::<Mapped>();
    let write = |writer: &mut Writer<Own, _>| {
        let version = writer.version() + 1;
        let value = value(version, len_of(version, MAX));
        assert_eq!(within(Duration::ZERO, || writer.write(&value)), Ok(version));
    };
    write(&mut writer);
    let reports = Own::writable(readers.path());
    let (mut random, mut killed_while_pinning, rounds) = (Random::seeded(), 0, storm_rounds());
    for round in 0..rounds {
        // A reader starts with a hazard word of 0, whatever the last one left there.
        for offset in [HAZARD, HELD, HOLDS] {
            reports.store(offset, 0, Ordering::Release);
        }
        let pin = writer.grant(Mapped::read_only(readers.path()), HAZARD).unwrap();
        let mut reader = Reader::start(shared.path(), readers.path());
        let deadline = Instant::now() + Duration::from_secs(30);
        while reports.load(HELD) < 2 {
            assert!(Instant::now() < deadline, "round {round}: the reader holds nothing");
            write(&mut writer);
            reader.expect_alive(round);
            thread::yield_now();
        }
        let kill = Instant::now() + Duration::from_micros(random.next() % 1000);
        while Instant::now() < kill {
            write(&mut writer);
        }
        reader.expect_alive(round);
        drop(reader);

        // What it held when it died stays as it was, however often the writer comes round, and the writer never stops.
        let (hazard, holds) = (reports.load(HAZARD), reports.load(HOLDS));
        let observer = Mapped::read_only(shared.path());
        let slot = (hazard as usize).checked_sub(1);
        let held = slot.map(|slot| bytes_of(&observer, slot));
        if holds != 0 {
            let held =
                held.as_ref().unwrap_or_else(|| panic!("round {round}: it held version {holds} without a hazard"));
            check(holds, &held[..len_of(holds, MAX)], MAX);
            killed_while_pinning += 1;
        }
        (0..3 * geometry().slots()).for_each(|_| write(&mut writer));
        let still = slot.map(|slot| bytes_of(&observer, slot));
        assert!(still == held, "round {round}: the slot of a dead reader was written before its pin was revoked");

        assert!(writer.revoke(pin).is_some());
        (0..3 * geometry().slots()).for_each(|_| write(&mut writer));
        let after = slot.map(|slot| bytes_of(&observer, slot));
        assert!(slot.is_none() || after != held, "round {round}: a pin that was revoked still holds its slot");
    }
    println!("{rounds} killed, {killed_while_pinning} of them with a pin; {} values", writer.version());
    assert!(killed_while_pinning > rounds / 4, "only {killed_while_pinning} of {rounds} readers died with a pin");
}

/// All bytes of a slot as they are now. Nobody writes meanwhile: the test is the writer.
fn bytes_of(memory: &impl Words, slot: usize) -> Vec<u8> {
    let mut words = vec![0; MAX / 8];
    memory.copy_out(geometry().control_bytes() + slot * MAX, &mut words);
    words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect()
}
