//! A client of services with several methods, for threads.

use std::{fmt, iter::FusedIterator, marker::PhantomData, sync::Arc, time::Duration};

use serde_json::Value;
use strait_frame::{Codec, Raw, Rkyv};
use strait_transport::{Connection, Options, Stats, TransportKind, pin_current_thread};

use super::poller::Poller;
use crate::{
    DEFAULT_DEADLINE,
    calls::{Calls, Next},
    deadline::Deadline,
    description::{Description, Health, MethodKind},
    driver::{ClientPolling, Driver, Target},
    error::Error,
    event::Event,
    header::{METHOD_DESCRIBE, METHOD_HEALTH},
    names::{Names, identify, read_json},
    observe::{Call, DESCRIBE, HEALTH},
    response::Response,
};

/// Calls the methods of a service by name, from threads. `Sync`: any number of threads may call at once, over one connection.
///
/// Each call names its types; whether the service means the same is looked up once per proxy, and compared per call. With JSON
/// no types are needed.
///
/// ```no_run
/// use strait_rpc::blocking::Proxy;
///
/// let service: Proxy = Proxy::connect("arithmetic")?;
/// let reply = service.call::<u64, u64>("double", &21)?;
/// assert_eq!(reply.get().to_native(), 42);
/// # Ok::<(), strait_rpc::Error>(())
/// ```
pub struct Proxy<C = Rkyv> {
    driver: Arc<Driver>,
    names: Names,
    deadline: Option<Duration>,
    codec: PhantomData<fn() -> C>,
}

impl<C: 'static> Proxy<C> {
    /// Connects to the service `name`, with the default options.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    pub fn connect(name: &str) -> Result<Self, Error> {
        Self::connect_with(name, &Options::default())
    }

    /// Connects to the service `name`, be it of one method or of several.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]: as [`Connection::connect`](strait_transport::Connection::connect).
    pub fn connect_with(name: &str, options: &Options) -> Result<Self, Error> {
        Ok(Self::over(Connection::connect(name, &identify(options))?))
    }

    /// Calls over a connection that exists.
    pub fn over(connection: Connection) -> Self {
        let (driver, names) = (Arc::new(Driver::new(connection)), Names::default());
        Self { driver, names, deadline: Some(DEFAULT_DEADLINE), codec: PhantomData }
    }

    /// Sets how long calls may take from now on, and how long a stream may take for its next item (default 30 s; `None` waits
    /// without end).
    pub fn set_deadline(&mut self, deadline: Option<Duration>) {
        self.deadline = deadline;
    }

    /// Lets threads that call here poll: whoever waits for an answer goes on looking for it for as long as `polling` says, and
    /// then sleeps. The calling thread is kept on its processor, if there is one; a thread that has several clients polls each while
    /// it waits there. Once the connection runs over memory: on a socket a thread sleeps as ever.
    ///
    /// ```no_run
    /// use strait_rpc::blocking::{Proxy, ClientPolling};
    ///
    /// let mut client: Proxy = Proxy::connect("arithmetic")?;
    /// client.set_polling(&ClientPolling { cpu: Some(3), idle: None })?; // this thread is on processor 3 from now on
    /// # Ok::<(), strait_rpc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Pin`] where there is no such processor; then nothing has changed.
    pub fn set_polling(&mut self, polling: &ClientPolling) -> Result<(), Error> {
        polling.cpu.map_or(Ok(()), pin_current_thread)?;
        self.driver.set_polling(polling);
        Ok(())
    }

    /// Lets the thread of `poller` look for the answers to calls made here; threads that wait for them sleep meanwhile. Takes the
    /// client from the poller that it had, if it had one.
    ///
    /// ```no_run
    /// use strait_rpc::blocking::{ClientPolling, Poller, Proxy};
    ///
    /// let poller = Poller::start(&ClientPolling::default())?;
    /// let mut client: Proxy = Proxy::connect("arithmetic")?;
    /// client.set_poller(&poller);
    /// # Ok::<(), strait_rpc::Error>(())
    /// ```
    pub fn set_poller(&mut self, poller: &Poller) {
        self.driver.attach(&poller.bell);
    }

    /// Calls the method `name` and waits for its reply.
    ///
    /// # Errors
    ///
    /// [`Error::Method`] where the service has no such method, or means other types by it; for the rest as
    /// [`Client::call`](super::Client::call).
    pub fn call<Req, Resp>(&self, name: &str, request: &Req) -> Result<Response<Resp, C>, Error>
    where
        C: Codec<Req> + Codec<Resp>,
    {
        let method = self.describe()?.resolve::<C, Req, Resp>(name, MethodKind::Call)?;
        let target = Target::method(method, name);
        self.driver.open(self.driver.call_blocking::<C, Req>(target, request, self.patience())?)
    }

    /// Calls the method `name` with JSON, for who does not know its types.
    ///
    /// # Errors
    ///
    /// [`Error::Method`] where the service has no such method, or it takes no JSON; [`Error::Json`]; for the rest as
    /// [`call`](Self::call).
    pub fn call_json(&self, name: &str, request: &Value) -> Result<Value, Error> {
        let method = self.describe()?.resolve_json(name)?;
        self.json(method, name, request.to_string().as_bytes())
    }

    /// Calls the method `name` and returns its items as they come. The service sends at most 32 items ahead of their being
    /// taken. Dropping what is returned ends the stream.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn stream<Req, Item>(&self, name: &str, request: &Req) -> Result<Streaming<Item, C>, Error>
    where
        C: Codec<Req> + Codec<Item>,
    {
        let method = self.describe()?.resolve::<C, Req, Item>(name, MethodKind::Stream)?;
        let target = Target { stream: true, ..Target::method(method, name) };
        // The stream as a whole may take as long as it likes.
        let (call, seen) = self.driver.begin_blocking::<C, Req>(target, request, self.patience())?;
        let (driver, deadline) = (self.driver.clone(), self.deadline);
        Ok(Streaming { driver, call: Some(call), seen, deadline, types: PhantomData })
    }

    /// Sends a message that nobody answers to the method `name`. It is sent when this returns, and no more is known of it.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn notify<T>(&self, name: &str, message: &T) -> Result<(), Error>
    where
        C: Codec<T>,
    {
        let method = self.describe()?.resolve::<C, T, T>(name, MethodKind::Notification)?;
        self.driver.notify_blocking::<C, T>(method, message, self.patience())
    }

    /// Waits for something that the server sends by itself; `None` where nothing comes within `timeout` (`None`: waits without
    /// end). A thousand of them are kept between two calls, then the oldest make room: see
    /// [`dropped_events`](Self::dropped_events).
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] for the connection's end; [`Error::Method`] where the service's description names no such event.
    pub fn next_event(&self, timeout: Option<Duration>) -> Result<Option<Event>, Error> {
        self.describe()?;
        match self.driver.event_blocking(Deadline::after(timeout))? {
            Some((method, message)) => Event::new(method, message, &self.names).map(Some),
            None => Ok(None),
        }
    }

    /// What the service says of itself. Asked once per proxy.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn describe(&self) -> Result<&Description, Error> {
        match self.names.known() {
            Some(description) => Ok(description),
            None => Ok(self.names.learn(self.json(METHOD_DESCRIBE, DESCRIBE, b"")?)),
        }
    }

    /// How the service is.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call): one that does not answer is [`Error::Deadline`].
    pub fn health(&self) -> Result<Health, Error> {
        self.json(METHOD_HEALTH, HEALTH, b"")
    }

    fn json<T: serde::de::DeserializeOwned>(&self, method: u16, name: &str, body: &[u8]) -> Result<T, Error> {
        let target = Target { json: true, ..Target::method(method, name) };
        read_json(&self.driver.call_blocking::<Raw, [u8]>(target, body, self.patience())?)
    }

    fn patience(&self) -> Deadline {
        Deadline::after(self.deadline)
    }
}

impl<C> Proxy<C> {
    /// Over what the connection runs now.
    pub fn transport(&self) -> TransportKind {
        self.driver.transport()
    }

    /// Why the connection stays on its socket, if it does.
    pub fn fallback_reason(&self) -> Option<String> {
        self.driver.fallback_reason()
    }

    /// What the connection has done so far.
    pub fn stats(&self) -> Stats {
        self.driver.stats()
    }

    /// Events that made room for later ones before anybody took them.
    pub fn dropped_events(&self) -> u64 {
        self.driver.dropped_events()
    }
}

impl<C> Drop for Proxy<C> {
    fn drop(&mut self) {
        self.driver.close();
    }
}

impl<C> fmt::Debug for Proxy<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("transport", &self.transport()).finish_non_exhaustive()
    }
}

/// The items of a stream, as they come. Ends with the stream, or after its first error.
pub struct Streaming<T, C = Rkyv> {
    driver: Arc<Driver>,
    /// `None` after the end.
    call: Option<u32>,
    seen: Call,
    deadline: Option<Duration>,
    types: PhantomData<fn(C) -> T>,
}

impl<T, C: Codec<T>> Iterator for Streaming<T, C> {
    type Item = Result<Response<T, C>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let call = self.call?;
        match self.driver.next_blocking(call, &mut Deadline::after(self.deadline)) {
            Next::Item(message, _) => {
                self.seen.item(&message);
                Some(self.driver.open(message))
            }
            Next::End(end) => {
                self.call = None;
                self.seen.over(end.as_ref().copied());
                end.err().map(Err)
            }
        }
    }
}

impl<T, C: Codec<T>> FusedIterator for Streaming<T, C> {}

impl<T, C> Drop for Streaming<T, C> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.driver.abandon(call);
        }
    }
}

impl<T, C> fmt::Debug for Streaming<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("slot", &self.call.map(Calls::slot)).finish_non_exhaustive()
    }
}
