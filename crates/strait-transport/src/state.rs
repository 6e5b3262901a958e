//! A published state: memory beyond the pair, written by a server and read by its clients. Byte table: docs/PROTOCOL.md.

#![allow(unsafe_code)]

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
};

use strait_region::{Expected, HEADER_BYTES, Header, LayoutCursor, OwnRegion, PeerRegion};
use strait_seqlock::{
    ReadError,
    snapshot::{Geometry, Reader, Writer},
};
use strait_sync::{Words, WordsMut};

use crate::{
    buffer::Buffer,
    error::Error,
    handshake::frames::Control,
    message::{Message, TransportKind},
    segment,
    socket::framed::{Framed, Rider},
};

/// Kind of segment in its header and in its `Extra` frame.
const KIND_STATE: u8 = 2;
/// How many slots the snapshot has; read once, when the segment is opened.
const SLOTS: usize = HEADER_BYTES;
/// The version that the first value of this memory follows; read once.
const BASE_VERSION: usize = HEADER_BYTES + 8;
/// The snapshot, after a line of constants.
const SNAPSHOT: usize = HEADER_BYTES + 128;
/// CRC32 of the state table in docs/PROTOCOL.md; a test recomputes it.
const STATE_LAYOUT_HASH: u32 = 0xBA28_F62D;
/// Far beyond what any daemon comes to, and far from an overflow.
const MAX_BASE_VERSION: u64 = 1 << 62;

/// Where the snapshot lies, and how long the whole segment is.
fn geometry(max_value_bytes: u64, slots: u64) -> Option<(Geometry, u64)> {
    let geometry = Geometry::new(usize::try_from(max_value_bytes).ok()?).ok()?;
    let geometry = geometry.with_slots(usize::try_from(slots).ok()?).ok()?.at(SNAPSHOT).ok()?;
    let mut cursor = LayoutCursor::new();
    cursor.place(geometry.end() as u64, 1).ok()?;
    Some((geometry, cursor.total(HEADER_BYTES as u64).ok()?))
}

/// The sealed memory of a published state, to be [attached](crate::Connection::attach_state) to connections. A clone is the
/// same memory.
#[derive(Clone)]
pub struct StateMemory {
    region: Arc<OwnRegion>,
}

impl AsFd for StateMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.fd()
    }
}

impl fmt::Debug for StateMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateMemory").field("total_bytes", &self.region.header().total_bytes).finish()
    }
}

/// Writes a state into memory of its own, which others can map for reading alone.
///
/// ```
/// use strait_transport::StateWriter;
///
/// let mut writer = StateWriter::create("weather", 4096, 0)?;
/// let mut reader = writer.reader()?;
/// assert_eq!(writer.write(b"sunny")?, 1);
/// let (value, version) = reader.read()?.expect("there is a value");
/// assert_eq!((&*value, version), (&b"sunny"[..], 1));
/// # Ok::<(), strait_transport::Error>(())
/// ```
pub struct StateWriter {
    writer: Writer<Arc<OwnRegion>>,
    memory: StateMemory,
    base_version: u64,
}

impl StateWriter {
    /// Makes sealed memory for values of up to `max_value_bytes` bytes, in three slots. Versions go on after `base_version`.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where `max_value_bytes` is more than any memory has, [`Error::Io`] where the system has none.
    pub fn create(service: &str, max_value_bytes: usize, base_version: u64) -> Result<Self, Error> {
        let slots = Geometry::DEFAULT_SLOTS as u64;
        let (geometry, total_bytes) = geometry(max_value_bytes as u64, slots).ok_or_else(|| Error::Option {
            option: "max_value_bytes",
            found: max_value_bytes.to_string(),
            expected: "what three slots in memory can hold",
        })?;
        if base_version > MAX_BASE_VERSION {
            let found = base_version.to_string();
            return Err(Error::Option { option: "base_version", found, expected: "at most 2^62" });
        }
        let session = segment::new_session()
            .ok_or_else(|| Error::io("making a session id", std::io::Error::other("no random bytes")))?;
        let header = Header {
            kind: KIND_STATE.into(),
            layout_hash: STATE_LAYOUT_HASH,
            total_bytes,
            ring_capacity_bytes: 0,
            max_message_bytes: max_value_bytes as u64,
            record_align_bytes: 16,
            session,
        };
        let name = format!("strait:state:{service}:server:{:032x}", u128::from_be_bytes(session));
        let region = OwnRegion::create(&name, &header)
            .map_err(|error| Error::io("making memory for the state", std::io::Error::other(error)))?;
        // ORDERING: Relaxed, both; nobody has the memory yet, and whoever gets it gets it by a message.
        region.store(SLOTS, slots, Ordering::Relaxed);
        region.store(BASE_VERSION, base_version, Ordering::Relaxed);
        let region = Arc::new(region);
        // SAFETY: the memory was just made, is zero where the snapshot lies, can be written by this process alone (the seals),
        // and this is its only writer here: nothing else in this module stores to it any more.
        let writer = unsafe { Writer::new(region.clone(), geometry) }.map_err(misfit)?;
        Ok(Self { writer, memory: StateMemory { region }, base_version })
    }

    /// Publishes `bytes`, and returns their version. Waits for nobody.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] beyond `max_value_bytes`, [`Error::Forked`] in a forked child. Nothing is published then.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        self.memory.region.check_fork().map_err(|_| Error::Forked)?;
        let version = self.writer.write(bytes);
        let version = version.map_err(|long| Error::TooLarge { need: long.need_bytes, max: long.max_bytes })?;
        Ok(self.base_version + version)
    }

    /// The latest version; what it began with before the first value.
    pub fn version(&self) -> u64 {
        self.base_version + self.writer.version()
    }

    /// The longest value in bytes.
    pub fn max_value_bytes(&self) -> usize {
        self.writer.geometry().max_bytes()
    }

    /// The memory, for connections.
    pub fn memory(&self) -> StateMemory {
        self.memory.clone()
    }

    /// A reader in this process.
    ///
    /// # Errors
    ///
    /// None that this writer's own memory causes.
    pub fn reader(&self) -> Result<StateReader<Arc<OwnRegion>>, Error> {
        let reader = Reader::new(self.memory.region.clone(), *self.writer.geometry()).map_err(misfit)?;
        Ok(StateReader { reader, memory: self.memory.region.clone(), base_version: self.base_version, hint_bytes: 0 })
    }
}

impl fmt::Debug for StateWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWriter").field("version", &self.version()).finish_non_exhaustive()
    }
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

/// Reads a published state by copying: loads alone, no system call, and nothing that its writer could notice.
///
/// The memory stays readable after its writer is gone, with the last value that was published whole.
pub struct StateReader<W: StateRegion = Arc<PeerRegion>> {
    reader: Reader<W>,
    memory: W,
    base_version: u64,
    /// Length of the last value.
    hint_bytes: usize,
}

impl<W: StateRegion> StateReader<W> {
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
fn open(fd: OwnedFd, session: [u8; 16], max_total_bytes: u64) -> Result<StateReader, String> {
    let checks =
        Expected { kind: KIND_STATE.into(), layout_hash: STATE_LAYOUT_HASH, max_total_bytes, session: Some(session) };
    let region = segment::open_checked(fd, &checks).map_err(|error| error.to_string())?;
    if region.len_bytes() < SNAPSHOT {
        return Err(format!("it has {} bytes, expected at least {SNAPSHOT}", region.len_bytes()));
    }
    let (slots, base_version) = (region.load(SLOTS), region.load(BASE_VERSION));
    let (max_value_bytes, total_bytes) = (region.header().max_message_bytes, region.header().total_bytes);
    let (geometry, expected_bytes) = geometry(max_value_bytes, slots)
        .ok_or_else(|| format!("there is no state of {slots} slots of {max_value_bytes} bytes"))?;
    if total_bytes != expected_bytes {
        return Err(format!(
            "it has {total_bytes} bytes, and {slots} slots of {max_value_bytes} bytes take {expected_bytes}"
        ));
    }
    if base_version > MAX_BASE_VERSION {
        return Err(format!("its versions follow {base_version}, expected at most 2^62"));
    }
    let memory = Arc::new(region);
    let reader = Reader::new(memory.clone(), geometry).map_err(|error| error.to_string())?;
    Ok(StateReader { reader, memory, base_version, hint_bytes: 0 })
}

/// A peer's published state, or why it was not taken.
pub(crate) type Received = Result<StateReader, String>;

/// What goes beside the pair of a connection.
pub(crate) struct Attached {
    ours: Option<StateMemory>,
    theirs: Option<Received>,
    /// One per connection.
    received: bool,
    /// The largest that is taken.
    max_total_bytes: u64,
}

impl Attached {
    pub(crate) fn new() -> Self {
        Self { ours: None, theirs: None, received: false, max_total_bytes: 0 }
    }

    pub(crate) fn limit(&mut self, max_total_bytes: u64) {
        self.max_total_bytes = max_total_bytes;
    }

    pub(crate) fn attach(&mut self, memory: StateMemory) {
        self.ours = Some(memory);
    }

    /// Whether an `Extra` may come.
    pub(crate) fn may_come(&self) -> bool {
        !self.received
    }

    /// Queues `Extra` behind `Accept`.
    pub(crate) fn send(&mut self, framed: &mut Framed) -> Result<(), Error> {
        let Some(memory) = self.ours.take() else { return Ok(()) };
        let Header { total_bytes, session, .. } = *memory.region.header();
        let frame = Control::Extra { segment: KIND_STATE, total_bytes, session };
        framed.send_control(&frame.encode(), Some(Rider::Extra(memory)))
    }

    /// Takes the peer's `Extra`. One that cannot be opened costs its memory, and not the connection.
    pub(crate) fn receive(&mut self, fd: Result<OwnedFd, String>, kind: u8, session: [u8; 16]) {
        self.received = true;
        let opened = fd.and_then(|fd| match kind {
            KIND_STATE => open(fd, session, self.max_total_bytes),
            other => Err(format!("a segment of kind {other}, expected {KIND_STATE} (state)")),
        });
        if let Err(reason) = &opened {
            tracing::warn!(target: "strait", reason, "the peer's published state was not taken");
        }
        self.theirs = Some(opened);
    }

    pub(crate) fn take(&mut self) -> Option<Received> {
        self.theirs.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text between the markers in docs/PROTOCOL.md; `None` where the crate stands alone.
    fn table() -> Option<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PROTOCOL.md");
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: no {path}");
            return None;
        };
        let (_, rest) = text.split_once("<!-- state-table -->\n").expect("the table begins");
        let (table, _) = rest.split_once("<!-- /state-table -->").expect("the table ends");
        Some(table.to_owned())
    }

    fn opened(writer: &StateWriter) -> Received {
        let session = writer.memory.region.header().session;
        open(writer.memory.as_fd().try_clone_to_owned().unwrap(), session, 1 << 20)
    }

    #[test]
    fn the_layout_hash_is_that_of_the_documented_table() {
        let Some(table) = table() else { return };
        let found = strait_frame::checksum(table.as_bytes());
        assert_eq!(found, STATE_LAYOUT_HASH, "the table has changed: set STATE_LAYOUT_HASH to {found:#010x}");
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
            writer.memory.region.store(offset, value, Ordering::Relaxed);
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
        let fd = || writer.memory.as_fd().try_clone_to_owned().unwrap();
        assert!(open(fd(), [9; 16], 1 << 20).is_err());
        assert!(open(fd(), writer.memory.region.header().session, 4096).is_err());
    }
}
