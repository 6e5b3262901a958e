//! What can go wrong with a queue in shared memory, and who is to blame.

use core::{error::Error, fmt};

use super::layout::Geometry;

/// A queue cannot be laid out like this. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// The capacity is not a power of two from 2 to 2^32.
    Capacity {
        /// What was asked for.
        capacity: u64,
    },
    /// Messages of no bytes, or of more than 2^20.
    SlotBytes {
        /// What was asked for.
        slot_bytes: u64,
    },
    /// No participants, or more than 1024.
    Participants {
        /// What was asked for.
        participants: u64,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity { capacity: 1 } => f.write_str(
                "a queue of 1 cannot tell a full cell from one that is free for the next lap: ask for 2 or more",
            ),
            Self::Capacity { capacity } => {
                write!(f, "capacity {capacity} is not a power of two from 2 to {}", Geometry::MAX_CAPACITY)
            }
            Self::SlotBytes { slot_bytes } => {
                write!(f, "slots can have 1 to {} bytes, not {slot_bytes}", Geometry::MAX_SLOT_BYTES)
            }
            Self::Participants { participants } => {
                write!(f, "1 to {} can take part, not {participants}", Geometry::MAX_PARTICIPANTS)
            }
        }
    }
}

impl Error for GeometryError {}

/// Why memory is not a queue that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The memory is shorter than the queue.
    OutOfBounds {
        /// How long it must at least be.
        need_bytes: u64,
        /// How long it is.
        len_bytes: u64,
    },
    /// This is no queue, or one that is still being made.
    NoQueue {
        /// What was found instead of the magic number.
        found: u64,
    },
    /// The queue is of another version of this crate.
    Version {
        /// Its version.
        found: u64,
        /// The one that this crate knows.
        expected: u64,
    },
    /// The header describes a queue that cannot be.
    Geometry(GeometryError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds { need_bytes, len_bytes } => {
                write!(f, "the queue needs {need_bytes} bytes, the memory has {len_bytes}")
            }
            Self::NoQueue { found } => {
                write!(f, "the memory holds no queue (magic {found:#x}); if it is still being made, try again")
            }
            Self::Version { found, expected } => {
                write!(f, "the queue's layout has version {found}, this program knows {expected}")
            }
            Self::Geometry(geometry) => write!(f, "the queue's header is corrupt: {geometry}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Geometry(geometry) => Some(geometry),
            _ => None,
        }
    }
}

/// Why nobody more can take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// All places are taken. A place is free again when its participant leaves, or is recovered as dead.
    TooMany {
        /// How many places there are.
        participants: u64,
    },
    /// A pid of 0 or of more than 22 bits, or a start time of more than 42. The caller's mistake.
    Identity {
        /// The pid.
        pid: u32,
        /// The start time, in clock ticks since boot.
        start_time: u64,
    },
    /// The queue was made in another pid or time namespace, where this process's pid and start time mean another process or
    /// none: it would be taken for dead.
    OtherNamespaces,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { participants } => write!(
                f,
                "all {participants} participants' places are taken: wait for one to leave, or recover those that are dead"
            ),
            Self::Identity { pid, start_time } => {
                write!(
                    f,
                    "pid {pid} (1 to 2^22 - 1) with start time {start_time} (below 2^42) is no process's identity"
                )
            }
            Self::OtherNamespaces => f.write_str(
                "the queue was made in another pid or time namespace, where nobody could tell whether this process lives: run \
                 all participants in the same container, or share its pid namespace",
            ),
        }
    }
}

impl Error for AttachError {}

/// The rule that a word in shared memory breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// A cell's sequence is none that its cell can have at this position.
    Sequence,
    /// A cell is ahead of the tail or the head that leads to it.
    AheadOfCursor,
    /// The head is marked as closed, which only the tail can be.
    Head,
    /// A message is longer than a slot. It is counted as lost.
    Length,
    /// The words changed under every one of a great many attempts.
    NeverSettles,
    /// A participant's line belongs to somebody else than the one who uses it: it was recovered as dead while it lived.
    Owner,
    /// A participant's journal names positions that no claim can have.
    Journal,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sequence => "a cell's sequence is not one of this place",
            Self::AheadOfCursor => "a cell is ahead of its cursor",
            Self::Head => "the head is no position",
            Self::Length => "a message is longer than a slot",
            Self::NeverSettles => "the cursor changed at every attempt",
            Self::Owner => "a participant's line has another owner",
            Self::Journal => "a journal names positions that cannot be claimed",
        })
    }
}

/// A participant broke the protocol, or something overwrote the memory.
///
/// Nothing was pushed or popped, but for a message of an impossible length, which is gone and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The rule that was broken.
    pub what: Violation,
    /// At which position: messages since the queue was made.
    pub position: u64,
    /// What was found there.
    pub found: u64,
    /// What it had to be, or the bound that it had to keep.
    pub limit: u64,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, position, found, limit } = self;
        write!(f, "corrupt queue at position {position}: {what} (found {found:#x}, limit {limit:#x})")
    }
}

impl Error for Corrupt {}

/// Why a message was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// There is no room; from a blocking call, there was none until the deadline.
    Full,
    /// The queue is closed.
    Closed,
    /// No message can be as long as this. The caller's mistake.
    TooLong {
        /// How long it is.
        len: usize,
        /// How long it may be.
        max: usize,
    },
    /// A participant broke the protocol.
    Corrupt(Corrupt),
    /// A model had this participant die here.
    #[cfg(strait_loom)]
    Died,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the queue is full"),
            Self::Closed => f.write_str("the queue is closed"),
            Self::TooLong { len, max } => write!(f, "a message of {len} bytes does not fit a slot of {max}"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            #[cfg(strait_loom)]
            Self::Died => f.write_str("died"),
        }
    }
}

impl Error for PushError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            _ => None,
        }
    }
}

impl From<Corrupt> for PushError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Why no message was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PopError {
    /// There is nothing; from a blocking call, there was nothing until the deadline.
    Empty,
    /// The queue is closed, and everything that was pushed has been popped.
    Closed,
    /// The buffer is shorter than a slot. The caller's mistake; nothing was popped.
    BufferTooShort {
        /// How long it is.
        len: usize,
        /// How long it must be.
        need: usize,
    },
    /// The message does not have the length of the type that it was to be read as. It is gone.
    WrongLength {
        /// How long it was.
        len: usize,
        /// How long it had to be.
        expected: usize,
    },
    /// A participant broke the protocol.
    Corrupt(Corrupt),
    /// A model had this participant die here.
    #[cfg(strait_loom)]
    Died,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the queue is empty"),
            Self::Closed => f.write_str("the queue is closed and empty"),
            Self::BufferTooShort { len, need } => {
                write!(f, "a buffer of {len} bytes is shorter than a slot of {need}: nothing was popped")
            }
            Self::WrongLength { len, expected } => {
                write!(f, "a message of {len} bytes was popped where every message has to have {expected}")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            #[cfg(strait_loom)]
            Self::Died => f.write_str("died"),
        }
    }
}

impl Error for PopError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            _ => None,
        }
    }
}

impl From<Corrupt> for PopError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}
