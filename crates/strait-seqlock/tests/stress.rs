//! Real threads: a writer that never waits, readers that copy and readers in place, every byte checked.
#![cfg(not(strait_loom))]

mod common;

use std::{sync::Barrier, thread};

use common::{check, fill, len_of, value};
use strait_seqlock::{
    PinError, ReadError,
    snapshot::{Geometry, HeapPins, HeapReader, HeapWriter, channel_with},
};

const WRITES: u64 = if cfg!(debug_assertions) { 20_000 } else { 300_000 };

/// Writes whole, and piece by piece, and now and then begins what it does not finish.
fn write(mut writer: HeapWriter, max_bytes: usize) {
    let mut bytes = vec![0; max_bytes];
    for version in 1..=WRITES {
        let bytes = &mut bytes[..len_of(version, max_bytes)];
        fill(version, 0, bytes);
        if version % 7 == 0 {
            writer.claim().append(&value(!version, max_bytes)).unwrap();
        }
        if version % 3 == 0 {
            let mut claim = writer.claim();
            bytes.chunks(max_bytes / 5 + 1).for_each(|piece| claim.append(piece).unwrap());
            claim.commit();
        } else {
            assert_eq!(writer.write(bytes), Ok(version));
        }
        if version % 256 == 0 {
            thread::yield_now();
        }
    }
}

fn read(mut reader: HeapReader, max_bytes: usize) {
    let (mut bytes, mut seen) = (Vec::new(), 0);
    while seen < WRITES {
        match reader.read_to_vec(&mut bytes) {
            Ok(snapshot) => {
                assert!(snapshot.version >= seen, "{} after {seen}", snapshot.version);
                seen = snapshot.version;
                check(seen, &bytes, max_bytes);
            }
            Err(ReadError::Empty | ReadError::Contended { .. }) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn pin(pins: &HeapPins, max_bytes: usize) {
    let (mut reader, mut seen, mut pinned_times) = (pins.reader().unwrap(), 0, 0u64);
    while seen < WRITES {
        match reader.pin() {
            Ok(pinned) => {
                assert!(pinned.version() >= seen, "{} after {seen}", pinned.version());
                seen = pinned.version();
                check(seen, &pinned, max_bytes);
                pinned_times += 1;
                if pinned_times.is_multiple_of(5) {
                    thread::yield_now();
                    check(seen, &pinned, max_bytes);
                }
            }
            Err(PinError::Empty | PinError::Contended { .. }) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn run(max_bytes: usize, slots: usize, pins: usize, copying: usize) {
    let geometry = Geometry::new(max_bytes).unwrap().with_slots(slots).unwrap().with_pins(pins).unwrap();
    let (writer, reader) = channel_with(geometry).unwrap();
    let (start, pins_of) = (Barrier::new(1 + copying + pins), writer.pins().clone());
    let (start, pins_of) = (&start, &pins_of);
    thread::scope(|scope| {
        for _ in 0..copying {
            let reader = reader.clone();
            scope.spawn(move || {
                start.wait();
                read(reader, max_bytes);
            });
        }
        for _ in 0..pins {
            scope.spawn(move || {
                start.wait();
                pin(pins_of, max_bytes);
            });
        }
        start.wait();
        write(writer, max_bytes);
    });
}

#[test]
fn copied_from_two_slots() {
    run(200, 2, 0, 2);
}

#[test]
fn copied_long_from_three_slots() {
    run(3000, 3, 0, 2);
}

#[test]
fn in_place_and_copied() {
    run(1000, 2, 2, 1);
}

#[test]
fn in_place_with_one_pin() {
    run(100, 2, 1, 0);
}
