//! The reading end that copies.

use core::fmt;

use strait_sync::{
    Words, mutant,
    primitive::{Ordering, fence},
};
use zerocopy::{FromBytes, IntoBytes};

use super::layout::{Geometry, Latest, corrupt};
use crate::error::{Corrupt, GeometryError, ReadError, Violation};

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Length of the value.
    pub len_bytes: usize,
    /// Which value it is, counted from 1. Never less than that of an earlier read by the same reader.
    pub version: u64,
}

/// What a reader has done. Counted in its private memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderStats {
    /// Values copied.
    pub reads: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Attempts that the writer overtook.
    pub retries: u64,
}

/// A reader of a snapshot, by copying. Loads from `Peer`, and never writes to it.
///
/// There may be any number; where the memory can be cloned, so can its readers. A clone begins with statistics of its
/// own.
pub struct Reader<Peer: Words> {
    pub(super) peer: Peer,
    pub(super) geometry: Geometry,
    pub(super) attempts: u32,
    /// The latest version that was seen.
    seen: u64,
    stats: ReaderStats,
    poison: Option<Corrupt>,
}

impl<Peer: Words> Reader<Peer> {
    /// How many attempts a read makes where nobody says otherwise.
    pub const ATTEMPTS: u32 = 64;

    /// Makes a reader of the snapshot that lies in `peer` as `geometry` says.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfBounds`] where the snapshot is not inside the memory.
    pub fn new(peer: Peer, geometry: Geometry) -> Result<Self, GeometryError> {
        geometry.check(&peer)?;
        let stats = ReaderStats::default();
        Ok(Self { peer, geometry, attempts: Self::ATTEMPTS, seen: 0, stats, poison: None })
    }

    /// The same reader that makes up to `attempts` attempts, at least one.
    #[must_use]
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// How the snapshot lies in its memory.
    #[inline]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What this reader has done.
    #[inline]
    pub fn stats(&self) -> ReaderStats {
        self.stats
    }

    /// The latest version, as the writer says; 0 before the first. One relaxed load.
    #[inline]
    pub fn version(&self) -> u64 {
        Latest::version_of(self.peer.load(self.geometry.latest()))
    }

    /// Whether there is something newer than `version`, as the writer says. One relaxed load.
    ///
    /// ```
    /// let (mut writer, mut reader) = strait_seqlock::snapshot::channel(64)?;
    /// writer.write_value(&7u64)?;
    /// let (value, snapshot) = reader.read_value::<u64>()?;
    /// assert_eq!(value, 7);
    /// assert!(!reader.changed_since(snapshot.version));
    /// writer.write_value(&8u64)?;
    /// assert!(reader.changed_since(snapshot.version));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn changed_since(&self, version: u64) -> bool {
        self.version() > version
    }

    /// Copies the latest value to the beginning of `buffer`. What the rest of the buffer then holds is not said.
    ///
    /// # Errors
    ///
    /// [`ReadError::Empty`] before the first value, [`BufferTooSmall`](ReadError::BufferTooSmall) where it does not
    /// fit, [`Contended`](ReadError::Contended) where the writer overtook each attempt, and
    /// [`Corrupt`](ReadError::Corrupt) where it broke the protocol, then and ever after.
    #[inline]
    pub fn read_into(&mut self, mut buffer: &mut [u8]) -> Result<Snapshot, ReadError> {
        self.read(&mut buffer)
    }

    /// Copies the latest value to `bytes`, which becomes as long as the value. Where that fails, `bytes` is empty.
    ///
    /// # Errors
    ///
    /// As [`read_into`](Self::read_into), except that everything fits.
    #[cfg(feature = "alloc")]
    pub fn read_to_vec(&mut self, bytes: &mut alloc::vec::Vec<u8>) -> Result<Snapshot, ReadError> {
        self.read(bytes).inspect_err(|_| bytes.clear())
    }

    /// Copies the latest value as a plain `T`, and says which one it is.
    ///
    /// # Errors
    ///
    /// As [`read_into`](Self::read_into), with [`WrongSize`](ReadError::WrongSize) where the value has not the size of
    /// a `T`.
    #[inline]
    pub fn read_value<T: FromBytes + IntoBytes>(&mut self) -> Result<(T, Snapshot), ReadError> {
        let mut value = Value(T::new_zeroed());
        let snapshot = self.read(&mut value)?;
        Ok((value.0, snapshot))
    }

    /// Copies the latest value to wherever it goes.
    #[inline]
    fn read(&mut self, destination: &mut impl Destination) -> Result<Snapshot, ReadError> {
        let mut version = 0;
        for _ in 0..self.attempts {
            let latest = self.latest()?;
            if latest.version == 0 {
                return Err(ReadError::Empty);
            }
            match self.attempt(latest, destination) {
                Ok(Some(snapshot)) => {
                    self.stats.reads += 1;
                    self.stats.bytes += snapshot.len_bytes as u64;
                    return Ok(snapshot);
                }
                // The writer has published others since. There is nothing to wait for.
                Ok(None) => self.stats.retries += 1,
                Err(ReadError::Corrupt(corrupt)) => return Err(self.poisoned(corrupt).into()),
                Err(error) => return Err(error),
            }
            version = latest.version;
        }
        Err(ReadError::Contended { attempts: self.attempts, version })
    }

    /// What the writer says that is the latest, checked.
    #[inline]
    pub(super) fn latest(&mut self) -> Result<Latest, Corrupt> {
        self.latest_word().map(|(latest, _)| latest)
    }

    /// The same, and the word that says it.
    #[inline]
    pub(super) fn latest_word(&mut self) -> Result<(Latest, u64), Corrupt> {
        if let Some(corrupt) = self.poison {
            return Err(corrupt);
        }
        let word = self.peer.load(self.geometry.latest());
        // ORDERING: Acquire; pairs with the release store of LATEST in `Writer::publish`: the slot is at least as new.
        mutant!(latest_no_acquire, fence(Ordering::Acquire), ());
        match Latest::check(word, &self.geometry) {
            Ok(latest) if latest.version < self.seen => {
                Err(self.poisoned(corrupt(Violation::VersionWentBack, latest.version, latest.version, self.seen)))
            }
            Ok(latest) => {
                self.seen = latest.version;
                Ok((latest, word))
            }
            Err(corrupt) => Err(self.poisoned(corrupt)),
        }
    }

    /// One attempt to copy `latest`; `None` where the writer overtook it. Also an error counts only where it did not.
    #[inline]
    fn attempt(&self, latest: Latest, destination: &mut impl Destination) -> Result<Option<Snapshot>, ReadError> {
        let sequence = self.geometry.sequence(latest.slot);
        match self.peer.load(sequence) {
            before if before == latest.complete() => {}
            before if before < latest.complete() => {
                return Err(corrupt(Violation::NotWritten, latest.version, before, latest.complete()).into());
            }
            _overtaken => return Ok(None),
        }
        let copied = self.checked_len(latest).map_err(ReadError::from).and_then(|len_bytes| {
            self.peer.copy_out_racing(self.geometry.data(latest.slot), destination.of_len(len_bytes)?);
            Ok(Snapshot { len_bytes, version: latest.version })
        });
        // ORDERING: Acquire; pairs with the release fence in `Writer::begin`: if a word of a later value was copied,
        // the look below sees that value's number.
        mutant!(snapshot_no_acquire_fence, fence(Ordering::Acquire), ());
        let after = mutant!(snapshot_no_recheck, self.peer.load(sequence), latest.complete());
        if after == latest.complete() { copied.map(Some) } else { Ok(None) }
    }

    /// Length of the value in the slot. Loaded once, and at most the longest.
    #[inline]
    pub(super) fn checked_len(&self, latest: Latest) -> Result<usize, Corrupt> {
        let (len, max) = (self.peer.load(self.geometry.length(latest.slot)), self.geometry.max_bytes() as u64);
        if len > max {
            return Err(corrupt(Violation::TooLong, latest.version, len, max));
        }
        Ok(len as usize)
    }

    /// Remembers `corrupt` for ever.
    #[cold]
    pub(super) fn poisoned(&mut self, corrupt: Corrupt) -> Corrupt {
        *self.poison.insert(corrupt)
    }
}

/// Where a value goes.
trait Destination {
    /// Room for just that many bytes.
    fn of_len(&mut self, len_bytes: usize) -> Result<&mut [u8], ReadError>;
}

impl Destination for &mut [u8] {
    #[inline]
    fn of_len(&mut self, need_bytes: usize) -> Result<&mut [u8], ReadError> {
        let len_bytes = self.len();
        self.get_mut(..need_bytes).ok_or(ReadError::BufferTooSmall { need_bytes, len_bytes })
    }
}

#[cfg(feature = "alloc")]
impl Destination for alloc::vec::Vec<u8> {
    #[inline]
    fn of_len(&mut self, len_bytes: usize) -> Result<&mut [u8], ReadError> {
        self.resize(len_bytes, 0);
        Ok(self)
    }
}

/// A plain value: any bytes are one.
struct Value<T>(T);

impl<T: FromBytes + IntoBytes> Destination for Value<T> {
    #[inline]
    fn of_len(&mut self, found_bytes: usize) -> Result<&mut [u8], ReadError> {
        if found_bytes != size_of::<T>() {
            return Err(ReadError::WrongSize { expected_bytes: size_of::<T>(), found_bytes });
        }
        Ok(self.0.as_mut_bytes())
    }
}

impl<Peer: Words + Clone> Clone for Reader<Peer> {
    fn clone(&self) -> Self {
        let Self { ref peer, geometry, attempts, seen, poison, .. } = *self;
        Self { peer: peer.clone(), geometry, attempts, seen, stats: ReaderStats::default(), poison }
    }
}

impl<Peer: Words> fmt::Debug for Reader<Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("geometry", &self.geometry)
            .field("seen", &self.seen)
            .field("stats", &self.stats)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}
