//! The end that receives.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Raw};
use strait_transport::{Connection, Transport, TransportKind};

use super::{
    callback::Callback,
    config::Config,
    endpoint::{Marker, Speaks},
    error::Error,
    inbound::Inbound,
    producer::{FROM_LISTENER, TO_LISTENER},
    received::Received,
    stats::Stats,
    verbs::receives,
};

/// The end of a stream that receives. Made by [`Endpoint`](super::Endpoint) or [`local`](super::local).
///
/// Dropping it tells the producer: [`Closed`](strait_transport::Error::Closed), where a death is
/// [`PeerGone`](strait_transport::Error::PeerGone).
pub struct Consumer<T: ?Sized = [u8], C = Raw> {
    pub(crate) connection: Connection,
    pub(crate) inbound: Inbound,
    _value: Marker<T, C>,
}

impl<T: ?Sized, C: Codec<T>> Speaks for Consumer<T, C> {
    const CODEC: u8 = C::ID;
    const END: &'static str = "a consumer";

    fn direction(listens: bool) -> u64 {
        if listens { TO_LISTENER } else { FROM_LISTENER }
    }

    fn schema() -> u64 {
        C::schema()
    }

    fn over(connection: Connection, _config: &Config) -> Self {
        Self { inbound: Inbound::new(&connection), connection, _value: PhantomData }
    }
}

receives!(Consumer);

impl<T: ?Sized, C: Codec<T>> Consumer<T, C> {
    /// Gives each message to `handle` on a thread of its own, kept on processor `cpu` where one is named.
    ///
    /// # Errors
    ///
    /// `Usage` where there is no such processor or no thread, `Io` where no descriptor is left.
    pub fn on_message(
        self,
        cpu: Option<usize>,
        handle: impl FnMut(Received<T, C>) + Send + 'static,
    ) -> Result<Callback<T, C>, Error>
    where
        T: 'static,
    {
        Callback::start(self, cpu, handle)
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::of(&self.connection);
        self.inbound.add_to(&mut stats);
        stats
    }

    /// Over what the stream runs now.
    pub fn transport(&self) -> TransportKind {
        self.connection.transport()
    }
}

impl<T: ?Sized, C> Drop for Consumer<T, C> {
    fn drop(&mut self) {
        self.connection.close();
    }
}

/// Messages up to the end of the stream; after an error other than [`Error::Decode`] there is no more.
#[cfg(feature = "tokio")]
impl<T: ?Sized, C: Codec<T>> futures_util::Stream for Consumer<T, C> {
    type Item = Result<Received<T, C>, Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.inbound.poll_next(&mut this.connection, cx)
    }
}

impl<T: ?Sized, C> fmt::Debug for Consumer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("connection", &self.connection).finish_non_exhaustive()
    }
}
