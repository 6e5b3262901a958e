//! The receiving half of an end: checks the order of messages and counts what is missing.

use std::{
    task::{Context, Poll, ready},
    time::Instant,
};

use strait_frame::Codec;
use strait_sync::fail_point;
use strait_transport::{Connection, Error as Below, ErrorCode, Interest, Message, Transport};

use super::{error::Error, header::Header, outbound::wait, received::Received, stats::Stats};
use crate::meters::Receiving;

pub(crate) struct Inbound {
    /// Number of the next message, if none is lost.
    expected: u64,
    received: u64,
    lost: u64,
    lost_by_choice: u64,
    /// The peer broke the rules of a stream.
    poison: Option<Below>,
    /// A `Stream` has ended.
    #[cfg(feature = "tokio")]
    told: bool,
    meters: Receiving,
}

impl Inbound {
    pub(crate) fn new(connection: &Connection) -> Self {
        Self {
            expected: 0,
            received: 0,
            lost: 0,
            lost_by_choice: 0,
            poison: None,
            #[cfg(feature = "tokio")]
            told: false,
            meters: Receiving::new(connection.service()),
        }
    }

    pub(crate) fn add_to(&self, stats: &mut Stats) {
        (stats.received, stats.lost, stats.lost_by_choice) = (self.received, self.lost, self.lost_by_choice);
    }

    /// The next message; `None` at the end, [`Error::Empty`] where there is none now.
    #[inline]
    pub(crate) fn try_recv<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Received<T, C>>, Error> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone().into());
        }
        loop {
            match connection.try_recv() {
                Ok(Some(message)) => return self.take(connection, message).map(Some),
                Ok(None) => return Err(Error::Empty),
                Err(Below::Closed) => return Ok(None),
                // Counted below, and told by the next message's number.
                Err(Below::Checksum { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[inline]
    fn take<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        message: Message,
    ) -> Result<Received<T, C>, Error> {
        let Some(Header { sequence, dropped }) = Header::read(&message) else {
            return Err(
                self.poisoned(connection, format!("a message of {} bytes, shorter than a header", message.len()))
            );
        };
        let lost = sequence.checked_sub(self.expected);
        let chosen = dropped.checked_sub(self.lost_by_choice);
        let (Some(lost), Some(chosen), Some(next)) = (lost, chosen, sequence.checked_add(1)) else {
            let (expected, before) = (self.expected, self.lost_by_choice);
            let what = format!(
                "message {sequence} with {dropped} dropped, expected {expected} or more with {before} dropped or more"
            );
            return Err(self.poisoned(connection, what));
        };
        if dropped > self.lost + lost {
            let what = format!("message {sequence} says that {dropped} were dropped, {} are missing", self.lost + lost);
            return Err(self.poisoned(connection, what));
        }
        self.expected = next;
        self.lost += lost;
        self.lost_by_choice = dropped;
        fail_point!("stream.received");
        self.received += 1;
        self.meters.received(lost, chosen);
        Received::open(message, sequence, lost).inspect_err(|_| connection.count_error(ErrorCode::DECODE))
    }

    #[cold]
    fn poisoned(&mut self, connection: &mut Connection, what: String) -> Error {
        tracing::warn!(target: "strait", what, "corrupt stream");
        connection.close();
        self.poison.insert(Below::Corrupt { what: what.into() }).clone().into()
    }

    pub(crate) fn recv_until<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        deadline: Option<Instant>,
    ) -> Result<Option<Received<T, C>>, Error> {
        loop {
            match self.try_recv(connection) {
                Err(Error::Empty) => wait(connection, Interest::DATA, deadline, "a receive on a stream")?,
                received => return received,
            }
        }
    }

    pub(crate) fn poll_recv<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Received<T, C>>, Error>> {
        loop {
            match self.try_recv(connection) {
                Err(Error::Empty) => ready!(connection.poll_ready(cx, Interest::DATA))?,
                received => return Poll::Ready(received),
            }
        }
    }

    /// As `poll_recv`, for a `Stream`: told an error once, and then the end.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_next<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Received<T, C>, Error>>> {
        if self.told {
            return Poll::Ready(None);
        }
        let next = ready!(self.poll_recv(connection, cx));
        self.told = matches!(next, Ok(None) | Err(Error::Connection(_)));
        Poll::Ready(next.transpose())
    }

    /// Waits for one message and takes what has come with it; returns how many, 0 at the end.
    pub(crate) fn recv_batch<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        max: usize,
        mut take: impl FnMut(Received<T, C>),
    ) -> Result<usize, Error> {
        let mut taken = 0;
        while taken < max {
            let received = if taken == 0 { self.recv_until(connection, None) } else { self.try_recv(connection) };
            match received {
                Ok(Some(message)) => take(message),
                // Said again by the next call.
                Err(error) if taken == 0 => return Err(error),
                Ok(None) | Err(_) => break,
            }
            taken += 1;
        }
        Ok(taken)
    }
}
