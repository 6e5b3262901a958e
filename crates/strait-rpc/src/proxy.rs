//! A client of services with several methods, for tasks.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use serde_json::Value;
use strait_frame::{Codec, Raw, Rkyv};
use strait_transport::{Connection, Options, Stats, TransportKind};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::{
    DEFAULT_DEADLINE,
    calls::{Calls, Next},
    deadline::Deadline,
    description::{Description, Health, MethodKind},
    driver::{Driver, Target},
    error::Error,
    event::Event,
    header::{METHOD_DESCRIBE, METHOD_HEALTH},
    names::{Names, identify, read_json},
    observe::{Call, DESCRIBE, HEALTH},
    response::Response,
};

/// Calls the methods of a service by name, from tasks. `Send + Sync`: any number of calls may be in flight at once, over one
/// connection; answers come in any order. Needs a tokio runtime with I/O and time.
///
/// Each call names its types; whether the service means the same is looked up once per proxy, and compared per call. With JSON
/// no types are needed.
///
/// ```no_run
/// # async fn f() -> Result<(), strait_rpc::Error> {
/// use strait_rpc::Proxy;
///
/// let service: Proxy = Proxy::connect("arithmetic").await?;
/// let reply = service.call::<u64, u64>("double", &21).await?;
/// assert_eq!(reply.get().to_native(), 42);
/// # Ok(()) }
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
    pub async fn connect(name: &str) -> Result<Self, Error> {
        Self::connect_with(name, &Options::default()).await
    }

    /// Connects to the service `name`, be it of one method or of several.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]: as [`Connection::connect_async`].
    pub async fn connect_with(name: &str, options: &Options) -> Result<Self, Error> {
        Ok(Self::over(Connection::connect_async(name, &identify(options)).await?))
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

    /// Calls the method `name` and waits for its reply. Dropping the future cancels the call, as far as the server still can.
    ///
    /// # Errors
    ///
    /// [`Error::Method`] where the service has no such method, or means other types by it; for the rest as
    /// [`Client::call`](crate::Client::call).
    pub async fn call<Req, Resp>(&self, name: &str, request: &Req) -> Result<Response<Resp, C>, Error>
    where
        C: Codec<Req> + Codec<Resp>,
    {
        let method = self.describe().await?.resolve::<C, Req, Resp>(name, MethodKind::Call)?;
        let target = Target::method(method, name);
        self.driver.open(self.driver.call::<C, Req>(target, request, self.patience()).await?)
    }

    /// Calls the method `name` with JSON, for who does not know its types.
    ///
    /// # Errors
    ///
    /// [`Error::Method`] where the service has no such method, or it takes no JSON; [`Error::Json`]; for the rest as
    /// [`call`](Self::call).
    pub async fn call_json(&self, name: &str, request: &Value) -> Result<Value, Error> {
        let method = self.describe().await?.resolve_json(name)?;
        self.json(method, name, request.to_string().as_bytes()).await
    }

    /// Calls the method `name` and returns its items as they come. The service sends at most 32 items ahead of their being
    /// taken. Dropping what is returned ends the stream.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn stream<Req, Item>(&self, name: &str, request: &Req) -> Result<Streaming<Item, C>, Error>
    where
        C: Codec<Req> + Codec<Item>,
    {
        let method = self.describe().await?.resolve::<C, Req, Item>(name, MethodKind::Stream)?;
        let target = Target { stream: true, ..Target::method(method, name) };
        let (call, seen) = self.driver.begin_stream::<C, Req>(target, request, self.patience()).await?;
        let (driver, deadline) = (self.driver.clone(), self.deadline);
        Ok(Streaming { driver, call: Some(call), seen, deadline, timer: None, types: PhantomData })
    }

    /// Sends a message that nobody answers to the method `name`. It is sent when this returns, and no more is known of it.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn notify<T>(&self, name: &str, message: &T) -> Result<(), Error>
    where
        C: Codec<T>,
    {
        let method = self.describe().await?.resolve::<C, T, T>(name, MethodKind::Notification)?;
        self.driver.notify::<C, T>(method, message, self.patience()).await
    }

    /// Waits for something that the server sends by itself. A thousand of them are kept between two calls, then the oldest make
    /// room: see [`dropped_events`](Self::dropped_events). Nothing is lost where the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] for the connection's end; [`Error::Method`] where the service's description names no such event.
    pub async fn next_event(&self) -> Result<Event, Error> {
        self.describe().await?;
        let (method, message) = self.driver.event().await?;
        Event::new(method, message, &self.names)
    }

    /// What the service says of itself. Asked once per proxy.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn describe(&self) -> Result<&Description, Error> {
        match self.names.known() {
            Some(description) => Ok(description),
            None => Ok(self.names.learn(self.json(METHOD_DESCRIBE, DESCRIBE, b"").await?)),
        }
    }

    /// How the service is.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call): one that does not answer is [`Error::Deadline`].
    pub async fn health(&self) -> Result<Health, Error> {
        self.json(METHOD_HEALTH, HEALTH, b"").await
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, method: u16, name: &str, body: &[u8]) -> Result<T, Error> {
        let target = Target { json: true, ..Target::method(method, name) };
        read_json(&self.driver.call::<Raw, [u8]>(target, body, self.patience()).await?)
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

/// The items of a stream, as they come: a [`Stream`], or one by one with [`next`](Self::next). Ends with the stream, or after its
/// first error.
pub struct Streaming<T, C = Rkyv> {
    driver: Arc<Driver>,
    /// `None` after the end.
    call: Option<u32>,
    seen: Call,
    deadline: Option<Duration>,
    /// Runs while somebody waits for an item.
    timer: Option<Pin<Box<Sleep>>>,
    types: PhantomData<fn(C) -> T>,
}

impl<T, C: Codec<T>> Streaming<T, C> {
    /// Waits for the next item. Nothing is lost where the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Response<T, C>, Error>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Response<T, C>, Error>>> {
        let Some(call) = self.call else { return Poll::Ready(None) };
        match self.driver.poll_next(cx, call) {
            Poll::Ready(next) => {
                self.timer = None;
                Poll::Ready(match next {
                    Next::Item(message, _) => {
                        self.seen.item(&message);
                        Some(self.driver.open(message))
                    }
                    Next::End(end) => {
                        self.call = None;
                        self.seen.over(end.as_ref().copied());
                        end.err().map(Err)
                    }
                })
            }
            Poll::Pending => {
                let Some(deadline) = self.deadline else { return Poll::Pending };
                let timer = self.timer.get_or_insert_with(|| match Instant::now().checked_add(deadline) {
                    Some(until) => Box::pin(sleep_until(until)),
                    None => Box::pin(sleep(Duration::MAX)),
                });
                std::task::ready!(timer.as_mut().poll(cx));
                self.driver.abandon(call);
                self.call = None;
                self.seen.over(Err(&Error::Deadline));
                Poll::Ready(Some(Err(Error::Deadline)))
            }
        }
    }
}

impl<T, C: Codec<T>> Stream for Streaming<T, C> {
    type Item = Result<Response<T, C>, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

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
