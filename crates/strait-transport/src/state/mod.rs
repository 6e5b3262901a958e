//! A published state: memory beyond the pair, written by a server and read by its clients. Byte tables: docs/PROTOCOL.md.

mod attached;
mod audience;
mod memory;
mod pin;
mod reader;
mod stats;
mod writer;

use std::sync::Arc;

use strait_region::{HEADER_BYTES, LayoutCursor, OwnRegion, PeerRegion};
use strait_seqlock::snapshot::Geometry;
use strait_sync::Words;

use crate::error::Error;

pub(crate) use attached::{Attached, Received};
pub use memory::StateMemory;
pub(crate) use pin::{HAZARD, KIND_PIN, PIN_LAYOUT_HASH};
pub use pin::{NoPin, PIN_SEGMENT_BYTES, PinnedState};
pub use reader::StateReader;
pub use stats::StateStats;
pub use writer::StateWriter;

/// Kind of segment in its header and in its `Extra` frame.
pub(crate) const KIND_STATE: u8 = 2;
/// How many slots the snapshot has; read once, when the segment is opened.
const SLOTS: usize = HEADER_BYTES;
/// The version that the first value of this memory follows; read once.
const BASE_VERSION: usize = HEADER_BYTES + 8;
/// From here on for people and tools: bytes of all values that were published.
pub(crate) const PUBLISHED_BYTES: usize = HEADER_BYTES + 16;
/// When the last value was published.
pub(crate) const PUBLISHED_US: usize = HEADER_BYTES + 24;
/// Clients that have the memory.
pub(crate) const READERS: usize = HEADER_BYTES + 32;
/// Those of them with a pin.
pub(crate) const PINS: usize = HEADER_BYTES + 40;
/// The maker's process.
pub(crate) const OWNER_PID: usize = HEADER_BYTES + 48;
/// When that process was started.
pub(crate) const OWNER_START: usize = HEADER_BYTES + 56;
/// When the memory was made.
pub(crate) const OPENED_US: usize = HEADER_BYTES + 64;
/// The snapshot, after a line of constants and counters, none of which a reader polls.
const SNAPSHOT: usize = HEADER_BYTES + 128;
/// CRC32 of the state table in docs/PROTOCOL.md; a test recomputes it.
pub(crate) const STATE_LAYOUT_HASH: u32 = 0x7842_49B3;
/// Far beyond what any daemon comes to, and far from an overflow.
const MAX_BASE_VERSION: u64 = 1 << 62;

const _: () = assert!(OPENED_US + 8 <= SNAPSHOT);

/// How long the whole segment is whose snapshot lies so.
fn total_bytes(geometry: &Geometry) -> Option<u64> {
    let mut cursor = LayoutCursor::new();
    cursor.place(geometry.end() as u64, 1).ok()?;
    cursor.total(HEADER_BYTES as u64).ok()
}

fn misfit(error: strait_seqlock::GeometryError) -> Error {
    Error::corrupt(format!("the state does not fit its memory: {error}"))
}

/// Memory that can be asked whether this process may touch it.
pub trait StateRegion: sealed::Region {}

impl StateRegion for Arc<PeerRegion> {}
impl StateRegion for Arc<OwnRegion> {}

mod sealed {
    use super::{Arc, Error, OwnRegion, PeerRegion, Words};

    pub trait Region: Words + Clone {
        fn check_fork(&self) -> Result<(), Error>;
    }

    impl Region for Arc<PeerRegion> {
        #[inline]
        fn check_fork(&self) -> Result<(), Error> {
            PeerRegion::check_fork(self).map_err(|_| Error::Forked)
        }
    }

    impl Region for Arc<OwnRegion> {
        #[inline]
        fn check_fork(&self) -> Result<(), Error> {
            OwnRegion::check_fork(self).map_err(|_| Error::Forked)
        }
    }
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use std::{os::fd::AsFd, sync::atomic::Ordering};

    use strait_region::Header;
    use strait_sync::{HonestPeer, WordsMut};

    use super::{pin::OwnPin, reader::open, *};

    /// The text between the markers of a table in docs/PROTOCOL.md; `None` where the crate stands alone.
    fn table(name: &str) -> Option<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PROTOCOL.md");
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: no {path}");
            return None;
        };
        let (_, rest) = text.split_once(&format!("<!-- {name} -->\n")).expect("the table begins");
        let (table, _) = rest.split_once(&format!("<!-- /{name} -->")).expect("the table ends");
        Some(table.to_owned())
    }

    fn opened(writer: &StateWriter) -> Received {
        let session = writer.memory().region.header().session;
        open(writer.memory().as_fd().try_clone_to_owned().unwrap(), session, 1 << 20)
    }

    #[test]
    fn the_layout_hashes_are_those_of_the_documented_tables() {
        for (name, hash) in [("state-table", STATE_LAYOUT_HASH), ("pin-table", pin::PIN_LAYOUT_HASH)] {
            let Some(table) = table(name) else { return };
            let found = strait_frame::checksum(table.as_bytes());
            assert_eq!(found, hash, "the {name} has changed: its hash is {found:#010x}");
        }
    }

    #[test]
    fn the_documented_offsets_of_a_state_are_those_of_the_code() {
        let Some(table) = table("state-table") else { return };
        let places = [
            ("header", 0),
            ("layout_hash", 16),
            ("SLOTS", SLOTS),
            ("BASE_VERSION", BASE_VERSION),
            ("PUBLISHED_BYTES", PUBLISHED_BYTES),
            ("PUBLISHED_US", PUBLISHED_US),
            ("READERS", READERS),
            ("PINS", PINS),
            ("OWNER_PID", OWNER_PID),
            ("OWNER_START", OWNER_START),
            ("OPENED_US", OPENED_US),
            ("SNAPSHOT", SNAPSHOT),
        ];
        let rows: Vec<(&str, &str)> = table
            .lines()
            .skip(2)
            .map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                (cells[3].trim_matches('`'), cells[1])
            })
            .collect();
        let expected = places.map(|(name, offset)| (name, offset.to_string()));
        assert!(rows.iter().copied().eq(expected.iter().map(|(name, offset)| (*name, &**offset))), "{rows:?}");
    }

    /// A client's segment, as its maker and as the server see it.
    fn pin_segment() -> (Arc<OwnRegion>, PeerRegion) {
        let own = pin::create("test").unwrap();
        let Header { session, .. } = *own.header();
        let peer = pin::open(own.fd().try_clone_to_owned().unwrap(), session).unwrap();
        (Arc::new(own), peer)
    }

    #[test]
    fn a_client_with_a_pin_reads_in_place_what_later_values_leave_alone() {
        let mut writer = StateWriter::create_with_pins("test", 100, 41, 1).unwrap();
        let memory = writer.memory().for_client();
        let (own, peer) = pin_segment();
        assert!(memory.grant(peer) && memory.has_pin());
        let mut reader = opened(&writer).unwrap();
        assert!(matches!(reader.pin(), Err(Error::NoPin(NoPin::NotAsked))));
        // SAFETY: the writer is the one above.
        reader.set_pin(Ok(OwnPin { region: own.clone(), trust: unsafe { HonestPeer::assume() } }));
        assert!(reader.pin().unwrap().is_none(), "nothing was written yet");
        writer.write(&7u64.to_le_bytes()).unwrap();
        let pinned = reader.pin().unwrap().unwrap();
        assert_ne!(own.load(pin::HAZARD), 0);
        for _ in 0..100 {
            writer.write(b"later").unwrap();
        }
        assert_eq!((pinned.as_value(), pinned.version()), (Some(&7u64), 42));
        assert_eq!(pinned.as_ptr() as usize % 128, 0);
        drop(pinned);
        assert_eq!(own.load(pin::HAZARD), 0);
        assert_eq!(&*reader.pin().unwrap().unwrap(), b"later");
        reader.forgo_pin();
        assert!(matches!(reader.pin(), Err(Error::NoPin(NoPin::Ended))));
        assert_eq!(&*reader.read().unwrap().unwrap().0, b"later", "a copy can be had");
    }

    #[test]
    fn pins_are_granted_up_to_their_number_once_to_each_client_and_again_when_they_are_taken_back() {
        let writer = StateWriter::create_with_pins("test", 100, 0, 2).unwrap();
        let (one, two, three) = (writer.memory().for_client(), writer.memory().for_client(), writer.memory());
        assert!(one.grant(pin_segment().1) && !one.grant(pin_segment().1));
        assert!(two.grant(pin_segment().1) && !three.grant(pin_segment().1));
        one.revoke_pin();
        one.revoke_pin();
        assert!(!one.has_pin() && three.grant(pin_segment().1));
        assert!(!StateWriter::create("test", 100, 0).unwrap().memory().grant(pin_segment().1));
        let error = StateWriter::create_with_pins("test", 100, 0, 62).unwrap_err();
        assert!(matches!(error, Error::Option { option: "max_pins", .. }));
    }

    #[test]
    fn whatever_stands_in_the_words_of_clients_costs_a_writer_their_slots_alone() {
        let mut writer = StateWriter::create_with_pins("test", 100, 0, 2).unwrap();
        let clients = [writer.memory().for_client(), writer.memory().for_client()];
        let segments = [pin_segment(), pin_segment()];
        let granted = |((own, peer), client): ((_, _), &StateMemory)| {
            assert!(client.grant(peer));
            own
        };
        let own: Vec<Arc<OwnRegion>> = segments.into_iter().zip(&clients).map(granted).collect();
        let mut reader = opened(&writer).unwrap();
        for turn in 0..1000u64 {
            for (own, word) in own.iter().zip([turn % 9, u64::MAX / (1 + turn % 5)]) {
                // ORDERING: Relaxed; one thread.
                own.store(pin::HAZARD, word, Ordering::Relaxed);
            }
            writer.write(&turn.to_le_bytes()).unwrap();
            assert_eq!(*reader.read().unwrap().unwrap().0, turn.to_le_bytes());
        }
    }

    #[test]
    fn a_pin_segment_that_is_none_is_refused() {
        let own = pin::create("test").unwrap();
        assert!(pin::open(own.fd().try_clone_to_owned().unwrap(), [9; 16]).is_err(), "of another session");
        let state = StateWriter::create("test", 100, 0).unwrap().memory();
        let Header { session, .. } = *state.region.header();
        assert!(pin::open(state.as_fd().try_clone_to_owned().unwrap(), session).is_err(), "of another kind");
        let Header { kind, layout_hash, record_align_bytes, .. } = *own.header();
        let long = Header {
            kind,
            layout_hash,
            record_align_bytes,
            total_bytes: 3 * 4096,
            ring_capacity_bytes: 0,
            max_message_bytes: 0,
            session,
        };
        let long = OwnRegion::create("test", &long).unwrap();
        assert!(pin::open(long.fd().try_clone_to_owned().unwrap(), session).is_err(), "too long");
        let short = OwnRegion::create("test", &Header { total_bytes: 4096, ..*long.header() }).unwrap();
        assert!(pin::open(short.fd().try_clone_to_owned().unwrap(), session).is_err(), "without its word");
    }

    #[test]
    fn a_reader_of_another_mapping_finds_values_and_versions_that_go_on() {
        let mut writer = StateWriter::create("test", 100, 41).unwrap();
        let mut reader = opened(&writer).unwrap();
        assert_eq!(reader.version().unwrap(), 41);
        assert!(reader.read().unwrap().is_none());
        assert_eq!(writer.write(b"sunny").unwrap(), 42);
        let (value, version) = reader.read().unwrap().unwrap();
        assert_eq!((&*value, version), (&b"sunny"[..], 42));
        let mut buffer = [0; 4];
        assert!(matches!(reader.read_into(&mut buffer), Err(Error::TooLarge { need: 5, max: 4 })));
        drop(writer);
        assert_eq!(&*reader.read().unwrap().unwrap().0, b"sunny", "the last value outlives its writer");
    }

    #[test]
    fn memory_whose_constants_lie_is_refused_before_it_is_read() {
        let refused = |offset, value| {
            let writer = StateWriter::create("test", 100, 0).unwrap();
            // ORDERING: Relaxed; one thread.
            writer.memory().region.store(offset, value, Ordering::Relaxed);
            opened(&writer).unwrap_err()
        };
        assert!(refused(SLOTS, 0).contains("no state of 0 slots"));
        assert!(refused(SLOTS, u64::MAX).contains("no state of"));
        assert!(refused(SLOTS, 64).contains("64 slots of 100 bytes take"));
        assert!(refused(BASE_VERSION, u64::MAX).contains("its versions follow"));
    }

    #[test]
    fn memory_of_another_session_or_beyond_the_limit_is_refused() {
        let writer = StateWriter::create("test", 100, 0).unwrap();
        let fd = || writer.memory().as_fd().try_clone_to_owned().unwrap();
        assert!(open(fd(), [9; 16], 1 << 20).is_err());
        assert!(open(fd(), writer.memory().region.header().session, 4096).is_err());
    }
}
