//! What the lock protects: the connection, the calls, and who drives.

use std::time::Duration;

use strait_frame::Codec;
use strait_sync::mutant;
use strait_transport::{Connection, Error as TransportError, Message, SendError, Transport, TransportKind};

use crate::{
    calls::{Calls, Delivered},
    deadline::Deadline,
    encode::{decode_error, send_header, send_value},
    error::Error,
    header::{HEADER_BYTES, Header, Kind},
    wakers::Wakers,
};

/// What is behind the lock.
pub(super) struct Core {
    pub(super) connection: Connection,
    pub(super) calls: Calls,
    /// Some thread is the driver.
    pub(super) driving: bool,
    /// And it sleeps.
    pub(super) asleep: bool,
    /// Calls to cancel, once there is room.
    cancels: Vec<u32>,
    going_away: bool,
    pub(super) ended: Option<Error>,
    hint: usize,
}

/// How far a call came at once.
pub(super) enum Begun {
    /// It is sent, under this id.
    Sent(u32),
    /// The window is full.
    NoSlot,
    /// The ring is full.
    NoRoom,
}

impl Core {
    pub(super) fn new(connection: Connection) -> Self {
        let window = connection.max_in_flight() as usize;
        Self {
            connection,
            calls: Calls::new(window),
            driving: false,
            asleep: false,
            cancels: Vec::with_capacity(window),
            going_away: false,
            ended: None,
            hint: 0,
        }
    }

    /// Takes a slot, then room in the ring, and sends.
    #[inline]
    pub(super) fn begin<C, T>(&mut self, value: &T, deadline: &Deadline, wakers: &Wakers) -> Result<Begun, Error>
    where
        C: Codec<T>,
    {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        if self.going_away {
            return Err(Error::ShuttingDown);
        }
        let Some(call) = self.begin_slot(wakers) else { return Ok(Begun::NoSlot) };
        let left = deadline.left();
        if left == Some(Duration::ZERO) {
            self.calls.unsend(call);
            return Err(Error::Deadline);
        }
        let header = Header { deadline: left, ..Header::of(Kind::Request, call) };
        let sent = send_value::<C, T>(&mut self.connection, header, value, &mut self.hint)
            .and_then(|()| Ok(self.connection.publish()?));
        match sent {
            Ok(()) => Ok(Begun::Sent(call)),
            Err(SendError::Failed(error)) => {
                self.calls.unsend(call);
                if !matches!(error, TransportError::TooLarge { .. } | TransportError::Encode(_)) {
                    self.end(error.clone().into(), wakers);
                }
                Err(error.into())
            }
            Err(_full) => {
                self.calls.unsend(call);
                self.drain(wakers);
                Ok(Begun::NoRoom)
            }
        }
    }

    /// A free slot; where there is none, a late answer may have come that frees one.
    #[inline]
    fn begin_slot(&mut self, wakers: &Wakers) -> Option<u32> {
        if let Some(call) = self.calls.begin() {
            return Some(call);
        }
        self.drain(wakers);
        self.calls.begin()
    }

    /// Whether this thread may read the connection: see rule 3 of the module.
    #[inline]
    fn may_read(&self) -> bool {
        !self.asleep || self.connection.transport() != TransportKind::Socket
    }

    /// Hands out all answers that have come.
    #[inline]
    pub(super) fn drain(&mut self, wakers: &Wakers) {
        if !self.may_read() {
            return;
        }
        while self.ended.is_none() {
            match self.connection.try_recv() {
                Ok(Some(message)) => self.dispatch(message, wakers),
                Ok(None) => break,
                // Whose answer it was cannot be known any more.
                Err(error @ TransportError::Checksum { .. }) => {
                    let what = format!("an rpc answer was lost: {error}").into();
                    self.end(TransportError::Corrupt { what }.into(), wakers);
                }
                Err(error) => self.end(error.into(), wakers),
            }
        }
        if !self.cancels.is_empty() {
            self.flush_cancels();
        }
    }

    fn dispatch(&mut self, message: Message, wakers: &Wakers) {
        let header = match Header::decode(&message) {
            Ok(header) => header,
            Err(what) => return self.corrupt(&what, wakers),
        };
        let answer = match header.kind {
            Kind::Reply => Ok(message),
            Kind::Error => match decode_error(&message[HEADER_BYTES..]) {
                Ok(error) => Err(error),
                Err(what) => return self.corrupt(&what, wakers),
            },
            // Once: else a server could keep its clients reading for ever.
            Kind::GoAway if self.going_away => return self.corrupt("a second farewell from the server", wakers),
            Kind::GoAway => {
                self.going_away = true;
                wakers.wake_room();
                wakers.wake_slot();
                return;
            }
            Kind::Request | Kind::Cancel => return self.corrupt("a request from the server", wakers),
        };
        match self.calls.deliver(header.call, answer) {
            Delivered::To(slot) => mutant!(deliver_without_wake, wakers.wake_call(slot), ()),
            Delivered::Late => wakers.wake_slot(),
            Delivered::Unknown => {
                self.corrupt(&format!("an answer to call {:#x}, which is not in flight", header.call), wakers);
            }
        }
    }

    fn corrupt(&mut self, what: &str, wakers: &Wakers) {
        tracing::warn!(target: "strait", what, "corrupt input");
        self.end(TransportError::Corrupt { what: what.into() }.into(), wakers);
    }

    /// Ends the connection: every call in flight gets `error`.
    pub(super) fn end(&mut self, error: Error, wakers: &Wakers) {
        if self.ended.is_none() {
            tracing::debug!(target: "strait", %error, "disconnected");
            self.ended = Some(error);
            self.connection.close();
            wakers.wake_all();
        }
    }

    /// The answer of a call: its own, or the connection's end.
    pub(super) fn answer(&mut self, call: u32) -> Option<Result<Message, Error>> {
        if let Some(answer) = self.calls.take(call) {
            return Some(answer);
        }
        let ended = self.ended.clone()?;
        self.calls.abandon(call);
        Some(Err(ended))
    }

    /// Nobody waits for a call any more. Who waits for a slot is woken by [`Wakers::clear`].
    pub(super) fn abandon(&mut self, call: u32) {
        if self.calls.abandon(call) {
            self.cancels.push(call);
            self.flush_cancels();
        }
    }

    /// Best effort: what finds no room waits for the next who drives.
    fn flush_cancels(&mut self) {
        while let Some(&call) = self.cancels.last() {
            if self.ended.is_none() && send_header(&mut self.connection, Header::of(Kind::Cancel, call)).is_err() {
                break;
            }
            self.cancels.pop();
        }
        let _ = self.connection.publish();
    }
}
