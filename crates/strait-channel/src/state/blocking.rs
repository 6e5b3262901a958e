//! The reading end for threads.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Raw};
use strait_transport::{Error as TransportError, Interest, Message, NoPin, Options, Stats, Transport, Wake};

use super::{
    Error, Pinned, Value,
    core::{Core, Step},
    form::{Body, Form},
    greeting,
    reconnect::{Address, Search},
    without_waits::shell_without_waits,
};

/// How often a wait without a daemon looks for one.
const SLICE: Duration = Duration::from_millis(20);

/// Reads what a [`Daemon`](super::Daemon) publishes, and sends it commands.
///
/// Reads copy out of memory that the daemon shares: no call to the daemon, no system call while values are new. After the
/// daemon's end the last value stays, [stale](Value::stale_since), while the shell looks for the next daemon in the background.
/// One that [refuses](Shell::refusal) it ends the search.
pub struct Shell<T: ?Sized, C: Codec<T> = Raw> {
    core: Core,
    spin: Duration,
    types: PhantomData<fn(T, C) -> T>,
}

impl<T: ?Sized + 'static, C: Codec<T>> Shell<T, C> {
    /// Connects to the daemon `name`, and maps what it publishes.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]: no daemon, another type or version, the daemon's limits. Ends by `limits.handshake_timeout` each
    /// for the connection and the daemon's first answer.
    pub fn connect(name: &str) -> Result<Self, Error> {
        Self::connect_with(name, &Options { ring_bytes: 64 << 10, ..Options::default() })
    }

    /// As [`connect`](Self::connect), with options of one's own.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_with(name: &str, options: &Options) -> Result<Self, Error> {
        let options = greeting::options(options, C::ID, C::schema());
        let found = greeting::find(name, &options)?;
        let spin = options.spin;
        let core = Core::new(Address { name: name.to_owned(), options }, Search::in_thread, found);
        Ok(Self { core, spin, types: PhantomData })
    }

    /// Copies the latest value. Where the memory is mapped this asks nobody; over a socket it is a request that ends by
    /// `deadline`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] before the first value, [`Error::Decode`], [`Error::TimedOut`] over a socket. [`Error::Transport`]
    /// with [`Overtaken`](strait_transport::Error::Overtaken) where a fast daemon overtook each attempt: read again.
    #[inline]
    pub fn read(&mut self, deadline: Instant) -> Result<Value<T, C>, Error> {
        let raw = match self.core.read_memory()? {
            Some(raw) => raw,
            None => {
                self.core.begin_read();
                self.drive(deadline, "the value", Core::step_read)?
            }
        };
        let held = self.core.told(C::open(raw.bytes).map_err(Error::Decode))?;
        Ok(Value { held, version: raw.version, epoch: raw.epoch, stale_since: raw.stale_since })
    }

    /// Waits until there is something that this shell has not read, and returns its version. A new daemon's first value is one.
    /// Without a daemon, waits for the next.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] at `deadline`; [`Error::Transport`] with a [refusal](Self::refusal) by the next daemon.
    pub fn changed(&mut self, deadline: Instant) -> Result<u64, Error> {
        // A daemon that publishes often is met without asking it to tell.
        if self.core.is_mapped() && !self.spin.is_zero() {
            let until = (Instant::now() + self.spin).min(deadline);
            while self.core.newer()?.is_none() && Instant::now() < until {
                (0..16).for_each(|_| std::hint::spin_loop());
            }
        }
        self.drive(deadline, "a change", Core::step_changed)
    }

    /// Sends a command, and waits for its answer until `deadline`.
    ///
    /// # Errors
    ///
    /// [`Error::CommandsFull`], [`Error::Unanswered`], [`Error::TimedOut`]; [`Error::DaemonGone`] where it is not known
    /// whether the command was executed; [`Error::Transport`] with `TooLarge` beyond a quarter of the ring.
    pub fn command(&mut self, bytes: &[u8], deadline: Instant) -> Result<Message, Error> {
        let body = Body { form: Form::BYTES, bytes };
        Ok(self.send_command(&body, deadline)?.bytes)
    }

    /// As [`command`](Self::command), for values: the codec is that of the state. The daemon opens it with
    /// [`Command::open`](super::Command::open) and answers with [`reply_with`](super::Command::reply_with).
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use strait_channel::{Postcard, state::{Config, Daemon, blocking::Shell}};
    /// # let dir = std::env::temp_dir().join(format!("strait-ask-doc-{}", std::process::id()));
    /// # let options = strait_channel::Options { runtime_dir: Some(dir.clone()), ..Config::default().options };
    /// # let config = Config { options: options.clone(), ..Config::default() };
    ///
    /// let soon = || Instant::now() + Duration::from_secs(5);
    /// let daemon: Daemon<String, Postcard> = Daemon::create("sums", &config)?;
    /// let owner = std::thread::spawn(move || {
    ///     let command = daemon.command(soon()).expect("it comes");
    ///     let sum: u64 = command.open::<Vec<u64>, Postcard>()?.iter().sum();
    ///     command.reply_with::<u64, Postcard>(&sum)
    /// });
    /// let mut shell: Shell<String, Postcard> = Shell::connect_with("sums", &options)?;
    /// let sum = shell.ask::<Vec<u64>, u64>(&vec![1, 2, 3], soon())?;
    /// assert_eq!(*sum, 6);
    /// owner.join().unwrap()?;
    /// # let _ = std::fs::remove_dir_all(dir);
    /// # Ok::<(), strait_channel::state::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command); [`Error::Encode`], [`Error::Decode`], [`Error::OtherType`] for an answer of another type.
    pub fn ask<Q: ?Sized, A: ?Sized>(
        &mut self,
        question: &Q,
        deadline: Instant,
    ) -> Result<<C as Codec<A>>::Held<Message>, Error>
    where
        C: Codec<Q> + Codec<A>,
    {
        let Body { form, bytes } = Body::encode::<Q, C>(question)?;
        let answer = self.send_command(&Body { form, bytes: &bytes }, deadline)?;
        self.core.told(answer.open::<A, C>("the answer"))
    }

    fn send_command(&mut self, body: &Body<&[u8]>, deadline: Instant) -> Result<Body<Message>, Error> {
        let id = self.core.begin_command();
        let mut sent = None;
        self.drive(deadline, "the answer to the command", |core| core.step_command(id, &mut sent, body))
    }

    /// Takes steps until one is the last, and sleeps in between.
    fn drive<R>(
        &mut self,
        deadline: Instant,
        what: &'static str,
        mut step: impl FnMut(&mut Core) -> Result<Step<R>, Error>,
    ) -> Result<R, Error> {
        loop {
            let interest: Option<Interest> = match step(&mut self.core)? {
                Step::Done(done) => return Ok(done),
                Step::Wait(interest) => Some(interest),
                Step::Gone => {
                    self.core.check_refused()?;
                    None
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.core.too_late(what));
            }
            let Some((interest, connection)) = interest.zip(self.core.connection()) else {
                self.core.wait_for_daemon(left.min(SLICE));
                continue;
            };
            match connection.wait_ready(interest, Some(deadline)) {
                Ok(Wake::Ready | Wake::TimedOut | Wake::Interrupted) => {}
                Err(error) => self.core.lose(&error),
            }
        }
    }
}

shell_without_waits!();
