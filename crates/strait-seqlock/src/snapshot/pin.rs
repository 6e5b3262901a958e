//! Reading in place: one value at a time, which the writer leaves alone meanwhile.

#![allow(unsafe_code)]

use core::{fmt, ops::Deref};

use strait_sync::{
    HonestPeer, Words, WordsMut, fail_point, mutant,
    primitive::{Ordering, fence},
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{
    layout::{Geometry, Latest, corrupt},
    pins::hazard_of,
    reader::Reader,
};
use crate::error::{Corrupt, GeometryError, PinError, Violation};

/// A reader that borrows values in place. Loads from `Peer`, and writes its hazard word to `Own`.
///
/// A value borrows the reader, so there is one at a time per pin:
///
/// ```compile_fail,E0499
/// # use strait_seqlock::snapshot::{channel_with, Geometry};
/// let (mut writer, _) = channel_with(Geometry::new(64).unwrap().with_pins(1).unwrap()).unwrap();
/// let mut reader = writer.pins().reader().unwrap();
/// let first = reader.pin();
/// let second = reader.pin();
/// drop(first);
/// ```
pub struct PinnedReader<Own: WordsMut, Peer: Words> {
    own: Own,
    /// Offset of the hazard word in `own`.
    hazard: usize,
    reader: Reader<Peer>,
}

impl<Own: WordsMut, Peer: Words> PinnedReader<Own, Peer> {
    /// Makes a reader in place of the snapshot that lies in `peer` as `geometry` says, with its hazard word at offset
    /// `hazard` of `own`, which is 0 now.
    ///
    /// The token says that the writer goes by the protocol: that it has [granted](super::Writer::grant) a pin to this
    /// very word, that nobody else uses the word, and that it leaves a pinned slot alone. Where it may not, use a
    /// [`Reader`].
    ///
    /// # Errors
    ///
    /// [`GeometryError`] where the snapshot or the word is not inside its memory, or not aligned there.
    pub fn new(
        own: Own,
        hazard: usize,
        peer: Peer,
        geometry: Geometry,
        _trust: HonestPeer,
    ) -> Result<Self, GeometryError> {
        if !hazard.is_multiple_of(8) {
            return Err(GeometryError::Offset { offset: hazard, multiple_of: 8 });
        }
        let (need_bytes, len_bytes) = (hazard.saturating_add(8), own.len_bytes());
        if need_bytes > len_bytes {
            return Err(GeometryError::OutOfBounds { need_bytes, len_bytes });
        }
        Ok(Self { own, hazard, reader: Reader::new(peer, geometry)? })
    }

    /// The same reader that makes up to `attempts` attempts, at least one.
    #[must_use]
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { reader: self.reader.with_attempts(attempts), ..self }
    }

    /// The latest version, as the writer says; 0 before the first. One relaxed load.
    #[inline]
    pub fn version(&self) -> u64 {
        self.reader.version()
    }

    /// Pins the latest value, and lends it in place. It stays as it is until the result is dropped, and keeps its slot,
    /// but never the writer.
    ///
    /// # Errors
    ///
    /// [`PinError::Empty`] before the first value, [`Contended`](PinError::Contended) where the writer published anew
    /// during each attempt, and [`Corrupt`](PinError::Corrupt) where it broke the protocol, then and ever after.
    pub fn pin(&mut self) -> Result<Pinned<'_, Own, Peer>, PinError> {
        match self.try_pin() {
            Ok((latest, len_bytes)) => {
                mutant!(unpin_before_the_end, (), self.unpin());
                fail_point!("snapshot.pinned");
                Ok(Pinned::new(self, latest, len_bytes))
            }
            Err(error) => {
                self.unpin();
                Err(error)
            }
        }
    }

    /// Leaves the hazard word set where it succeeds.
    fn try_pin(&mut self) -> Result<(Latest, usize), PinError> {
        let mut version = 0;
        for _ in 0..self.reader.attempts {
            let (latest, word) = self.reader.latest_word()?;
            if latest.version == 0 {
                return Err(PinError::Empty);
            }
            // ORDERING: Release; pairs with the acquire fence in `Writer::pinned`: what was read in a slot pinned
            // before (by a guard that was forgotten) was read before the writer writes there.
            let order = mutant!(repin_relaxed, Ordering::Release, Ordering::Relaxed);
            self.own.store(self.hazard, hazard_of(latest.slot), order);
            fail_point!("snapshot.hazard_shown");
            // ORDERING: SeqCst; pairs with the fence in `Writer::pinned`: either the writer sees the hazard before it
            // chooses a slot, or the look below sees what it published before.
            mutant!(pin_no_fence, fence(Ordering::SeqCst), ());
            let again = mutant!(pin_no_recheck, self.reader.peer.load(self.reader.geometry.latest()), word);
            if again == word {
                return self.pinned_len(latest).map_err(|corrupt| self.reader.poisoned(corrupt).into());
            }
            version = latest.version;
        }
        Err(PinError::Contended { attempts: self.reader.attempts, version })
    }

    /// The slot is pinned: it must hold what `latest` says, and does so from now on.
    fn pinned_len(&self, latest: Latest) -> Result<(Latest, usize), Corrupt> {
        let found = self.reader.peer.load(self.reader.geometry.sequence(latest.slot));
        let what = match found.cmp(&latest.complete()) {
            core::cmp::Ordering::Equal => return self.reader.checked_len(latest).map(|len_bytes| (latest, len_bytes)),
            core::cmp::Ordering::Less => Violation::NotWritten,
            core::cmp::Ordering::Greater => Violation::PinIgnored,
        };
        Err(corrupt(what, latest.version, found, latest.complete()))
    }

    #[inline]
    fn unpin(&self) {
        // ORDERING: Release; pairs with the acquire fence in `Writer::pinned`: what was read in place was read before
        // the writer writes there again.
        let order = mutant!(unpin_relaxed, Ordering::Release, Ordering::Relaxed);
        self.own.store(self.hazard, 0, order);
        fail_point!("snapshot.unpinned");
    }
}

impl<Own: WordsMut, Peer: Words> fmt::Debug for PinnedReader<Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedReader").field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// A value in place: its bytes, in the writer's memory, aligned to 128 where that memory is. Dropping it unpins its
/// slot.
///
/// Forgetting it (`mem::forget`) keeps the slot pinned until the reader pins again or ends.
#[must_use = "the value is pinned until this is dropped"]
pub struct Pinned<'a, Own: WordsMut, Peer: Words> {
    reader: &'a mut PinnedReader<Own, Peer>,
    version: u64,
    #[cfg(not(strait_loom))]
    bytes: core::ptr::NonNull<[u8]>,
    /// Under loom there are no slices of shared memory: what is lent was copied here, and must still be so at the end.
    #[cfg(strait_loom)]
    bytes: alloc::vec::Vec<u8>,
    #[cfg(strait_loom)]
    at: usize,
}

// SAFETY: it lends bytes that nobody writes while it lives, and what it holds otherwise is an exclusive reference to a
// reader, which is `Send` as its memories are.
#[cfg(not(strait_loom))]
unsafe impl<Own: WordsMut, Peer: Words> Send for Pinned<'_, Own, Peer> {}
// SAFETY: as above; a shared one allows reading the bytes alone.
#[cfg(not(strait_loom))]
unsafe impl<Own: WordsMut, Peer: Words> Sync for Pinned<'_, Own, Peer> {}

impl<'a, Own: WordsMut, Peer: Words> Pinned<'a, Own, Peer> {
    #[inline]
    fn new(reader: &'a mut PinnedReader<Own, Peer>, latest: Latest, len_bytes: usize) -> Self {
        let at = reader.reader.geometry.data(latest.slot);
        #[cfg(not(strait_loom))]
        let bytes = core::ptr::NonNull::slice_from_raw_parts(reader.reader.peer.raw().as_ptr(at, len_bytes), len_bytes);
        #[cfg(strait_loom)]
        let bytes = copied(&reader.reader.peer, at, len_bytes);
        Self {
            reader,
            version: latest.version,
            bytes,
            #[cfg(strait_loom)]
            at,
        }
    }

    /// Which value it is, counted from 1.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The value as a plain `T`, in place. `None` where it has not the size of one, or the memory not its alignment.
    ///
    /// ```
    /// use strait_seqlock::snapshot::{channel_with, Geometry};
    /// let (mut writer, _) = channel_with(Geometry::new(64)?.with_pins(1)?)?;
    /// let mut reader = writer.pins().reader()?;
    /// writer.write_value(&[1u64, 2, 3])?;
    /// let pinned = reader.pin()?;
    /// assert_eq!(pinned.as_value(), Some(&[1u64, 2, 3]));
    /// assert_eq!(pinned.as_value::<u64>(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn as_value<T: FromBytes + KnownLayout + Immutable + ?Sized>(&self) -> Option<&T> {
        T::ref_from_bytes(self).ok()
    }
}

impl<Own: WordsMut, Peer: Words> Deref for Pinned<'_, Own, Peer> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        #[cfg(not(strait_loom))]
        {
            // SAFETY: inside the writer's memory (checked by `as_ptr`), which the reader keeps alive; initialised as
            // all of it is. Nobody writes the bytes while this lives: the slot is pinned, the look at LATEST after that
            // shows that the writer will see it (rule 5), and the writer goes by the protocol (the token in
            // `PinnedReader::new`).
            unsafe { self.bytes.as_ref() }
        }
        #[cfg(strait_loom)]
        {
            &self.bytes
        }
    }
}

impl<Own: WordsMut, Peer: Words> AsRef<[u8]> for Pinned<'_, Own, Peer> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<Own: WordsMut, Peer: Words> Drop for Pinned<'_, Own, Peer> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(strait_loom)]
        {
            // A model that is failing: go no further with it.
            if std::thread::panicking() {
                return;
            }
            let now = copied(&self.reader.reader.peer, self.at, self.bytes.len());
            assert_eq!(now, self.bytes, "pinned bytes changed");
        }
        self.reader.unpin();
    }
}

#[cfg(strait_loom)]
fn copied(memory: &impl Words, at: usize, len_bytes: usize) -> alloc::vec::Vec<u8> {
    let mut words = alloc::vec![0; len_bytes.div_ceil(8)];
    memory.copy_out(at, &mut words);
    words.iter().flat_map(|word: &u64| word.to_le_bytes()).take(len_bytes).collect()
}

impl<Own: WordsMut, Peer: Words> fmt::Debug for Pinned<'_, Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("version", &self.version).field("len", &self.len()).finish_non_exhaustive()
    }
}
