//! The sending half of an end: numbers messages and does what was chosen where there is no room.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use strait_frame::{Codec, EncodeError, Sink};
use strait_sync::fail_point;
use strait_transport::{Connection, Error as Below, Interest, SendError, Transport, Wake};

use super::{
    config::{Backpressure, Config},
    error::Error,
    header::{HEADER_BYTES, Header},
    stats::Stats,
};
use crate::meters::Sending;

/// What became of a message that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Queued,
    /// It was dropped and counted: there was no room, and [`Backpressure::DropNewest`] was chosen.
    Dropped,
}

/// So many refusals in a row, and the peer is looked after: nothing else tells one who never waits that it is dead.
const LOOK_AFTER: u32 = 16;

pub(crate) struct Outbound {
    backpressure: Backpressure,
    send_timeout: Option<Duration>,
    /// Number of the next message.
    sequence: u64,
    dropped: u64,
    /// Length of the last body that was longer than its codec's hint: 0 for codecs that know.
    hint: usize,
    refused: u32,
    /// A message that a sink took before there was room for it.
    pending: Option<Vec<u8>>,
    meters: Sending,
}

impl Outbound {
    pub(crate) fn new(config: &Config, connection: &Connection) -> Self {
        let Config { backpressure, send_timeout, .. } = *config;
        Self {
            backpressure,
            send_timeout,
            sequence: 0,
            dropped: 0,
            hint: 0,
            refused: 0,
            pending: None,
            meters: Sending::new(connection.service()),
        }
    }

    pub(crate) fn add_to(&self, stats: &mut Stats) {
        (stats.sent, stats.dropped) = (self.sequence - self.dropped, self.dropped);
    }

    /// Takes a message into the open batch, or says [`Error::Full`].
    #[inline]
    pub(crate) fn stage<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        value: &T,
    ) -> Result<(), Error> {
        self.stage_pending(connection)?;
        let max = connection.limits().max_send_bytes;
        let header = Header { sequence: self.sequence, dropped: self.dropped };
        let mut fill = |span: &mut [u8]| {
            let (head, rest) = split(span)?;
            header.write(head);
            let mut sink = Sink::new(rest);
            caught(|| C::encode(value, &mut sink))?;
            Ok(HEADER_BYTES + sink.len())
        };
        let claim = HEADER_BYTES + C::size_hint(value).max(self.hint);
        let mut sent = connection.try_send(claim.min(max), &mut fill);
        let mut hint = self.hint;
        if let Err(SendError::Short { .. }) = sent {
            let exact = caught(|| C::encoded_len(value)).map_err(encode_error)?;
            let need = HEADER_BYTES + exact;
            if need > max {
                return Err(Below::TooLarge { need, max }.into());
            }
            sent = connection.try_send(need, &mut fill);
            hint = exact;
        }
        self.staged(sent)?;
        self.hint = hint;
        Ok(())
    }

    /// Takes a message that `fill` writes into the open batch. Bodies of at most `max_bytes`.
    pub(crate) fn stage_with(
        &mut self,
        connection: &mut Connection,
        max_bytes: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Result<(), Error> {
        self.stage_pending(connection)?;
        let header = Header { sequence: self.sequence, dropped: self.dropped };
        let sent = connection.try_send(HEADER_BYTES + max_bytes, &mut |span| {
            let (head, body) = split(span)?;
            header.write(head);
            Ok(HEADER_BYTES + fill(&mut body[..max_bytes]).min(max_bytes))
        });
        self.staged(sent)
    }

    /// Counts a message that was taken, and tells why one was not.
    #[inline]
    fn staged(&mut self, sent: Result<(), SendError>) -> Result<(), Error> {
        match sent {
            Ok(()) => {
                fail_point!("stream.staged");
                self.sequence += 1;
                self.refused = 0;
                self.meters.sent();
                Ok(())
            }
            Err(SendError::Full) => Err(Error::Full),
            Err(SendError::Failed(error)) => Err(error.into()),
            // An encoder that writes more than it counts: no size would do.
            Err(_) => Err(encode_error(EncodeError::Codec("it writes more than it counted".into()))),
        }
    }

    /// Tries once and publishes.
    #[inline]
    pub(crate) fn try_send<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        value: &T,
    ) -> Result<(), Error> {
        self.attempt(connection, |this, connection| this.stage::<T, C>(connection, value))
    }

    /// As `try_send`, with any way of staging.
    #[inline]
    fn attempt(
        &mut self,
        connection: &mut Connection,
        stage: impl FnOnce(&mut Self, &mut Connection) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match stage(self, connection) {
            Ok(()) => Ok(connection.publish()?),
            Err(Error::Full) => {
                self.look_after_peer(connection)?;
                Err(Error::Full)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends as the backpressure says.
    #[inline]
    pub(crate) fn send(
        &mut self,
        connection: &mut Connection,
        mut stage: impl FnMut(&mut Self, &mut Connection) -> Result<(), Error>,
    ) -> Result<Sent, Error> {
        match self.attempt(connection, &mut stage) {
            Ok(()) => Ok(Sent::Queued),
            Err(Error::Full) => match self.backpressure {
                Backpressure::Fail => Err(Error::Full),
                Backpressure::DropNewest => {
                    self.drop_newest();
                    Ok(Sent::Dropped)
                }
                Backpressure::Block => {
                    let deadline = self.send_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                    self.send_until(connection, deadline, stage).map(|()| Sent::Queued)
                }
            },
            Err(error) => Err(error),
        }
    }

    /// Waits for room until `deadline`.
    pub(crate) fn send_until(
        &mut self,
        connection: &mut Connection,
        deadline: Option<Instant>,
        mut stage: impl FnMut(&mut Self, &mut Connection) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            match stage(self, connection) {
                Ok(()) => return Ok(connection.publish()?),
                Err(Error::Full) => {}
                Err(error) => return Err(error),
            }
            wait(connection, Interest::SPACE, deadline, "a send on a stream")?;
        }
    }

    /// Sends in a task: as the backpressure says, but without a timeout of its own.
    pub(crate) fn poll_send<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        value: &T,
    ) -> Poll<Result<Sent, Error>> {
        loop {
            match self.try_send::<T, C>(connection, value) {
                Ok(()) => return Poll::Ready(Ok(Sent::Queued)),
                Err(Error::Full) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            match self.backpressure {
                Backpressure::Fail => return Poll::Ready(Err(Error::Full)),
                Backpressure::DropNewest => {
                    self.drop_newest();
                    return Poll::Ready(Ok(Sent::Dropped));
                }
                Backpressure::Block => std::task::ready!(connection.poll_ready(cx, Interest::SPACE))?,
            }
        }
    }

    /// Sends all of them in one batch, or as many as find room; returns how many were taken, dropped ones included.
    pub(crate) fn send_batch<'a, T, C>(
        &mut self,
        connection: &mut Connection,
        values: impl IntoIterator<Item = &'a T>,
    ) -> Result<usize, Error>
    where
        T: ?Sized + 'a,
        C: Codec<T>,
    {
        let mut taken = 0;
        let mut stopped = None;
        for value in values {
            match self.stage::<T, C>(connection, value) {
                Ok(()) => {}
                Err(Error::Full) => {
                    let stage = |this: &mut Self, connection: &mut Connection| this.stage::<T, C>(connection, value);
                    if let Err(error) = self.send(connection, stage) {
                        stopped = Some(error);
                        break;
                    }
                }
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
            taken += 1;
        }
        let published = connection.publish();
        match stopped {
            // What was taken is told first; whoever comes back for the rest learns why it stopped.
            Some(error) if taken == 0 => Err(error),
            _ => Ok(published.map(|()| taken)?),
        }
    }

    fn drop_newest(&mut self) {
        self.sequence += 1;
        self.dropped += 1;
        self.meters.dropped();
    }

    /// Learns of a dead consumer although nobody waits for it.
    fn look_after_peer(&mut self, connection: &mut Connection) -> Result<(), Error> {
        self.refused += 1;
        if self.refused.is_multiple_of(LOOK_AFTER) && connection.arm(Interest::SPACE)? {
            connection.disarm()?;
        }
        Ok(())
    }

    /// Takes a message for later where there is no room now: for a sink, which cannot refuse.
    #[cfg(feature = "tokio")]
    pub(crate) fn stage_or_keep<T: ?Sized, C: Codec<T>>(
        &mut self,
        connection: &mut Connection,
        value: &T,
    ) -> Result<(), Error> {
        match self.stage::<T, C>(connection, value) {
            Err(Error::Full) => match self.backpressure {
                Backpressure::Fail => Err(Error::Full),
                Backpressure::DropNewest => {
                    self.drop_newest();
                    Ok(())
                }
                Backpressure::Block if self.pending.is_some() => Err(Error::Full),
                Backpressure::Block => {
                    let mut bytes = vec![0; caught(|| C::encoded_len(value)).map_err(encode_error)?];
                    let mut sink = Sink::new(&mut bytes);
                    caught(|| C::encode(value, &mut sink)).map_err(encode_error)?;
                    let len = sink.len();
                    bytes.truncate(len);
                    self.pending = Some(bytes);
                    Ok(())
                }
            },
            other => other,
        }
    }

    /// Ready once nothing is kept for later.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_pending(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            match self.stage_pending(connection) {
                Err(Error::Full) => std::task::ready!(connection.poll_ready(cx, Interest::SPACE))?,
                other => return Poll::Ready(other),
            }
        }
    }

    /// Sends first what is kept for later.
    #[inline]
    fn stage_pending(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let Some(bytes) = &self.pending else { return Ok(()) };
        let header = Header { sequence: self.sequence, dropped: self.dropped };
        let sent = connection.try_send(HEADER_BYTES + bytes.len(), &mut |span| {
            let (head, body) = split(span)?;
            header.write(head);
            body[..bytes.len()].copy_from_slice(bytes);
            Ok(HEADER_BYTES + bytes.len())
        });
        self.staged(sent)?;
        self.pending = None;
        Ok(())
    }
}

/// Parts a claimed span, which a connection of a few bytes may make shorter than a header.
#[inline]
fn split(span: &mut [u8]) -> Result<(&mut [u8], &mut [u8]), EncodeError> {
    let capacity = span.len();
    span.split_at_mut_checked(HEADER_BYTES).ok_or(EncodeError::TooLarge { need: HEADER_BYTES, capacity })
}

fn encode_error(error: EncodeError) -> Error {
    Below::Encode(Arc::new(error)).into()
}

/// Runs a value's encoder, which is not ours: room is claimed around it, so a panic ends here.
#[inline]
fn caught<R>(encode: impl FnOnce() -> Result<R, EncodeError>) -> Result<R, EncodeError> {
    catch_unwind(AssertUnwindSafe(encode))
        .unwrap_or_else(|_panic| Err(EncodeError::Codec("its encoder panicked".into())))
}

/// Waits in a thread; fails at `deadline`, even where it is woken again and again.
pub(crate) fn wait(
    connection: &mut Connection,
    interest: Interest,
    deadline: Option<Instant>,
    what: &'static str,
) -> Result<(), Error> {
    let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    match connection.wait_ready(interest, deadline)? {
        Wake::Ready if !late() || connection.is_ready(interest) => Ok(()),
        Wake::Interrupted => Err(Below::Closed.into()),
        _ => Err(Below::TimedOut { what }.into()),
    }
}
