//! The memory of one side of a connection: where everything lies in it. Byte table: docs/PROTOCOL.md.

#![allow(unsafe_code)]

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
};

use strait_region::{
    CreateError, Expected, HEADER_BYTES, Header, LayoutCursor, OpenError, OwnRegion, Pages, PeerRegion,
};
use strait_spsc::{
    GeometryError,
    records::{self, Consumer, Geometry, Producer},
};

use strait_sync::{Words, WordsMut};

use crate::{counters::layout, error::Error, handshake::Settled, options::max_message_bytes, owner};

/// Kind of segment in its header: one side's ring and control lines.
pub(crate) const KIND_RING: u32 = 1;
/// The same without a ring, for tools alone: of a side that is on its socket.
pub(crate) const KIND_SOCKET: u32 = 4;
/// Tail, head and parking lines, after the header page.
pub(crate) const CONTROL: usize = HEADER_BYTES;
/// Nonzero once the maker has closed the connection in good order; on a line of its own.
pub(crate) const FAREWELL: usize = CONTROL + records::control::BYTES;
/// What the maker has counted, for people and tools.
pub(crate) const COUNTERS: usize = FAREWELL + 128;
/// The ring, on a page of its own.
const DATA: usize = 2 * HEADER_BYTES;
/// CRC32 of the segment table in docs/PROTOCOL.md; a test recomputes it.
pub const LAYOUT_HASH: u32 = 0x6047_65AD;

const _: () = assert!(COUNTERS.is_multiple_of(128) && COUNTERS + layout::BYTES <= DATA);

/// The memory that this side made.
pub(crate) type Own = Arc<OwnRegion>;
/// The memory that the peer made.
pub(crate) type Peer = Arc<PeerRegion>;

/// Both rings, as this side uses them.
pub(crate) type Rings = (Producer<Own, Peer>, Consumer<Own, Peer>);

/// Which side made a segment; part of its memfd's name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Both segments of a connection.
pub(crate) struct Segments {
    pub(crate) own: Own,
    pub(crate) peer: Peer,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Bytes of a segment whose ring has `ring_bytes`; 0 where there is none.
pub(crate) fn total_bytes(ring_bytes: u64) -> u64 {
    let mut cursor = LayoutCursor::new();
    let page = HEADER_BYTES as u64;
    let placed = cursor
        .place(page, page)
        .and_then(|_| cursor.place(page, page))
        .and_then(|_| cursor.place(ring_bytes, page))
        .and_then(|_| cursor.total(page));
    placed.expect("a ring of at most 64 MiB and two pages fit")
}

/// A session id that nobody can guess; `None` where the system has no random bytes.
pub(crate) fn new_session() -> Option<[u8; 16]> {
    let mut session = [0; 16];
    let filled = rustix::rand::getrandom(&mut session, rustix::rand::GetRandomFlags::empty());
    (filled == Ok(session.len())).then_some(session)
}

/// What the peer gets of this side's segment.
pub(crate) fn fd(own: &Own) -> BorrowedFd<'_> {
    own.fd()
}

/// Makes this side's segment.
pub(crate) fn create(settled: &Settled, service: &str, side: Side, session: [u8; 16]) -> Result<Own, CreateError> {
    let pages = if settled.huge_pages { Pages::Transparent } else { Pages::Ordinary };
    let options = strait_region::Options::new().pages(pages).prefault(settled.prefault);
    create_with("ring", &header(KIND_RING, settled, settled.own_ring_bytes, session), service, side, &options)
}

/// Makes the segment of this side while it is on its socket: counters alone.
pub(crate) fn create_for_socket(
    settled: &Settled,
    service: &str,
    side: Side,
    session: [u8; 16],
) -> Result<Own, CreateError> {
    create_with("socket", &header(KIND_SOCKET, settled, 0, session), service, side, &strait_region::Options::new())
}

fn header(kind: u32, settled: &Settled, ring_bytes: u64, session: [u8; 16]) -> Header {
    Header {
        kind,
        layout_hash: LAYOUT_HASH,
        total_bytes: total_bytes(ring_bytes),
        ring_capacity_bytes: ring_bytes,
        max_message_bytes: max_message_bytes(settled.own_ring_bytes) as u64,
        record_align_bytes: settled.record_align_bytes,
        session,
    }
}

fn create_with(
    kind: &str,
    header: &Header,
    service: &str,
    side: Side,
    options: &strait_region::Options,
) -> Result<Own, CreateError> {
    let name = format!("strait:{kind}:{service}:{}:{:032x}", side.name(), u128::from_be_bytes(header.session));
    let own = OwnRegion::create_with(&name, header, options)?;
    owner::sign(&own, COUNTERS + layout::OWNER_PID, COUNTERS + layout::OWNER_START);
    Ok(Arc::new(own))
}

/// Why a peer's segment was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "its ring has {found} bytes and its records start at multiples of {found_align}; the handshake settled {expected} and {expected_align}"
    )]
    Ring { found: u64, found_align: u32, expected: u64, expected_align: u32 },
    #[error("its largest message has {found} bytes; that of its ring has {expected}")]
    MaxMessage { found: u64, expected: u64 },
}

/// Opens the peer's segment after every check.
pub(crate) fn open(fd: OwnedFd, settled: &Settled, session: [u8; 16]) -> Result<Peer, Refused> {
    let expected = settled.peer_ring_bytes;
    let checks = Expected {
        kind: KIND_RING,
        layout_hash: LAYOUT_HASH,
        max_total_bytes: total_bytes(expected),
        session: Some(session),
    };
    let region = open_checked(fd, &checks)?;
    let (found, found_align) = (region.header().ring_capacity_bytes, region.header().record_align_bytes);
    let expected_align = settled.record_align_bytes;
    if found != expected || found_align != expected_align || region.header().total_bytes != total_bytes(expected) {
        return Err(Refused::Ring { found, found_align, expected, expected_align });
    }
    let (found, expected) = (region.header().max_message_bytes, max_message_bytes(expected) as u64);
    if found != expected {
        return Err(Refused::MaxMessage { found, expected });
    }
    Ok(Arc::new(region))
}

/// Opens any segment of a peer: the one code path for those of a pair and those beyond it.
pub(crate) fn open_checked(fd: OwnedFd, checks: &Expected) -> Result<PeerRegion, OpenError> {
    // All of it is there, or it is refused: pages that the peer left out would otherwise be asked for at some later touch, where
    // running out of memory is a signal and no error.
    PeerRegion::open_with(fd, checks, &strait_region::Options::new().prefault(true))
}

/// Says that this side ends in good order.
pub(crate) fn say_farewell(own: &OwnRegion) {
    // ORDERING: Relaxed; the release store of CLOSED, which follows, orders it for whoever sees that.
    own.store(FAREWELL, 1, Ordering::Relaxed);
}

/// Whether the peer has said so. Asked after CLOSED was seen, or after its hang-up.
pub(crate) fn heard_farewell(peer: &PeerRegion) -> bool {
    peer.load(FAREWELL) != 0
}

/// The two rings over both segments.
pub(crate) fn rings(segments: Segments, settled: &Settled) -> Result<Rings, Error> {
    let align = settled.record_align_bytes.into();
    let wrong = |error: GeometryError| Error::corrupt(format!("the rings do not fit their segments: {error}"));
    let outgoing = Geometry::new(CONTROL, DATA, settled.own_ring_bytes, align).map_err(wrong)?;
    let incoming = Geometry::new(CONTROL, DATA, settled.peer_ring_bytes, align).map_err(wrong)?;
    let Segments { own, peer } = segments;
    // SAFETY: `own` was made by `create` for this connection, zeroed by the kernel, and is handed to this one producer and
    // this one consumer (which write different lines of it); the handshake checked that the peer's segment has the same
    // geometry.
    let producer = unsafe { Producer::new(own.clone(), outgoing, peer.clone(), CONTROL) }.map_err(wrong)?;
    // SAFETY: as above.
    let consumer = unsafe { Consumer::new(own, CONTROL, peer, incoming) }.map_err(wrong)?;
    Ok((producer, consumer))
}

#[cfg(test)]
mod tests {
    use strait_spsc::records::control;

    use super::*;

    /// The text between the markers in docs/PROTOCOL.md; `None` where the crate stands alone.
    fn table() -> Option<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PROTOCOL.md");
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: no {path}");
            return None;
        };
        let (_, rest) = text.split_once("<!-- segment-table -->\n").expect("the table begins");
        let (table, _) = rest.split_once("<!-- /segment-table -->").expect("the table ends");
        Some(table.to_owned())
    }

    /// (offset, name) of each row.
    fn rows(table: &str) -> Vec<(usize, String)> {
        let rows = table.lines().skip(2).map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].parse().expect("an offset"), cells[3].trim_matches('`').to_owned())
        });
        rows.collect()
    }

    #[test]
    fn the_layout_hash_is_that_of_the_documented_table() {
        let Some(table) = table() else { return };
        let found = strait_frame::checksum(table.as_bytes());
        assert_eq!(found, LAYOUT_HASH, "the table has changed: set LAYOUT_HASH to {found:#010x}, if the code has too");
    }

    #[test]
    fn the_documented_offsets_are_those_of_the_code() {
        let Some(table) = table() else { return };
        let session = *b"0123456789abcdef";
        let header = Header {
            kind: KIND_RING,
            layout_hash: 0x1111_1111,
            total_bytes: total_bytes(4096),
            ring_capacity_bytes: 4096,
            max_message_bytes: 1008,
            record_align_bytes: 64,
            session,
        };
        let bytes = header.encode();
        let holds = |offset: usize, value: &[u8]| bytes[offset..].starts_with(value);
        for (offset, name) in rows(&table) {
            let right = match &*name {
                "magic" => holds(offset, b"STRAIT\0\x01"),
                "version" => holds(offset, &1u32.to_le_bytes()),
                "kind" => holds(offset, &KIND_RING.to_le_bytes()) && offset == 12,
                "layout_hash" => holds(offset, &0x1111_1111u32.to_le_bytes()),
                "record_align_bytes" => holds(offset, &64u32.to_le_bytes()),
                "total_bytes" => holds(offset, &(8192u64 + 4096).to_le_bytes()),
                "ring_capacity_bytes" => holds(offset, &4096u64.to_le_bytes()),
                "max_message_bytes" => holds(offset, &1008u64.to_le_bytes()),
                "session" => holds(offset, &session),
                "reserved" => offset == 64 && holds(offset, &[0; 64]),
                "TAIL" => offset == CONTROL + control::TAIL,
                "HEAD" => offset == CONTROL + control::HEAD,
                "DATA_TICKET" => offset == CONTROL + control::DATA_TICKET,
                "SPACE_TICKET" => offset == CONTROL + control::SPACE_TICKET,
                "CLOSED" => offset == CONTROL + control::CLOSED,
                "FAREWELL" => offset == FAREWELL,
                "SENT_MESSAGES" => offset == COUNTERS + layout::SENT_MESSAGES,
                "SENT_BYTES" => offset == COUNTERS + layout::SENT_BYTES,
                "SENT_US" => offset == COUNTERS + layout::SENT_US,
                "FULL" => offset == COUNTERS + layout::FULL,
                "SPACE_PARKS" => offset == COUNTERS + layout::SPACE_PARKS,
                "DATA_RINGS" => offset == COUNTERS + layout::DATA_RINGS,
                "HIGH_WATER" => offset == COUNTERS + layout::HIGH_WATER,
                "RECEIVED_MESSAGES" => offset == COUNTERS + layout::RECEIVED_MESSAGES,
                "RECEIVED_BYTES" => offset == COUNTERS + layout::RECEIVED_BYTES,
                "RECEIVED_US" => offset == COUNTERS + layout::RECEIVED_US,
                "DATA_PARKS" => offset == COUNTERS + layout::DATA_PARKS,
                "SPACE_RINGS" => offset == COUNTERS + layout::SPACE_RINGS,
                "CHECKSUM_ERRORS" => offset == COUNTERS + layout::CHECKSUM_ERRORS,
                "DECODE_ERRORS" => offset == COUNTERS + layout::DECODE_ERRORS,
                "OWNER_PID" => offset == COUNTERS + layout::OWNER_PID,
                "OWNER_START" => offset == COUNTERS + layout::OWNER_START,
                "OPENED_US" => offset == COUNTERS + layout::OPENED_US,
                "PARKS" => offset == COUNTERS + layout::PARKS,
                "IN_FLIGHT" => offset == COUNTERS + layout::IN_FLIGHT,
                "ERRORS" => offset == COUNTERS + layout::ERRORS,
                "LAST_ERROR" => offset == COUNTERS + layout::LAST_ERROR,
                "LAST_ERROR_US" => offset == COUNTERS + layout::LAST_ERROR_US,
                "DATA" => offset == DATA,
                _ => false,
            };
            assert!(right, "{name} is not at {offset}");
        }
        assert_eq!(rows(&table).len(), 39);
    }
}
