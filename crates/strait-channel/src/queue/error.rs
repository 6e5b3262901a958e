//! What can go wrong with a queue.

use std::{fmt, sync::Arc};

use strait_frame::DecodeError;
use strait_transport::{Blame, Error as TransportError, Refusal};

/// What a call on a queue can end in. Cloneable.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue could not be offered or joined, or what was asked for cannot be.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The owner refused this end.
    #[error("{end} of codec {codec} was refused by the owner of the queue: {refusal}")]
    Refused {
        /// What this end is: a producer, a worker.
        end: &'static str,
        /// Its codec, by name.
        codec: &'static str,
        /// What the owner said.
        refusal: Refusal,
    },
    /// There is no room for the item: the queue is full, and this producer's window with it. The item was not pushed.
    #[error("the queue has no room: the item was not pushed; wait longer, add workers, or raise the queue's capacity")]
    Full,
    /// The owner has ended, or the connection to it. What it had not acknowledged is told; nothing is sent again by itself.
    #[error("the queue's owner is gone ({source}): {unacknowledged}")]
    OwnerGone {
        /// What the owner had not acknowledged.
        unacknowledged: Unacknowledged,
        /// How the connection ended: [`TransportError::Closed`] where the owner ended in good order.
        source: TransportError,
    },
    /// An item is no value of the worker's type. It has been discarded: the owner counts it as lost.
    #[error("an item cannot be read and was discarded: {0}")]
    Unreadable(Arc<DecodeError>),
}

/// What the owner of a queue had not acknowledged when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unacknowledged {
    /// A producer's items, which it counts from 1 in the order of its pushes.
    Pushes {
        /// Items that were pushed.
        pushed: u64,
        /// Items that the owner has said to have: the first so many. Those after them never reached it, as far as is known.
        accepted: u64,
        /// Items that workers have taken (or, in an acknowledged queue, acknowledged), or that were lost. The others that were
        /// accepted were in the owner's memory.
        settled: u64,
    },
    /// A worker's items.
    Items {
        /// Items that it was given and that it had not acknowledged; 0 in a queue without acknowledgements.
        not_acknowledged: u64,
    },
}

impl fmt::Display for Unacknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Pushes { pushed, accepted, settled } => write!(
                f,
                "of {pushed} items that were pushed it has accepted the first {accepted}, of which {settled} are known to be done"
            ),
            Self::Items { not_acknowledged } => {
                write!(f, "{not_acknowledged} items of this worker were not acknowledged")
            }
        }
    }
}

impl Error {
    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Transport(error) => error.blame(),
            Self::Full | Self::Refused { .. } => Blame::Peer,
            Self::OwnerGone { source, .. } => source.blame(),
            Self::Unreadable(_) => Blame::Corrupt,
        }
    }
}

/// What a peer said cannot be.
pub(crate) fn corrupt(what: String) -> TransportError {
    tracing::warn!(target: "strait", what, "corrupt input");
    TransportError::Corrupt { what: what.into() }
}
