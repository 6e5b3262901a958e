//! The client for tasks that connects again.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Rkyv};
use strait_transport::Options;
use tokio::runtime::Handle;

use super::{
    Backoff, Retry,
    link::{Connected, Link, until},
    outcome::History,
};
use crate::{DEFAULT_DEADLINE, client::Client, error::Error, launch::Launch, response::Response};

/// A [`Client`] that connects when it is first called, and again when its connection was lost. `Sync`: any number of
/// tasks may call at once; one thread connects for all, and each call waits for it until its own deadline. Needs a tokio
/// runtime with I/O and time; the connection belongs to the runtime of the call that it was made for.
///
/// Whether a call is made again on a new connection is the caller's word: [`call`](Self::call) never makes one again that may
/// have been executed, [`call_idempotent`](Self::call_idempotent) does.
///
/// ```no_run
/// # async fn f() -> Result<(), strait_rpc::Error> {
/// use strait_rpc::{Options, Reconnecting};
///
/// let client: Reconnecting<u64, u64> = Reconnecting::new("doubler", &Options::default());
/// let reply = client.call_idempotent(&21).await?;
/// assert_eq!(reply.to_native(), 42);
/// # Ok(()) }
/// ```
pub struct Reconnecting<Req, Resp, C = Rkyv> {
    link: Link<Client<Req, Resp, C>>,
    deadline: Option<Duration>,
}

impl<Req, Resp, C> Reconnecting<Req, Resp, C>
where
    C: Codec<Req> + Codec<Resp> + 'static,
    Req: 'static,
    Resp: 'static,
{
    /// Calls the service `name`, whenever it is there. Nothing happens before the first call.
    pub fn new(name: &str, options: &Options) -> Self {
        let (name, options) = (name.to_owned(), options.clone());
        Self::with(async move || Client::connect_with(&name, &options).await)
    }

    /// Calls the service `name`, and starts its server by `launch` whenever it is not running. Nothing happens before the first
    /// call.
    pub fn launching(name: &str, options: &Options, launch: &Launch) -> Self {
        let (name, options, launch) = (name.to_owned(), options.clone(), launch.clone());
        Self::with(async move || Client::connect_or_launch(&name, &options, &launch).await)
    }

    /// Calls what `connect` connects to. It runs in a thread of its own (`strait-connect`), inside the runtime
    /// of the call that needs it.
    pub fn with(connect: impl AsyncFn() -> Result<Client<Req, Resp, C>, Error> + Send + Sync + 'static) -> Self {
        let connect = move || {
            let mut client = Handle::current().block_on(connect())?;
            client.set_deadline(None);
            Ok(client)
        };
        Self { link: Link::new(connect), deadline: Some(DEFAULT_DEADLINE) }
    }

    /// Sets how long calls may take from now on, connecting included (default 30 s; `None` waits without end).
    pub fn set_deadline(&mut self, deadline: Option<Duration>) {
        self.deadline = deadline;
    }

    /// Sets the pauses between attempts to connect.
    pub fn set_backoff(&mut self, backoff: Backoff) {
        self.link.config.backoff = backoff;
    }

    /// Has `notice` called after each connection but the first, with their number so far, in the thread that connected. The new
    /// connection is in use by then.
    pub fn on_reconnect(&mut self, notice: impl Fn(u64) + Send + Sync + 'static) {
        self.link.config.on_reconnect = Some(Arc::new(notice));
    }

    /// How often the connection was made anew.
    pub fn reconnects(&self) -> u64 {
        self.link.reconnects()
    }

    /// Makes one call, which is executed at most once, and waits for its reply. Dropping the future cancels the call, as far
    /// as the server still can.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`]: the connection ended, and the call may or may not have been executed; the next call has a new
    /// connection. [`Error::NotConnected`]: no connection could be had by the deadline; nothing was sent. All others as
    /// [`Client::call`].
    pub async fn call(&self, request: &Req) -> Result<Response<Resp, C>, Error> {
        self.call_with(request, Retry::NotExecuted, self.deadline).await
    }

    /// Makes one call that does no harm if it is executed more than once. Where the connection is lost, it is sent again on a
    /// new one, until its deadline.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); [`Error::Lost`] where the deadline passed while there was no new connection.
    pub async fn call_idempotent(&self, request: &Req) -> Result<Response<Resp, C>, Error> {
        self.call_with(request, Retry::Idempotent, self.deadline).await
    }

    /// Makes one call, with a word on what may be sent again and with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call) or [`call_idempotent`](Self::call_idempotent).
    pub async fn call_with(
        &self,
        request: &Req,
        retry: Retry,
        timeout: Option<Duration>,
    ) -> Result<Response<Resp, C>, Error> {
        let deadline = until(timeout);
        let mut history = History::default();
        let outcome = loop {
            let live = match self.connected(deadline).await {
                Ok(live) => live,
                Err(error) => break Err(error),
            };
            let outcome = match deadline {
                None => live.client.call(request).await,
                Some(at) => live.client.call_timeout(request, at.saturating_duration_since(Instant::now())).await,
            };
            if let Some(outcome) = self.link.settle(&live, outcome, retry, &mut history) {
                break outcome;
            }
        };
        outcome.map_err(|error| history.ends_in(error))
    }

    /// The client that is connected, as soon as there is one.
    async fn connected(&self, deadline: Option<Instant>) -> Connected<Client<Req, Resp, C>> {
        if let Some(live) = self.link.current() {
            // A server that said farewell while nobody called is found out before anything is sent to it.
            if live.client.is_open() {
                return Ok(live);
            }
            self.link.lose(&live);
        }
        let waiting = self.link.wait();
        let connected = poll_fn(|cx| {
            let runtime = Handle::current();
            waiting.poll(cx, move |run| {
                let _entered = runtime.enter();
                run();
            })
        });
        match deadline {
            None => connected.await,
            Some(at) => tokio::time::timeout_at(at.into(), connected).await.unwrap_or_else(|_late| Err(waiting.late())),
        }
    }
}

impl<Req, Resp, C> fmt::Debug for Reconnecting<Req, Resp, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
