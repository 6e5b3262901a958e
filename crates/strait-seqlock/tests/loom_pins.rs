//! Pins under loom: a pinned slot is left alone, and for each ordering a mutant that writes to one.
//!
//! What is read in place is plain memory to loom: it reports a write that nothing orders before or after.
#![cfg(strait_loom)]
#![allow(unsafe_code)]

use loom::thread;
use strait_seqlock::{
    NoPin, PinError,
    snapshot::{Geometry, HeapPinnedReader, HeapPins, HeapWriter, PinTable, PinnedReader, Pins, Writer, channel_with},
};
use strait_sync::{Heap, HonestPeer, Words, WordsMut, mutant, primitive::Arc};

fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.max_branches = 20_000;
    model.check(test);
}

fn snapshot() -> (HeapWriter, HeapPinnedReader) {
    let geometry = Geometry::new(8).unwrap().with_pins(1).unwrap();
    let (writer, _) = channel_with(geometry).unwrap();
    let reader = writer.pins().reader().unwrap().with_attempts(1);
    (writer, reader)
}

fn write(writer: &mut Writer<impl WordsMut, impl Pins>, times: usize) {
    for _ in 0..times {
        let next = writer.version() + 1;
        assert_eq!(writer.write_value(&next), Ok(next));
    }
}

/// Pins once; the value is that of its version for as long as it is pinned (checked again when it is dropped).
fn pin(reader: &mut PinnedReader<impl WordsMut, impl Words>) -> u64 {
    match reader.pin() {
        Ok(pinned) => {
            assert_eq!(*pinned, pinned.version().to_le_bytes(), "not the value of this version");
            pinned.version()
        }
        Err(PinError::Empty | PinError::Contended { .. }) => 0,
        Err(error) => panic!("{error}"),
    }
}

/// The writer comes round to the slot that the reader may pin: four slots.
fn comes_round() {
    model(6, || {
        let (mut writer, mut reader) = snapshot();
        write(&mut writer, 1);
        let writing = thread::spawn(move || {
            write(&mut writer, 4);
            writer
        });
        pin(&mut reader);
        let mut writer = writing.join().unwrap();
        write(&mut writer, 1);
        assert_eq!(pin(&mut reader), 6);
    });
}

#[test]
fn a_pinned_slot_is_left_alone() {
    comes_round();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_no_look_after_pinning() {
    mutant::with("pin_no_recheck", comes_round);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_no_fence_after_pinning() {
    mutant::with("pin_no_fence", comes_round);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_no_fence_before_the_scan() {
    mutant::with("scan_no_fence", comes_round);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_no_acquire_after_the_scan() {
    mutant::with("scan_no_acquire", comes_round);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_unpinned_before_the_end() {
    mutant::with("unpin_before_the_end", comes_round);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_unpinned_relaxed() {
    mutant::with("unpin_relaxed", comes_round);
}

/// A guard is forgotten, and keeps its slot until the next pin, which lets go of it in good order.
fn forgotten() {
    model(6, || {
        let (mut writer, mut reader) = snapshot();
        write(&mut writer, 1);
        let writing = thread::spawn(move || write(&mut writer, 4));
        std::mem::forget(reader.pin());
        pin(&mut reader);
        writing.join().unwrap();
        assert_eq!(pin(&mut reader), 5);
    });
}

#[test]
fn a_forgotten_guard_is_replaced_by_the_next_pin() {
    forgotten();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_pinned_anew_relaxed() {
    mutant::with("repin_relaxed", forgotten);
}

/// Two threads ask for the one pin; one of them gets it, reads in place, and gives it back in good order.
#[test]
fn one_pin_is_given_to_one_reader_at_a_time() {
    model(6, || {
        let (mut writer, reader) = snapshot();
        drop(reader);
        write(&mut writer, 1);
        let pins = writer.pins().clone();
        let asks = move |pins: &HeapPins| match pins.reader() {
            Ok(mut reader) => pin(&mut reader),
            Err(NoPin { pins }) => pins as u64,
        };
        let asking = thread::spawn(move || asks(&pins));
        assert_eq!(asks(writer.pins()), 1);
        assert_eq!(asking.join().unwrap(), 1);
        assert!(writer.pins().reader().is_ok(), "free again");
    });
}

type Memory = Arc<Heap>;

/// A writer over memory of its own, with hazard words in that of its readers.
fn foreign(pins: usize) -> (Memory, Geometry, Writer<Memory, PinTable<Memory>>) {
    let geometry = Geometry::new(8).unwrap().with_pins(pins).unwrap();
    let memory = Arc::new(Heap::zeroed(geometry.end()));
    // SAFETY: the memory is new, and this is its only writer.
    let writer = unsafe { Writer::new(memory.clone(), geometry) }.unwrap();
    (memory, geometry, writer.with_pins())
}

/// A reader whose word is in `own`, where a pin was granted.
fn reader(own: &Memory, peer: &Memory, geometry: Geometry) -> PinnedReader<Memory, Memory> {
    // SAFETY: the writer goes by the protocol, and the caller was granted the pin.
    let trust = unsafe { HonestPeer::assume() };
    PinnedReader::new(own.clone(), 0, peer.clone(), geometry, trust).unwrap().with_attempts(1)
}

/// A pin is granted and revoked while the writer goes on; between the two its slot is left alone.
#[test]
fn a_pin_that_is_granted_beside_the_writer_holds_from_the_first() {
    model(4, || {
        let (peer, geometry, mut writer) = foreign(1);
        write(&mut writer, 1);
        let pins = writer.pins().clone();
        let writing = thread::spawn(move || write(&mut writer, 4));
        let own = Arc::new(Heap::zeroed(128));
        let granted = pins.grant(own.clone(), 0).unwrap();
        let mut reader = reader(&own, &peer, geometry);
        pin(&mut reader);
        drop(reader);
        assert!(pins.revoke(granted).is_some());
        writing.join().unwrap();
    });
}

/// Another reader gets a pin while this one holds a value.
fn another_is_granted() {
    model(3, || {
        let (peer, geometry, mut writer) = foreign(2);
        let pins = writer.pins().clone();
        let own = Arc::new(Heap::zeroed(128));
        let _granted = pins.grant(own.clone(), 0).unwrap();
        let mut reader = reader(&own, &peer, geometry);
        write(&mut writer, 1);
        let pinned = reader.pin().unwrap();
        write(&mut writer, 3);
        let writing = thread::spawn(move || write(&mut writer, 2));
        let _another = pins.grant(Arc::new(Heap::zeroed(128)), 0).unwrap();
        assert_eq!(*pinned, 1u64.to_le_bytes());
        drop(pinned);
        writing.join().unwrap();
    });
}

#[test]
fn a_grant_to_another_reader_hides_no_pin() {
    another_is_granted();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_a_grant_looks_at_all_places() {
    mutant::with("grant_looks_at_all_places", another_is_granted);
}
