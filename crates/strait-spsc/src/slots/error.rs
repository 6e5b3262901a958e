//! What can go wrong in a ring of slots.

use core::{error::Error, fmt};

/// A ring cannot have so many slots: the number is not a power of two. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityError {
    /// What was asked for, in slots.
    pub capacity: usize,
    /// The nearest capacity below, where there is one.
    pub below: Option<usize>,
    /// The nearest capacity above, where there is one.
    pub above: Option<usize>,
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a capacity of {} slots is not a power of two; take ", self.capacity)?;
        match (self.below, self.above) {
            (Some(below), Some(above)) => write!(f, "{below} or {above}"),
            (Some(only), None) | (None, Some(only)) => write!(f, "{only}"),
            (None, None) => f.write_str("one that is"),
        }
    }
}

impl Error for CapacityError {}

/// Why a value was not pushed. It is given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// There is no free slot now. Normal; there will be, once the consumer pops.
    Full(T),
    /// There is no free slot and never will be one: the consumer is gone.
    Abandoned(T),
}

impl<T> PushError<T> {
    /// The value that was not pushed.
    ///
    /// ```
    /// let (mut producer, _consumer) = strait_spsc::slots::channel(1)?;
    /// producer.try_push("first").unwrap();
    /// assert_eq!(producer.try_push("second").unwrap_err().into_inner(), "second");
    /// # Ok::<(), strait_spsc::slots::CapacityError>(())
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Abandoned(value) => value,
        }
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Abandoned(_) => "Abandoned(..)",
        })
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the ring is full",
            Self::Abandoned(_) => "the ring is full and the consumer is gone",
        })
    }
}

impl<T> Error for PushError<T> {}

/// Why no value was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// There is no value now. Normal; there may be, once the producer pushes.
    Empty,
    /// The producer is gone, and every value was popped.
    Abandoned,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the ring is empty",
            Self::Abandoned => "the ring is empty and the producer is gone",
        })
    }
}

impl Error for PopError {}

/// Why a chunk was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// There are fewer slots than that now: free ones for a producer, filled ones for a consumer.
    TooFew {
        /// How many there are. A chunk of so many is granted.
        available: usize,
    },
    /// There are fewer, and the other end is gone. A consumer gets this once every value was popped.
    Abandoned,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { available } => write!(f, "only {available} slots are available"),
            Self::Abandoned => f.write_str("the other end is gone"),
        }
    }
}

impl Error for ChunkError {}
