//! Where everything lies in shared memory. All of it is 64-bit words, little-endian; lines have 128 bytes.
//!
//! ```text
//! header | tail | head | items | space | totals | participant 0 | participant 1 | … | cell 0 | cell 1 | …
//! ```

use super::error::GeometryError;
use crate::cell::STEP;

pub(super) const LINE: usize = 128;

/// The constants, written once by `create` and read once by `open`; and whether the queue is closed.
pub(super) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 8;
    pub(crate) const CAPACITY: usize = 16;
    pub(crate) const SLOT_BYTES: usize = 24;
    pub(crate) const PARTICIPANTS: usize = 32;
    /// The first position, twice; not 0 only in tests.
    pub(crate) const START: usize = 40;
    /// Nonzero once the queue is closed, so that a consumer need not read the producers' line to know that it isn't.
    pub(crate) const CLOSED: usize = 48;
    /// The namespaces in which pids and start times are meant: see `process::namespaces`. 0 where that is not known.
    pub(crate) const NAMESPACES: usize = 56;

    /// `straitMQ` as a little-endian word. Written last: memory without it is not a queue, or not yet.
    pub(crate) const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"straitMQ");
    pub(crate) const VERSION_VALUE: u64 = 1;
}

/// The next position to push, twice; plus 1 once the queue is closed.
pub(super) const TAIL: usize = LINE;
/// The next position to pop, twice.
pub(super) const HEAD: usize = 2 * LINE;
/// What consumers sleep on.
pub(super) const ITEMS: usize = 3 * LINE;
/// What producers sleep on.
pub(super) const SPACE: usize = 4 * LINE;

/// What recoveries have counted.
pub(super) mod totals {
    use super::LINE;

    pub(crate) const SKIPPED: usize = 5 * LINE;
    pub(crate) const LOST: usize = SKIPPED + 8;
    pub(crate) const FREED: usize = SKIPPED + 16;
}

const PARTICIPANTS_AT: usize = 6 * LINE;

/// The words of one participant's line, which it alone writes; but for `OWNER`, which anyone frees once it is dead.
pub(super) mod line {
    /// Who has the line: `start time << 22 | pid`, 0 for nobody.
    pub(crate) const OWNER: usize = 0;
    /// The first position that it may have claimed of the tail, twice, or [`NONE`].
    pub(crate) const PUSH_BEGIN: usize = 8;
    /// The first position after those.
    pub(crate) const PUSH_END: usize = 16;
    /// As `PUSH_BEGIN`, of the head.
    pub(crate) const POP_BEGIN: usize = 24;
    /// As `PUSH_END`, of the head.
    pub(crate) const POP_END: usize = 32;
    pub(crate) const PUSHES: usize = 40;
    pub(crate) const POPS: usize = 48;
    pub(crate) const FAILED_PUSHES: usize = 56;
    pub(crate) const FAILED_POPS: usize = 64;
    pub(crate) const RETRIES: usize = 72;
    pub(crate) const HIGH_WATER: usize = 80;

    /// No claim. Odd, as no position is.
    pub(crate) const NONE: u64 = u64::MAX;
}

/// The words of one cell.
pub(super) mod cell {
    /// Whose turn it is; plus [`TOMBSTONE`].
    pub(crate) const SEQUENCE: usize = 0;
    pub(crate) const LEN: usize = 8;
    pub(crate) const PAYLOAD: usize = 16;

    /// Added to the sequence of a full cell that holds no message: its producer died.
    pub(crate) const TOMBSTONE: u64 = 1;
}

const _: () = {
    assert!(header::NAMESPACES + 8 <= TAIL && totals::FREED + 8 <= PARTICIPANTS_AT && line::HIGH_WATER + 8 <= LINE);
    assert!(TAIL == 128 && HEAD == 256 && ITEMS == 384 && SPACE == 512);
    assert!(totals::SKIPPED == 640 && totals::LOST == 648 && totals::FREED == 656 && PARTICIPANTS_AT == 768);
};

/// How large a queue is: how many messages, how long they may be, how many take part.
///
/// ```
/// use strait_mpmc::shared::Geometry;
///
/// let geometry = Geometry::new(1024, 64, 16)?;
/// assert_eq!(geometry.total_bytes(), 768 + 16 * 128 + 1024 * 128);
/// assert!(Geometry::new(1, 64, 16).is_err());
/// # Ok::<(), strait_mpmc::shared::GeometryError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    capacity: u64,
    slot_bytes: u64,
    participants: u64,
    cells_at: usize,
    stride: usize,
}

impl Geometry {
    /// The most messages.
    pub const MAX_CAPACITY: u64 = 1 << 32;
    /// The longest messages.
    pub const MAX_SLOT_BYTES: u64 = 1 << 20;
    /// The most participants.
    pub const MAX_PARTICIPANTS: u64 = 1024;
    /// Cells are aligned to this, and are a multiple of it long.
    const CELL_ALIGN: u64 = 64;

    /// Describes a queue of `capacity` messages (a power of two from 2 to 2^32) of up to `slot_bytes` (1 to 2^20) for up to
    /// `participants` (1 to 1024) at a time.
    ///
    /// Messages are copied while their place is claimed, and a claim that stops blocks others: keep them small (4 KiB, say), and pass
    /// handles to what is larger.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] names what is out of its range.
    pub fn new(capacity: u64, slot_bytes: u64, participants: u64) -> Result<Self, GeometryError> {
        if !(2..=Self::MAX_CAPACITY).contains(&capacity) || !capacity.is_power_of_two() {
            return Err(GeometryError::Capacity { capacity });
        }
        if !(1..=Self::MAX_SLOT_BYTES).contains(&slot_bytes) {
            return Err(GeometryError::SlotBytes { slot_bytes });
        }
        if !(1..=Self::MAX_PARTICIPANTS).contains(&participants) {
            return Err(GeometryError::Participants { participants });
        }
        // None of this overflows: the largest is 2^32 * (2^20 + 128).
        let stride = (cell::PAYLOAD as u64 + slot_bytes).next_multiple_of(Self::CELL_ALIGN);
        let cells_at = PARTICIPANTS_AT + participants as usize * LINE;
        Ok(Self { capacity, slot_bytes, participants, cells_at, stride: stride as usize })
    }

    /// How many messages fit.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How long a message may be.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes as usize
    }

    /// How many may take part at a time.
    pub fn participants(&self) -> u64 {
        self.participants
    }

    /// How much memory that takes.
    pub fn total_bytes(&self) -> u64 {
        self.cells_at as u64 + self.capacity * self.stride as u64
    }

    /// The distance between two laps over one cell.
    #[inline]
    pub(super) fn lap(&self) -> u64 {
        self.capacity * STEP
    }

    /// Offset of the cell of `position`: whatever the position, inside the memory.
    #[inline]
    pub(super) fn cell(&self, position: u64) -> usize {
        self.cells_at + ((position / STEP) & (self.capacity - 1)) as usize * self.stride
    }

    /// Offset of a participant's line; `id` is less than `participants`.
    pub(super) fn line(&self, id: u64) -> usize {
        PARTICIPANTS_AT + id as usize * LINE
    }
}
