//! What can go wrong, and who is to blame.

use core::{error::Error, fmt};

use crate::slots::CapacityError;

/// A ring cannot be laid out like this. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// The capacity is not a power of two from `min_bytes` to `max_bytes`.
    Capacity {
        /// What was asked for.
        capacity_bytes: u64,
        /// The least for this alignment.
        min_bytes: u64,
        /// The most.
        max_bytes: u64,
    },
    /// Records can be aligned to 16 or to 64 bytes, not to this.
    Align {
        /// What was asked for.
        align_bytes: u64,
    },
    /// The control block or the data lies at an offset that is not a multiple of `multiple_of`.
    Offset {
        /// The offset, in bytes.
        offset: usize,
        /// What it must be a multiple of.
        multiple_of: usize,
    },
    /// The control block lies inside the data.
    Overlap {
        /// Offset of the control block, in bytes.
        control: usize,
        /// Offset of the data, in bytes.
        data: usize,
    },
    /// The memory ends before the ring or the control block does.
    OutOfBounds {
        /// How long the memory must at least be.
        need_bytes: usize,
        /// How long it is.
        len_bytes: usize,
    },
    /// The data's address is not a multiple of 64, so payloads would not be aligned.
    Address,
    /// The number of slots is not a power of two. (Rings of slots.)
    Slots(CapacityError),
    /// A start position that is not a multiple of the alignment.
    Position {
        /// The position, in bytes.
        position: u64,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity { capacity_bytes, min_bytes, max_bytes } => {
                write!(f, "ring capacity {capacity_bytes} is not a power of two from {min_bytes} to {max_bytes}")
            }
            Self::Align { align_bytes } => write!(f, "records can be aligned to 16 or 64 bytes, not to {align_bytes}"),
            Self::Offset { offset, multiple_of } => write!(f, "offset {offset} is not a multiple of {multiple_of}"),
            Self::Overlap { control, data } => {
                write!(f, "the control block at {control} lies inside the data at {data}")
            }
            Self::OutOfBounds { need_bytes, len_bytes } => {
                write!(f, "the ring needs {need_bytes} bytes, the memory has {len_bytes}")
            }
            Self::Address => f.write_str("the ring's data is not aligned to 64 bytes in memory"),
            Self::Slots(error) => error.fmt(f),
            Self::Position { position } => write!(f, "position {position} is not aligned"),
        }
    }
}

impl Error for GeometryError {}

impl From<CapacityError> for GeometryError {
    fn from(error: CapacityError) -> Self {
        Self::Slots(error)
    }
}

/// The rule that a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// The consumer's head lies behind one that it showed before.
    HeadWentBack,
    /// The consumer's head lies ahead of what was published.
    HeadAheadOfTail,
    /// The consumer's head is not at a multiple of the alignment.
    HeadMisaligned,
    /// The next word is neither clear nor a commit.
    NotACommit,
    /// A record is longer than the longest message.
    TooLong,
    /// A record goes on past the end of the buffer.
    CrossesTheEnd,
    /// A record or padding reaches into space that the consumer has not released.
    NotReleased,
    /// Padding at the start of the buffer, where there is nothing to pad.
    PaddingAtStart,
    /// Padding that no record follows.
    PaddingAlone,
    /// Padding after padding.
    PaddingTwice,
    /// The producer's tail lies behind one that it showed before. (Rings of slots.)
    TailWentBack,
    /// The producer's tail lies more than a ring ahead of what was released. (Rings of slots.)
    TailTooFarAhead,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeadWentBack => "head went back",
            Self::HeadAheadOfTail => "head is ahead of the tail",
            Self::HeadMisaligned => "head is misaligned",
            Self::NotACommit => "word is neither clear nor a commit",
            Self::TooLong => "record is too long",
            Self::CrossesTheEnd => "record crosses the end of the buffer",
            Self::NotReleased => "record reaches into space that was not released",
            Self::PaddingAtStart => "padding at the start of the buffer",
            Self::PaddingAlone => "padding without a record after it",
            Self::PaddingTwice => "padding after padding",
            Self::TailWentBack => "tail went back",
            Self::TailTooFarAhead => "tail is more than a ring ahead of the head",
        })
    }
}

/// The peer broke the protocol, or something overwrote its memory. The handle that saw it stays poisoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The rule that was broken.
    pub what: Violation,
    /// Where, as a position: bytes since the ring began; in a ring of slots, slots.
    pub position: u64,
    /// What was found there.
    pub found: u64,
    /// What it had to be, or the bound that it had to keep.
    pub limit: u64,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, position, found, limit } = self;
        write!(f, "corrupt ring at position {position}: {what} (found {found:#x}, limit {limit:#x})")
    }
}

impl Error for Corrupt {}

/// Why a claim was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// There is no room now. Normal; there will be, once the consumer releases some.
    Full,
    /// No record is ever as long as this. The caller's mistake.
    TooLarge {
        /// What was asked for, in bytes.
        need: usize,
        /// The longest message, in bytes.
        max: usize,
    },
    /// The producer was closed. The caller's mistake.
    Closed,
    /// The consumer broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the ring is full"),
            Self::TooLarge { need, max } => write!(f, "a message of {need} bytes is longer than the longest, {max}"),
            Self::Closed => f.write_str("the producer is closed"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl Error for ClaimError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            Self::Full | Self::TooLarge { .. } | Self::Closed => None,
        }
    }
}

impl From<Corrupt> for ClaimError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// A guard would make the held span longer than half the ring. Copy the record, or drop older guards first.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyHeld {
    /// How many bytes would then be held, from the oldest held one on.
    pub need_bytes: u64,
    /// How many may be: half the ring.
    pub limit_bytes: u64,
}

#[cfg(feature = "alloc")]
impl fmt::Display for TooManyHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guards would hold {} bytes of the ring, at most {} are allowed", self.need_bytes, self.limit_bytes)
    }
}

#[cfg(feature = "alloc")]
impl Error for TooManyHeld {}
