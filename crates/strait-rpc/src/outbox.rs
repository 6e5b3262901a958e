//! Answers on their way out: straight into the ring, or kept until it has room.

use std::{collections::VecDeque, sync::Arc};

use strait_frame::Codec;
use strait_transport::{Connection, Error as TransportError, ErrorCode, SendError, Transport};

use crate::{
    counters::Counted,
    encode::{self, encode_value, error_text, send_value},
    error::Code,
    header::{HEADER_BYTES, Header, Kind},
    observe::Said,
};

/// A server's end of a connection. Sending never waits and never fails for want of room: what finds none is kept, encoded,
/// until [`flush`](Self::flush) gets it out. How much is kept is bounded by whoever bounds the calls in flight.
pub(crate) struct Outbox {
    pub(crate) connection: Connection,
    kept: VecDeque<Vec<u8>>,
    /// How many of these are the last word on a call.
    kept_answers: usize,
    /// How long the last body was.
    hint: usize,
    /// An error has ended a call since this was last asked.
    failed: bool,
    said: Said,
    /// The client in the server's counters.
    pub(crate) client: Counted,
}

impl Outbox {
    pub(crate) fn new(mut connection: Connection, client: Counted) -> Self {
        connection.set_rewind(true);
        Self {
            connection,
            kept: VecDeque::new(),
            kept_answers: 0,
            hint: 0,
            failed: false,
            said: Said::default(),
            client,
        }
    }

    /// Calls whose last answer waits for room: to their client they are still in flight.
    pub(crate) fn unanswered(&self) -> usize {
        self.kept_answers
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Sends `value` behind `header`. One that can't be sent becomes an error answer to the call that `header` names.
    pub(crate) fn value<C, T>(&mut self, header: Header, value: &T) -> Result<(), TransportError>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        let mut sent = Err(SendError::Full);
        if self.kept.is_empty() {
            sent = send_value::<C, T>(&mut self.connection, header, value, &mut self.hint);
        }
        let Err(unsent) = sent else {
            self.said.body(self.hint);
            return Ok(());
        };
        self.keep_value::<C, T>(header, value, unsent)
    }

    /// Keeps a value that found no room, or says why it can't be sent.
    #[cold]
    fn keep_value<C, T>(&mut self, header: Header, value: &T, unsent: SendError) -> Result<(), TransportError>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        let unsendable = match unsent {
            SendError::Failed(error @ (TransportError::TooLarge { .. } | TransportError::Encode(_))) => error,
            SendError::Failed(error) => return Err(error),
            _full => match encode_value::<C, T>(header, value, self.connection.limits().max_send_bytes) {
                Ok(message) => {
                    self.said.body(message.len() - HEADER_BYTES);
                    self.keep(header.kind, message);
                    return Ok(());
                }
                Err(error) => error,
            },
        };
        self.error(header.call, Code::BAD_REPLY, &unsendable.to_string())
    }

    /// Answers `call` with an error.
    pub(crate) fn error(&mut self, call: u32, code: Code, text: &str) -> Result<(), TransportError> {
        self.client.counters().error(code, text);
        let is_unreadable = code == Code::BAD_REQUEST;
        self.connection.count_error(if is_unreadable { ErrorCode::DECODE } else { ErrorCode::CALL });
        self.failed = true;
        self.said.error(code);
        let text = error_text(code, text, self.connection.limits().max_send_bytes);
        self.message(Header::of(Kind::Error, call), &text)
    }

    /// Whether an error was sent since this was last asked: an item that can't be sent ends its call.
    pub(crate) fn take_failed(&mut self) -> bool {
        std::mem::take(&mut self.failed)
    }

    /// What was said since this was last asked.
    #[inline]
    pub(crate) fn take_said(&mut self) -> Said {
        std::mem::take(&mut self.said)
    }

    /// Sends `body` as it is. One that is too large becomes an error answer to the call that `header` names.
    pub(crate) fn bytes(&mut self, header: Header, body: &[u8]) -> Result<(), TransportError> {
        let (need, max) = (HEADER_BYTES + body.len(), self.connection.limits().max_send_bytes);
        if need > max {
            let error = TransportError::TooLarge { need, max };
            return self.error(header.call, Code::BAD_REPLY, &error.to_string());
        }
        self.message(header, body)
    }

    /// Sends a header and a body that is known to fit.
    pub(crate) fn message(&mut self, header: Header, body: &[u8]) -> Result<(), TransportError> {
        self.said.body(body.len());
        if self.kept.is_empty() {
            match encode::send_bytes(&mut self.connection, header, body) {
                Ok(()) => return Ok(()),
                Err(SendError::Failed(error)) => return Err(error),
                Err(_full) => {}
            }
        }
        let mut message = header.encode().to_vec();
        message.extend_from_slice(body);
        self.keep(header.kind, message);
        Ok(())
    }

    fn keep(&mut self, kind: Kind, message: Vec<u8>) {
        self.kept_answers += usize::from(is_last(kind));
        self.kept.push_back(message);
    }

    /// Sends a message that is encoded already, header and all.
    pub(crate) fn encoded(&mut self, message: Vec<u8>) -> Result<(), TransportError> {
        self.keep(Kind::Notify, message);
        self.flush().map(drop)
    }

    /// Sends as much of what is kept as there is room for; whether that was any.
    #[inline]
    pub(crate) fn flush(&mut self) -> Result<bool, TransportError> {
        let before = self.kept.len();
        while let Some(message) = self.kept.front() {
            match self.connection.send(message) {
                Ok(()) => {
                    let last = Header::decode(message).is_ok_and(|header| is_last(header.kind));
                    self.kept_answers -= usize::from(last);
                    self.kept.pop_front();
                }
                Err(SendError::Failed(error)) => return Err(error),
                Err(_full) => break,
            }
        }
        Ok(self.kept.len() < before)
    }

    /// Takes the header of a request, and leaves its body behind [`HEADER_BYTES`].
    #[inline]
    pub(crate) fn open(&self, message: &mut strait_transport::Message) -> Result<Header, TransportError> {
        let header = Header::open(message).map_err(corrupt)?;
        if header.trace.is_some() && !self.connection.trace_context() {
            return Err(corrupt("a trace context on a connection that was agreed to have none"));
        }
        Ok(header)
    }

    /// The next message. One whose checksum is wrong ends an rpc connection: whose call it was cannot be known any more.
    #[inline]
    pub(crate) fn receive(&mut self) -> Result<Option<strait_transport::Message>, TransportError> {
        self.connection.try_recv().map_err(|error| match error {
            TransportError::Checksum { .. } => corrupt(format!("an rpc request was lost: {error}")),
            error => error,
        })
    }
}

/// Whether a message of this kind is the last word on its call.
fn is_last(kind: Kind) -> bool {
    matches!(kind, Kind::Reply | Kind::Error)
}

/// What a peer said cannot be.
#[cold]
pub(crate) fn corrupt(what: impl std::fmt::Display) -> TransportError {
    let what = what.to_string();
    tracing::warn!(target: "strait", what, "corrupt input");
    TransportError::Corrupt { what: Arc::from(what) }
}
