//! What can go wrong between two ends that do not trust each other.

use core::{error::Error, fmt};

use crate::error::Corrupt;

/// Why a value was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// There is no free slot now. Normal; there will be, once the consumer pops.
    Full,
    /// There is no free slot, and the consumer says that it is gone.
    Abandoned,
    /// The consumer broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the ring is full"),
            Self::Abandoned => f.write_str("the ring is full and the consumer is gone"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl Error for PushError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            Self::Full | Self::Abandoned => None,
        }
    }
}

impl From<Corrupt> for PushError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Why no value was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// There is no value now. Normal; there may be, once the producer pushes.
    Empty,
    /// The producer says that it is gone, and every value was popped.
    Abandoned,
    /// The producer broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the ring is empty"),
            Self::Abandoned => f.write_str("the ring is empty and the producer is gone"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl Error for PopError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            Self::Empty | Self::Abandoned => None,
        }
    }
}

impl From<Corrupt> for PopError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}
