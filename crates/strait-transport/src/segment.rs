//! The memory of one side of a connection: where everything lies in it. Byte table: docs/PROTOCOL.md.

#![allow(unsafe_code)]

use std::{
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};

use strait_region::{CreateError, Expected, HEADER_BYTES, Header, LayoutCursor, OpenError, OwnRegion, PeerRegion};
use strait_spsc::{
    GeometryError,
    records::{self, Consumer, Geometry, Producer},
};

use strait_sync::{Words, WordsMut};

use crate::{error::Error, handshake::Settled, options::max_message_bytes};

/// Kind of segment in its header: one side's ring and control lines.
const KIND_RING: u32 = 1;
/// Tail, head and parking lines, after the header page.
const CONTROL: usize = HEADER_BYTES;
/// Nonzero once the maker has closed the connection in good order; on a line of its own.
const FAREWELL: usize = CONTROL + records::control::BYTES;
/// The ring, on a page of its own.
const DATA: usize = 2 * HEADER_BYTES;
/// CRC32 of the segment table in docs/PROTOCOL.md; a test recomputes it.
pub const LAYOUT_HASH: u32 = 0;

const _: () = assert!(FAREWELL + 128 <= DATA);

pub(crate) type SharedProducer = Producer<Arc<OwnRegion>, Arc<PeerRegion>>;
pub(crate) type SharedConsumer = Consumer<Arc<OwnRegion>, Arc<PeerRegion>>;

/// Which side made a segment; part of its memfd's name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Both segments of a connection.
pub(crate) struct Segments {
    pub(crate) own: Arc<OwnRegion>,
    pub(crate) peer: Arc<PeerRegion>,
}

fn total_bytes(ring_bytes: u64) -> u64 {
    let mut cursor = LayoutCursor::new();
    let page = HEADER_BYTES as u64;
    let placed = cursor
        .place(page, page)
        .and_then(|_| cursor.place(page, page))
        .and_then(|_| cursor.place(ring_bytes, page))
        .and_then(|_| cursor.total(page));
    placed.expect("a ring of at most 64 MiB and two pages fit")
}

/// Makes this side's segment.
pub(crate) fn create(
    settled: &Settled,
    service: &str,
    side: Side,
    session: [u8; 16],
) -> Result<OwnRegion, CreateError> {
    let side = match side {
        Side::Client => "client",
        Side::Server => "server",
    };
    let name = format!("strait:ring:{service}:{side}:{:032x}", u128::from_be_bytes(session));
    let ring_bytes = settled.own_ring_bytes;
    let header = Header {
        kind: KIND_RING,
        layout_hash: LAYOUT_HASH,
        total_bytes: total_bytes(ring_bytes),
        ring_capacity_bytes: ring_bytes,
        max_message_bytes: max_message_bytes(ring_bytes) as u64,
        record_align_bytes: settled.record_align_bytes,
        session,
    };
    OwnRegion::create(&name, &header)
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
}

/// Opens the peer's segment after every check.
pub(crate) fn open(fd: OwnedFd, settled: &Settled, session: [u8; 16]) -> Result<PeerRegion, Refused> {
    let expected = settled.peer_ring_bytes;
    let checks = Expected {
        kind: KIND_RING,
        layout_hash: LAYOUT_HASH,
        max_total_bytes: total_bytes(expected),
        session: Some(session),
    };
    let region = PeerRegion::open(fd, &checks)?;
    let (found, found_align) = (region.header().ring_capacity_bytes, region.header().record_align_bytes);
    let expected_align = settled.record_align_bytes;
    if found != expected || found_align != expected_align || region.header().total_bytes != total_bytes(expected) {
        return Err(Refused::Ring { found, found_align, expected, expected_align });
    }
    Ok(region)
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
pub(crate) fn rings(segments: Segments, settled: &Settled) -> Result<(SharedProducer, SharedConsumer), Error> {
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
