//! What geometries and handles refuse, what they count, and how waiting ends.
#![cfg(not(strait_loom))]

mod common;

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use common::{Bare, value};
use strait_seqlock::{
    GeometryError, GrantError, NoPin, PinError, ReadError, TakeOverError, TooLong, WaitError,
    snapshot::{Geometry, PinnedReader, Reader, channel, channel_with},
};
use strait_sync::{Heap, HonestPeer};

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(20))
}

#[test]
fn geometries_out_of_range_are_refused() {
    let geometry = Geometry::new(100).unwrap();
    assert_eq!(geometry.with_slots(1), Err(GeometryError::Slots { slots: 1, min: 2, max: 64 }));
    assert_eq!(geometry.with_slots(65), Err(GeometryError::Slots { slots: 65, min: 2, max: 64 }));
    assert_eq!(geometry.with_pins(62), Err(GeometryError::Pins { pins: 62, max: 61 }));
    let pinned = geometry.with_pins(2).unwrap();
    assert_eq!(pinned.with_slots(4), Err(GeometryError::Slots { slots: 4, min: 5, max: 64 }));
    assert_eq!(geometry.at(64), Err(GeometryError::Offset { offset: 64, multiple_of: 128 }));
    assert!(matches!(geometry.at(isize::MAX as usize & !127), Err(GeometryError::OutOfBounds { .. })));
    assert!(matches!(Geometry::new(usize::MAX), Err(GeometryError::MaxBytes { .. })));
    let longest = Geometry::new(isize::MAX as usize / 128).unwrap().with_pins(61).unwrap();
    assert!(longest.bytes() < isize::MAX as usize, "no overflow");
}

#[test]
fn a_memory_that_is_too_short_is_refused() {
    let geometry = Geometry::new(100).unwrap().at(128).unwrap();
    let bare = Bare { geometry, memory: Heap::zeroed(geometry.end() - 128).into() };
    let expected = GeometryError::OutOfBounds { need_bytes: geometry.end(), len_bytes: geometry.end() - 128 };
    assert_eq!(Reader::new(bare.memory.clone(), geometry).unwrap_err(), expected);
    // SAFETY: nobody else writes the memory.
    let refused = unsafe { strait_seqlock::snapshot::Writer::take_over(bare.memory, geometry) };
    assert_eq!(refused.unwrap_err(), TakeOverError::Geometry(expected));
}

#[test]
fn a_value_that_is_too_long_leaves_the_last_one() {
    let (mut writer, mut reader) = channel(10).unwrap();
    writer.write(b"first").unwrap();
    assert_eq!(writer.write(&[0; 11]), Err(TooLong { need_bytes: 11, max_bytes: 10 }));
    let mut claim = writer.claim();
    claim.append(b"12345678").unwrap();
    assert_eq!(claim.append(b"901"), Err(TooLong { need_bytes: 11, max_bytes: 10 }));
    assert_eq!((claim.len(), claim.room_bytes()), (8, 2));
    let mut bytes = Vec::new();
    assert_eq!(reader.read_to_vec(&mut bytes).unwrap().version, 1);
    assert_eq!(bytes, b"first");
}

#[test]
fn a_claim_is_an_io_writer() {
    let (mut writer, mut reader) = channel(10).unwrap();
    let mut claim = writer.claim();
    write!(claim, "{}-{}", 12, 345).unwrap();
    assert!(write!(claim, "too long").is_err());
    assert_eq!(claim.len(), 10, "as much as there was room for");
    claim.commit();
    let mut bytes = [0; 10];
    assert_eq!(reader.read_into(&mut bytes).unwrap().len_bytes, 10);
    assert_eq!(&bytes, b"12-345too ");
}

#[test]
fn nothing_is_read_before_the_first_value() {
    let (writer, mut reader) = channel_with(Geometry::new(8).unwrap().with_pins(1).unwrap()).unwrap();
    assert_eq!(reader.read_into(&mut [0; 8]), Err(ReadError::Empty));
    assert_eq!(reader.version(), 0);
    assert_eq!(writer.pins().reader().unwrap().pin().unwrap_err(), PinError::Empty);
}

#[test]
fn both_ends_count_what_they_do() {
    let (mut writer, mut reader) = channel(100).unwrap();
    for len in [10, 20, 30] {
        writer.write(&value(1, len)).unwrap();
        reader.read_into(&mut [0; 100]).unwrap();
    }
    let (written, read) = (writer.stats(), reader.stats());
    assert_eq!((written.writes, written.bytes), (3, 60));
    assert_eq!((read.reads, read.bytes, read.retries), (3, 60, 0));
    assert_eq!(reader.clone().stats().reads, 0);
}

#[test]
fn a_pin_of_the_heap_is_free_again_when_its_reader_ends() {
    let (mut writer, _) = channel_with(Geometry::new(8).unwrap().with_pins(1).unwrap()).unwrap();
    writer.write(b"x").unwrap();
    let mut first = writer.pins().reader().unwrap();
    assert_eq!(writer.pins().reader().unwrap_err(), NoPin { pins: 1 });
    std::mem::forget(first.pin());
    drop(first);
    let mut second = writer.pins().reader().unwrap();
    (0..10).for_each(|_| assert!(writer.write(b"y").is_ok()));
    assert_eq!(*second.pin().unwrap(), *b"y");
    assert_eq!(channel(8).unwrap().0.pins().reader().unwrap_err(), NoPin { pins: 0 });
}

#[test]
fn pins_are_granted_up_to_their_number_and_revoked() {
    let bare = Bare::new(Geometry::new(8).unwrap().with_pins(1).unwrap());
    let theirs = std::sync::Arc::new(Heap::zeroed(128));
    let mut writer = bare.writer().with_pins();
    assert!(matches!(writer.grant(theirs.clone(), 4), Err(GrantError::Word(GeometryError::Offset { .. }))));
    assert!(matches!(writer.grant(theirs.clone(), 128), Err(GrantError::Word(GeometryError::OutOfBounds { .. }))));
    let pin = writer.grant(theirs.clone(), 120).unwrap();
    assert_eq!(writer.grant(theirs.clone(), 0), Err(GrantError::NoPin(NoPin { pins: 1 })));
    writer.write(b"one").unwrap();
    // SAFETY: the writer is the one above.
    let trust = unsafe { HonestPeer::assume() };
    let mut reader = PinnedReader::new(theirs.clone(), 120, bare.memory.clone(), bare.geometry, trust).unwrap();
    let pinned = reader.pin().unwrap();
    (0..10).for_each(|_| assert!(writer.write(b"two").is_ok()));
    assert_eq!((&*pinned, pinned.version()), (&b"one"[..], 1));
    drop(pinned);
    assert!(writer.revoke(pin).is_some());
    writer.grant(theirs, 0).unwrap();
}

#[test]
fn a_pin_is_only_taken_back_by_the_writer_that_granted_it() {
    let geometry = Geometry::new(8).unwrap().with_pins(1).unwrap();
    let (one, other) = (Bare::new(geometry), Bare::new(geometry));
    let (mut one, mut other) = (one.writer().with_pins(), other.writer().with_pins());
    let memory = || std::sync::Arc::new(Heap::zeroed(128));
    let _kept = one.grant(memory(), 0).unwrap();
    let foreign = other.grant(memory(), 0).unwrap();
    assert!(one.revoke(foreign).is_none(), "somebody else's pin");
    assert_eq!(one.grant(memory(), 0), Err(GrantError::NoPin(NoPin { pins: 1 })), "ours is gone");
}

#[test]
fn who_serves_the_readers_grants_and_revokes_while_the_writer_writes_elsewhere() {
    let bare = Bare::new(Geometry::new(8).unwrap().with_pins(2).unwrap());
    let mut writer = bare.writer().with_pins();
    let pins = writer.pins().clone();
    let end = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Bounded, so that it ends where the other thread fails.
            for next in 1..20_000_000u64 {
                if end.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                writer.write_value(&next).unwrap();
            }
        });
        for _ in 0..1000 {
            let theirs = std::sync::Arc::new(Heap::zeroed(128));
            let pin = pins.grant(theirs.clone(), 0).unwrap();
            // SAFETY: the writer is the one above.
            let trust = unsafe { HonestPeer::assume() };
            let mut reader = PinnedReader::new(theirs, 0, bare.memory.clone(), bare.geometry, trust).unwrap();
            if let Ok(pinned) = reader.pin() {
                (0..20).for_each(|_| assert_eq!(*pinned, pinned.version().to_le_bytes()));
            }
            drop(reader);
            assert!(pins.revoke(pin).is_some());
        }
        end.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let held: Vec<_> = (0..2).map(|_| pins.grant(std::sync::Arc::new(Heap::zeroed(128)), 0).unwrap()).collect();
    assert_eq!(held.len(), pins.pins());
    assert!(pins.grant(std::sync::Arc::new(Heap::zeroed(128)), 0).is_err());
}

#[test]
fn waiting_ends_with_a_change_notified_or_not_and_at_its_deadline() {
    let (mut writer, reader) = channel(8).unwrap();
    let waiting = [(); 3].map(|()| {
        let mut reader = reader.clone();
        thread::spawn(move || reader.wait_changed(0, soon()))
    });
    thread::sleep(Duration::from_millis(20));
    writer.write(b"x").unwrap();
    writer.notify();
    for thread in waiting {
        assert_eq!(thread.join().unwrap(), Ok(1));
    }

    let mut late = reader.clone();
    let start = Instant::now();
    let refused = late.wait_changed(1, Some(start + Duration::from_millis(30)));
    assert_eq!(refused, Err(WaitError::TimedOut { version: 1 }));
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(late.wait_changed(0, Some(start)), Ok(1), "what is there needs no time");

    let waiting = thread::spawn(move || late.wait_changed(1, soon()));
    thread::sleep(Duration::from_millis(20));
    writer.write(b"nobody is told").unwrap_err();
    writer.write(b"silent").unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(2));
}
