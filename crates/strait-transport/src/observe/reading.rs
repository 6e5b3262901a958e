//! What one look at a segment has found.

use crate::{state::StateStats, stats::Stats};

/// Who made a segment, as it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Its process, by the maker's own pid namespace; 0 where the word is no pid.
    pub pid: u32,
    /// When that process was started, in clock ticks since boot: field 22 of `/proc/PID/stat`. 0 where that is not known.
    pub start_ticks: u64,
}

/// One look: each word was loaded once, and not all of them at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// One end of a connection: [`Kind::Ring`](super::Kind::Ring) or [`Kind::Socket`](super::Kind::Socket).
    End(EndReading),
    /// A published state.
    State(StateReading),
    /// A client's pin on one.
    Pin(PinReading),
}

impl Reading {
    /// Who made the segment; a pin does not say.
    pub fn owner(&self) -> Option<Owner> {
        match self {
            Self::End(end) => Some(end.owner),
            Self::State(state) => Some(state.owner),
            Self::Pin(_) => None,
        }
    }

    /// What cannot be true, if anything was found.
    pub fn lie(&self) -> Option<Lie> {
        match self {
            Self::End(end) => end.lie,
            Self::State(state) => state.lie,
            Self::Pin(_) => None,
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndReading {
    /// Whose end it is.
    pub owner: Owner,
    /// What it has counted.
    pub stats: Stats,
    /// How far it has published in its own ring, in bytes since the ring began; wraps. 0 on a socket, as is `head`.
    pub tail: u64,
    /// How far it has released in the *peer's* ring, in bytes since the ring began; wraps.
    pub head: u64,
    /// It sleeps until there is data. Only ends in shared memory say so, and those sleep for what they may find on the socket too.
    pub sleeps_for_data: bool,
    /// It sleeps until there is room.
    pub sleeps_for_space: bool,
    /// It sends no more.
    pub closed: bool,
    /// It has closed in good order.
    pub farewell: bool,
    /// What cannot be true, if anything was found.
    pub lie: Option<Lie>,
}

/// A published state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateReading {
    /// Whose state it is.
    pub owner: Owner,
    /// What was published, and who has it.
    pub stats: StateStats,
    /// What cannot be true, if anything was found.
    pub lie: Option<Lie>,
}

/// A client's pin on a published state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinReading {
    /// The slot of the state that the client reads in place at the moment, from 0.
    pub slot: Option<u64>,
}

/// Something in a segment that cannot be true: its maker is broken, or lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lie {
    /// The owner's pid is none.
    #[error("its owner is said to be process {found}, expected 1 to 4194304")]
    Pid {
        /// What stands there.
        found: u64,
    },
    /// A position that no record can begin at.
    #[error("position {found} is not a multiple of {align_bytes}, where records begin")]
    Misaligned {
        /// The position.
        found: u64,
        /// What positions are multiples of.
        align_bytes: u32,
    },
    /// More was occupied than the ring has.
    #[error("its high-water mark is {found} bytes, and its ring has {capacity_bytes}")]
    HighWater {
        /// The mark.
        found: u64,
        /// The ring.
        capacity_bytes: u64,
    },
    /// The positions of both ends do not go together.
    #[error(
        "its tail {tail} and the peer's head {head} are further apart than its ring of {capacity_bytes} bytes is long"
    )]
    Positions {
        /// How far the one says that it has published.
        tail: u64,
        /// How far the other says that it has released.
        head: u64,
        /// The ring.
        capacity_bytes: u64,
    },
    /// Two segments that are not the ends of one connection.
    #[error("they are not the two ends of one connection in shared memory: their sessions, kinds or alignments differ")]
    NotAPair,
    /// More pins than there can be.
    #[error("it has granted {found} pins, and can grant {max}")]
    Pins {
        /// How many it says.
        found: u64,
        /// How many it can.
        max: u64,
    },
}
