//! The server for tasks: one task per connection, many calls in flight on each.

mod session;
mod slots;

use std::{
    fmt::{self, Display},
    marker::PhantomData,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use strait_frame::{Codec, Rkyv};
use strait_transport::{CODEC_ANY, Listener, Options};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    CARRIES_TRACES, METHODS_SCHEMA, SERVICE_RPC,
    counters::{Counters, ServerStats},
    description::Description,
    encode::schema,
    error::Error,
    observe::Observer,
    policy::{Policy, Total},
    request::Request,
    service::{Methods, Service, Single},
};
use session::Session;

/// A service whose handler is async.
///
/// ```no_run
/// # async fn f() -> Result<(), strait_rpc::Error> {
/// use strait_rpc::{Request, Server};
///
/// let server = Server::bind("doubler")?;
/// server.serve(|number: Request<u64>| async move { Ok::<u64, String>(number.to_native() * 2) }).await?;
/// # Ok(()) }
/// ```
pub struct Server<C = Rkyv> {
    listener: Listener,
    schema: u64,
    stop: Arc<watch::Sender<bool>>,
    counters: Arc<Counters>,
    policy: Policy,
    codec: PhantomData<fn() -> C>,
}

/// What the clients of a server have in common.
struct Shared<S> {
    service: S,
    description: Arc<Description>,
    counters: Arc<Counters>,
    policy: Policy,
    total: Total,
    observer: Observer,
}

/// Shuts a server down from anywhere.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    stop: Arc<watch::Sender<bool>>,
    counters: Arc<Counters>,
}

impl ServerHandle {
    /// Ends [`Server::serve`]: no new clients, no new calls; those in flight are finished, streams are cut short, and a client
    /// that does not read its answers is given a second. May be called more than once.
    pub fn shutdown(&self) {
        self.counters.stop();
        self.stop.send_replace(true);
    }

    /// What the server has done so far. A client's calls are added whenever it has nothing to do at the moment.
    pub fn stats(&self) -> ServerStats {
        self.counters.stats()
    }
}

impl Server<Rkyv> {
    /// Binds the service `name`, with rkyv messages and the default options. Call it inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`bind_with`](Self::bind_with).
    pub fn bind(name: &str) -> Result<Self, Error> {
        Self::bind_with(name, &Options::default())
    }

    /// Binds the service `name`, with rkyv messages.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]: as [`Listener::bind_async`].
    pub fn bind_with(name: &str, options: &Options) -> Result<Self, Error> {
        Self::bind_as(name, options)
    }
}

impl<C: 'static> Server<C> {
    /// Where no descriptor or the like can be had, the server waits this long before it accepts again.
    const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

    /// Binds the service `name`, with messages of codec `C`: `Server::<Postcard>::bind_as(..)`.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]: as [`Listener::bind_async`].
    pub fn bind_as(name: &str, options: &Options) -> Result<Self, Error> {
        let options = Options { trace_context: CARRIES_TRACES, ..options.clone() };
        let listener = Listener::bind_async(name, &options)?;
        let stop = Arc::new(watch::Sender::new(false));
        let (counters, policy) = (Arc::new(Counters::new()), Policy::default());
        Ok(Self { listener, schema: options.schema, stop, counters, policy, codec: PhantomData })
    }

    /// A handle that shuts the server down.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { stop: self.stop.clone(), counters: self.counters.clone() }
    }

    /// Sets how much of the server its clients may take (default: no limit but each client's window).
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Where the service's socket lies.
    pub fn path(&self) -> PathBuf {
        self.listener.path()
    }

    /// Serves until [`ServerHandle::shutdown`].
    ///
    /// The handler's futures run in the task of their connection, up to `max_in_flight` at once, and finish in any order;
    /// one that computes for long should spawn. One that returns an error or panics answers its call with that, and the
    /// server goes on. A client that goes away takes its handlers with it.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where this runs outside a tokio runtime. What goes wrong with one client ends its connection
    /// alone, and is logged.
    pub async fn serve<Req, Resp, E, F, Fut>(mut self, handler: F) -> Result<(), Error>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display + Send + 'static,
        F: Fn(Request<Req, C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, E>> + Send + 'static,
        Req: 'static,
        Resp: Send + 'static,
    {
        let schema = if self.schema == 0 { schema::<C, Req, Resp>() } else { self.schema };
        self.listener.identify(SERVICE_RPC, <C as Codec<Req>>::ID, schema);
        self.run(Single::<C, Req, Resp, E, F>::new(handler)).await
    }

    /// Serves several methods, each with types of its own, until [`ServerHandle::shutdown`]. Clients call them by name, through a
    /// [`Proxy`](crate::Proxy). For the rest as [`serve`](Self::serve).
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_methods(mut self, methods: Methods<C>) -> Result<(), Error> {
        self.listener.identify(SERVICE_RPC, CODEC_ANY, METHODS_SCHEMA);
        self.run(methods).await
    }

    async fn run<S: Service>(self, service: S) -> Result<(), Error> {
        let description = Arc::new(service.description());
        let shared = Arc::new(Shared {
            observer: Observer::server(self.listener.name(), &description),
            description,
            service,
            counters: self.counters.clone(),
            policy: self.policy.clone(),
            total: Total::default(),
        });
        let mut stop = self.stop.subscribe();
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
                accepted = self.listener.accept_async() => match accepted {
                    Ok(incoming) => {
                        let (shared, mut stop) = (shared.clone(), self.stop.subscribe());
                        sessions.spawn(async move {
                            let shaken = tokio::select! {
                                biased;
                                () = stopped(&mut stop) => return,
                                shaken = incoming.handshake_async() => shaken,
                            };
                            match shaken {
                                Ok(connection) => Session::new(connection, shared).run(stop).await,
                                Err(error) => {
                                    shared.counters.refuse();
                                    tracing::debug!(target: "strait", %error, "a handshake failed");
                                }
                            }
                        });
                    }
                    Err(error @ strait_transport::Error::Usage(_)) => return Err(error.into()),
                    Err(error) => {
                        tracing::error!(target: "strait", %error, "cannot accept clients now");
                        tokio::time::sleep(Self::ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        while sessions.join_next().await.is_some() {}
        Ok(())
    }
}

/// Waits until the server is told to stop. What `wait_for` returns must not live on: it keeps a future from being `Send`.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone never says stop; then the server's own end drops this task.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl<C> fmt::Debug for Server<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}
