//! The end that sends.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Raw, fnv1a};
use strait_transport::{Connection, MessageLimits, Transport, TransportKind, Wake};

use super::{
    config::Config,
    endpoint::{Marker, Speaks},
    error::Error,
    header::HEADER_BYTES,
    outbound::{Outbound, Sent},
    stats::Stats,
    verbs::sends,
};

/// The words that say which way a one-way stream goes.
pub(crate) const TO_LISTENER: u64 = fnv1a(b"strait stream to the listener");
pub(crate) const FROM_LISTENER: u64 = fnv1a(b"strait stream from the listener");

/// Bytes of the largest body.
pub(crate) fn max_body_bytes(limits: MessageLimits) -> usize {
    limits.max_send_bytes.saturating_sub(HEADER_BYTES)
}

/// The end of a stream that sends. Made by [`Endpoint`](super::Endpoint) or [`local`](super::local).
///
/// Dropping it ends the stream in good order: the consumer gets what was sent, and then the end. Over a socket that takes no more
/// at the moment, what has not left the process is lost then; [`finish`](Self::finish) waits for it.
pub struct Producer<T: ?Sized = [u8], C = Raw> {
    pub(crate) connection: Connection,
    pub(crate) out: Outbound,
    _value: Marker<T, C>,
}

impl<T: ?Sized, C: Codec<T>> Speaks for Producer<T, C> {
    const CODEC: u8 = C::ID;
    const END: &'static str = "a producer";

    fn direction(listens: bool) -> u64 {
        if listens { FROM_LISTENER } else { TO_LISTENER }
    }

    fn schema() -> u64 {
        C::schema()
    }

    fn over(connection: Connection, config: &Config) -> Self {
        Self { out: Outbound::new(config, &connection), connection, _value: PhantomData }
    }
}

sends!(Producer);

impl<T: ?Sized, C: Codec<T>> Producer<T, C> {
    /// Ends the stream and waits until all that was sent has left this process, at most `timeout`. In shared memory it has once it
    /// is published.
    ///
    /// # Errors
    ///
    /// `PeerGone` or `Closed` where the consumer is gone, `TimedOut`; then it is not known what it got.
    pub fn finish(mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now().checked_add(timeout);
        self.connection.close();
        match self.connection.flush(deadline)? {
            Wake::TimedOut => Err(strait_transport::Error::TimedOut { what: "the end of a stream" }.into()),
            _ => Ok(()),
        }
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::of(&self.connection);
        self.out.add_to(&mut stats);
        stats
    }

    /// Over what the stream runs now.
    pub fn transport(&self) -> TransportKind {
        self.connection.transport()
    }
}

impl<T: ?Sized, C> Drop for Producer<T, C> {
    fn drop(&mut self) {
        self.connection.close();
    }
}

#[cfg(feature = "tokio")]
impl<T, C, B> futures_util::Sink<B> for Producer<T, C>
where
    T: ?Sized,
    C: Codec<T>,
    B: std::borrow::Borrow<T>,
{
    type Error = Error;

    fn poll_ready(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Error>> {
        let this = self.get_mut();
        this.out.poll_pending(&mut this.connection, cx)
    }

    fn start_send(self: std::pin::Pin<&mut Self>, value: B) -> Result<(), Error> {
        let this = self.get_mut();
        this.out.stage_or_keep::<T, C>(&mut this.connection, value.borrow())
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Error>> {
        let this = self.get_mut();
        std::task::ready!(this.out.poll_pending(&mut this.connection, cx))?;
        std::task::Poll::Ready(Ok(this.connection.publish()?))
    }

    fn poll_close(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Error>> {
        let this = self.get_mut();
        std::task::ready!(this.out.poll_pending(&mut this.connection, cx))?;
        this.connection.close();
        std::task::Poll::Ready(Ok(()))
    }
}

impl<T: ?Sized, C> fmt::Debug for Producer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("connection", &self.connection).finish_non_exhaustive()
    }
}
