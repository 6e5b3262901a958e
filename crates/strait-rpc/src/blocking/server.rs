//! The server for threads: one per connection, or a few that look at their connections in turn.

use std::{
    fmt::{self, Display},
    io,
    marker::PhantomData,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
};

use strait_frame::{Codec, Rkyv};
use strait_transport::{CODEC_ANY, Incoming, Interrupt, Listener, Options};

use super::{
    methods::Methods,
    polling::{self, Polling},
    service::{Service, Single},
    session::serve_client,
};
use crate::{
    CARRIES_TRACES, METHODS_SCHEMA, SERVICE_RPC,
    counters::{Counters, ServerStats},
    description::Description,
    encode::schema,
    error::Error,
    observe::Observer,
    policy::{Policy, Total},
    request::Request,
};

/// A service whose handler runs in threads: one per connection with [`serve`](Self::serve), a few that never rest with
/// [`serve_polling`](Self::serve_polling).
///
/// ```no_run
/// use strait_rpc::{Request, blocking::Server};
///
/// let server = Server::bind("doubler")?;
/// server.serve(|number: Request<u64>| Ok::<u64, String>(number.to_native() * 2))?;
/// # Ok::<(), strait_rpc::Error>(())
/// ```
pub struct Server<C = Rkyv> {
    listener: Listener,
    schema: u64,
    interrupt: Arc<Interrupt>,
    counters: Arc<Counters>,
    policy: Policy,
    codec: PhantomData<fn() -> C>,
}

/// What the clients of a server have in common.
pub(super) struct Shared<S> {
    pub(super) service: S,
    pub(super) description: Arc<Description>,
    pub(super) counters: Arc<Counters>,
    pub(super) policy: Policy,
    pub(super) total: Total,
    pub(super) observer: Observer,
}

/// Shuts a server down from anywhere.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    interrupt: Arc<Interrupt>,
    counters: Arc<Counters>,
}

impl ServerHandle {
    /// Ends [`Server::serve`]: no new clients, no new calls; what was received is executed and answered, streams are cut short,
    /// and a client that does not read its answers is given a second. May be called more than once.
    pub fn shutdown(&self) {
        self.counters.stop();
        self.interrupt.raise();
    }

    /// What the server has done so far. A client's calls are added whenever it has nothing to do at the moment.
    pub fn stats(&self) -> ServerStats {
        self.counters.stats()
    }
}

impl Server<Rkyv> {
    /// Binds the service `name`, with rkyv messages and the default options.
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
    /// [`Error::Transport`]: as [`Listener::bind`].
    pub fn bind_with(name: &str, options: &Options) -> Result<Self, Error> {
        Self::bind_as(name, options)
    }
}

impl<C> Server<C> {
    /// Binds the service `name`, with messages of codec `C`: `Server::<Postcard>::bind_as(..)`.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]: as [`Listener::bind`].
    pub fn bind_as(name: &str, options: &Options) -> Result<Self, Error> {
        let interrupt = Arc::new(Interrupt::new()?);
        let options = Options { trace_context: CARRIES_TRACES, ..options.clone() };
        let listener = Listener::bind(name, &options, Some(interrupt.clone()))?;
        let (counters, policy) = (Arc::new(Counters::new()), Policy::default());
        Ok(Self { listener, schema: options.schema, interrupt, counters, policy, codec: PhantomData })
    }

    /// A handle that shuts the server down.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { interrupt: self.interrupt.clone(), counters: self.counters.clone() }
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

    /// Serves until [`ServerHandle::shutdown`]. The handler runs on the connection's thread; one connection's calls are
    /// answered in order, different connections' at once.
    ///
    /// A handler that returns an error or panics answers its call with that, and the server goes on. A call that its caller has
    /// cancelled before its turn is not executed.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where the system refuses to accept clients. What goes wrong with one client ends its connection
    /// alone, and is logged.
    pub fn serve<Req, Resp, E, F>(mut self, handler: F) -> Result<(), Error>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display + 'static,
        F: Fn(Request<Req, C>) -> Result<Resp, E> + Send + Sync + 'static,
        Req: 'static,
        Resp: 'static,
    {
        self.identify_single::<Req, Resp>();
        self.run(Single::<C, Req, Resp, E, F>::new(handler))
    }

    /// Serves several methods, each with types of its own, until [`ServerHandle::shutdown`]. Clients call them by name, through a
    /// [`Proxy`](super::Proxy). For the rest as [`serve`](Self::serve).
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_methods(mut self, methods: Methods<C>) -> Result<(), Error>
    where
        C: 'static,
    {
        self.listener.identify(SERVICE_RPC, CODEC_ANY, METHODS_SCHEMA);
        self.run(methods)
    }

    /// Serves as [`serve`](Self::serve), from dedicated threads that look at their clients in turn: the shortest way for a
    /// call, for as many busy processors as there are threads.
    ///
    /// A new client goes to the thread with the fewest, and stays there. A client that does not read its answers holds up nobody:
    /// they are kept for it, and it is not read either. A handler runs in its client's polling thread: while one computes or
    /// waits, the other clients of *that* thread wait. A thread that finds nothing for as long as [`Polling::idle`] says sleeps,
    /// until a client wakes it.
    ///
    /// A client on its socket costs a system call per look, so that it is looked at less often while it is quiet: up to 63 turns
    /// are skipped. One client in a millisecond is looked after, so that the end of one among `n` is learned within about `n`
    /// milliseconds; falling asleep and waking costs some system calls for each client of the thread.
    ///
    /// ```no_run
    /// use strait_rpc::{Request, blocking::{Polling, Server}};
    ///
    /// let polling = Polling { threads: 2, ..Polling::default() };
    /// let double = |number: Request<u64>| Ok::<u64, String>(number.to_native() * 2);
    /// Server::bind("doubler")?.serve_polling(double, &polling)?;
    /// # Ok::<(), strait_rpc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve); [`Error::Pin`] for a processor that there is not, and `Error::Transport` of kind `Option` for
    /// anything else that is wrong with `polling`: then nobody was served.
    pub fn serve_polling<Req, Resp, E, F>(mut self, handler: F, polling: &Polling) -> Result<(), Error>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display + 'static,
        F: Fn(Request<Req, C>) -> Result<Resp, E> + Send + Sync + 'static,
        Req: 'static,
        Resp: 'static,
    {
        self.identify_single::<Req, Resp>();
        self.poll(Single::<C, Req, Resp, E, F>::new(handler), polling)
    }

    /// Serves several methods from dedicated threads: as [`serve_methods`](Self::serve_methods), in the way of
    /// [`serve_polling`](Self::serve_polling).
    ///
    /// # Errors
    ///
    /// As [`serve_polling`](Self::serve_polling).
    pub fn serve_methods_polling(mut self, methods: Methods<C>, polling: &Polling) -> Result<(), Error>
    where
        C: 'static,
    {
        self.listener.identify(SERVICE_RPC, CODEC_ANY, METHODS_SCHEMA);
        self.poll(methods, polling)
    }

    fn identify_single<Req, Resp>(&mut self)
    where
        C: Codec<Req> + Codec<Resp>,
        Req: 'static,
        Resp: 'static,
    {
        let schema = if self.schema == 0 { schema::<C, Req, Resp>() } else { self.schema };
        self.listener.identify(SERVICE_RPC, <C as Codec<Req>>::ID, schema);
    }

    fn shared<S: Service>(&self, service: S) -> Shared<S> {
        let description = Arc::new(service.description());
        Shared {
            observer: Observer::server(self.listener.name(), &description),
            description,
            service,
            counters: self.counters.clone(),
            policy: self.policy.clone(),
            total: Total::default(),
        }
    }

    fn poll<S: Service>(self, service: S, polling: &Polling) -> Result<(), Error> {
        let shared = self.shared(service);
        polling::serve(self.listener, &self.interrupt, &shared, polling)
    }

    fn run<S: Service>(self, service: S) -> Result<(), Error> {
        let shared = Arc::new(self.shared(service));
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        let outcome = accept(self.listener, &self.interrupt, |incoming| {
            threads.retain(|thread| !thread.is_finished());
            let (shared, interrupt) = (shared.clone(), self.interrupt.clone());
            let serve = move || serve_client(incoming, &shared, &interrupt);
            threads.push(std::thread::Builder::new().name("strait-rpc".into()).spawn(serve)?);
            Ok(())
        });
        for thread in threads {
            // The threads catch their handlers' panics; there is nothing else in them to fail.
            let _ = thread.join();
        }
        outcome
    }
}

/// Takes clients until `interrupt` is raised, and raises it where that fails. `serve` gives each a thread. No new clients
/// afterwards: those that still wait to be accepted learn it when this returns.
pub(super) fn accept(
    listener: Listener,
    interrupt: &Interrupt,
    mut serve: impl FnMut(Incoming) -> io::Result<()>,
) -> Result<(), Error> {
    let outcome = loop {
        match listener.accept() {
            Ok(Some(incoming)) => {
                if let Err(error) = serve(incoming) {
                    tracing::error!(target: "strait", %error, "no thread for a client: turned it away");
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    interrupt.raise();
    outcome
}

impl<C> fmt::Debug for Server<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.path()).finish_non_exhaustive()
    }
}
