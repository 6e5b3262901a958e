//! The publishing end.

use std::{
    fmt,
    marker::PhantomData,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering, fence},
    },
    time::Instant,
};

use strait_frame::{Codec, Raw};
use strait_sync::fail_point;
use strait_transport::{
    Error as TransportError, Interrupt, Limits, Listener, Options, StateStats, StateWriter, WaitSet,
};

use super::{
    Command, Config, Error, SERVICE,
    checkpoint::{self, Checkpoint},
    form::encode,
    inbox::Inbox,
    server::Server,
    session::Shared,
};
use crate::meters::Publishing;

/// Publishes the latest value of a state under a name, for any number of [shells](super::blocking::Shell).
///
/// `publish` writes to memory that shells read by themselves; it never waits for one, and how many there are costs it
/// nothing. A background thread serves commands, and the shells that cannot map the memory.
///
/// Dropping it says farewell to all shells. They keep the last value.
pub struct Daemon<T: ?Sized, C: Codec<T> = Raw> {
    writer: StateWriter,
    /// Where values are encoded; kept from one to the next.
    encoded: Vec<u8>,
    inbox: Arc<Inbox>,
    server: Server,
    schema: u64,
    checkpoint: Option<PathBuf>,
    path: PathBuf,
    meters: Publishing,
    types: PhantomData<fn(&T, C)>,
}

impl<T: ?Sized, C: Codec<T>> Daemon<T, C> {
    /// Publishes under `name`. With a checkpoint in the configuration whose file is there, goes on from that value and its
    /// version.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], [`Error::Checkpoint`] for a file that cannot be used; [`Error::Transport`] for name, directory and
    /// options, and where another daemon has the name.
    pub fn create(name: &str, config: &Config) -> Result<Self, Error> {
        config.check()?;
        let schema = C::schema();
        // The name first: who does not get it must not read what its owner may be writing.
        let interrupt = Arc::new(Interrupt::new()?);
        let options = Options {
            service: SERVICE,
            codec: C::ID,
            schema,
            limits: Limits { max_clients: config.max_clients, ..config.options.limits.clone() },
            ..config.options.clone()
        };
        let listener = Listener::bind(name, &options, Some(interrupt.clone()))?;
        let path = listener.path();
        fail_point!("daemon.named");
        let saved = match &config.checkpoint {
            Some(path) => checkpoint::read(path, schema, config.max_value_bytes)?,
            None => None,
        };
        // One less: the value itself is published anew, under the version that it had.
        let base = saved.as_ref().map_or(0, |saved| saved.version.saturating_sub(1));
        let mut writer = StateWriter::create_with_pins(name, config.max_value_bytes, base, config.max_pins)?;
        if let Some(Checkpoint { value, .. }) = saved {
            writer.write(&value)?;
        }
        fail_point!("daemon.restored");
        let inbox = Arc::new(Inbox::new(WaitSet::new()?));
        let shared = Shared { inbox: inbox.clone(), watchers: AtomicUsize::new(0), commands: config.commands };
        let server = Server::start(listener, interrupt, shared, writer.reader()?, writer.memory())?;
        let checkpoint = config.checkpoint.clone();
        let (encoded, meters) = (Vec::new(), Publishing::new(name));
        Ok(Self { writer, encoded, inbox, server, schema, checkpoint, path, meters, types: PhantomData })
    }

    /// Publishes `value`, and returns its version. Waits for nobody.
    ///
    /// # Errors
    ///
    /// [`Error::ValueTooLarge`], [`Error::Encode`]: nothing is published then. [`Error::Transport`] in a forked child.
    pub fn publish(&mut self, value: &T) -> Result<u64, Error> {
        let len = encode::<T, C>(value, &mut self.encoded, self.writer.max_value_bytes())?;
        let version = self.writer.write(&self.encoded[..len]).map_err(too_large)?;
        self.published(len);
        Ok(version)
    }

    /// Tells those who asked to be told of the next value.
    #[inline]
    fn published(&self, bytes: usize) {
        fail_point!("daemon.published");
        self.meters.published(bytes);
        // ORDERING: SeqCst; pairs with that in `Session::take`: either this sees the watcher, or it sees this value.
        fence(Ordering::SeqCst);
        // ORDERING: Relaxed; ordered by the fence.
        if self.server.door.shared.watchers.load(Ordering::Relaxed) > 0 {
            self.inbox.set.notify();
        }
    }

    /// The latest version; 0 before the first value.
    pub fn version(&self) -> u64 {
        self.writer.version()
    }

    /// What was published, and who has the memory. Tools see the same: [`strait_transport::observe`].
    ///
    /// ```
    /// use strait_channel::{Raw, state::{Config, Daemon}};
    /// # let dir = std::env::temp_dir().join(format!("strait-stats-doc-{}", std::process::id()));
    /// # let options = strait_channel::Options { runtime_dir: Some(dir.clone()), ..Config::default().options };
    /// # let config = Config { options, ..Config::default() };
    /// let mut daemon: Daemon<[u8], Raw> = Daemon::create("weather", &config)?;
    /// daemon.publish_bytes(b"sunny")?;
    /// let stats = daemon.stats();
    /// assert_eq!((stats.published, stats.published_bytes, stats.readers), (1, 5, 0));
    /// # let _ = std::fs::remove_dir_all(dir);
    /// # Ok::<(), strait_channel::state::Error>(())
    /// ```
    pub fn stats(&self) -> StateStats {
        self.writer.stats()
    }

    /// The socket's path.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The next command, if there is one. Shells take turns.
    pub fn try_command(&self) -> Option<Command> {
        self.inbox.try_next()
    }

    /// Waits for the next command until `deadline`; `None` where there is none by then.
    pub fn command(&self, deadline: Instant) -> Option<Command> {
        self.inbox.next(deadline)
    }

    /// Waits for the next command in a task, of any runtime.
    pub async fn command_async(&self) -> Command {
        std::future::poll_fn(|cx| self.inbox.poll_next(cx)).await
    }

    /// Writes the latest value to the configured file: complete and durable when this returns, and never a mixture of two.
    /// Does nothing before the first value. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] where there is no such file configured or it cannot be written; the old one is as it was.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let Some(path) = &self.checkpoint else {
            let why = "no `checkpoint` is configured".into();
            return Err(Error::Checkpoint { path: PathBuf::new(), why });
        };
        match self.writer.reader()?.read()? {
            Some((value, version)) => checkpoint::write(path, self.schema, version, &value),
            None => Ok(()),
        }
    }
}

impl Daemon<[u8], Raw> {
    /// Publishes bytes: as [`publish`](Self::publish), with one copy less.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    #[inline]
    pub fn publish_bytes(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let version = self.writer.write(bytes).map_err(too_large)?;
        self.published(bytes.len());
        Ok(version)
    }
}

fn too_large(error: TransportError) -> Error {
    match error {
        TransportError::TooLarge { need, max } => Error::ValueTooLarge { need, max },
        other => other.into(),
    }
}

impl<T: ?Sized, C: Codec<T>> fmt::Debug for Daemon<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("path", &self.path).field("version", &self.version()).finish_non_exhaustive()
    }
}
