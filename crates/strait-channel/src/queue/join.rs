//! How a participant comes and goes.

use std::time::{Duration, Instant};

use strait_frame::Codec;
use strait_transport::{Connection, Error as TransportError, SendError, Transport};

use super::{
    error::{Error, corrupt},
    message::{Message, Part},
};

/// The moment after `timeout`; `None` where there is none that far.
pub(super) fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Says which end was refused.
pub(super) fn refused<T: ?Sized, C: Codec<T>>(error: TransportError, part: Part) -> Error {
    let TransportError::Refused(refusal) = error else { return error.into() };
    Error::Refused { end: part.end(), codec: crate::codec_name(C::ID), refusal }
}

/// A participant that has said what it is and waits for the owner's word.
pub(crate) struct Joining {
    pub(crate) connection: Connection,
}

/// What the owner has told.
#[derive(Clone, Copy)]
pub(crate) struct Joined {
    pub(crate) acknowledged: bool,
    pub(crate) credit: u32,
    pub(crate) max_item_bytes: u64,
}

impl Joining {
    pub(crate) fn begin(mut connection: Connection, part: Part) -> Result<Self, TransportError> {
        match connection.send(&Message::Join(part).encode()) {
            Ok(()) => Ok(Self { connection }),
            Err(SendError::Failed(error)) => Err(error),
            Err(_) => Err(TransportError::Usage("a connection without room for its first word")),
        }
    }

    /// The owner's word, if it has come.
    pub(crate) fn answer(&mut self) -> Result<Option<Joined>, TransportError> {
        let Some(word) = self.connection.try_recv()? else { return Ok(None) };
        match Message::decode(&word).map_err(corrupt)?.0 {
            Message::Joined { acknowledged, credit, max_item_bytes } if credit > 0 => {
                Ok(Some(Joined { acknowledged, credit, max_item_bytes }))
            }
            other => Err(corrupt(format!("{other:?} from the owner of a queue, expected Joined"))),
        }
    }
}

/// Whether an error is about what was asked for, and the connection goes on.
pub(crate) fn is_usage(error: &TransportError) -> bool {
    error.blame() == strait_transport::Blame::Usage && !matches!(error, TransportError::Forked)
}

/// Closes, as far as that goes without waiting.
pub(crate) fn leave(connection: &mut Connection) {
    connection.close();
    let _ = connection.flush(Some(Instant::now()));
}
