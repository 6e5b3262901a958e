//! Calls and handlers as [`tower_service::Service`], so that tower's layers go around them: timeouts, limits, retries, buffers.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use std::time::Duration;
//! use strait_rpc::{Client, tower::CallService};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! let client: Client<u64, u64> = Client::connect("doubler").await?;
//! let service = ServiceBuilder::new()
//!     .concurrency_limit(8)
//!     .timeout(Duration::from_millis(20))
//!     .service(CallService::new(client));
//! let reply = service.clone().oneshot(21).await?;
//! assert_eq!(reply.to_native(), 42);
//! # Ok(()) }
//! ```
//!
//! [`Server::serve_service`] is the other side. What layers cost comes on top of a call, and the call itself allocates once here, for
//! its future.

use std::{
    fmt::{self, Display},
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use strait_frame::{Codec, Rkyv};
use tower_service::Service;

use crate::{Client, Error, Request, Response, Server};

/// A [`Client`] as a service: takes requests by value, is cheap to clone, and all clones share the connection.
///
/// It is always ready. Whoever calls while the window (`max_in_flight`) is full waits *inside* the call, within its deadline: a
/// place kept between `poll_ready` and `call` would be lost to everybody else if no call followed. A connection that has ended
/// is told by the call too.
///
/// Dropping the future of a call cancels it, as with [`Client::call`], so a timeout layer reaches the handler. The client's own
/// deadline (default 30 s) stays in force beneath any layer.
pub struct CallService<Req, Resp, C = Rkyv> {
    client: Arc<Client<Req, Resp, C>>,
}

impl<Req, Resp, C> CallService<Req, Resp, C> {
    /// Makes a service of a client, or of one that is shared already.
    pub fn new(client: impl Into<Arc<Client<Req, Resp, C>>>) -> Self {
        Self { client: client.into() }
    }

    /// The client beneath.
    pub fn client(&self) -> &Client<Req, Resp, C> {
        &self.client
    }
}

impl<Req, Resp, C> Service<Req> for CallService<Req, Resp, C>
where
    C: Codec<Req> + Codec<Resp>,
    Req: Send + Sync + 'static,
    Resp: 'static,
{
    type Response = Response<Resp, C>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let client = self.client.clone();
        Box::pin(async move { client.call(&request).await })
    }
}

impl<Req, Resp, C> Clone for CallService<Req, Resp, C> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone() }
    }
}

impl<Req, Resp, C> fmt::Debug for CallService<Req, Resp, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallService").field(&self.client).finish()
    }
}

impl<C: 'static> Server<C> {
    /// Serves a tower service until shutdown, as [`serve`](Self::serve) does a handler. Each call has a clone of `service` and
    /// waits until that is ready, so what is to be shared by all calls must be shared by clones: tower's concurrency limit is, its
    /// rate limit goes into a buffer.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), strait_rpc::Error> {
    /// use strait_rpc::{Request, Server};
    /// use tower::{ServiceBuilder, service_fn};
    ///
    /// let double = service_fn(|number: Request<u64>| async move { Ok::<u64, String>(number.to_native() * 2) });
    /// let service = ServiceBuilder::new().concurrency_limit(100).service(double);
    /// Server::bind("doubler")?.serve_service(service).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve). Errors of the service, or of its readiness, are answers with the code `HANDLER`.
    pub async fn serve_service<Req, S>(self, service: S) -> Result<(), Error>
    where
        C: Codec<Req> + Codec<S::Response>,
        S: Service<Request<Req, C>> + Clone + Send + Sync + 'static,
        S::Response: Send + 'static,
        S::Error: Display + Send + 'static,
        S::Future: Send + 'static,
        Req: 'static,
        Request<Req, C>: Send,
    {
        self.serve(move |request: Request<Req, C>| {
            let mut service = service.clone();
            async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }
        })
        .await
    }
}
