//! The reading end.

use std::{fmt, os::fd::OwnedFd, sync::Arc};

use strait_region::{Expected, PeerRegion};
use strait_seqlock::{
    ReadError,
    snapshot::{Geometry, Reader},
};
use strait_sync::Words;

use super::{
    BASE_VERSION, KIND_STATE, MAX_BASE_VERSION, SLOTS, SNAPSHOT, STATE_LAYOUT_HASH, StateRegion,
    pin::{NoPin, OwnPin, Pin, PinnedState},
    total_bytes,
};
use crate::{
    buffer::Buffer,
    error::Error,
    message::{Message, TransportKind},
    segment,
};

/// Reads a published state by copying: loads alone, no system call, and nothing that its writer could notice.
///
/// The memory stays readable after its writer is gone, with the last value that was published whole.
pub struct StateReader<W: StateRegion = Arc<PeerRegion>> {
    reader: Reader<W>,
    memory: W,
    base_version: u64,
    /// Length of the last value.
    hint_bytes: usize,
    pin: Result<Pin<W>, NoPin>,
}

impl<W: StateRegion> StateReader<W> {
    pub(super) fn new(reader: Reader<W>, memory: W, base_version: u64) -> Self {
        Self { reader, memory, base_version, hint_bytes: 0, pin: Err(NoPin::NotAsked) }
    }

    /// The latest version, as the writer says; what it began with before the first value. One load.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a forked child.
    #[inline]
    pub fn version(&self) -> Result<u64, Error> {
        self.memory.check_fork()?;
        Ok(self.base_version.wrapping_add(self.reader.version()))
    }

    /// Copies the latest value, with its version; `None` before the first.
    ///
    /// # Errors
    ///
    /// [`Error::Overtaken`] where the writer published anew during each attempt; [`Error::Corrupt`] where it broke the
    /// protocol, then and ever after; [`Error::Forked`].
    #[inline]
    pub fn read(&mut self) -> Result<Option<(Message, u64)>, Error> {
        self.memory.check_fork()?;
        loop {
            let mut buffer = Buffer::take(self.hint_bytes);
            match self.reader.read_into(buffer.bytes_mut()) {
                Ok(snapshot) => {
                    self.hint_bytes = snapshot.len_bytes;
                    let value = Message::copied(buffer, snapshot.len_bytes, 0, TransportKind::Shared);
                    return Ok(Some((value, self.base_version + snapshot.version)));
                }
                // At most the longest value: the reader has checked it.
                Err(ReadError::BufferTooSmall { need_bytes, .. }) => self.hint_bytes = need_bytes,
                Err(ReadError::Empty) => return Ok(None),
                Err(error) => return Err(told(error)),
            }
        }
    }

    /// Copies the latest value to the beginning of `buffer`; its length and version, or `None` before the first.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), with [`Error::TooLarge`] where the value is longer than `buffer`.
    #[inline]
    pub fn read_into(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, u64)>, Error> {
        self.memory.check_fork()?;
        match self.reader.read_into(buffer) {
            Ok(snapshot) => Ok(Some((snapshot.len_bytes, self.base_version + snapshot.version))),
            Err(ReadError::Empty) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }

    /// Pins the latest value, and lends it in place; `None` before the first. It stays as it is until the result is dropped:
    /// the writer goes on in other slots, and waits for nobody.
    ///
    /// Who gave the token of [`Options::state_pin`](crate::Options::state_pin) has said that this is called only while the
    /// connection that brought the memory is kept: with its end the writer takes the pin back.
    ///
    /// # Errors
    ///
    /// [`Error::NoPin`]: read a copy. [`Error::Overtaken`] where the writer published anew during each attempt,
    /// [`Error::Corrupt`] where it broke the protocol, [`Error::Forked`].
    #[inline]
    pub fn pin(&mut self) -> Result<Option<PinnedState<'_, W>>, Error> {
        self.memory.check_fork()?;
        match &mut self.pin {
            Ok(pin) => pin.pin(&self.memory, self.base_version),
            Err(why) => Err(Error::NoPin(why.clone())),
        }
    }

    /// Pins no more: before the connection that brought the memory is dropped, where the reader is kept.
    pub fn forgo_pin(&mut self) {
        if self.pin.is_ok() {
            self.pin = Err(NoPin::Ended);
        }
    }

    /// Why nothing can be pinned; `None` where it can.
    pub fn no_pin(&self) -> Option<&NoPin> {
        self.pin.as_ref().err()
    }

    /// The longest value in bytes.
    pub fn max_value_bytes(&self) -> usize {
        self.reader.geometry().max_bytes()
    }
}

#[cold]
fn told(error: ReadError) -> Error {
    match error {
        ReadError::Contended { attempts, .. } => Error::Overtaken { attempts },
        ReadError::BufferTooSmall { need_bytes, len_bytes } => Error::TooLarge { need: need_bytes, max: len_bytes },
        other => Error::corrupt(format!("the published state: {other}")),
    }
}

impl<W: StateRegion> fmt::Debug for StateReader<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateReader").field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// Opens a peer's published state after every check that a segment of a pair has, and those of its own constants.
pub(super) fn open(fd: OwnedFd, session: [u8; 16], max_total_bytes: u64) -> Result<StateReader, String> {
    let checks =
        Expected { kind: KIND_STATE.into(), layout_hash: STATE_LAYOUT_HASH, max_total_bytes, session: Some(session) };
    let region = segment::open_checked(fd, &checks).map_err(|error| error.to_string())?;
    StateReader::over(Arc::new(region))
}

/// Where the snapshot of a peer lies.
fn geometry(max_value_bytes: u64, slots: u64) -> Option<Geometry> {
    let geometry = Geometry::new(usize::try_from(max_value_bytes).ok()?).ok()?;
    geometry.with_slots(usize::try_from(slots).ok()?).ok()?.at(SNAPSHOT).ok()
}

impl StateReader {
    /// Reads the state in `region`, whose own constants are checked here.
    pub(crate) fn over(region: Arc<PeerRegion>) -> Result<Self, String> {
        if region.len_bytes() < SNAPSHOT {
            return Err(format!("it has {} bytes, expected at least {SNAPSHOT}", region.len_bytes()));
        }
        let (slots, base_version) = (region.load(SLOTS), region.load(BASE_VERSION));
        let (max_value_bytes, found_bytes) = (region.header().max_message_bytes, region.header().total_bytes);
        let geometry = geometry(max_value_bytes, slots);
        let (geometry, expected_bytes) = geometry
            .and_then(|geometry| total_bytes(&geometry).map(|expected_bytes| (geometry, expected_bytes)))
            .ok_or_else(|| format!("there is no state of {slots} slots of {max_value_bytes} bytes"))?;
        if found_bytes != expected_bytes {
            return Err(format!(
                "it has {found_bytes} bytes, and {slots} slots of {max_value_bytes} bytes take {expected_bytes}"
            ));
        }
        if base_version > MAX_BASE_VERSION {
            return Err(format!("its versions follow {base_version}, expected at most 2^62"));
        }
        let reader = Reader::new(region.clone(), geometry).map_err(|error| error.to_string())?;
        Ok(Self::new(reader, region, base_version))
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> u64 {
        self.reader.geometry().slots() as u64
    }

    /// How many pins can be granted at once.
    pub(crate) fn max_pins(&self) -> u64 {
        let beside_pins = (Geometry::MAX_SLOTS - Geometry::MAX_PINS) as u64;
        self.slots().saturating_sub(beside_pins)
    }

    /// The version that the first value of this memory follows.
    pub(crate) fn base_version(&self) -> u64 {
        self.base_version
    }

    /// Gives the reader the pin that its writer has granted to the word in `own`.
    pub(super) fn set_pin(&mut self, own: Result<OwnPin, NoPin>) {
        let pin = own.and_then(|own| Pin::new(own, self.memory.clone(), *self.reader.geometry()));
        self.pin = pin;
    }
}
