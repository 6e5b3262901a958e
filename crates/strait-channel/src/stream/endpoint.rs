//! How an end comes to its connection: by a name, by inheritance, or inside the process.

use std::{
    marker::PhantomData,
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use strait_transport::{Connection, Error as Below, Listener, Options, inherit};

use super::{config::Config, error::Error};

/// Service kind of streams in `Hello`.
pub(crate) const SERVICE_STREAM: u8 = 2;

/// Keeps the type and codec of an end: it takes and gives values and holds none.
pub(crate) type Marker<T, C> = PhantomData<(fn(&T), fn() -> C)>;

/// What an end speaks; implemented by the three of them alone.
pub trait Speaks: Sized {
    /// The codec's byte.
    #[doc(hidden)]
    const CODEC: u8;

    /// What it is called.
    #[doc(hidden)]
    const END: &'static str;

    /// The direction, as one word for both ends: a producer that listens goes with a consumer that connects.
    #[doc(hidden)]
    fn direction(listens: bool) -> u64;

    /// The type's schema.
    #[doc(hidden)]
    fn schema() -> u64;

    /// Makes the end.
    #[doc(hidden)]
    fn over(connection: Connection, config: &Config) -> Self;
}

/// What the two ends compare when they connect.
fn identify<E: Speaks>(config: &Config, listens: bool) -> Options {
    let schema = if config.options.schema == 0 { E::schema() } else { config.options.schema };
    let schema = schema.rotate_left(17) ^ E::direction(listens);
    Options { service: SERVICE_STREAM, codec: E::CODEC, schema, ..config.options.clone() }
}

/// Says which end was refused.
fn refused<E: Speaks>(error: Below) -> Error {
    let Below::Refused(refusal) = error else { return error.into() };
    Error::Refused { end: E::END, codec: crate::codec_name(E::CODEC), refusal }
}

/// How an end comes to its connection.
///
/// Either end may listen ([`bind`](Self::bind)) and the other connects: let the one listen that lives longer, or starts first. A
/// [`Producer`](super::Producer) goes with a [`Consumer`](super::Consumer), a [`Duplex`](super::Duplex) with another; two
/// that don't go together, or that have other types, are refused with [`Refused`](Error::Refused).
///
/// Blocking or async is fixed here: what has an `_async` at its end needs a tokio runtime, and its ends are then used by what has
/// an `_async` at its end, or as `Stream` and `Sink`.
pub trait Endpoint: Speaks {
    /// Listens under `name`.
    ///
    /// # Errors
    ///
    /// As [`Listener::bind`].
    fn bind(name: &str, config: &Config) -> Result<Binding<Self>, Error> {
        let listener = Listener::bind(name, &identify::<Self>(config, true), None)?;
        Ok(Binding { listener, config: config.clone(), _end: PhantomData })
    }

    /// Connects to the other end, which listens under `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; else as [`Connection::connect`].
    fn connect(name: &str, config: &Config) -> Result<Self, Error> {
        let connection = Connection::connect(name, &identify::<Self>(config, false)).map_err(refused::<Self>)?;
        Ok(Self::over(connection, config))
    }

    /// Spawns `command`, which calls [`inherit`](Self::inherit) for the other end: a stream without a name.
    ///
    /// # Errors
    ///
    /// As [`inherit::spawn`].
    fn spawn(command: Command, config: &Config) -> Result<(Child, Self), Error> {
        let (child, connection) = inherit::spawn(command, &identify::<Self>(config, true)).map_err(refused::<Self>)?;
        Ok((child, Self::over(connection, config)))
    }

    /// Takes the stream that this process was [spawned](Self::spawn) with.
    ///
    /// # Errors
    ///
    /// As [`inherit::adopt`].
    fn inherit(config: &Config) -> Result<Self, Error> {
        let connection = inherit::adopt(&identify::<Self>(config, false)).map_err(refused::<Self>)?;
        Ok(Self::over(connection, config))
    }

    /// As [`bind`](Self::bind), for async use.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    #[cfg(feature = "tokio")]
    fn bind_async(name: &str, config: &Config) -> Result<Binding<Self>, Error> {
        let listener = Listener::bind_async(name, &identify::<Self>(config, true))?;
        Ok(Binding { listener, config: config.clone(), _end: PhantomData })
    }

    /// As [`connect`](Self::connect), for async use.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    #[cfg(feature = "tokio")]
    fn connect_async(name: &str, config: &Config) -> impl Future<Output = Result<Self, Error>> + Send {
        let options = identify::<Self>(config, false);
        async move {
            let connection = Connection::connect_async(name, &options).await.map_err(refused::<Self>)?;
            Ok(Self::over(connection, config))
        }
    }

    /// As [`spawn`](Self::spawn), for async use.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    #[cfg(feature = "tokio")]
    fn spawn_async(command: Command, config: &Config) -> impl Future<Output = Result<(Child, Self), Error>> + Send {
        let options = identify::<Self>(config, true);
        async move {
            let (child, connection) = inherit::spawn_async(command, &options).await.map_err(refused::<Self>)?;
            Ok((child, Self::over(connection, config)))
        }
    }

    /// As [`inherit`](Self::inherit), for async use.
    ///
    /// # Errors
    ///
    /// As [`inherit`](Self::inherit).
    #[cfg(feature = "tokio")]
    fn inherit_async(config: &Config) -> impl Future<Output = Result<Self, Error>> + Send {
        let options = identify::<Self>(config, false);
        async move {
            let connection = inherit::adopt_async(&options).await.map_err(refused::<Self>)?;
            Ok(Self::over(connection, config))
        }
    }
}

impl<E: Speaks> Endpoint for E {}

/// A name under which an end waits for the other. It is given up when this is dropped; a stream that was accepted stays.
#[derive(Debug)]
pub struct Binding<E> {
    listener: Listener,
    config: Config,
    _end: PhantomData<fn() -> E>,
}

impl<E: Speaks> Binding<E> {
    /// Waits for the other end. One that is refused, or goes during its handshake, is let go, and the wait goes on.
    ///
    /// # Errors
    ///
    /// [`Io`](Below::Io) where the system refuses to wait.
    pub fn accept(&self) -> Result<E, Error> {
        self.accept_until(None)
    }

    /// As [`accept`](Self::accept), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept); [`TimedOut`](Below::TimedOut).
    pub fn accept_timeout(&self, timeout: Duration) -> Result<E, Error> {
        self.accept_until(Instant::now().checked_add(timeout))
    }

    fn accept_until(&self, deadline: Option<Instant>) -> Result<E, Error> {
        loop {
            let Some(incoming) = self.listener.accept_until(deadline)? else { return Err(Below::Closed.into()) };
            match incoming.handshake() {
                Ok(connection) => return Ok(E::over(connection, &self.config)),
                Err(error) => tracing::debug!(target: "strait", %error, "no stream came of a client"),
            }
        }
    }

    /// Waits for the other end in a task.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept); [`Usage`](Below::Usage) on a name that was bound for blocking use.
    #[cfg(feature = "tokio")]
    pub async fn accept_async(&self) -> Result<E, Error> {
        loop {
            match self.listener.accept_async().await?.handshake_async().await {
                Ok(connection) => return Ok(E::over(connection, &self.config)),
                Err(error) => tracing::debug!(target: "strait", %error, "no stream came of a client"),
            }
        }
    }

    /// The socket's path.
    pub fn path(&self) -> PathBuf {
        self.listener.path()
    }
}
