//! What can go wrong on a stream.

use std::sync::Arc;

use strait_frame::DecodeError;
use strait_transport::Refusal;

/// What can go wrong on a stream.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no room for the message now. It was not sent.
    #[error("there is no room in the stream now: wait, try again, or enlarge ring_bytes")]
    Full,
    /// No message has come yet.
    #[error("no message has come yet")]
    Empty,
    /// A message whose bytes are no value of the stream's type. It was taken out; the stream goes on.
    #[error("message {sequence} is no value of the stream's type: {reason}")]
    Decode {
        /// Its sequence number.
        sequence: u64,
        /// What the codec found.
        reason: Arc<DecodeError>,
    },
    /// The end that has the name refused this one: they do not go together.
    #[error(
        "{end} of codec {codec} was refused: {refusal}; a producer goes with a consumer, a duplex end with another, \
         both of the same type and codec"
    )]
    Refused {
        /// What this end is: a producer, a consumer, a duplex end.
        end: &'static str,
        /// Its codec, by name.
        codec: &'static str,
        /// What the other end said.
        refusal: Refusal,
    },
    /// The connection below failed, or ended.
    #[error(transparent)]
    Connection(#[from] strait_transport::Error),
}

impl Error {
    /// Whether the other end is gone: it died, or closed the stream.
    pub fn is_peer_gone(&self) -> bool {
        use strait_transport::Error as Below;
        matches!(self, Self::Connection(Below::PeerGone | Below::Closed))
    }

    /// Whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Connection(strait_transport::Error::TimedOut { .. }))
    }
}
