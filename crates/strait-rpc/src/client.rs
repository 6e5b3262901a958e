//! The client for tasks.

use std::{fmt, marker::PhantomData, time::Duration};

use strait_frame::{Codec, Rkyv};
#[cfg(not(strait_loom))]
use strait_transport::Options;
use strait_transport::{Connection, Stats, TransportKind};

use crate::{
    DEFAULT_DEADLINE,
    deadline::Deadline,
    driver::{Driver, Target},
    error::Error,
    response::Response,
};

/// Calls a service from tasks. `Send + Sync`: any number of calls may be in flight at once, over one connection; answers
/// come in any order. Needs a tokio runtime with I/O and time.
///
/// ```no_run
/// # async fn f() -> Result<(), strait_rpc::Error> {
/// use strait_rpc::Client;
///
/// let client: Client<u64, u64> = Client::connect("doubler").await?;
/// let reply = client.call(&21).await?;
/// assert_eq!(reply.get().to_native(), 42);
/// # Ok(()) }
/// ```
pub struct Client<Req, Resp, C = Rkyv> {
    driver: Driver,
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
    pub async fn connect(name: &str) -> Result<Self, Error> {
        Self::connect_with(name, &Options::default()).await
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
    /// [`Error::Transport`]: as [`Connection::connect_async`].
    #[cfg(not(strait_loom))]
    pub async fn connect_with(name: &str, options: &Options) -> Result<Self, Error> {
        let options = crate::encode::identify::<C, Req, Resp>(options);
        Ok(Self::over(Connection::connect_async(name, &options).await?))
    }

    /// Calls over a connection that exists, such as one end of
    /// [`local::pair`](strait_transport::local::pair).
    pub fn over(connection: Connection) -> Self {
        Self { driver: Driver::new(connection), deadline: Some(DEFAULT_DEADLINE), types: PhantomData }
    }

    /// Sets how long calls may take from now on (default 30 s; `None` waits without end).
    pub fn set_deadline(&mut self, deadline: Option<Duration>) {
        self.deadline = deadline;
    }

    /// Makes one call and waits for its reply. Dropping the future cancels the call, as far as the server still can.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] with what the server said; [`Error::Deadline`]; [`Error::Transport`] for the connection's end
    /// (then the call may or may not have been executed) and for a request that is too large; [`Error::Decode`].
    pub async fn call(&self, request: &Req) -> Result<Response<Resp, C>, Error> {
        self.call_until(request, Deadline::after(self.deadline)).await
    }

    /// As [`call`](Self::call), with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_timeout(&self, request: &Req, timeout: Duration) -> Result<Response<Resp, C>, Error> {
        self.call_until(request, Deadline::after(Some(timeout))).await
    }

    /// Makes several calls at once: what there is room for goes out with one publication and at most one wake-up of the server.
    /// The replies are in the order of the requests. Dropping the future cancels what is not answered.
    ///
    /// ```no_run
    /// # async fn f(client: strait_rpc::Client<u64, u64>) {
    /// for reply in client.call_batch(&[1, 2, 3]).await {
    ///     println!("{:?}", reply);
    /// }
    /// # }
    /// ```
    pub async fn call_batch(&self, requests: &[Req]) -> Vec<Result<Response<Resp, C>, Error>> {
        let answers = self.driver.batch::<C, Req>(requests, Deadline::after(self.deadline)).await;
        answers.into_iter().map(|answer| self.driver.open(answer?)).collect()
    }

    async fn call_until(&self, request: &Req, deadline: Deadline) -> Result<Response<Resp, C>, Error> {
        self.driver.open(self.driver.call::<C, Req>(Target::default(), request, deadline).await?)
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
