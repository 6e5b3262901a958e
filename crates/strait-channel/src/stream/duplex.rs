//! An end that does both.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Raw, fnv1a};
use strait_transport::{Connection, Error as Below, Transport, TransportKind, Wake};

use super::{
    config::Config,
    endpoint::{Endpoint, Marker, Speaks},
    error::Error,
    inbound::Inbound,
    outbound::{Outbound, Sent},
    producer::max_body_bytes,
    received::Received,
    stats::Stats,
    verbs::{receives, sends},
};

/// One end of two streams, one each way: both sides send at will. Made by [`duplex`], [`Endpoint`] or
/// [`local_duplex`](super::local_duplex).
///
/// The directions are independent: each has its own ring, room and sequence numbers. Two ends that only send, and never receive, both
/// find their rings full, and both block until their timeouts: receive now and then.
pub struct Duplex<T: ?Sized = [u8], C = Raw> {
    connection: Connection,
    out: Outbound,
    inbound: Inbound,
    _value: Marker<T, C>,
}

impl<T: ?Sized, C: Codec<T>> Speaks for Duplex<T, C> {
    const CODEC: u8 = C::ID;
    const END: &'static str = "a duplex end";

    fn direction(_listens: bool) -> u64 {
        fnv1a(b"strait stream both ways")
    }

    fn schema() -> u64 {
        C::schema()
    }

    fn over(connection: Connection, config: &Config) -> Self {
        let (out, inbound) = (Outbound::new(config, &connection), Inbound::new(&connection));
        Self { connection, out, inbound, _value: PhantomData }
    }
}

/// Meets the other end under `name`, whichever of the two comes first, within `timeout`.
///
/// ```
/// use std::time::Duration;
/// use strait_channel::stream::{self, Config, Duplex};
///
/// # let dir = std::env::temp_dir().join(format!("strait-duplex-doc-{}", std::process::id()));
/// # let options = strait_channel::Options { runtime_dir: Some(dir.clone()), ..Default::default() };
/// # let config = Config { options, ..Config::default() };
/// # let other = config.clone();
/// let thread = std::thread::spawn(move || {
///     let mut right: Duplex = stream::duplex("talk", &other, Duration::from_secs(5))?;
///     right.send(b"good morning")?;
///     let heard = right.recv()?.unwrap().to_vec();
///     Ok::<_, stream::Error>((heard, right))
/// });
/// let mut left: Duplex = stream::duplex("talk", &config, Duration::from_secs(5))?;
/// left.send(b"good evening")?;
/// assert_eq!(&*left.recv()?.unwrap(), b"good morning");
/// let (heard, _right) = thread.join().unwrap()?; // it stays until both have heard
/// assert_eq!(heard, b"good evening");
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), stream::Error>(())
/// ```
///
/// # Errors
///
/// `TimedOut`; [`Error::Refused`] where the name belongs to something else; else as [`Endpoint::bind`] and [`Endpoint::connect`].
pub fn duplex<T: ?Sized, C: Codec<T>>(name: &str, config: &Config, timeout: Duration) -> Result<Duplex<T, C>, Error> {
    let deadline = Instant::now().checked_add(timeout);
    loop {
        match Duplex::connect(name, config) {
            Err(Error::Connection(Below::NoServer { .. } | Below::PeerGone)) => {}
            other => return other,
        }
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        match Duplex::bind(name, config) {
            Ok(binding) => return binding.accept_timeout(left),
            // Both bind at once: the other was first.
            Err(Error::Connection(Below::NameTaken { .. })) if !left.is_zero() => {}
            Err(error) => return Err(error),
        }
    }
}

sends!(Duplex);
receives!(Duplex);

impl<T: ?Sized, C: Codec<T>> Duplex<T, C> {
    /// Ends this side's stream, and waits until what was sent has left this process, at most `timeout`. What the other side sends
    /// until it learns of that can still be received; after that it gets `Closed`.
    ///
    /// # Errors
    ///
    /// As [`Producer::finish`](super::Producer::finish).
    pub fn finish(&mut self, timeout: Duration) -> Result<(), Error> {
        self.connection.close();
        match self.connection.flush(Instant::now().checked_add(timeout))? {
            Wake::TimedOut => Err(Below::TimedOut { what: "the end of a stream" }.into()),
            _ => Ok(()),
        }
    }

    /// What it has done so far, both ways.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::of(&self.connection);
        self.out.add_to(&mut stats);
        self.inbound.add_to(&mut stats);
        stats
    }

    /// Over what it runs now.
    pub fn transport(&self) -> TransportKind {
        self.connection.transport()
    }
}

impl<T: ?Sized, C> Drop for Duplex<T, C> {
    fn drop(&mut self) {
        self.connection.close();
    }
}

impl<T: ?Sized, C> fmt::Debug for Duplex<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex").field("connection", &self.connection).finish_non_exhaustive()
    }
}
