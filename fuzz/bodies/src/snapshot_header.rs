//! A published value whose words are anything, its readers, and a writer whose readers' pins are anything.

use std::sync::{Arc, atomic::Ordering};

use arbitrary::Unstructured;
use strait::{
    seqlock::{
        ReadError, TakeOverError,
        snapshot::{Geometry, Reader, Writer},
    },
    sync::{Heap, WordsMut},
};

use crate::next;

/// The longest value.
const MAX_BYTES: usize = 100;
const PINS: usize = 3;
/// Distance of two readers' pins.
const LINE: usize = 128;

pub(crate) fn body(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let geometry = Geometry::new(MAX_BYTES).and_then(|geometry| geometry.with_pins(PINS)).expect("a small one");
    let memory = Arc::new(Heap::zeroed(geometry.end()));
    let hazards = Arc::new(Heap::zeroed(PINS * LINE));
    let mut reader = Reader::new(memory.clone(), geometry).expect("it fits").with_attempts(3);
    let (mut buffer, mut seen) = ([0; 64], 0);
    while let Some((turn, offset, word)) = next::<(u8, u16, u64)>(&mut input) {
        // ORDERING: Relaxed: one thread.
        memory.store(8 * (usize::from(offset) % (geometry.end() / 8)), word, Ordering::Relaxed);
        // ORDERING: Relaxed: one thread.
        hazards.store(LINE * (usize::from(offset) % PINS), word, Ordering::Relaxed);
        match reader.read_into(&mut buffer) {
            Ok(read) => {
                assert!(read.version >= seen && read.len_bytes <= buffer.len());
                seen = read.version;
            }
            Err(ReadError::BufferTooSmall { need_bytes, .. }) => assert!((65..=MAX_BYTES).contains(&need_bytes)),
            Err(ReadError::Empty | ReadError::Contended { .. }) => {}
            Err(ReadError::Corrupt(_)) => {
                // For ever; a new one begins.
                assert!(matches!(reader.read_into(&mut buffer), Err(ReadError::Corrupt(_))));
                reader = Reader::new(memory.clone(), geometry).expect("it fits").with_attempts(3);
                seen = 0;
            }
            Err(other) => panic!("{other:?}"),
        }
        if turn & 3 == 0 {
            write(&memory, &hazards, geometry);
            seen = 0;
            reader = Reader::new(memory.clone(), geometry).expect("it fits").with_attempts(3);
        }
    }
}

/// A writer takes over whatever is there, goes on, and is read, whatever its readers claim to read.
fn write(memory: &Arc<Heap>, hazards: &Arc<Heap>, geometry: Geometry) {
    #[allow(unsafe_code)]
    // SAFETY: one thread: nobody else writes the memory while this writer is there.
    let taken = unsafe { Writer::take_over(memory.clone(), geometry) };
    let writer = match taken {
        Ok(writer) => writer,
        Err(TakeOverError::Corrupt(_)) => return,
        Err(other) => panic!("{other:?}"),
    };
    let mut writer = writer.with_pins();
    for pin in 0..PINS {
        writer.grant(hazards.clone(), pin * LINE).expect("room for each");
    }
    for value in [&b"fresh"[..], &[7; MAX_BYTES]] {
        let version = writer.write(value).expect("short enough");
        let mut bytes = Vec::new();
        let read = Reader::new(memory.clone(), geometry).expect("it fits").read_to_vec(&mut bytes).expect("whole");
        assert_eq!((read.version, &bytes[..]), (version, value));
    }
}
