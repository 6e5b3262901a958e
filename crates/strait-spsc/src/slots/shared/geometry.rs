//! Where a ring of slots lies in its memory.

use core::{fmt, marker::PhantomData};

use strait_sync::Words;

use crate::{error::GeometryError, slots::capacity};

/// Offsets inside a control block, in bytes: those of [`records::control`](crate::records::control), and one more.
///
/// Each memory has one, written by the memory's owner alone. The owner may be the producer of one ring and the consumer of
/// another, the peer's: no word serves both.
pub mod control {
    pub use crate::records::control::{BYTES, DATA_TICKET, HEAD, PARKING, SPACE_TICKET, TAIL};

    /// Nonzero once the owner pushes no more into its own ring.
    pub const PRODUCER_CLOSED: usize = crate::records::control::CLOSED;
    /// Nonzero once the owner pops no more from the peer's ring.
    pub const CONSUMER_CLOSED: usize = 280;
}

const _: () = assert!(control::CONSUMER_CLOSED == control::PRODUCER_CLOSED + 8);
const _: () = assert!(control::CONSUMER_CLOSED + 8 <= control::BYTES);

const LINE: usize = 128;

/// A ring of `T` in some memory: a control block of [`control::BYTES`], and slots.
///
/// A slot is as long as a `T`, rounded up to whole words of 8 bytes. Slots follow each other without gaps.
///
/// ```
/// use strait_spsc::slots::shared::{Geometry, control};
/// let ring = Geometry::<[u8; 20]>::new(0, control::BYTES, 64)?;
/// assert_eq!((ring.slot_bytes(), ring.end()), (24, control::BYTES + 64 * 24));
/// # Ok::<(), strait_spsc::GeometryError>(())
/// ```
pub struct Geometry<T> {
    control: usize,
    slots: usize,
    capacity: usize,
    _values: PhantomData<fn() -> T>,
}

impl<T> Geometry<T> {
    /// Describes a ring of `capacity` slots from offset `slots` on, with its control block at offset `control`.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] where the capacity is not a power of two, an offset is not a multiple of 128, the two overlap, or the ring
    /// would be longer than any memory.
    pub fn new(control: usize, slots: usize, capacity: usize) -> Result<Self, GeometryError> {
        let capacity = capacity::check(capacity)?;
        check_offset(control)?;
        check_offset(slots)?;
        let ring = Self { control, slots, capacity, _values: PhantomData };
        let end = capacity.checked_mul(ring.slot_bytes()).and_then(|bytes| bytes.checked_add(slots));
        let (Some(end), Some(control_end)) = (end, control.checked_add(control::BYTES)) else {
            return Err(GeometryError::OutOfBounds { need_bytes: usize::MAX, len_bytes: isize::MAX as usize });
        };
        if control_end > slots && end > control {
            return Err(GeometryError::Overlap { control, data: slots });
        }
        Ok(ring)
    }

    /// Offset of the control block in its memory, in bytes.
    #[inline]
    pub fn control(&self) -> usize {
        self.control
    }

    /// Number of slots.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Length of a slot, in bytes.
    #[inline]
    pub const fn slot_bytes(&self) -> usize {
        size_of::<T>().next_multiple_of(8)
    }

    /// Where the slots end in their memory, in bytes.
    #[inline]
    pub fn end(&self) -> usize {
        self.slots + self.capacity * self.slot_bytes()
    }

    /// Offset in the memory of the slot at `position`.
    #[inline]
    pub(super) fn slot(&self, position: u64) -> usize {
        self.slots + (position as usize & (self.capacity - 1)) * self.slot_bytes()
    }

    /// Checks that the ring lies inside `memory`.
    pub(super) fn check(&self, memory: &impl Words) -> Result<(), GeometryError> {
        check_control(self.control, memory)?;
        check_length(self.end(), memory)
    }
}

/// Checks that a control block at offset `control` lies inside `memory`.
pub(super) fn check_control(control: usize, memory: &impl Words) -> Result<(), GeometryError> {
    check_offset(control)?;
    check_length(control.saturating_add(control::BYTES), memory)
}

fn check_offset(offset: usize) -> Result<(), GeometryError> {
    match offset.is_multiple_of(LINE) {
        true => Ok(()),
        false => Err(GeometryError::Offset { offset, multiple_of: LINE }),
    }
}

fn check_length(need_bytes: usize, memory: &impl Words) -> Result<(), GeometryError> {
    match memory.len_bytes() {
        len_bytes if need_bytes > len_bytes => Err(GeometryError::OutOfBounds { need_bytes, len_bytes }),
        _ => Ok(()),
    }
}

impl<T> Clone for Geometry<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Geometry<T> {}

impl<T> fmt::Debug for Geometry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Geometry")
            .field("control", &self.control)
            .field("slots", &self.slots)
            .field("capacity", &self.capacity)
            .field("slot_bytes", &self.slot_bytes())
            .finish()
    }
}

#[cfg(all(test, not(strait_loom)))]
mod tests {
    use super::*;
    use crate::slots::CapacityError;

    #[track_caller]
    fn refused<T>(control: usize, slots: usize, capacity: usize) -> GeometryError {
        Geometry::<T>::new(control, slots, capacity).unwrap_err()
    }

    #[test]
    fn impossible_layouts_are_refused() {
        use GeometryError::{Offset, OutOfBounds, Overlap, Slots};
        let odd = CapacityError { capacity: 6, below: Some(4), above: Some(8) };
        assert_eq!(refused::<u64>(0, 384, 6), Slots(odd));
        assert_eq!(refused::<u64>(64, 512, 4), Offset { offset: 64, multiple_of: 128 });
        assert_eq!(refused::<u64>(0, 400, 4), Offset { offset: 400, multiple_of: 128 });
        assert_eq!(refused::<u64>(0, 256, 4), Overlap { control: 0, data: 256 });
        assert_eq!(refused::<[u64; 32]>(512, 0, 4), Overlap { control: 512, data: 0 });
        assert!(matches!(refused::<u64>(0, 384, 1 << 63), OutOfBounds { .. }), "its length overflows");
        assert!(matches!(refused::<u64>(usize::MAX - 127, 0, 4), OutOfBounds { .. }), "its end overflows");
        assert!(Geometry::<[u64; 16]>::new(512, 0, 4).is_ok(), "just before the control block");
    }

    #[test]
    fn every_position_is_a_slot_inside() {
        let ring = Geometry::<[u8; 17]>::new(0, 384, 4).unwrap();
        for position in (0..20).chain(u64::MAX - 20..=u64::MAX) {
            let offset = ring.slot(position);
            assert_eq!(offset, 384 + 24 * (position % 4) as usize);
            assert!(offset + 24 <= ring.end());
        }
    }
}
