//! What can go wrong, and who is to blame.

use core::{error::Error, fmt};

/// A snapshot cannot be laid out like this. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// Too few slots, or too many.
    Slots {
        /// What was asked for.
        slots: usize,
        /// The least for that many pins.
        min: usize,
        /// The most.
        max: usize,
    },
    /// More pins than there can be slots for.
    Pins {
        /// What was asked for.
        pins: usize,
        /// The most.
        max: usize,
    },
    /// The longest value is longer than any memory.
    MaxBytes {
        /// What was asked for.
        max_bytes: usize,
    },
    /// The offset is not a multiple of what is asked for.
    Offset {
        /// The offset, in bytes.
        offset: usize,
        /// What it must be a multiple of.
        multiple_of: usize,
    },
    /// The memory ends before the snapshot, or the word, does.
    OutOfBounds {
        /// How long the memory must at least be.
        need_bytes: usize,
        /// How long it is.
        len_bytes: usize,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots { slots, min, max } => {
                write!(f, "a snapshot with that many pins needs {min} to {max} slots, not {slots}")
            }
            Self::Pins { pins, max } => write!(f, "a snapshot has at most {max} pins, not {pins}"),
            Self::MaxBytes { max_bytes } => write!(f, "no memory holds values of {max_bytes} bytes"),
            Self::Offset { offset, multiple_of } => write!(f, "offset {offset} is not a multiple of {multiple_of}"),
            Self::OutOfBounds { need_bytes, len_bytes } => {
                write!(f, "{need_bytes} bytes are needed, the memory has {len_bytes}")
            }
        }
    }
}

impl Error for GeometryError {}

/// The rule that the writer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// The latest value lies in a slot that there is not.
    NoSuchSlot,
    /// The version is older than one that was shown before.
    VersionWentBack,
    /// No writer comes to this version.
    VersionTooHigh,
    /// The slot of the latest value does not hold it yet.
    NotWritten,
    /// The value is longer than the longest.
    TooLong,
    /// A slot that is pinned was written to.
    PinIgnored,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchSlot => "the latest value is in a slot that there is not",
            Self::VersionWentBack => "the version went back",
            Self::VersionTooHigh => "no writer comes to this version",
            Self::NotWritten => "the slot of the latest value does not hold it yet",
            Self::TooLong => "value is longer than the longest",
            Self::PinIgnored => "a pinned slot was written to",
        })
    }
}

/// The writer broke the protocol. A reader that has found this returns it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The rule that was broken.
    pub what: Violation,
    /// The version that was to be read.
    pub version: u64,
    /// The value that was found.
    pub found: u64,
    /// What it is measured against.
    pub limit: u64,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, version, found, limit } = self;
        write!(f, "corrupt snapshot at version {version}: {what} (found {found}, limit {limit}); attach anew")
    }
}

impl Error for Corrupt {}

/// Each attempt met a write. Try again: the writer is faster than this reader, or was stopped in the middle of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contended {
    /// How many attempts were made.
    pub attempts: u32,
}

impl fmt::Display for Contended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value was written to during each of {} attempts to read it", self.attempts)
    }
}

impl Error for Contended {}

/// Why there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing was written yet.
    Empty,
    /// The writer overtook each attempt: it wrote as many values as there are slots while one was copied. Try again.
    Contended {
        /// How many attempts were made.
        attempts: u32,
        /// The version that the last one wanted.
        version: u64,
    },
    /// The value does not fit the buffer. Nothing was read.
    BufferTooSmall {
        /// Length of the value.
        need_bytes: usize,
        /// Length of the buffer.
        len_bytes: usize,
    },
    /// The value is not as long as the type that it was to be read as. Nothing was read.
    WrongSize {
        /// Size of the type.
        expected_bytes: usize,
        /// Length of the value.
        found_bytes: usize,
    },
    /// The writer broke the protocol, now or before.
    Corrupt(Corrupt),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing was written yet"),
            Self::Contended { attempts, version } => {
                write!(f, "the writer overtook each of {attempts} attempts to read, the last one at version {version}")
            }
            Self::BufferTooSmall { need_bytes, len_bytes } => {
                write!(f, "the value has {need_bytes} bytes, the buffer only {len_bytes}")
            }
            Self::WrongSize { expected_bytes, found_bytes } => {
                write!(f, "the value has {found_bytes} bytes, the type that it is read as {expected_bytes}")
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            _ => None,
        }
    }
}

impl From<Corrupt> for ReadError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Why nothing was pinned.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinError {
    /// Nothing was written yet.
    Empty,
    /// The writer published anew during each attempt. Try again, or copy.
    Contended {
        /// How many attempts were made.
        attempts: u32,
        /// The version that the last one wanted.
        version: u64,
    },
    /// The writer broke the protocol, now or before.
    Corrupt(Corrupt),
}

#[cfg(feature = "alloc")]
impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing was written yet"),
            Self::Contended { attempts, version } => {
                write!(
                    f,
                    "the writer published during each of {attempts} attempts to pin, the last at version {version}"
                )
            }
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

#[cfg(feature = "alloc")]
impl Error for PinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            _ => None,
        }
    }
}

#[cfg(feature = "alloc")]
impl From<Corrupt> for PinError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// All pins are granted. Copy instead.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPin {
    /// How many there are.
    pub pins: usize,
}

#[cfg(feature = "alloc")]
impl fmt::Display for NoPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pins {
            0 => f.write_str("this snapshot has no pins: read by copying"),
            pins => write!(f, "all {pins} pins of this snapshot are granted: read by copying"),
        }
    }
}

#[cfg(feature = "alloc")]
impl Error for NoPin {}

/// Why a hazard word got no pin.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantError {
    /// All pins are granted.
    NoPin(NoPin),
    /// The hazard word is not inside the reader's memory, or not aligned there.
    Word(GeometryError),
}

#[cfg(feature = "alloc")]
impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPin(no_pin) => no_pin.fmt(f),
            Self::Word(error) => write!(f, "the hazard word: {error}"),
        }
    }
}

#[cfg(feature = "alloc")]
impl Error for GrantError {}

/// A value that is longer than the longest of this snapshot. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How long it would at least be.
    pub need_bytes: usize,
    /// The longest.
    pub max_bytes: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of {} bytes, and the longest of this snapshot has {}", self.need_bytes, self.max_bytes)
    }
}

impl Error for TooLong {}

/// Why a writer could not take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TakeOverError {
    /// The snapshot does not lie in this memory as it should. The caller's mistake.
    Geometry(GeometryError),
    /// What the last writer left is no snapshot of this geometry. Start anew in new memory.
    Corrupt(Corrupt),
}

impl fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry(error) => error.fmt(f),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl Error for TakeOverError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Geometry(error) => Some(error),
            Self::Corrupt(corrupt) => Some(corrupt),
        }
    }
}

impl From<GeometryError> for TakeOverError {
    fn from(error: GeometryError) -> Self {
        Self::Geometry(error)
    }
}

/// Why waiting ended without a change.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline has passed.
    TimedOut {
        /// The latest version.
        version: u64,
    },
    /// The writer broke the protocol, now or before.
    Corrupt(Corrupt),
}

#[cfg(feature = "std")]
impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { version } => write!(f, "nothing newer than version {version} by the deadline"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

#[cfg(feature = "std")]
impl Error for WaitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            Self::TimedOut { .. } => None,
        }
    }
}

#[cfg(feature = "std")]
impl From<Corrupt> for WaitError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}
