//! Which slots the writer must leave alone.

#[cfg(feature = "alloc")]
use alloc::{sync::Arc, vec::Vec};
#[cfg(feature = "alloc")]
use core::fmt;

#[cfg(feature = "alloc")]
use strait_sync::{
    Words, WordsMut, mutant,
    primitive::{Mutex, Ordering, fence},
};

#[cfg(feature = "alloc")]
use super::writer::Writer;
#[cfg(feature = "alloc")]
use crate::error::{GeometryError, GrantError, NoPin};

/// Who may hold values in place: [`NoPins`] or, with an allocator, a [`PinTable`]. Sealed, because readers trust it to
/// tell all.
pub trait Pins: sealed::Hazards + Send {}

pub(super) mod sealed {
    pub trait Hazards {
        /// Whether there can be any pin.
        fn any(&self) -> bool;
        /// The slots that the hazard words name, as bits.
        fn pinned(&self) -> u64;
    }
}

/// Nobody holds values in place; readers copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPins;

impl Pins for NoPins {}

impl sealed::Hazards for NoPins {
    #[inline]
    fn any(&self) -> bool {
        false
    }

    #[inline]
    fn pinned(&self) -> u64 {
        0
    }
}

/// What a reader writes to its hazard word while it holds `slot`. 0 while it holds none.
#[cfg(feature = "alloc")]
#[inline]
pub(super) fn hazard_of(slot: usize) -> u64 {
    slot as u64 + 1
}

/// The slot that a hazard word names, as a bit. A word that names none costs nothing.
#[cfg(feature = "alloc")]
#[inline]
pub(super) fn slot_bit(hazard: u64) -> u64 {
    match hazard {
        1..=64 => 1 << (hazard - 1),
        _ => 0,
    }
}

/// The hazard words of readers, each in memory of the reader's own, of type `W`. A clone is the same table: who serves
/// the readers grants and revokes beside the writer, which never waits for that.
#[cfg(feature = "alloc")]
#[derive(Clone)]
pub struct PinTable<W: Words> {
    table: Arc<Table<W>>,
}

#[cfg(feature = "alloc")]
struct Table<W> {
    /// Which table of this process it is.
    id: u64,
    /// Places that no reader has.
    free: Mutex<Vec<usize>>,
    /// Only its grant and its revocation ever lock a place, and the writer, which does not wait.
    places: Vec<Mutex<Option<(W, usize)>>>,
}

/// How many tables there were, so that a pin is only taken back where it was granted.
#[cfg(feature = "alloc")]
static TABLES: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// A pin that was granted. Give it to [`Writer::revoke`] or [`PinTable::revoke`] when its reader is gone.
#[cfg(feature = "alloc")]
#[derive(Debug, PartialEq, Eq)]
pub struct PinId {
    table: u64,
    index: usize,
}

#[cfg(feature = "alloc")]
impl<W: Words> PinTable<W> {
    fn new(pins: usize) -> Self {
        // ORDERING: Relaxed; only the number itself matters.
        let id = TABLES.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        let free = Mutex::new((0..pins).rev().collect());
        Self { table: Arc::new(Table { id, free, places: (0..pins).map(|_| Mutex::new(None)).collect() }) }
    }

    /// How many there are, granted or not.
    pub fn pins(&self) -> usize {
        self.table.places.len()
    }

    /// As [`Writer::grant`], from any thread. The reader may pin only after it was told of it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn grant(&self, memory: W, offset: usize) -> Result<PinId, GrantError> {
        if !offset.is_multiple_of(8) {
            return Err(GrantError::Word(GeometryError::Offset { offset, multiple_of: 8 }));
        }
        let (need_bytes, len_bytes) = (offset.saturating_add(8), memory.len_bytes());
        if need_bytes > len_bytes {
            return Err(GrantError::Word(GeometryError::OutOfBounds { need_bytes, len_bytes }));
        }
        let Table { id, free, places } = &*self.table;
        // Not by a look at the places: who locks one that is granted hides its hazard from the writer.
        mutant!(grant_looks_at_all_places, (), places.iter().for_each(look_long));
        let index = free.lock().pop().ok_or(GrantError::NoPin(NoPin { pins: places.len() }))?;
        *places[index].lock() = Some((memory, offset));
        Ok(PinId { table: *id, index })
    }

    /// As [`Writer::revoke`], from any thread.
    pub fn revoke(&self, pin: PinId) -> Option<W> {
        if pin.table != self.table.id {
            return None;
        }
        // ORDERING: Release; pairs with the acquire fence of the writer's scan, which may find the place locked and pass it by. What the
        // reader read in place, and its end, of which this thread has learned, come before what the writer then stores there.
        fence(Ordering::Release);
        let (memory, _) = self.table.places.get(pin.index)?.lock().take()?;
        self.table.free.lock().push(pin.index);
        Some(memory)
    }
}

/// Locks a place for a while: the mutant's part.
#[cfg(all(feature = "alloc", strait_loom))]
fn look_long<P>(place: &Mutex<P>) {
    let _held = place.lock();
    strait_sync::primitive::spin_hint();
}

#[cfg(feature = "alloc")]
impl<W: Words> Pins for PinTable<W> {}

#[cfg(feature = "alloc")]
impl<W: Words> sealed::Hazards for PinTable<W> {
    #[inline]
    fn any(&self) -> bool {
        !self.table.places.is_empty()
    }

    fn pinned(&self) -> u64 {
        self.table.places.iter().fold(0, |pinned, place| match place.try_lock().as_deref() {
            Some(Some((memory, at))) => pinned | slot_bit(memory.load(*at)),
            // Nobody's; or it is being granted, and its reader was not told yet; or being revoked, and its reader is gone.
            Some(None) | None => pinned,
        })
    }
}

#[cfg(feature = "alloc")]
impl<W: Words> fmt::Debug for PinTable<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let granted = self.pins() - self.table.free.lock().len();
        f.debug_struct("PinTable").field("pins", &self.pins()).field("granted", &granted).finish()
    }
}

#[cfg(feature = "alloc")]
impl<Own: WordsMut> Writer<Own> {
    /// The same writer, with as many pins to grant as its geometry says. `W` is the memory of readers, as the writer
    /// sees it.
    pub fn with_pins<W: Words>(self) -> Writer<Own, PinTable<W>> {
        let pins = self.geometry.pins();
        self.pinned_by(PinTable::new(pins))
    }
}

#[cfg(feature = "alloc")]
impl<Own: WordsMut, W: Words> Writer<Own, PinTable<W>> {
    /// Grants a pin to the reader whose hazard word is at `offset` in `memory`. From here on this writer leaves the
    /// slot alone that the word names; the reader may pin only after it was told so.
    ///
    /// Whatever the reader writes there, it costs the writer at most one slot, which the geometry has set aside.
    ///
    /// # Errors
    ///
    /// [`GrantError::NoPin`] where all are granted; [`GrantError::Word`] where the word is not inside the memory.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use strait_seqlock::snapshot::{Geometry, PinnedReader, Writer};
    /// use strait_sync::{Heap, HonestPeer};
    ///
    /// let geometry = Geometry::new(64)?.with_pins(1)?;
    /// let (ours, theirs) = (Arc::new(Heap::zeroed(geometry.end())), Arc::new(Heap::zeroed(128)));
    /// // SAFETY: the memory is new, and this is its only writer.
    /// let mut writer = unsafe { Writer::new(ours.clone(), geometry) }?.with_pins();
    /// let pin = writer.grant(theirs.clone(), 0)?;
    ///
    /// // SAFETY: the writer is the one above.
    /// let trust = unsafe { HonestPeer::assume() };
    /// let mut reader = PinnedReader::new(theirs, 0, ours, geometry, trust)?;
    /// writer.write(b"sunny")?;
    /// let pinned = reader.pin()?;
    /// (0..10).try_for_each(|_| writer.write(b"rain").map(drop))?;
    /// assert_eq!(*pinned, *b"sunny");
    ///
    /// drop(pinned);
    /// drop(reader);
    /// writer.revoke(pin);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn grant(&mut self, memory: W, offset: usize) -> Result<PinId, GrantError> {
        self.pins.grant(memory, offset)
    }

    /// The table, for whoever serves the readers.
    pub fn pins(&self) -> &PinTable<W> {
        &self.pins
    }

    /// Takes a pin back, and returns the reader's memory. What the reader still holds is overwritten by later writes:
    /// do this when the reader is gone, as the kernel says, or has said that it pins no more. (That a writer does so is
    /// part of what [`HonestPeer`](strait_sync::HonestPeer) assumes of it.)
    ///
    /// `None` for a pin that another writer granted.
    pub fn revoke(&mut self, pin: PinId) -> Option<W> {
        self.pins.revoke(pin)
    }
}
