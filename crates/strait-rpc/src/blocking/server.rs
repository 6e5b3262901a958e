//! The server for threads: one thread per connection.

use std::{
    fmt::{self, Display},
    marker::PhantomData,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
};

use strait_frame::{Codec, Rkyv};
use strait_transport::{Interrupt, Listener, Options};

use super::session::serve_client;
use crate::{SERVICE_RPC, encode::schema, error::Error, request::Request};

/// A service whose handler runs in threads, one per connection.
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
    codec: PhantomData<fn() -> C>,
}

/// Shuts a server down from anywhere.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    interrupt: Arc<Interrupt>,
}

impl ServerHandle {
    /// Ends [`Server::serve`]: no new clients, no new calls; what was received is executed and answered, and a client that does
    /// not read its answers is given a second. May be called more than once.
    pub fn shutdown(&self) {
        self.interrupt.raise();
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
        let listener = Listener::bind(name, options, Some(interrupt.clone()))?;
        Ok(Self { listener, schema: options.schema, interrupt, codec: PhantomData })
    }

    /// A handle that shuts the server down.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { interrupt: self.interrupt.clone() }
    }

    /// Where the service's socket lies.
    pub fn path(&self) -> PathBuf {
        self.listener.path()
    }

    /// Serves until [`ServerHandle::shutdown`]. The handler runs on the connection's thread; one connection's calls are
    /// answered in order, different connections' at once.
    ///
    /// A handler that returns an error or panics answers its call with that, and the server goes on.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where the system refuses to accept clients. What goes wrong with one client ends its connection
    /// alone, and is logged.
    pub fn serve<Req, Resp, E, F>(mut self, handler: F) -> Result<(), Error>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display,
        F: Fn(Request<Req, C>) -> Result<Resp, E> + Send + Sync + 'static,
        Req: 'static,
        Resp: 'static,
    {
        let schema = if self.schema == 0 { schema::<C, Req, Resp>() } else { self.schema };
        self.listener.identify(SERVICE_RPC, <C as Codec<Req>>::ID, schema);
        let handler = Arc::new(handler);
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        let outcome = loop {
            match self.listener.accept() {
                Ok(Some(incoming)) => {
                    threads.retain(|thread| !thread.is_finished());
                    let (handler, interrupt) = (handler.clone(), self.interrupt.clone());
                    let serve = move || serve_client::<C, Req, Resp, E, F>(incoming, &handler, &interrupt);
                    match std::thread::Builder::new().name("strait-rpc".into()).spawn(serve) {
                        Ok(thread) => threads.push(thread),
                        Err(error) => {
                            tracing::error!(target: "strait", %error, "no thread for a client: turned it away")
                        }
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        self.interrupt.raise();
        // No new clients: those that still wait to be accepted learn it now.
        drop(self.listener);
        for thread in threads {
            // The threads catch their handlers' panics; there is nothing else in them to fail.
            let _ = thread.join();
        }
        outcome
    }
}

impl<C> fmt::Debug for Server<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.path()).finish_non_exhaustive()
    }
}
