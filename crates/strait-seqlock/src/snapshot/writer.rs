//! The writing end.

#![allow(unsafe_code)]

use core::fmt;

use strait_sync::{
    WordsMut, fail_point, mutant,
    primitive::{Ordering, fence},
};
use zerocopy::{Immutable, IntoBytes};

use super::{
    claim::Claim,
    layout::{Geometry, Latest},
    pins::{NoPins, Pins},
};
use crate::error::{GeometryError, TakeOverError, TooLong};

/// What a writer has done. Counted in private memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterStats {
    /// Values published.
    pub writes: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The one that writes a snapshot. `P` says who may hold values in place: [`NoPins`], or a
/// [`PinTable`](super::PinTable).
///
/// Each write is wait-free and disturbs no reader of the latest value.
///
/// It is `Send` and cannot be cloned, because a snapshot has one writer:
///
/// ```compile_fail,E0599
/// let (writer, _reader) = strait_seqlock::snapshot::channel(64).unwrap();
/// let second = writer.clone();
/// ```
pub struct Writer<Own: WordsMut, P: Pins = NoPins> {
    pub(super) own: Own,
    pub(super) geometry: Geometry,
    pub(super) pins: P,
    latest: Latest,
    stats: WriterStats,
}

impl<Own: WordsMut> Writer<Own, NoPins> {
    /// Makes the writer of a new snapshot, which lies in `own` as `geometry` says.
    ///
    /// # Errors
    ///
    /// [`GeometryError::OutOfBounds`] where the snapshot is not inside the memory.
    ///
    /// # Safety
    ///
    /// For as long as the writer lives, nobody else writes the snapshot's memory, in this process or in another: a
    /// snapshot has one writer. And at the start that memory is all zero.
    pub unsafe fn new(own: Own, geometry: Geometry) -> Result<Self, GeometryError> {
        geometry.check(&own)?;
        let latest = Latest { version: 0, slot: geometry.slots() - 1 };
        Ok(Self { own, geometry, pins: NoPins, latest, stats: WriterStats::default() })
    }

    /// Makes the writer of a snapshot whose last writer is gone, wherever in a write it died. There is nothing to
    /// repair: the last complete value stays the latest until this writer's first.
    ///
    /// That the last writer is gone is for the kernel to say (a lock that it releases, a pidfd), never for a timer.
    ///
    /// With pins, grant those of the readers that are still there before the first write.
    ///
    /// # Errors
    ///
    /// [`TakeOverError::Geometry`] where the snapshot is not inside the memory; [`TakeOverError::Corrupt`] where what
    /// lies there was not written by a writer of this geometry.
    ///
    /// # Safety
    ///
    /// As [`new`](Self::new), but for the zeroes: nobody else writes the snapshot's memory any more.
    ///
    /// ```
    /// use strait_seqlock::snapshot::{Geometry, Reader, Writer};
    /// use strait_sync::Heap;
    /// use std::sync::Arc;
    ///
    /// let geometry = Geometry::new(64)?;
    /// let memory = Arc::new(Heap::zeroed(geometry.end()));
    /// // SAFETY: the memory is new, and this is its only writer.
    /// let mut first = unsafe { Writer::new(memory.clone(), geometry) }?;
    /// first.write(b"one")?;
    /// drop(first);
    /// // SAFETY: the first writer is gone.
    /// let mut second = unsafe { Writer::take_over(memory.clone(), geometry) }?;
    /// assert_eq!(second.write(b"two")?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn take_over(own: Own, geometry: Geometry) -> Result<Self, TakeOverError> {
        geometry.check(&own)?;
        let latest = Latest::check(own.load(geometry.latest()), &geometry)
            .and_then(Latest::check_room)
            .map_err(TakeOverError::Corrupt)?;
        // ORDERING: Acquire; pairs with the release store of LATEST in `publish`: the stores of the last writer come
        // before those of this one.
        fence(Ordering::Acquire);
        fail_point!("snapshot.taken_over");
        Ok(Self { own, geometry, pins: NoPins, latest, stats: WriterStats::default() })
    }

    /// The same writer with other pins.
    #[cfg(feature = "alloc")]
    pub(super) fn pinned_by<P: Pins>(self, pins: P) -> Writer<Own, P> {
        let Self { own, geometry, pins: NoPins, latest, stats } = self;
        Writer { own, geometry, pins, latest, stats }
    }
}

impl<Own: WordsMut, P: Pins> Writer<Own, P> {
    /// How the snapshot lies in its memory.
    #[inline]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The latest version: how many values were ever published in this snapshot.
    #[inline]
    pub fn version(&self) -> u64 {
        self.latest.version
    }

    /// What this writer has done.
    #[inline]
    pub fn stats(&self) -> WriterStats {
        self.stats
    }

    /// Publishes `bytes` as the next version, which it returns.
    ///
    /// # Errors
    ///
    /// [`TooLong`] where they are more than the snapshot's longest value.
    ///
    /// ```
    /// let (mut writer, _reader) = strait_seqlock::snapshot::channel(5)?;
    /// assert_eq!(writer.write(b"sunny")?, 1);
    /// assert!(writer.write(b"cloudy").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<u64, TooLong> {
        let max_bytes = self.geometry.max_bytes();
        if bytes.len() > max_bytes {
            return Err(TooLong { need_bytes: bytes.len(), max_bytes });
        }
        let slot = self.begin();
        self.own.copy_in(self.geometry.data(slot), bytes);
        fail_point!("snapshot.copied");
        Ok(self.publish(slot, bytes.len()))
    }

    /// Publishes a plain value: its bytes, to be read by [`Reader::read_value`](super::Reader::read_value) as the same
    /// type.
    ///
    /// # Errors
    ///
    /// [`TooLong`] where it is longer than the snapshot's longest value.
    #[inline]
    pub fn write_value<T: IntoBytes + Immutable + ?Sized>(&mut self, value: &T) -> Result<u64, TooLong> {
        self.write(value.as_bytes())
    }

    /// Claims a slot, to be filled piece by piece. Dropping the claim publishes nothing, and leaves the latest value as
    /// it is.
    ///
    /// ```
    /// let (mut writer, mut reader) = strait_seqlock::snapshot::channel(64)?;
    /// let mut claim = writer.claim();
    /// claim.append(b"partly ")?;
    /// claim.append(b"cloudy")?;
    /// claim.commit();
    /// writer.claim().append(b"never mind")?;
    /// assert_eq!(reader.read_to_vec(&mut Vec::new())?.len_bytes, 13);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn claim(&mut self) -> Claim<'_, Own, P> {
        let slot = self.begin();
        Claim::new(self, slot)
    }

    /// Wakes all readers that wait for a change. One system call (about 130 ns where nobody waits): call it after a
    /// write, or after a few, where there are readers that wait.
    #[cfg(feature = "std")]
    pub fn notify(&self) {
        fail_point!("snapshot.waking");
        self.own.raw().futex_wake(self.geometry.latest());
    }

    /// Chooses the slot of the next version and shows that it is being written.
    #[inline]
    pub(super) fn begin(&mut self) -> usize {
        let slot = self.next_slot();
        // ORDERING: Relaxed; the fence orders it before the value.
        self.own.store(self.geometry.sequence(slot), 2 * self.latest.version + 1, Ordering::Relaxed);
        fail_point!("snapshot.begun");
        // ORDERING: Release; pairs with the acquire fence in `Reader::attempt`, after the copy: who copied a word of
        // this value sees the odd number.
        mutant!(snapshot_no_release_fence, fence(Ordering::Release), ());
        slot
    }

    /// The slot after the latest that nobody has pinned.
    #[inline]
    fn next_slot(&self) -> usize {
        let slots = self.geometry.slots();
        let pinned = if self.pins.any() { self.pinned() } else { 0 };
        let mut slot = self.latest.slot;
        mutant!(write_over_latest, (), return slot);
        loop {
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
            // One is free: beside the pinned ones and the latest there are at least two (or, without pins, one).
            if slot == self.latest.slot || pinned >> slot & 1 == 0 {
                debug_assert_ne!(slot, self.latest.slot, "a slot for each pin, and more");
                return slot;
            }
        }
    }

    /// The slots that are pinned, as bits.
    fn pinned(&self) -> u64 {
        // ORDERING: SeqCst; pairs with the fence in `PinnedReader::pin`: between the publication of the latest value
        // and the look at the hazards. Either the hazard is seen here, or the reader sees that value and pins it
        // instead.
        mutant!(scan_no_fence, fence(Ordering::SeqCst), ());
        let pinned = self.pins.pinned();
        // ORDERING: Acquire; pairs with the release stores of the hazards: what was read in place was read before this
        // writer writes there.
        mutant!(scan_no_acquire, fence(Ordering::Acquire), ());
        pinned
    }

    /// Makes the value in `slot` the latest. Returns its version.
    #[inline]
    pub(super) fn publish(&mut self, slot: usize, len_bytes: usize) -> u64 {
        let latest = Latest { version: self.latest.version + 1, slot };
        // ORDERING: Relaxed, both; published by the release store below, which alone leads readers here.
        self.own.store(self.geometry.length(slot), len_bytes as u64, Ordering::Relaxed);
        fail_point!("snapshot.sized");
        self.own.store(self.geometry.sequence(slot), latest.complete(), Ordering::Relaxed);
        fail_point!("snapshot.completed");
        // ORDERING: Release; pairs with the acquire fence in `Reader::latest`: who sees this version sees all of its
        // value.
        let order = mutant!(latest_relaxed, Ordering::Release, Ordering::Relaxed);
        self.own.store(self.geometry.latest(), latest.word(), order);
        fail_point!("snapshot.published");
        self.latest = latest;
        self.stats.writes += 1;
        self.stats.bytes += len_bytes as u64;
        latest.version
    }
}

impl<Own: WordsMut, P: Pins> fmt::Debug for Writer<Own, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("geometry", &self.geometry)
            .field("version", &self.latest.version)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
