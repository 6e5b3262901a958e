//! The server for threads: one thread per connection.

use std::{
    fmt::{self, Display},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
};

use strait_frame::{Codec, Rkyv};
use strait_transport::{
    Connection, Error as TransportError, Incoming, Interest, Interrupt, Listener, Message, Options, SendError,
    Transport, Wake,
};

use crate::{
    SERVICE_RPC,
    encode::{schema, send_error, send_header, send_value},
    error::{Code, Error},
    header::{Header, Kind},
    request::Request,
};

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
    /// Ends [`Server::serve`]: no new clients, no new calls; what was received is answered. May be called more than once.
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
        for thread in threads {
            // The threads catch their handlers' panics; there is nothing else in them to fail.
            let _ = thread.join();
        }
        outcome
    }
}

fn serve_client<C, Req, Resp, E, F>(incoming: Incoming, handler: &F, interrupt: &Interrupt)
where
    C: Codec<Req> + Codec<Resp>,
    E: Display,
    F: Fn(Request<Req, C>) -> Result<Resp, E>,
{
    let connection = match incoming.handshake() {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(target: "strait", %error, "a handshake failed");
            return;
        }
    };
    let mut session = Session { connection, hint: 0, going_away: false };
    match session.serve::<C, Req, Resp, E, F>(handler, interrupt) {
        Ok(()) | Err(TransportError::Closed) => tracing::info!(target: "strait", "a client left"),
        Err(error) => tracing::info!(target: "strait", %error, "a client is gone"),
    }
    session.connection.close();
}

/// One client.
struct Session {
    connection: Connection,
    hint: usize,
    going_away: bool,
}

impl Session {
    fn serve<C, Req, Resp, E, F>(&mut self, handler: &F, interrupt: &Interrupt) -> Result<(), TransportError>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display,
        F: Fn(Request<Req, C>) -> Result<Resp, E>,
    {
        loop {
            while let Some(message) = self.receive()? {
                self.answer::<C, Req, Resp, E, F>(message, handler)?;
                self.connection.publish()?;
            }
            if self.going_away {
                return Ok(());
            }
            if interrupt.is_raised() || self.connection.wait_ready(Interest::DATA, None)? == Wake::Interrupted {
                // What has been received is answered; what comes from here on is told that it was not executed.
                self.going_away = true;
                self.send(|connection| send_header(connection, Header::of(Kind::GoAway, 0)))?;
                self.connection.publish()?;
            }
        }
    }

    /// The next message; one whose checksum is wrong ends an rpc connection, because its call can't be answered.
    fn receive(&mut self) -> Result<Option<Message>, TransportError> {
        self.connection.try_recv().map_err(|error| match error {
            TransportError::Checksum { .. } => {
                TransportError::Corrupt { what: format!("an rpc request was lost: {error}").into() }
            }
            error => error,
        })
    }

    fn answer<C, Req, Resp, E, F>(&mut self, message: Message, handler: &F) -> Result<(), TransportError>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display,
        F: Fn(Request<Req, C>) -> Result<Resp, E>,
    {
        let header = Header::decode(&message).map_err(|what| TransportError::Corrupt { what: what.into() })?;
        match header.kind {
            Kind::Request => {}
            // By the time that this thread reads it, the call has been answered.
            Kind::Cancel => return Ok(()),
            kind => {
                return Err(TransportError::Corrupt {
                    what: format!("a message of kind {kind:?} from a client").into(),
                });
            }
        }
        let call = header.call;
        if self.going_away {
            return self.send(|connection| send_error(connection, call, Code::SHUTTING_DOWN, "try another server"));
        }
        if header.method != 0 {
            let text = format!("this service has only method 0, the call is for {}", header.method);
            return self.send(|connection| send_error(connection, call, Code::UNKNOWN_METHOD, &text));
        }
        if header.deadline.is_some_and(|left| left.is_zero()) {
            return self.send(|connection| send_error(connection, call, Code::DEADLINE, "it was not executed"));
        }
        let request = match Request::<Req, C>::open(message, header.deadline) {
            Ok(request) => request,
            Err(error) => {
                let text = error.to_string();
                return self.send(|connection| send_error(connection, call, Code::BAD_REQUEST, &text));
            }
        };
        match catch_unwind(AssertUnwindSafe(|| handler(request))) {
            Ok(Ok(reply)) => self.reply::<C, Resp>(call, &reply),
            Ok(Err(error)) => {
                let text = error.to_string();
                self.send(|connection| send_error(connection, call, Code::HANDLER, &text))
            }
            Err(_panic) => {
                tracing::error!(target: "strait", call, "a handler panicked");
                self.send(|connection| send_error(connection, call, Code::PANICKED, "see the server's log"))
            }
        }
    }

    fn reply<C, Resp>(&mut self, call: u32, reply: &Resp) -> Result<(), TransportError>
    where
        C: Codec<Resp>,
    {
        let mut hint = self.hint;
        let sent =
            self.send(|connection| send_value::<C, Resp>(connection, Header::of(Kind::Reply, call), reply, &mut hint));
        self.hint = hint;
        match sent {
            Err(error @ (TransportError::TooLarge { .. } | TransportError::Encode(_))) => {
                let text = error.to_string();
                self.send(|connection| send_error(connection, call, Code::BAD_REPLY, &text))
            }
            other => other,
        }
    }

    /// Sends, waiting for room as long as the client is there. It is this client's own ring: nobody else waits for it.
    fn send(&mut self, mut send: impl FnMut(&mut Connection) -> Result<(), SendError>) -> Result<(), TransportError> {
        loop {
            match send(&mut self.connection) {
                Ok(()) => return Ok(()),
                Err(SendError::Failed(error)) => return Err(error),
                Err(_) => {}
            }
            if self.connection.wait_ready(Interest::SPACE, None)? == Wake::Interrupted {
                // A client that reads nothing must not keep the server from ending.
                return Err(TransportError::TimedOut { what: "the last reply to a client" });
            }
        }
    }
}

impl<C> fmt::Debug for Server<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.path()).finish_non_exhaustive()
    }
}
