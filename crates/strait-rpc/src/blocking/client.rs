//! The client for threads.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use strait_frame::{Codec, Rkyv};
use strait_transport::{Connection, Stats, TransportKind};
#[cfg(not(strait_loom))]
use strait_transport::{Options, pin_current_thread};

use super::poller::Poller;
#[cfg(not(strait_loom))]
use crate::driver::{Bell, ClientPolling};
use crate::{
    DEFAULT_DEADLINE,
    deadline::Deadline,
    driver::{Driver, Target},
    error::Error,
    response::Response,
};

/// Calls a service from threads. `Sync`: any number of threads may call at once, over one connection.
///
/// ```no_run
/// use strait_rpc::blocking::Client;
///
/// let client: Client<u64, u64> = Client::connect("doubler")?;
/// let reply = client.call(&21)?;
/// assert_eq!(reply.get().to_native(), 42);
/// # Ok::<(), strait_rpc::Error>(())
/// ```
pub struct Client<Req, Resp, C = Rkyv> {
    driver: Arc<Driver>,
    deadline: Option<Duration>,
    types: PhantomData<fn(Req, C) -> Resp>,
}

#[cfg(not(strait_loom))]
impl<Req, Resp> Client<Req, Resp, Rkyv>
where
    Rkyv: Codec<Req> + Codec<Resp>,
{
    /// Connects to the service `name`, with rkyv messages and the default options.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    pub fn connect(name: &str) -> Result<Self, Error> {
        Self::connect_with(name, &Options::default())
    }
}

impl<Req, Resp, C> Client<Req, Resp, C>
where
    C: Codec<Req> + Codec<Resp>,
{
    /// Connects to the service `name`. Returns once the server has agreed; shared memory follows with the first call.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]: as [`Connection::connect`](strait_transport::Connection::connect).
    #[cfg(not(strait_loom))]
    pub fn connect_with(name: &str, options: &Options) -> Result<Self, Error> {
        let options = crate::encode::identify::<C, Req, Resp>(options);
        Ok(Self::over(Connection::connect(name, &options)?))
    }

    /// Calls over a connection that exists, such as one end of
    /// [`local::pair`](strait_transport::local::pair).
    pub fn over(connection: Connection) -> Self {
        Self { driver: Arc::new(Driver::new(connection)), deadline: Some(DEFAULT_DEADLINE), types: PhantomData }
    }

    /// Sets how long calls may take from now on (default 30 s; `None` waits without end).
    pub fn set_deadline(&mut self, deadline: Option<Duration>) {
        self.deadline = deadline;
    }

    /// Lets threads that call here poll: whoever waits for an answer goes on looking for it for as long as `polling` says, and
    /// then sleeps. The calling thread is kept on its processor, if there is one; a thread that has several clients polls each while
    /// it waits there. Once the connection runs over memory: on a socket a thread sleeps as ever.
    ///
    /// ```no_run
    /// use strait_rpc::blocking::{Client, ClientPolling};
    ///
    /// let mut client: Client<u64, u64> = Client::connect("doubler")?;
    /// client.set_polling(&ClientPolling { cpu: Some(3), idle: None })?; // this thread is on processor 3 from now on
    /// # Ok::<(), strait_rpc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Pin`] where there is no such processor; then nothing has changed.
    #[cfg(not(strait_loom))]
    pub fn set_polling(&mut self, polling: &ClientPolling) -> Result<(), Error> {
        polling.cpu.map_or(Ok(()), pin_current_thread)?;
        self.driver.set_polling(polling);
        Ok(())
    }

    /// Lets the thread of `poller` look for the answers to calls made here; threads that wait for them sleep meanwhile. Takes the
    /// client from the poller that it had, if it had one.
    ///
    /// ```no_run
    /// use strait_rpc::blocking::{Client, ClientPolling, Poller};
    ///
    /// let poller = Poller::start(&ClientPolling::default())?;
    /// let mut client: Client<u64, u64> = Client::connect("doubler")?;
    /// client.set_poller(&poller);
    /// # Ok::<(), strait_rpc::Error>(())
    /// ```
    pub fn set_poller(&mut self, poller: &Poller) {
        self.driver.attach(&poller.bell);
    }

    /// Makes one call and waits for its reply.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] with what the server said; [`Error::Deadline`]; [`Error::Transport`] for the connection's end
    /// (then the call may or may not have been executed) and for a request that is too large; [`Error::Decode`].
    #[inline]
    pub fn call(&self, request: &Req) -> Result<Response<Resp, C>, Error> {
        self.call_until(request, Deadline::after(self.deadline))
    }

    /// As [`call`](Self::call), with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_timeout(&self, request: &Req, timeout: Duration) -> Result<Response<Resp, C>, Error> {
        self.call_until(request, Deadline::after(Some(timeout)))
    }

    /// Makes several calls at once: what there is room for goes out with one publication and at most one wake-up of the server.
    /// The replies are in the order of the requests.
    ///
    /// ```no_run
    /// # fn f(client: strait_rpc::blocking::Client<u64, u64>) {
    /// for reply in client.call_batch(&[1, 2, 3]) {
    ///     println!("{:?}", reply);
    /// }
    /// # }
    /// ```
    pub fn call_batch(&self, requests: &[Req]) -> Vec<Result<Response<Resp, C>, Error>> {
        let answers = self.driver.batch_blocking::<C, Req>(requests, Deadline::after(self.deadline));
        answers.into_iter().map(|answer| self.driver.open(answer?)).collect()
    }

    /// Begins a call and gives it up at once, as a future does that is dropped: for models, in which no time passes.
    #[cfg(strait_loom)]
    pub fn call_and_give_up(&self, request: &Req) -> Result<(), Error> {
        let (call, _) = self.driver.begin_blocking::<C, Req>(Target::default(), request, Deadline::after(None))?;
        self.driver.abandon(call);
        Ok(())
    }

    #[inline]
    fn call_until(&self, request: &Req, deadline: Deadline) -> Result<Response<Resp, C>, Error> {
        self.driver.open(self.driver.call_blocking::<C, Req>(Target::default(), request, deadline)?)
    }
}

impl<Req, Resp, C> Client<Req, Resp, C> {
    /// Over what the connection runs now.
    pub fn transport(&self) -> TransportKind {
        self.driver.transport()
    }

    /// Why the connection stays on its socket, if it does.
    pub fn fallback_reason(&self) -> Option<String> {
        self.driver.fallback_reason()
    }

    /// Polls from now on, wherever its threads run.
    #[cfg(not(strait_loom))]
    pub(crate) fn poll_unpinned(&self, polling: &ClientPolling) {
        self.driver.set_polling(polling);
    }

    /// Has a polling thread from now on.
    #[cfg(not(strait_loom))]
    pub(crate) fn attach(&self, bell: &Arc<Bell>) {
        self.driver.attach(bell);
    }

    /// Whether a call has a chance here, as far as what has come says.
    pub(crate) fn is_open(&self) -> bool {
        self.driver.is_open()
    }

    /// What the connection has done so far.
    pub fn stats(&self) -> Stats {
        self.driver.stats()
    }

    /// Replies that came after their callers had given up; they were discarded.
    pub fn late_replies(&self) -> u64 {
        self.driver.late_replies()
    }
}

impl<Req, Resp, C> Drop for Client<Req, Resp, C> {
    fn drop(&mut self) {
        self.driver.close();
    }
}

impl<Req, Resp, C> fmt::Debug for Client<Req, Resp, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("transport", &self.transport()).finish_non_exhaustive()
    }
}
