//! What the lock protects: the connection, the calls, and who drives.

use std::{collections::VecDeque, time::Duration};

use strait_frame::Codec;
use strait_sync::{fail_point, mutant};
use strait_transport::{Connection, Error as TransportError, ErrorCode, Message, SendError, Transport, TransportKind};

use super::{polled::Polled, vigil::ClientPolling};
use crate::{
    calls::{Calls, Delivered, Next},
    deadline::Deadline,
    encode::{decode_error, send_header, send_value},
    error::Error,
    header::{self, HEADER_BYTES, Header, Kind},
    observe::{Call, Name},
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
    /// How a driver looks on after its spin, if it does.
    pub(super) polling: Option<ClientPolling>,
    /// The polling thread that drives while it is awake, if there is one.
    pub(super) polled: Option<Polled>,
    /// Calls to cancel, and credit to give, once there is room.
    owed: Vec<Header>,
    /// Messages from the server that nobody asked for.
    pub(super) events: Events,
    going_away: bool,
    pub(super) ended: Option<Error>,
    hint: usize,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Target<'a> {
    pub(crate) method: u16,
    pub(crate) name: Name<'a>,
    /// The body is JSON.
    pub(crate) json: bool,
    /// The caller takes items.
    pub(crate) stream: bool,
}

impl<'a> Target<'a> {
    /// A method of several, by its number and, for people, its name.
    pub(crate) fn method(method: u16, name: &'a str) -> Self {
        Self { method, name: Name::new(name), ..Self::default() }
    }
}

/// Messages from the server that nobody asked for, in order. Those beyond the bound push out the oldest.
#[derive(Default)]
pub(super) struct Events {
    queue: VecDeque<(u16, Message)>,
    dropped: u64,
}

impl Events {
    const MAX: usize = 1024;

    fn push(&mut self, method: u16, message: Message) {
        if self.queue.len() == Self::MAX {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back((method, message));
    }

    pub(super) fn pop(&mut self) -> Option<(u16, Message)> {
        self.queue.pop_front()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
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
    pub(super) fn new(mut connection: Connection) -> Self {
        connection.set_rewind(true);
        let window = connection.max_in_flight() as usize;
        Self {
            connection,
            calls: Calls::new(window),
            driving: false,
            asleep: false,
            polling: None,
            polled: None,
            owed: Vec::with_capacity(window),
            events: Events::default(),
            going_away: false,
            ended: None,
            hint: 0,
        }
    }

    /// Whether a call could begin, now or later.
    pub(super) fn takes_calls(&self) -> bool {
        self.ended.is_none() && !self.going_away
    }

    /// Takes a slot, then room in the ring, and sends.
    #[inline]
    pub(super) fn begin<C, T>(
        &mut self,
        target: Target<'_>,
        value: &T,
        deadline: &Deadline,
        wakers: &Wakers,
        seen: &mut Call,
    ) -> Result<Begun, Error>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        let begun = self.stage::<C, T>(target, value, deadline, wakers, seen)?;
        if let Begun::Sent(call) = begun {
            match self.connection.publish() {
                // The request may have gone out before what followed it found the peer gone, and its answer may be there.
                Ok(()) | Err(TransportError::PeerGone | TransportError::Closed) => {}
                Err(error) => {
                    self.calls.unsend(call);
                    self.end(error.clone().into(), wakers);
                    return Err(error.into());
                }
            }
        }
        Ok(begun)
    }

    /// As [`begin`](Self::begin), into the open batch.
    #[inline]
    pub(super) fn stage<C, T>(
        &mut self,
        target: Target<'_>,
        value: &T,
        deadline: &Deadline,
        wakers: &Wakers,
        seen: &mut Call,
    ) -> Result<Begun, Error>
    where
        C: Codec<T>,
        T: ?Sized,
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
        let Target { method, json, stream, .. } = target;
        let mut header = Header { json, stream, method, deadline: left, ..Header::of(Kind::Request, call) };
        header.trace = seen.carried();
        let mut sent = send_value::<C, T>(&mut self.connection, header, value, &mut self.hint);
        if header.trace.is_some() && matches!(sent, Err(SendError::Failed(TransportError::TooLarge { .. }))) {
            // A request that has room without it goes without it.
            header.trace = Default::default();
            sent = send_value::<C, T>(&mut self.connection, header, value, &mut self.hint);
        }
        match sent {
            Ok(()) => {
                seen.sent(call, self.hint);
                fail_point!("rpc.staged");
                self.rouse();
                if stream {
                    self.calls.begin_stream(call);
                    self.owe(Header { method: Calls::CREDIT as u16, ..Header::of(Kind::Credit, call) });
                }
                self.show_in_flight();
                Ok(Begun::Sent(call))
            }
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

    /// Sends a message that nobody answers: needs no slot.
    pub(super) fn notify<C, T>(&mut self, method: u16, value: &T, wakers: &Wakers) -> Result<Begun, Error>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let header = Header { method, ..Header::of(Kind::Notify, 0) };
        let sent = send_value::<C, T>(&mut self.connection, header, value, &mut self.hint)
            .and_then(|()| Ok(self.connection.publish()?));
        match sent {
            Ok(()) => Ok(Begun::Sent(0)),
            Err(SendError::Failed(error)) => {
                if !matches!(error, TransportError::TooLarge { .. } | TransportError::Encode(_)) {
                    self.end(error.clone().into(), wakers);
                }
                Err(error.into())
            }
            Err(_full) => {
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
        let none = self.read(None, wakers);
        debug_assert!(none.is_none(), "no call was awaited");
        self.pay_owed();
        self.show_in_flight();
    }

    /// The answer of `call`, if it is there; hands out what came before it, and looks no further.
    #[inline]
    pub(super) fn receive(&mut self, call: u32, wakers: &Wakers) -> Option<Result<Message, Error>> {
        let reply = self.read(Some(call), wakers);
        self.pay_owed();
        match reply {
            Some(reply) => {
                self.show_in_flight();
                Some(Ok(reply))
            }
            None => self.answer(call),
        }
    }

    /// Shows how many calls are in flight to whoever looks from outside.
    #[inline]
    fn show_in_flight(&mut self) {
        self.connection.set_in_flight(self.calls.in_flight());
    }

    /// An answer could not be read.
    #[cold]
    pub(super) fn count_unreadable(&mut self) {
        self.connection.count_error(ErrorCode::DECODE);
    }

    /// Hands out what has come; the reply to `awaited` ends it, and goes to the caller without lying in its slot.
    #[inline]
    fn read(&mut self, awaited: Option<u32>, wakers: &Wakers) -> Option<Message> {
        if !self.may_read() {
            return None;
        }
        while self.ended.is_none() {
            match self.connection.try_recv() {
                Ok(Some(message)) => match awaited {
                    Some(call) if header::is_reply_to(&message, call) && self.calls.finish(call) => {
                        fail_point!("rpc.reply_taken");
                        return Some(message);
                    }
                    _ => self.dispatch(message, wakers),
                },
                Ok(None) => break,
                Err(error) => self.fail(error, wakers),
            }
        }
        None
    }

    #[cold]
    fn fail(&mut self, error: TransportError, wakers: &Wakers) {
        self.end(
            match error {
                // Whose answer it was cannot be known any more.
                TransportError::Checksum { .. } => {
                    let what = format!("an rpc answer was lost: {error}").into();
                    TransportError::Corrupt { what }.into()
                }
                error => error.into(),
            },
            wakers,
        );
    }

    /// Sends what is owed, as far as there is room.
    #[inline]
    fn pay_owed(&mut self) {
        if !self.owed.is_empty() {
            self.flush_owed();
            let _ = self.connection.publish(); // the connection's end shows itself to whoever reads
        }
    }

    fn dispatch(&mut self, message: Message, wakers: &Wakers) {
        let header = match Header::decode(&message) {
            Ok(header) => header,
            Err(what) => return self.corrupt(&what.to_string(), wakers),
        };
        let answer = match header.kind {
            Kind::Reply => Ok(message),
            Kind::Item => {
                match self.calls.deliver_item(header.call, message) {
                    Delivered::To(slot) => wakers.wake_call(slot),
                    Delivered::LateItem => {}
                    _ => self.corrupt(&format!("an item for call {:#x}, which takes none", header.call), wakers),
                }
                return;
            }
            Kind::Notify => {
                self.events.push(header.method, message);
                wakers.wake_events();
                return;
            }
            Kind::Error => match decode_error(&message[HEADER_BYTES..]) {
                Ok(error) => {
                    self.connection.count_error(ErrorCode::CALL);
                    Err(error)
                }
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
            Kind::Request | Kind::Cancel | Kind::Credit => {
                return self.corrupt("a request from the server", wakers);
            }
        };
        fail_point!("rpc.answered");
        match self.calls.deliver(header.call, answer) {
            Delivered::To(slot) => mutant!(deliver_without_wake, wakers.wake_call(slot), ()),
            Delivered::Late => wakers.wake_slot(),
            Delivered::LateItem | Delivered::Unknown => {
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
            self.show_in_flight();
            return Some(answer);
        }
        let ended = self.ended.clone()?;
        self.calls.abandon(call);
        self.show_in_flight();
        Some(Err(ended))
    }

    /// Nobody waits for a call any more. Who waits for a slot is woken by [`Wakers::clear`].
    pub(super) fn abandon(&mut self, call: u32) {
        if self.calls.abandon(call) {
            self.owed.retain(|owed| owed.call != call);
            self.owe(Header::of(Kind::Cancel, call));
            let _ = self.connection.publish(); // the connection's end shows itself to whoever reads
        }
        self.show_in_flight();
    }

    /// The next of several answers: an item, the end, or the connection's end.
    pub(super) fn next_item(&mut self, call: u32) -> Option<Next> {
        match self.calls.take_next(call) {
            Some(Next::Item(item, due)) => {
                if due > 0 {
                    self.owe(Header { method: due as u16, ..Header::of(Kind::Credit, call) });
                    let _ = self.connection.publish(); // the connection's end shows itself to whoever reads
                }
                Some(Next::Item(item, due))
            }
            Some(end) => {
                self.show_in_flight();
                Some(end)
            }
            None => {
                let ended = self.ended.clone()?;
                self.calls.abandon(call);
                Some(Next::End(Err(ended)))
            }
        }
    }

    /// Sends a header now, or when there is room.
    fn owe(&mut self, header: Header) {
        self.owed.push(header);
        self.flush_owed();
    }

    /// What finds no room waits for the next who drives. Not published.
    fn flush_owed(&mut self) {
        let mut sent = 0;
        for header in &self.owed {
            if self.ended.is_none() && send_header(&mut self.connection, *header).is_err() {
                break;
            }
            sent += 1;
        }
        self.owed.drain(..sent);
    }
}
