//! Where a snapshot lies in its memory, and what its words mean.

use strait_sync::Words;

use crate::error::{Corrupt, GeometryError, Violation};

/// Offsets in the control block, in bytes. The writer alone writes them.
pub mod control {
    /// The latest value: its version, shifted left by 8, and its slot. 0 before the first one. The low half is what
    /// readers sleep on.
    pub const LATEST: usize = 0;
    /// The table of slots: two words each.
    pub const SLOTS: usize = 16;
    /// Length of an entry of that table.
    pub const SLOT_BYTES: usize = 16;
    /// In an entry: 2n while the slot holds version n, 2n - 1 while that is being written.
    pub const SEQUENCE: usize = 0;
    /// In an entry: length of the value.
    pub const LENGTH: usize = 8;
}

/// Processors fetch cache lines in pairs.
const LINE: usize = 128;
/// Bits of the slot in [`control::LATEST`].
const SLOT_BITS: u32 = 8;

const _: () = assert!(control::SLOTS + Geometry::DEFAULT_SLOTS * control::SLOT_BYTES <= LINE);
const _: () = assert!(Geometry::MAX_SLOTS < 1 << SLOT_BITS && Geometry::MAX_SLOTS <= u64::BITS as usize);

/// A snapshot in some memory: a control block, then slots.
///
/// ```
/// use strait_seqlock::snapshot::Geometry;
/// let geometry = Geometry::new(1000)?;
/// assert_eq!((geometry.slots(), geometry.pins()), (3, 0));
/// assert_eq!(geometry.bytes(), 128 + 3 * 1024);
///
/// let geometry = Geometry::new(1000)?.with_pins(4)?.at(4096)?;
/// assert_eq!(geometry.slots(), 7);
/// assert_eq!(geometry.end(), 4096 + 128 + 7 * 1024);
/// # Ok::<(), strait_seqlock::GeometryError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    offset: usize,
    slots: usize,
    pins: usize,
    max_bytes: usize,
}

impl Geometry {
    /// Slots where nobody says otherwise: a reader is overtaken only by two whole writes during one copy.
    pub const DEFAULT_SLOTS: usize = 3;
    /// The most slots.
    pub const MAX_SLOTS: usize = 64;
    /// The most pins.
    pub const MAX_PINS: usize = Self::MAX_SLOTS - Self::SLOTS_BESIDE_PINS;
    /// What there must be beside a slot for each pin: the latest, the one that is written to, and one that gives
    /// readers without a pin the time to copy.
    const SLOTS_BESIDE_PINS: usize = 3;
    /// The longest values: 64 slots of them, and the control block, have a length that is no overflow.
    const MAX_MAX_BYTES: usize = isize::MAX as usize / 128;

    /// Describes a snapshot of values of up to `max_bytes`, in three slots, at offset 0, without pins.
    ///
    /// # Errors
    ///
    /// [`GeometryError::MaxBytes`] beyond `isize::MAX / 128`.
    pub const fn new(max_bytes: usize) -> Result<Self, GeometryError> {
        if max_bytes > Self::MAX_MAX_BYTES {
            return Err(GeometryError::MaxBytes { max_bytes });
        }
        Ok(Self { offset: 0, slots: Self::DEFAULT_SLOTS, pins: 0, max_bytes })
    }

    /// The same with `slots` slots: 2 to 64, and with pins at least three more than pins.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Slots`] where there are fewer or more.
    pub const fn with_slots(self, slots: usize) -> Result<Self, GeometryError> {
        let min = if self.pins == 0 { 2 } else { self.pins + Self::SLOTS_BESIDE_PINS };
        if slots < min || slots > Self::MAX_SLOTS {
            return Err(GeometryError::Slots { slots, min, max: Self::MAX_SLOTS });
        }
        Ok(Self { slots, ..self })
    }

    /// The same with up to `pins` readers in place, 0 to 61; adds slots where there are fewer than three more than
    /// pins.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Pins`] where there are more.
    pub const fn with_pins(self, pins: usize) -> Result<Self, GeometryError> {
        if pins > Self::MAX_PINS {
            return Err(GeometryError::Pins { pins, max: Self::MAX_PINS });
        }
        let least = if pins == 0 { 0 } else { pins + Self::SLOTS_BESIDE_PINS };
        Ok(Self { pins, slots: if self.slots < least { least } else { self.slots }, ..self })
    }

    /// The same at `offset` in its memory, a multiple of 128.
    ///
    /// # Errors
    ///
    /// [`GeometryError::Offset`] where it is not; [`GeometryError::OutOfBounds`] where no memory is that long.
    pub const fn at(self, offset: usize) -> Result<Self, GeometryError> {
        if !offset.is_multiple_of(LINE) {
            return Err(GeometryError::Offset { offset, multiple_of: LINE });
        }
        let this = Self { offset, ..self };
        if offset > isize::MAX as usize - this.bytes() {
            return Err(GeometryError::OutOfBounds { need_bytes: usize::MAX, len_bytes: isize::MAX as usize });
        }
        Ok(this)
    }

    /// Offset of the control block in its memory, in bytes.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Number of slots.
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// Number of readers that may hold a value in place.
    pub const fn pins(&self) -> usize {
        self.pins
    }

    /// Length of the longest value.
    pub const fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Length of the control block.
    pub const fn control_bytes(&self) -> usize {
        (control::SLOTS + self.slots * control::SLOT_BYTES).next_multiple_of(LINE)
    }

    /// Length of control block and slots.
    pub const fn bytes(&self) -> usize {
        self.control_bytes() + self.slots * self.stride_bytes()
    }

    /// Where the snapshot ends in its memory.
    pub const fn end(&self) -> usize {
        self.offset + self.bytes()
    }

    /// Distance between the values of two slots.
    const fn stride_bytes(&self) -> usize {
        self.max_bytes.next_multiple_of(LINE)
    }

    /// Offset of [`control::LATEST`].
    #[inline]
    pub(super) const fn latest(&self) -> usize {
        self.offset + control::LATEST
    }

    /// Offset of a slot's sequence. `slot` is one that there is, here and below.
    #[inline]
    pub(super) const fn sequence(&self, slot: usize) -> usize {
        self.offset + control::SLOTS + slot * control::SLOT_BYTES + control::SEQUENCE
    }

    /// Offset of a slot's length.
    #[inline]
    pub(super) const fn length(&self, slot: usize) -> usize {
        self.sequence(slot) + (control::LENGTH - control::SEQUENCE)
    }

    /// Offset of a slot's value, a multiple of 128.
    #[inline]
    pub(super) const fn data(&self, slot: usize) -> usize {
        self.offset + self.control_bytes() + slot * self.stride_bytes()
    }

    /// Checks that the snapshot lies inside `memory`.
    pub(super) fn check(&self, memory: &impl Words) -> Result<(), GeometryError> {
        if self.end() > memory.len_bytes() {
            return Err(GeometryError::OutOfBounds { need_bytes: self.end(), len_bytes: memory.len_bytes() });
        }
        Ok(())
    }
}

/// What [`control::LATEST`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latest {
    /// From 1; 0 before the first value.
    pub(super) version: u64,
    /// A slot that there is.
    pub(super) slot: usize,
}

impl Latest {
    /// No writer comes to this version, at a billion writes a second not within a year; so the one after a version that
    /// was accepted is always one, too.
    const MAX_VERSION: u64 = 1 << 55;

    #[inline]
    pub(super) fn word(self) -> u64 {
        self.version << SLOT_BITS | self.slot as u64
    }

    /// The version in `word`, unchecked.
    #[inline]
    pub(super) fn version_of(word: u64) -> u64 {
        word >> SLOT_BITS
    }

    /// Checks `word`, which a writer wrote.
    #[inline]
    pub(super) fn check(word: u64, geometry: &Geometry) -> Result<Self, Corrupt> {
        let (version, slot) = (Self::version_of(word), (word & ((1 << SLOT_BITS) - 1)) as usize);
        if slot >= geometry.slots {
            return Err(corrupt(Violation::NoSuchSlot, version, slot as u64, geometry.slots as u64));
        }
        if version >= Self::MAX_VERSION {
            return Err(corrupt(Violation::VersionTooHigh, version, version, Self::MAX_VERSION));
        }
        Ok(Self { version, slot })
    }

    /// Checks that whoever goes on from here does not come to versions that no reader believes: as many are left as a writer may
    /// have used.
    pub(super) fn check_room(self) -> Result<Self, Corrupt> {
        let limit = Self::MAX_VERSION / 2;
        if self.version > limit {
            return Err(corrupt(Violation::VersionTooHigh, self.version, self.version, limit));
        }
        Ok(self)
    }

    /// What the sequence of the slot is once the value is complete.
    #[inline]
    pub(super) fn complete(self) -> u64 {
        2 * self.version
    }
}

#[cold]
pub(super) fn corrupt(what: Violation, version: u64, found: u64, limit: u64) -> Corrupt {
    Corrupt { what, version, found, limit }
}
