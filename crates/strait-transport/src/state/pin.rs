//! Reading in place: the client's own memory, in which it shows the slot that it reads. Byte table: docs/PROTOCOL.md.

#![allow(unsafe_code)]

use std::{fmt, mem::ManuallyDrop, ops::Deref, os::fd::OwnedFd, sync::Arc};

use strait_region::{Expected, HEADER_BYTES, Header, OwnRegion, PeerRegion};
use strait_seqlock::{
    PinError,
    snapshot::{Geometry, Pinned, PinnedReader},
};
use strait_sync::HonestPeer;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::StateRegion;
use crate::{error::Error, segment};

/// Kind of segment in its header and in its `Extra` frame.
pub(crate) const KIND_PIN: u8 = 3;
/// The hazard word, on a page of its own.
pub(crate) const HAZARD: usize = HEADER_BYTES;
/// CRC32 of the pin table in docs/PROTOCOL.md; a test recomputes it.
pub(crate) const PIN_LAYOUT_HASH: u32 = 0xEA6B_3096;
/// Bytes of the segment that a client makes to read a state in place, all of them allocated.
pub const PIN_SEGMENT_BYTES: u64 = 2 * HEADER_BYTES as u64;

/// Why a value cannot be read in place. A copy can always be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPin {
    /// This side did not ask for a pin when it connected.
    #[error("this side asked for no pin: set the option `state_pin`")]
    NotAsked,
    /// The memory for this side's pin could not be made.
    #[error("no memory for a pin could be made: {0}")]
    NoMemory(Arc<str>),
    /// The other side grants no pins, or all of them are granted, or it did not take the memory.
    #[error("the other side granted no pin; it grants {max_pins} at most at once (`max_pins`)")]
    Refused {
        /// The most that it grants at once.
        max_pins: u32,
    },
    /// The values come over the connection.
    #[error("the values are not in shared memory")]
    NotShared,
    /// The connection has ended, and the pin with it.
    #[error("the connection has ended, and the pin with it")]
    Ended,
}

/// A client's own segment, and the token by which it trusts the writer.
pub(super) struct OwnPin {
    pub(super) region: Arc<OwnRegion>,
    pub(super) trust: HonestPeer,
}

/// Makes a client's segment.
pub(super) fn create(service: &str) -> Result<OwnRegion, Arc<str>> {
    let session = segment::new_session().ok_or("no random session id")?;
    let header = Header {
        kind: KIND_PIN.into(),
        layout_hash: PIN_LAYOUT_HASH,
        total_bytes: PIN_SEGMENT_BYTES,
        ring_capacity_bytes: 0,
        max_message_bytes: 0,
        record_align_bytes: 16,
        session,
    };
    let name = format!("strait:pin:{service}:client:{:032x}", u128::from_be_bytes(session));
    OwnRegion::create(&name, &header).map_err(|error| error.to_string().into())
}

/// Opens a client's segment after every check.
pub(super) fn open(fd: OwnedFd, session: [u8; 16]) -> Result<PeerRegion, String> {
    let checks = Expected {
        kind: KIND_PIN.into(),
        layout_hash: PIN_LAYOUT_HASH,
        max_total_bytes: PIN_SEGMENT_BYTES,
        session: Some(session),
    };
    let region = segment::open_checked(fd, &checks).map_err(|error| error.to_string())?;
    match region.header().total_bytes {
        PIN_SEGMENT_BYTES => Ok(region),
        found => Err(format!("it has {found} bytes, expected {PIN_SEGMENT_BYTES}")),
    }
}

/// A pin that was granted.
pub(super) struct Pin<W: StateRegion> {
    reader: PinnedReader<Arc<OwnRegion>, W>,
}

impl<W: StateRegion> Pin<W> {
    pub(super) fn new(own: OwnPin, memory: W, geometry: Geometry) -> Result<Self, NoPin> {
        let OwnPin { region, trust } = own;
        let reader = PinnedReader::new(region, HAZARD, memory, geometry, trust);
        Ok(Self { reader: reader.map_err(|error| NoPin::NoMemory(error.to_string().into()))? })
    }

    #[inline]
    pub(super) fn pin<'a>(&'a mut self, memory: &'a W, base_version: u64) -> Result<Option<PinnedState<'a, W>>, Error> {
        match self.reader.pin() {
            Ok(pinned) => {
                let version = base_version + pinned.version();
                Ok(Some(PinnedState { pinned: ManuallyDrop::new(pinned), memory, version }))
            }
            Err(PinError::Empty) => Ok(None),
            Err(PinError::Contended { attempts, .. }) => Err(Error::Overtaken { attempts }),
            Err(other) => Err(Error::corrupt(format!("the published state: {other}"))),
        }
    }
}

/// A value in place: its bytes in the writer's memory, at a multiple of 128. Dropping it lets go of its slot.
///
/// Not to be touched in a forked child, where the memory is not mapped.
#[must_use = "the value is pinned until this is dropped"]
pub struct PinnedState<'a, W: StateRegion = Arc<PeerRegion>> {
    pinned: ManuallyDrop<Pinned<'a, Arc<OwnRegion>, W>>,
    memory: &'a W,
    version: u64,
}

impl<W: StateRegion> PinnedState<'_, W> {
    /// Which value it is.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The value as a plain `T`, in place. `None` where it has not the size of one, or not its alignment.
    #[inline]
    pub fn as_value<T: FromBytes + KnownLayout + Immutable + ?Sized>(&self) -> Option<&T> {
        self.pinned.as_value()
    }
}

impl<W: StateRegion> Deref for PinnedState<'_, W> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.pinned
    }
}

impl<W: StateRegion> Drop for PinnedState<'_, W> {
    #[inline]
    fn drop(&mut self) {
        // In a forked child the hazard word is not mapped; the parent's own guard lets go of the slot.
        if self.memory.check_fork().is_ok() {
            // SAFETY: not used after this, because `self` is going.
            unsafe { ManuallyDrop::drop(&mut self.pinned) }
        }
    }
}

impl<W: StateRegion> fmt::Debug for PinnedState<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedState").field("version", &self.version).field("len", &self.len()).finish_non_exhaustive()
    }
}
