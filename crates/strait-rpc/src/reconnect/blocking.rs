//! The client for threads that connects again.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Rkyv};
use strait_sync::primitive::Mutex;
use strait_transport::Options;

use super::{
    Backoff, Retry,
    link::{Connected, Link, until},
    outcome::History,
};
use crate::{
    DEFAULT_DEADLINE,
    blocking::{Client, ClientPolling, Poller, pin_current_thread},
    driver::Bell,
    error::Error,
    launch::Launch,
    response::Response,
};

/// A [`Client`] that connects when it is first called, and again when its connection was lost. `Sync`: any number of
/// threads may call at once; one thread connects for all, and each call waits for it until its own deadline.
///
/// Whether a call is made again on a new connection is the caller's word: [`call`](Self::call) never makes one again that may
/// have been executed, [`call_idempotent`](Self::call_idempotent) does.
///
/// ```no_run
/// use strait_rpc::{Options, blocking::Reconnecting};
///
/// let client: Reconnecting<u64, u64> = Reconnecting::new("doubler", &Options::default());
/// let reply = client.call_idempotent(&21)?;
/// assert_eq!(reply.to_native(), 42);
/// # Ok::<(), strait_rpc::Error>(())
/// ```
pub struct Reconnecting<Req, Resp, C = Rkyv> {
    link: Link<Client<Req, Resp, C>>,
    deadline: Option<Duration>,
    waiting: Arc<Mutex<Waiting>>,
}

/// How calls wait, over each connection.
#[derive(Default)]
struct Waiting {
    polling: Option<ClientPolling>,
    poller: Option<Arc<Bell>>,
}

impl Waiting {
    fn equip<Req, Resp, C>(&self, client: &Client<Req, Resp, C>) {
        if let Some(polling) = &self.polling {
            client.poll_unpinned(polling);
        }
        if let Some(poller) = &self.poller {
            client.attach(poller);
        }
    }
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
        Self::with(move || Client::connect_with(&name, &options))
    }

    /// Calls the service `name`, and starts its server by `launch` whenever it is not running. Nothing happens before the first
    /// call.
    pub fn launching(name: &str, options: &Options, launch: &Launch) -> Self {
        let (name, options, launch) = (name.to_owned(), options.clone(), launch.clone());
        Self::with(move || Client::connect_or_launch(&name, &options, &launch))
    }

    /// Calls what `connect` connects to. It runs in a thread of its own (`strait-connect`) whenever a connection is needed.
    pub fn with(connect: impl Fn() -> Result<Client<Req, Resp, C>, Error> + Send + Sync + 'static) -> Self {
        let connect = move || {
            let mut client = connect()?;
            client.set_deadline(None);
            Ok(client)
        };
        let (mut link, waiting) = (Link::new(connect), Arc::new(Mutex::new(Waiting::default())));
        let each = waiting.clone();
        link.config.equip = Arc::new(move |client| each.lock().equip(client));
        Self { link, deadline: Some(DEFAULT_DEADLINE), waiting }
    }

    /// Sets how long calls may take from now on, connecting included (default 30 s; `None` waits without end).
    pub fn set_deadline(&mut self, deadline: Option<Duration>) {
        self.deadline = deadline;
    }

    /// As [`Client::set_polling`], for this connection and each that follows: the calling thread is kept on its processor, if there
    /// is one, and every thread that calls polls.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`] where there is no such processor; then nothing has changed.
    pub fn set_polling(&mut self, polling: &ClientPolling) -> Result<(), Error> {
        polling.cpu.map_or(Ok(()), pin_current_thread)?;
        self.waiting.lock().polling = Some(polling.clone());
        if let Some(live) = self.link.current() {
            live.client.poll_unpinned(polling);
        }
        Ok(())
    }

    /// As [`Client::set_poller`], for this connection and each that follows.
    pub fn set_poller(&mut self, poller: &Poller) {
        self.waiting.lock().poller = Some(poller.bell.clone());
        if let Some(live) = self.link.current() {
            live.client.attach(&poller.bell);
        }
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

    /// Makes one call, which is executed at most once, and waits for its reply.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`]: the connection ended, and the call may or may not have been executed; the next call has a new
    /// connection. [`Error::NotConnected`]: no connection could be had by the deadline; nothing was sent. All others as
    /// [`Client::call`].
    pub fn call(&self, request: &Req) -> Result<Response<Resp, C>, Error> {
        self.call_with(request, Retry::NotExecuted, self.deadline)
    }

    /// Makes one call that does no harm if it is executed more than once. Where the connection is lost, it is sent again on a
    /// new one, until its deadline.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); [`Error::Lost`] where the deadline passed while there was no new connection.
    pub fn call_idempotent(&self, request: &Req) -> Result<Response<Resp, C>, Error> {
        self.call_with(request, Retry::Idempotent, self.deadline)
    }

    /// Makes one call, with a word on what may be sent again and with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call) or [`call_idempotent`](Self::call_idempotent).
    pub fn call_with(
        &self,
        request: &Req,
        retry: Retry,
        timeout: Option<Duration>,
    ) -> Result<Response<Resp, C>, Error> {
        let deadline = until(timeout);
        let mut history = History::default();
        let outcome = loop {
            let live = match self.connected(deadline) {
                Ok(live) => live,
                Err(error) => break Err(error),
            };
            let outcome = match deadline {
                None => live.client.call(request),
                Some(at) => live.client.call_timeout(request, at.saturating_duration_since(Instant::now())),
            };
            if let Some(outcome) = self.link.settle(&live, outcome, retry, &mut history) {
                break outcome;
            }
        };
        outcome.map_err(|error| history.ends_in(error))
    }

    /// The client that is connected, as soon as there is one.
    fn connected(&self, deadline: Option<Instant>) -> Connected<Client<Req, Resp, C>> {
        if let Some(live) = self.link.current() {
            // A server that said farewell while nobody called is found out before anything is sent to it.
            if live.client.is_open() {
                return Ok(live);
            }
            self.link.lose(&live);
        }
        let waiting = self.link.wait();
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            if let Poll::Ready(connected) = waiting.poll(&mut Context::from_waker(&waker), |run| run()) {
                return connected;
            }
            match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(Duration::ZERO) => return Err(waiting.late()),
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<Req, Resp, C> fmt::Debug for Reconnecting<Req, Resp, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
