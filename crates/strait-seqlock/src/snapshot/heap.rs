//! Snapshots on the heap, for threads of one process.

#![allow(unsafe_code)]

use strait_sync::{
    Heap, HonestPeer, RawWords, Words, WordsMut,
    primitive::{Arc, Ordering},
};

use super::{
    layout::Geometry,
    pin::PinnedReader,
    pins::{Pins, sealed, slot_bit},
    reader::Reader,
    writer::Writer,
};
use crate::error::{GeometryError, NoPin};

/// The writer of a snapshot on the heap.
pub type HeapWriter = Writer<Arc<Heap>, HeapPins>;
/// A copying reader of a snapshot on the heap.
pub type HeapReader = Reader<Arc<Heap>>;
/// A reader in place of a snapshot on the heap. Its writer is ours and honest, so no token is asked for.
pub type HeapPinnedReader = PinnedReader<HazardLine, Arc<Heap>>;

/// A snapshot of values of up to `max_bytes` on the heap, without pins.
///
/// # Errors
///
/// As [`Geometry::new`].
///
/// # Panics
///
/// Where memory runs out, the process ends as with any allocation.
pub fn channel(max_bytes: usize) -> Result<(HeapWriter, HeapReader), GeometryError> {
    channel_with(Geometry::new(max_bytes)?)
}

/// A snapshot on the heap. [`Writer::pins`] hands out readers in place.
///
/// # Errors
///
/// None that a [`Geometry`] lets through.
///
/// # Panics
///
/// Where memory runs out, the process ends as with any allocation.
///
/// ```
/// use strait_seqlock::snapshot::{channel_with, Geometry};
///
/// let (mut writer, _reader) = channel_with(Geometry::new(4096)?.with_pins(2)?)?;
/// let pins = writer.pins().clone();
/// writer.write(b"sunny")?;
/// let thread = std::thread::spawn(move || pins.reader().unwrap().pin().unwrap().to_vec());
/// assert_eq!(thread.join().unwrap(), b"sunny");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel_with(geometry: Geometry) -> Result<(HeapWriter, HeapReader), GeometryError> {
    let memory = Arc::new(Heap::zeroed(geometry.end()));
    let hazards = Arc::new(Heap::zeroed(geometry.pins() * HazardLine::BYTES));
    let pins = HeapPins { memory: memory.clone(), hazards, geometry };
    // SAFETY: the memory is new and zeroed, and nobody ever gets hold of it but this writer and readers, which only
    // load.
    let writer = unsafe { Writer::new(memory.clone(), geometry) }?;
    Ok((writer.pinned_by(pins), Reader::new(memory, geometry)?))
}

/// The pins of a snapshot on the heap. Clone it to hand out readers in place on other threads.
#[derive(Clone, Debug)]
pub struct HeapPins {
    memory: Arc<Heap>,
    /// A line for each pin, granted from the start.
    hazards: Arc<Heap>,
    geometry: Geometry,
}

impl HeapPins {
    /// A reader in place. Its pin is free again when it is dropped.
    ///
    /// # Errors
    ///
    /// [`NoPin`] where there are as many such readers as the geometry has pins.
    pub fn reader(&self) -> Result<HeapPinnedReader, NoPin> {
        let pins = self.geometry.pins();
        let free = |&line: &usize| self.hazards.compare_exchange(HazardLine::taken(line), 0, 1).is_ok();
        let line = (0..pins).find(free).ok_or(NoPin { pins })?;
        let own = HazardLine { hazards: self.hazards.clone(), line };
        // SAFETY: the only writer is the one that `channel_with` made: it goes by the protocol, scans this line for as
        // long as it lives, and nobody else uses the line (the exchange above) or can get hold of the memory.
        let trust = unsafe { HonestPeer::assume() };
        let reader = PinnedReader::new(own, HazardLine::hazard(line), self.memory.clone(), self.geometry, trust);
        Ok(reader.expect("the channel allocated as much as its geometry asks for"))
    }
}

impl Pins for HeapPins {}

impl sealed::Hazards for HeapPins {
    #[inline]
    fn any(&self) -> bool {
        self.geometry.pins() != 0
    }

    fn pinned(&self) -> u64 {
        (0..self.geometry.pins()).fold(0, |pinned, line| pinned | slot_bit(self.hazards.load(HazardLine::hazard(line))))
    }
}

impl HeapWriter {
    /// Hands out readers in place.
    pub fn pins(&self) -> &HeapPins {
        &self.pins
    }
}

/// A hazard word on the heap, on a line of its own, that one reader has until it ends.
#[derive(Debug)]
pub struct HazardLine {
    hazards: Arc<Heap>,
    line: usize,
}

impl HazardLine {
    const BYTES: usize = 128;

    fn hazard(line: usize) -> usize {
        line * Self::BYTES
    }

    /// Whether a reader has the line.
    fn taken(line: usize) -> usize {
        line * Self::BYTES + 8
    }
}

impl Drop for HazardLine {
    fn drop(&mut self) {
        // ORDERING: Release, both; the first pairs with the acquire fence in `Writer::pinned` (a guard may have been
        // forgotten), the second with the exchange in `HeapPins::reader`: the next reader of this line finds it clear.
        self.hazards.store(Self::hazard(self.line), 0, Ordering::Release);
        self.hazards.store(Self::taken(self.line), 0, Ordering::Release);
    }
}

// SAFETY: an `Arc` gives the same words each time and keeps them alive.
unsafe impl Words for HazardLine {
    #[inline]
    fn raw(&self) -> &RawWords {
        self.hazards.raw()
    }
}

// SAFETY: heap memory is writable.
unsafe impl WordsMut for HazardLine {}
