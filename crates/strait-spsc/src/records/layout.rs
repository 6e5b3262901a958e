//! Where a ring lies in its memory, and what the words of a record mean.

use strait_sync::Words;

use crate::error::GeometryError;

/// Offsets inside a control block, in bytes. Each memory has one, written by the memory's owner alone.
///
/// Lines of 128 bytes, because processors fetch cache lines in pairs. What the peer polls per message (the tickets) never
/// shares a line with what the owner writes per message (tail, head).
pub mod control {
    /// The owner's tail in its own ring: how far it has published. For observers, never for the protocol.
    pub const TAIL: usize = 0;
    /// The owner's head in the *peer's* ring: how far it has released.
    pub const HEAD: usize = 128;
    /// The line of the parking words.
    pub const PARKING: usize = 256;
    /// Nonzero while the owner sleeps until there is data for it.
    pub const DATA_TICKET: usize = 256;
    /// Nonzero while the owner sleeps until there is room for it.
    pub const SPACE_TICKET: usize = 264;
    /// Nonzero once the owner publishes no more.
    pub const CLOSED: usize = 272;
    /// Length of a control block.
    pub const BYTES: usize = 384;
}

const _: () = assert!(control::HEAD - control::TAIL == 128 && control::PARKING - control::HEAD == 128);
const _: () = assert!(control::CLOSED + 8 <= control::BYTES && control::BYTES == control::PARKING + 128);

/// Length of what precedes each payload, in bytes: two words.
pub const RECORD_HEADER_BYTES: usize = 16;

/// In word 0: the record is there. The low 31 bits are its size.
pub(crate) const COMMITTED: u32 = 1 << 31;
/// The low half of word 0 of padding, which runs to the end of the buffer. No size makes a commit look like it.
pub(crate) const PADDING: u32 = u32::MAX;

const HEADER: u64 = RECORD_HEADER_BYTES as u64;
const LINE: usize = 128;

/// A ring in some memory: a control block of [`control::BYTES`] and a buffer.
///
/// ```
/// use strait_spsc::records::Geometry;
/// let ring = Geometry::new(0, 4096, 256 << 10, 16)?;
/// assert_eq!(ring.max_message_bytes(), (64 << 10) - 16);
/// # Ok::<(), strait_spsc::GeometryError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    control: usize,
    data: usize,
    capacity_bytes: u64,
    align_bytes: u64,
}

impl Geometry {
    /// The greatest capacity, 4 GiB: the length of the longest message then fits its 31 bits twice over.
    pub const MAX_CAPACITY_BYTES: u64 = 1 << 32;

    /// Describes a ring of `capacity_bytes` at offset `data`, with its control block at offset `control`, whose records
    /// begin at multiples of `align_bytes`.
    ///
    /// The capacity is a power of two. The longest record with its header is a quarter of it, so that it finds room
    /// behind any padding: that quarter must be a multiple of the alignment and hold a payload, which makes 128 the least
    /// for records aligned to 16 and 256 for 64.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] where the capacity or the alignment is none of these, `control` is not a multiple of 128 or `data` of
    /// 64, or the two overlap.
    pub fn new(control: usize, data: usize, capacity_bytes: u64, align_bytes: u64) -> Result<Self, GeometryError> {
        if align_bytes != 16 && align_bytes != 64 {
            return Err(GeometryError::Align { align_bytes });
        }
        let (min_bytes, max_bytes) = (4 * align_bytes.max(2 * HEADER), Self::MAX_CAPACITY_BYTES);
        if !capacity_bytes.is_power_of_two() || !(min_bytes..=max_bytes).contains(&capacity_bytes) {
            return Err(GeometryError::Capacity { capacity_bytes, min_bytes, max_bytes });
        }
        for (offset, multiple_of) in [(control, LINE), (data, 64)] {
            if !offset.is_multiple_of(multiple_of) {
                return Err(GeometryError::Offset { offset, multiple_of });
            }
        }
        let ends = (control.checked_add(control::BYTES), data.checked_add(capacity_bytes as usize));
        let (Some(control_end), Some(data_end)) = ends else {
            return Err(GeometryError::OutOfBounds { need_bytes: usize::MAX, len_bytes: isize::MAX as usize });
        };
        if control_end > data && data_end > control {
            return Err(GeometryError::Overlap { control, data });
        }
        Ok(Self { control, data, capacity_bytes, align_bytes })
    }

    /// Offset of the control block in its memory, in bytes.
    #[inline]
    pub fn control(&self) -> usize {
        self.control
    }

    /// Offset of the buffer in its memory, in bytes.
    #[inline]
    pub fn data(&self) -> usize {
        self.data
    }

    /// Length of the buffer.
    #[inline]
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// What records are aligned to: 16 or 64.
    #[inline]
    pub fn align_bytes(&self) -> u64 {
        self.align_bytes
    }

    /// The longest payload: a quarter of the capacity without its header.
    #[inline]
    pub fn max_message_bytes(&self) -> usize {
        (self.capacity_bytes / 4 - HEADER) as usize
    }

    /// Length of the space that a payload of `len` bytes takes. `len` is at most [`max_message_bytes`](Self::max_message_bytes).
    #[inline]
    pub(crate) fn record_bytes(&self, len: u64) -> u64 {
        (HEADER + len + self.align_bytes - 1) & !(self.align_bytes - 1)
    }

    /// Where in the buffer a position lies.
    #[inline]
    pub(crate) fn offset(&self, position: u64) -> u64 {
        position & (self.capacity_bytes - 1)
    }

    /// Whether a position can be the beginning of a record.
    #[inline]
    pub(crate) fn is_aligned(&self, position: u64) -> bool {
        position & (self.align_bytes - 1) == 0
    }

    /// Checks that the ring lies inside `memory` and is aligned there.
    pub(crate) fn check(&self, memory: &impl Words) -> Result<(), GeometryError> {
        check_control(self.control, memory)?;
        let need_bytes = self.data.saturating_add(self.capacity_bytes as usize);
        if need_bytes > memory.len_bytes() {
            return Err(GeometryError::OutOfBounds { need_bytes, len_bytes: memory.len_bytes() });
        }
        #[cfg(not(strait_loom))]
        if !memory.raw().as_ptr(self.data, 0).addr().get().is_multiple_of(64) {
            return Err(GeometryError::Address);
        }
        Ok(())
    }
}

/// Checks that a control block at offset `control` lies inside `memory`.
pub(crate) fn check_control(control: usize, memory: &impl Words) -> Result<(), GeometryError> {
    if !control.is_multiple_of(LINE) {
        return Err(GeometryError::Offset { offset: control, multiple_of: LINE });
    }
    let need_bytes = control.saturating_add(control::BYTES);
    if need_bytes > memory.len_bytes() {
        return Err(GeometryError::OutOfBounds { need_bytes, len_bytes: memory.len_bytes() });
    }
    Ok(())
}

/// The 12 bytes that travel with a record. The ring carries them and does not look at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Microseconds since the Unix epoch, or 0 where nobody asked for the time.
    pub timestamp: u64,
    /// CRC32 of the payload, or 0 where nobody asked for it.
    pub checksum: u32,
}

impl Meta {
    /// The two words of a record of `len` bytes.
    #[inline]
    pub(crate) fn encode(self, len: usize) -> (u64, u64) {
        let first = len as u64 | u64::from(COMMITTED) | self.timestamp << 32;
        let second = self.timestamp >> 32 | u64::from(self.checksum) << 32;
        (first, second)
    }

    /// What [`encode`](Self::encode) was given.
    #[inline]
    pub(crate) fn decode(first: u64, second: u64) -> Self {
        Self { timestamp: first >> 32 | second << 32, checksum: (second >> 32) as u32 }
    }
}

#[cfg(all(test, not(strait_loom)))]
mod tests {
    use super::*;

    #[test]
    fn header_bytes_are_those_of_the_envelope() {
        let meta = Meta { timestamp: 0x0123_4567_89AB_CDEF, checksum: 0xCAFE_F00D };
        let (first, second) = meta.encode(0x0102);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&second.to_le_bytes());
        assert_eq!(bytes[..4], 0x8000_0102_u32.to_le_bytes());
        assert_eq!(bytes[4..12], meta.timestamp.to_le_bytes());
        assert_eq!(bytes[12..], meta.checksum.to_le_bytes());
        assert_eq!(Meta::decode(first, second), meta);
    }

    #[test]
    fn the_longest_record_is_a_quarter_at_either_alignment() {
        for (align, least) in [(16, 128), (64, 256)] {
            assert!(Geometry::new(0, 384, least / 2, align).is_err());
            for capacity in (0..=32).map(|shift| 1 << shift).filter(|&capacity| capacity >= least) {
                let ring = Geometry::new(0, 384, capacity, align).unwrap();
                assert_eq!(ring.record_bytes(ring.max_message_bytes() as u64), capacity / 4);
                assert!(ring.max_message_bytes() >= 16 && ring.max_message_bytes() < COMMITTED as usize / 2);
            }
        }
    }

    #[test]
    fn impossible_layouts_are_refused() {
        use GeometryError::{Align, Capacity, Offset, Overlap};
        assert!(matches!(Geometry::new(0, 384, 4096, 32), Err(Align { align_bytes: 32 })));
        assert!(matches!(Geometry::new(0, 384, 3000, 16), Err(Capacity { .. })));
        assert!(matches!(Geometry::new(0, 384, 1 << 33, 16), Err(Capacity { .. })));
        assert!(matches!(Geometry::new(64, 512, 4096, 16), Err(Offset { offset: 64, multiple_of: 128 })));
        assert!(matches!(Geometry::new(0, 400, 4096, 16), Err(Offset { offset: 400, multiple_of: 64 })));
        assert!(matches!(Geometry::new(0, 320, 4096, 16), Err(Overlap { .. })));
        assert!(Geometry::new(usize::MAX - 127, 0, 4096, 16).is_err(), "its end overflows");
        assert!(matches!(Geometry::new(4096, 64, 4096, 16), Err(Overlap { .. })));
    }
}
