//! Whatever a writer leaves in its memory, a reader says what is wrong; whatever readers write, the writer goes on.
#![cfg(not(strait_loom))]
#![allow(unsafe_code)]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Bare, Random, value};
use proptest::prelude::*;
use strait_seqlock::{
    Corrupt, PinError, ReadError, TakeOverError, Violation,
    snapshot::{Geometry, PinnedReader, Writer, control},
};
use strait_sync::{Heap, HonestPeer, Words, WordsMut};

const MAX: usize = 100;

fn bare() -> Bare {
    Bare::new(Geometry::new(MAX).unwrap())
}

fn latest(version: u64, slot: u64) -> u64 {
    version << 8 | slot
}

fn slot(slot: usize, word: usize) -> usize {
    control::SLOTS + slot * control::SLOT_BYTES + word
}

/// After one good value, `words` are written; the next read finds `expected`, and so does every later one.
#[track_caller]
fn finds(words: &[(usize, u64)], expected: Corrupt) {
    let bare = bare();
    let (mut reader, mut buffer) = (bare.reader(), [0; MAX]);
    bare.writer().write(b"good").unwrap();
    let good = bare.memory.load(control::LATEST);
    assert_eq!(reader.read_into(&mut buffer).unwrap().version, 1);
    words.iter().for_each(|&(offset, word)| bare.memory.store(offset, word, Ordering::Relaxed));
    assert_eq!(reader.read_into(&mut buffer), Err(ReadError::Corrupt(expected)));
    bare.memory.store(control::LATEST, good, Ordering::Relaxed);
    assert_eq!(reader.read_to_vec(&mut Vec::new()), Err(ReadError::Corrupt(expected)));
    assert_eq!(reader.clone().read_value::<u32>().unwrap_err(), ReadError::Corrupt(expected));
    assert_eq!(reader.wait_changed(1, None).unwrap_err().to_string(), expected.to_string());
}

#[test]
fn each_violation_by_its_name() {
    let corrupt = |what, version, found, limit| Corrupt { what, version, found, limit };
    finds(&[(control::LATEST, latest(2, 3))], corrupt(Violation::NoSuchSlot, 2, 3, 3));
    finds(&[(control::LATEST, latest(0, 0))], corrupt(Violation::VersionWentBack, 0, 0, 1));
    finds(
        &[(control::LATEST, u64::MAX << 8)],
        corrupt(Violation::VersionTooHigh, u64::MAX >> 8, u64::MAX >> 8, 1 << 55),
    );
    finds(&[(control::LATEST, latest(2, 0))], corrupt(Violation::NotWritten, 2, 0, 4));
    let too_long = [(control::LATEST, latest(2, 0)), (slot(0, control::SEQUENCE), 4), (slot(0, control::LENGTH), 101)];
    finds(&too_long, corrupt(Violation::TooLong, 2, 101, 100));
}

#[test]
fn a_slot_that_is_always_ahead_is_contention_and_not_a_hang() {
    let bare = bare();
    bare.writer().write(b"good").unwrap();
    bare.memory.store(slot(1, control::SEQUENCE), 3, Ordering::Relaxed);
    let mut reader = bare.reader().with_attempts(10);
    assert_eq!(reader.read_into(&mut [0; MAX]), Err(ReadError::Contended { attempts: 10, version: 1 }));
    assert_eq!(reader.stats().retries, 10);
}

#[test]
fn a_writer_that_ignores_a_pin_is_found_out() {
    let bare = bare();
    let mut writer = bare.writer();
    writer.write(b"good").unwrap();
    // SAFETY: what is pinned here is never looked at.
    let trust = unsafe { HonestPeer::assume() };
    let own = Heap::zeroed(128);
    let mut reader = PinnedReader::new(own, 0, bare.memory.clone(), bare.geometry, trust).unwrap();
    bare.memory.store(slot(1, control::SEQUENCE), 3, Ordering::Relaxed);
    let corrupt = Corrupt { what: Violation::PinIgnored, version: 1, found: 3, limit: 2 };
    assert_eq!(reader.pin().unwrap_err(), PinError::Corrupt(corrupt));
    assert_eq!(reader.pin().unwrap_err(), PinError::Corrupt(corrupt), "for ever");
}

#[test]
fn nobody_takes_over_what_is_no_snapshot() {
    for (word, what) in [
        (latest(1, 200), Violation::NoSuchSlot),
        // Believed, its writer would soon publish versions that no reader believes.
        (latest((1 << 55) - 1, 0), Violation::VersionTooHigh),
        (latest((1 << 54) + 1, 0), Violation::VersionTooHigh),
    ] {
        let bare = bare();
        bare.memory.store(control::LATEST, word, Ordering::Relaxed);
        // SAFETY: nobody else writes the memory.
        let refused = unsafe { Writer::take_over(bare.memory, bare.geometry) }.unwrap_err();
        assert!(matches!(refused, TakeOverError::Corrupt(Corrupt { what: found, .. }) if found == what), "{refused:?}");
    }
}

/// Words that are often nearly right.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0u64..8,
        3 => (0u64..5, 0u64..5).prop_map(|(version, slot)| latest(version, slot)),
        1 => 0u64..200,
        1 => any::<u64>(),
        1 => Just(u64::MAX),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 5000 }))]

    #[test]
    fn any_words_are_read_or_refused(rounds in proptest::collection::vec(proptest::collection::vec(word(), 8), 1..8)) {
        let bare = bare();
        let (mut reader, mut buffer, mut seen) = (bare.reader(), [0; 64], 0);
        for words in rounds {
            for (index, &word) in words.iter().enumerate() {
                bare.memory.store(8 * index, word, Ordering::Relaxed);
            }
            let _ = reader.read_value::<u64>();
            match reader.read_into(&mut buffer) {
                Ok(read) => {
                    prop_assert!(read.version >= seen && read.len_bytes <= buffer.len());
                    seen = read.version;
                }
                Err(ReadError::BufferTooSmall { need_bytes, .. }) => prop_assert!((65..=MAX).contains(&need_bytes)),
                Err(ReadError::Empty | ReadError::Contended { .. } | ReadError::Corrupt(_)) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        // SAFETY: nobody else writes the memory.
        if let Ok(mut writer) = unsafe { Writer::take_over(bare.memory.clone(), bare.geometry) } {
            let version = writer.write(b"fresh").unwrap();
            let read = bare.reader().read_into(&mut buffer).unwrap();
            prop_assert_eq!((read.version, &buffer[..read.len_bytes]), (version, &b"fresh"[..]));
        }
    }

    #[test]
    fn hazards_that_lie_cost_their_own_slots_alone(
        hazards in proptest::collection::vec(word(), 3),
        writes in 1u64..20,
    ) {
        let bare = Bare::new(Geometry::new(MAX).unwrap().with_pins(4).unwrap());
        let theirs = Arc::new(Heap::zeroed(4 * 128));
        let mut writer = bare.writer().with_pins();
        for pin in 0..4 {
            writer.grant(theirs.clone(), pin * 128).unwrap();
        }
        writer.write(b"held").unwrap();
        // SAFETY: the writer is the one above.
        let trust = unsafe { HonestPeer::assume() };
        let mut honest = PinnedReader::new(theirs.clone(), 3 * 128, bare.memory.clone(), bare.geometry, trust).unwrap();
        let pinned = honest.pin().unwrap();
        let mut reader = bare.reader();
        for write in 0..writes {
            for (pin, &hazard) in hazards.iter().enumerate() {
                theirs.store(pin * 128, hazard.wrapping_add(write), Ordering::Relaxed);
            }
            let value = value(write, 77);
            writer.write(&value).unwrap();
            let mut bytes = Vec::new();
            prop_assert_eq!(reader.read_to_vec(&mut bytes).unwrap().version, write + 2);
            prop_assert_eq!(bytes, value);
        }
        prop_assert_eq!(&*pinned, b"held");
    }
}

/// A writer that scribbles over all of its memory while it is read.
#[test]
fn memory_that_changes_while_it_is_read_gives_errors_or_bytes() {
    const ROUNDS: u32 = if cfg!(debug_assertions) { 50_000 } else { 500_000 };
    let bare = bare();
    let (memory, stop) = (bare.memory.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let scribbling = std::thread::spawn(move || {
        let mut random = Random(3);
        while !stopped.load(Ordering::Relaxed) {
            let any_slot = random.below(3);
            let (offset, word) = match random.below(5) {
                0 => (control::LATEST, latest(1 + random.next() % 3, random.next() % 4)),
                1 | 2 => (slot(any_slot, control::SEQUENCE), 2 + random.next() % 4),
                3 => (slot(any_slot, control::LENGTH), random.next() % 110),
                _ => (8 * random.below(memory.len_bytes() / 8), random.next()),
            };
            memory.store(offset, word, Ordering::Relaxed);
        }
    });
    let (mut buffer, mut read, mut round) = ([0; MAX], 0, 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while (round < ROUNDS || read == 0) && Instant::now() < deadline {
        round += 1;
        let mut reader = bare.reader().with_attempts(1 + round % 3);
        if let Ok(snapshot) = reader.read_into(&mut buffer) {
            assert!(snapshot.len_bytes <= MAX);
            read += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    scribbling.join().unwrap();
    assert!(read > 0, "some of it looks right");
}
