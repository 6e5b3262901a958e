//! The snapshot against a variable that cannot be wrong: any sequence of operations.
#![cfg(not(strait_loom))]
#![allow(unsafe_code)]

mod common;

use std::sync::Arc;

use common::{Bare, value};
use proptest::prelude::*;
use strait_seqlock::{
    ReadError, TooLong,
    snapshot::{Geometry, HeapReader, PinTable, PinnedReader, Writer},
};
use strait_sync::{Heap, HonestPeer};

#[derive(Clone, Debug)]
enum Op {
    Write(usize),
    /// Claim, append pieces, and commit or drop.
    Claim(Vec<usize>, bool),
    /// Read into a buffer of that length, from byte 0 to 7 of its memory on.
    Read(usize, usize),
    ReadVec,
    ReadValue,
    /// Pin with that pin, do the others meanwhile, and find the value as it was.
    Pin(usize, Vec<Op>),
    /// Forget the guard of that pin.
    Forget(usize),
    /// The writer goes, in the middle of a write, and another one comes.
    TakeOver(usize),
}

const PINS: usize = 2;

fn ops(max: usize) -> impl Strategy<Value = Vec<Op>> {
    let len = move || 0..max + max / 8 + 2;
    let pieces = proptest::collection::vec(0..max / 3 + 2, 0..6);
    let op = prop_oneof![
        6 => len().prop_map(Op::Write),
        3 => (pieces, any::<bool>()).prop_map(|(pieces, commit)| Op::Claim(pieces, commit)),
        4 => (len(), 0usize..8).prop_map(|(len, shift)| Op::Read(len, shift)),
        2 => Just(Op::ReadVec),
        1 => Just(Op::ReadValue),
        1 => (0..PINS).prop_map(Op::Forget),
        1 => len().prop_map(Op::TakeOver),
    ];
    let op = op.prop_recursive(2, 24, 12, |op| {
        (0..PINS, proptest::collection::vec(op, 0..12)).prop_map(|(pin, ops)| Op::Pin(pin, ops))
    });
    proptest::collection::vec(op, 1..100)
}

type Memory = Arc<Heap>;

struct Model {
    bare: Bare,
    hazards: Memory,
    writer: Option<Writer<Memory, PinTable<Memory>>>,
    reader: HeapReader,
    pins: [Option<PinnedReader<Memory, Memory>>; PINS],
    /// The latest version and its value.
    last: (u64, Vec<u8>),
    /// What the next value is filled with.
    seed: u64,
}

impl Model {
    fn new(geometry: Geometry) -> Self {
        let bare = Bare::new(geometry);
        let hazards = Arc::new(Heap::zeroed(PINS * 128));
        let pinned = |pin: usize| {
            // SAFETY: the writer is the model's, and honest.
            let trust = unsafe { HonestPeer::assume() };
            Some(PinnedReader::new(hazards.clone(), pin * 128, bare.memory.clone(), geometry, trust).unwrap())
        };
        let (pins, reader) = ([pinned(0), pinned(1)], bare.reader());
        let mut model = Self { bare, hazards, writer: None, reader, pins, last: (0, Vec::new()), seed: 0 };
        model.take_over();
        model
    }

    fn take_over(&mut self) {
        self.writer = None;
        let mut writer = self.bare.writer().with_pins();
        for pin in 0..PINS {
            writer.grant(self.hazards.clone(), pin * 128).unwrap();
        }
        self.writer = Some(writer);
    }

    fn next(&mut self, len: usize) -> Vec<u8> {
        self.seed += 1;
        value(self.seed, len)
    }

    fn published(&mut self, version: u64, value: Vec<u8>) {
        assert_eq!(version, self.last.0 + 1);
        self.last = (version, value);
    }

    fn step(&mut self, op: &Op) {
        let max_bytes = self.bare.geometry.max_bytes();
        match *op {
            Op::Write(len) => {
                let value = self.next(len);
                match self.writer.as_mut().unwrap().write(&value) {
                    Ok(version) => self.published(version, value),
                    Err(error) => assert_eq!(error, TooLong { need_bytes: len, max_bytes }),
                }
            }
            Op::Claim(ref pieces, commit) => self.claim(pieces, commit),
            Op::Read(len, shift) => self.read_into(len, shift),
            Op::ReadVec => {
                let mut bytes = vec![7; 3];
                let read = self.reader.read_to_vec(&mut bytes);
                match self.last.0 {
                    0 => assert_eq!((read, bytes.len()), (Err(ReadError::Empty), 0)),
                    version => assert_eq!((read.unwrap().version, &bytes), (version, &self.last.1)),
                }
            }
            Op::ReadValue => {
                let read =
                    self.reader.read_value::<[u8; 24]>().map(|(value, snapshot)| (value.to_vec(), snapshot.version));
                match (self.last.0, self.last.1.len()) {
                    (0, _) => assert_eq!(read, Err(ReadError::Empty)),
                    (version, 24) => assert_eq!(read, Ok((self.last.1.clone(), version))),
                    (_, found_bytes) => assert_eq!(read, Err(ReadError::WrongSize { expected_bytes: 24, found_bytes })),
                }
            }
            Op::Pin(pin, ref ops) => self.pin(pin, ops),
            Op::Forget(pin) => {
                if let Some(reader) = &mut self.pins[pin] {
                    assert_eq!(reader.pin().map(std::mem::forget).is_ok(), self.last.0 != 0);
                }
            }
            Op::TakeOver(len) => {
                let value = self.next(len.min(max_bytes));
                self.writer.as_mut().unwrap().claim().append(&value).unwrap();
                self.take_over();
            }
        }
        assert_eq!(self.reader.version(), self.last.0);
    }

    fn claim(&mut self, pieces: &[usize], commit: bool) {
        let all = self.next(pieces.iter().sum());
        let (mut rest, mut taken) = (&all[..], Vec::new());
        let mut claim = self.writer.as_mut().unwrap().claim();
        for &piece in pieces {
            let (bytes, after) = rest.split_at(piece);
            rest = after;
            let fits = piece <= claim.room_bytes();
            assert_eq!(claim.append(bytes).is_ok(), fits);
            if fits {
                taken.extend_from_slice(bytes);
            }
            assert_eq!(claim.len(), taken.len());
        }
        if commit {
            let version = claim.commit();
            self.published(version, taken);
        }
    }

    fn read_into(&mut self, len_bytes: usize, shift: usize) {
        let mut memory = vec![0xEE; shift + len_bytes];
        let (version, ref value) = self.last;
        match self.reader.read_into(&mut memory[shift..]) {
            Ok(read) => {
                assert_eq!((read.version, read.len_bytes), (version, value.len()));
                assert_eq!(&memory[shift..shift + read.len_bytes], value);
                assert!(memory[..shift].iter().chain(&memory[shift + read.len_bytes..]).all(|&byte| byte == 0xEE));
            }
            Err(ReadError::Empty) => assert_eq!(version, 0),
            Err(error) => assert_eq!(error, ReadError::BufferTooSmall { need_bytes: value.len(), len_bytes }),
        }
    }

    fn pin(&mut self, pin: usize, ops: &[Op]) {
        let Some(mut reader) = self.pins[pin].take() else { return };
        if let Ok(pinned) = reader.pin() {
            let last = self.last.clone();
            assert_eq!((pinned.version(), &*pinned), (last.0, &last.1[..]));
            ops.iter().for_each(|op| self.step(op));
            assert_eq!(&*pinned, &last.1[..], "pinned bytes changed");
            assert_eq!(pinned.as_value::<[u8; 24]>().is_some(), last.1.len() == 24);
        } else {
            assert_eq!(self.last.0, 0);
        }
        self.pins[pin] = Some(reader);
    }
}

fn run(max_bytes: usize, offset: usize, ops: &[Op]) {
    let mut model = Model::new(Geometry::new(max_bytes).unwrap().with_pins(PINS).unwrap().at(offset).unwrap());
    ops.iter().for_each(|op| model.step(op));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 100 } else { 1000 }))]

    #[test]
    fn does_as_a_variable_does(ops in ops(40)) {
        run(40, 0, &ops);
    }

    // Long enough for the string copy.
    #[test]
    fn does_as_a_variable_does_with_long_values(ops in ops(3000)) {
        run(3000, 256, &ops);
    }

    #[test]
    fn does_as_a_variable_does_without_room(ops in ops(0)) {
        run(0, 0, &ops);
    }
}
