//! The memory of one side of a connection, on the heap.

#![allow(unsafe_code)]

use strait_spsc::{
    GeometryError,
    records::{self, Consumer, Geometry, Producer},
};
use strait_sync::{
    Heap, Words, WordsMut,
    primitive::{Arc, Ordering},
};

use crate::{
    error::Error,
    handshake::Settled,
    socket::fds::{Fd, FdRef},
};

const CONTROL: usize = 0;
const FAREWELL: usize = CONTROL + records::control::BYTES;
const DATA: usize = FAREWELL + 128;

pub(crate) type Own = Arc<Heap>;
pub(crate) type Peer = Arc<Heap>;
pub(crate) type Rings = (Producer<Own, Peer>, Consumer<Own, Peer>);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

pub(crate) struct Segments {
    pub(crate) own: Own,
    pub(crate) peer: Peer,
}

pub(crate) fn total_bytes(ring_bytes: u64) -> u64 {
    DATA as u64 + ring_bytes
}

pub(crate) fn new_session() -> Option<[u8; 16]> {
    Some(*b"the only session")
}

pub(crate) fn fd(own: &Own) -> FdRef<'_> {
    own
}

pub(crate) fn create(settled: &Settled, _: &str, _: Side, _: [u8; 16]) -> Result<Own, Error> {
    Ok(Arc::new(Heap::zeroed(total_bytes(settled.own_ring_bytes) as usize)))
}

pub(crate) fn open(fd: Fd, _: &Settled, _: [u8; 16]) -> Result<Peer, Error> {
    Ok(fd)
}

pub(crate) fn say_farewell(own: &Own) {
    // ORDERING: Relaxed; the release store of CLOSED, which follows, orders it for whoever sees that.
    own.store(FAREWELL, 1, Ordering::Relaxed);
}

pub(crate) fn heard_farewell(peer: &Peer) -> bool {
    peer.load(FAREWELL) != 0
}

pub(crate) fn rings(segments: Segments, settled: &Settled) -> Result<Rings, Error> {
    let align = settled.record_align_bytes.into();
    let wrong = |error: GeometryError| Error::corrupt(format!("the rings do not fit their segments: {error}"));
    let outgoing = Geometry::new(CONTROL, DATA, settled.own_ring_bytes, align).map_err(wrong)?;
    let incoming = Geometry::new(CONTROL, DATA, settled.peer_ring_bytes, align).map_err(wrong)?;
    let Segments { own, peer } = segments;
    // SAFETY: `own` was made by `create` for this connection and is handed to this one producer and this one consumer; both
    // sides have the same geometry.
    let producer = unsafe { Producer::new(own.clone(), outgoing, peer.clone(), CONTROL) }.map_err(wrong)?;
    // SAFETY: as above.
    let consumer = unsafe { Consumer::new(own, CONTROL, peer, incoming) }.map_err(wrong)?;
    Ok((producer, consumer))
}
