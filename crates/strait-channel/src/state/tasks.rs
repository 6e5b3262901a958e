//! The reading end for tasks, on tokio.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Raw};
use strait_transport::{Error as TransportError, Message, NoPin, Options, Stats, Transport};

use super::{
    Error, Pinned, Value,
    core::{Core, Step},
    form::{Body, Form},
    greeting,
    reconnect::{Address, Search},
    without_waits::shell_without_waits,
};

/// How often a wait without a daemon looks for one.
const SLICE: Duration = Duration::from_millis(5);

/// As [`blocking::Shell`](super::blocking::Shell), for tasks.
///
/// A call whose future is dropped is given up: a command may have been executed, and its answer is let go.
pub struct Shell<T: ?Sized, C: Codec<T> = Raw> {
    core: Core,
    types: PhantomData<fn(T, C) -> T>,
}

impl<T: ?Sized + 'static, C: Codec<T>> Shell<T, C> {
    /// Connects to the daemon `name` on the current runtime, and maps what it publishes.
    ///
    /// # Errors
    ///
    /// As [`blocking::Shell::connect`](super::blocking::Shell::connect).
    pub async fn connect(name: &str) -> Result<Self, Error> {
        Self::connect_with(name, &Options { ring_bytes: 64 << 10, ..Options::default() }).await
    }

    /// As [`connect`](Self::connect), with options of one's own.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(name: &str, options: &Options) -> Result<Self, Error> {
        let options = greeting::options(options, C::ID, C::schema());
        let found = greeting::find_async(name, &options).await?;
        let core = Core::new(Address { name: name.to_owned(), options }, Search::in_task, found);
        Ok(Self { core, types: PhantomData })
    }

    /// Copies the latest value; a request over a socket, and none where the memory is mapped.
    ///
    /// # Errors
    ///
    /// As [`blocking::Shell::read`](super::blocking::Shell::read).
    pub async fn read(&mut self, deadline: Instant) -> Result<Value<T, C>, Error> {
        let raw = match self.core.read_memory()? {
            Some(raw) => raw,
            None => {
                self.core.begin_read();
                self.drive(deadline, "the value", Core::step_read).await?
            }
        };
        let held = self.core.told(C::open(raw.bytes).map_err(Error::Decode))?;
        Ok(Value { held, version: raw.version, epoch: raw.epoch, stale_since: raw.stale_since })
    }

    /// Waits for something that this shell has not read.
    ///
    /// # Errors
    ///
    /// As [`blocking::Shell::changed`](super::blocking::Shell::changed).
    pub async fn changed(&mut self, deadline: Instant) -> Result<u64, Error> {
        self.drive(deadline, "a change", Core::step_changed).await
    }

    /// Sends a command, and waits for its answer.
    ///
    /// # Errors
    ///
    /// As [`blocking::Shell::command`](super::blocking::Shell::command).
    pub async fn command(&mut self, bytes: &[u8], deadline: Instant) -> Result<Message, Error> {
        let body = Body { form: Form::BYTES, bytes };
        Ok(self.send_command(&body, deadline).await?.bytes)
    }

    /// As [`blocking::Shell::ask`](super::blocking::Shell::ask).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn ask<Q: ?Sized, A: ?Sized>(
        &mut self,
        question: &Q,
        deadline: Instant,
    ) -> Result<<C as Codec<A>>::Held<Message>, Error>
    where
        C: Codec<Q> + Codec<A>,
    {
        let Body { form, bytes } = Body::encode::<Q, C>(question)?;
        let answer = self.send_command(&Body { form, bytes: &bytes }, deadline).await?;
        self.core.told(answer.open::<A, C>("the answer"))
    }

    async fn send_command(&mut self, body: &Body<&[u8]>, deadline: Instant) -> Result<Body<Message>, Error> {
        let id = self.core.begin_command();
        let mut sent = None;
        self.drive(deadline, "the answer to the command", |core| core.step_command(id, &mut sent, body)).await
    }

    async fn drive<R>(
        &mut self,
        deadline: Instant,
        what: &'static str,
        mut step: impl FnMut(&mut Core) -> Result<Step<R>, Error>,
    ) -> Result<R, Error> {
        loop {
            let interest = match step(&mut self.core)? {
                Step::Done(done) => return Ok(done),
                Step::Wait(interest) => Some(interest),
                Step::Gone => {
                    self.core.check_refused()?;
                    None
                }
            };
            if Instant::now() >= deadline {
                return Err(self.core.too_late(what));
            }
            let Some((interest, connection)) = interest.zip(self.core.connection()) else {
                tokio::time::sleep(SLICE.min(deadline.saturating_duration_since(Instant::now()))).await;
                continue;
            };
            let ready = std::future::poll_fn(|cx| connection.poll_ready(cx, interest));
            if let Ok(Err(error)) = tokio::time::timeout_at(deadline.into(), ready).await {
                self.core.lose(&error);
            }
        }
    }
}

shell_without_waits!();
