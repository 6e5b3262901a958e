//! What can go wrong with a queue in one process. For the one between processes see [`shared`](crate::shared).

use core::{error::Error, fmt};

/// A queue cannot have this many places. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CapacityError {
    /// Fewer than two: in a queue of one cell, full and free for the next lap would be the same sequence.
    TooSmall {
        /// What was asked for.
        capacity: usize,
    },
    /// Not a power of two.
    NotAPowerOfTwo {
        /// What was asked for.
        capacity: usize,
    },
    /// More than memory can hold.
    TooLarge {
        /// What was asked for.
        capacity: usize,
    },
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { capacity } => write!(
                f,
                "a queue of {capacity} cannot tell a full cell from one that is free for the next lap: ask for 2 or more"
            ),
            Self::NotAPowerOfTwo { capacity } => {
                write!(f, "capacity {capacity} is not a power of two: round it with usize::next_power_of_two")
            }
            Self::TooLarge { capacity } => write!(f, "a queue of {capacity} is larger than memory can be"),
        }
    }
}

impl Error for CapacityError {}

/// Why a value was not pushed; holds the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// There is no room; from a blocking call, there was none until the deadline.
    Full(T),
    /// The queue is closed.
    Closed(T),
}

impl<T> PushError<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::Closed(_) => "the queue is closed",
        })
    }
}

impl<T> Error for PushError<T> {}

/// Why nothing was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// There is nothing; from a blocking call, there was nothing until the deadline.
    Empty,
    /// The queue is closed, and everything that was pushed has been popped.
    Closed,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::Closed => "the queue is closed and empty",
        })
    }
}

impl Error for PopError {}
