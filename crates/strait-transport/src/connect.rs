//! Opening a connection, from either side: the part of the handshake that ends with `Welcome`.

use std::{os::fd::OwnedFd, path::Path, sync::Arc, time::Instant};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use strait_sync::fail_point;

use crate::{
    connection::{Connection, Permit},
    error::{Error, Refusal},
    handshake::{Settled, client::AwaitWelcome, frames::Control, server},
    options::Options,
    peer::check_same_user,
    runtime_dir::{RuntimeDir, check_name},
    socket::framed::{Frame, Framed},
    transport::{Sleep, Wake},
    unix::Unix,
    waiting::{Interrupt, Link, Wants},
};

const HANDSHAKE: Error = Error::TimedOut { what: "the handshake" };

impl Connection {
    /// Connects to the service `name`, for blocking use. Returns after `Welcome`; shared memory follows by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Name`], [`Error::Option`], [`Error::RuntimeDir`] for what was given; [`Error::NoServer`],
    /// [`Error::Refused`], [`Error::OtherUser`], [`Error::TimedOut`] (after `limits.handshake_timeout`) for the server.
    pub fn connect(name: &str, options: &Options) -> Result<Self, Error> {
        let deadline = Instant::now() + options.limits.handshake_timeout;
        let dial = Dial::new(name, options)?;
        let socket = loop {
            match dial.attempt()? {
                Some(socket) => break socket,
                None if Instant::now() >= deadline => return Err(HANDSHAKE),
                // The server's queue is full.
                None => std::thread::sleep(Dial::PAUSE),
            }
        };
        let mut opening = dial.greet(socket, false)?;
        opening.block(deadline, |opening| opening.advance_client())
    }

    /// Connects to the service `name`, for async use on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    #[cfg(feature = "tokio")]
    pub async fn connect_async(name: &str, options: &Options) -> Result<Self, Error> {
        let connect = async {
            let dial = Dial::new(name, options)?;
            let socket = loop {
                match dial.attempt()? {
                    Some(socket) => break socket,
                    None => tokio::time::sleep(Dial::PAUSE).await,
                }
            };
            let mut opening = dial.greet(socket, true)?;
            std::future::poll_fn(|cx| opening.poll(cx, |opening| opening.advance_client())).await
        };
        tokio::time::timeout(options.limits.handshake_timeout, connect).await.unwrap_or(Err(HANDSHAKE))
    }
}

/// What a client needs to reach a service.
struct Dial<'a> {
    name: &'a str,
    options: &'a Options,
    dir: RuntimeDir,
}

impl<'a> Dial<'a> {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

    fn new(name: &'a str, options: &'a Options) -> Result<Self, Error> {
        check_name(name)?;
        options.check()?;
        let dir = RuntimeDir::open(options.runtime_dir.as_deref())?;
        Ok(Self { name, options, dir })
    }

    /// Tries once; `None` where the server is there but its queue is full.
    fn attempt(&self) -> Result<Option<OwnedFd>, Error> {
        let socket = unix_socket()?;
        // Before connecting, so that even the first bytes carry the pidfd of who sends them.
        let _ = crate::socket::fds::set_pass_pidfd(std::os::fd::AsFd::as_fd(&socket), true);
        match rustix::net::connect(&socket, &address(&self.dir.socket_address(self.name))?) {
            Ok(()) => {
                fail_point!("connect.connected");
                Ok(Some(socket))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Err(Error::NoServer { path: self.dir.socket_path(self.name) }),
            Err(error) => Err(Error::io("connect", error)),
        }
    }

    fn greet(&self, socket: OwnedFd, is_async: bool) -> Result<Opening, Error> {
        Opening::greeting(socket, is_async, self.name.into(), self.options.clone())
    }
}

/// A connected socket before `Welcome`.
pub(crate) struct Opening {
    /// Taken when the connection is made of it.
    framed: Option<Framed>,
    await_welcome: Option<AwaitWelcome>,
    service: Arc<str>,
    options: Options,
    permit: Option<Permit>,
}

impl Opening {
    /// A client's side, for a socket that leads to the server: `Hello` is sent.
    pub(crate) fn greeting(
        socket: OwnedFd,
        is_async: bool,
        service: Arc<str>,
        options: Options,
    ) -> Result<Self, Error> {
        check_same_user(std::os::fd::AsFd::as_fd(&socket))?;
        let link = Arc::new(Link::new(socket, is_async, None)?);
        let mut framed = Framed::new(link, options.limits.max_control_bytes);
        let await_welcome = Some(AwaitWelcome::hello(&mut framed, &options)?);
        fail_point!("handshake.hello_sent");
        Ok(Self { framed: Some(framed), await_welcome, service, options, permit: None })
    }

    /// A server's side, for a socket that was just accepted.
    pub(crate) fn accepted(
        socket: OwnedFd,
        is_async: bool,
        service: Arc<str>,
        options: Options,
        interrupt: Option<Arc<Interrupt>>,
    ) -> Result<Self, Error> {
        let user = check_same_user(std::os::fd::AsFd::as_fd(&socket));
        let link = Arc::new(Link::new(socket, is_async, interrupt)?);
        let mut framed = Framed::new(link, options.limits.max_control_bytes);
        if let Err(error) = user {
            if let Error::OtherUser { expected, found } = error {
                server::refuse(&mut framed, Refusal::User { server: expected.into(), client: found.into() });
            }
            return Err(error);
        }
        Ok(Self { framed: Some(framed), await_welcome: None, service, options, permit: None })
    }

    pub(crate) fn set_permit(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// Sends a refusal; the connection ends when `self` is dropped.
    pub(crate) fn refuse(mut self, refusal: Refusal) {
        if let Some(framed) = &mut self.framed {
            server::refuse(framed, refusal);
        }
    }

    /// The next control frame, if it has come. Data frames have no place here.
    fn control(&mut self) -> Result<Option<Control>, Error> {
        let framed = self.framed.as_mut().ok_or(HANDSHAKE)?;
        // A server that refused may be gone: what it said is read before its end is told.
        let flushed = framed.flush();
        match framed.next()? {
            None => flushed.map(|()| None),
            Some(Frame::Data(_)) => Err(Error::corrupt("a message before the handshake was done")),
            // Descriptors have no place here either: dropping them closes them.
            Some(Frame::Control(buffer, size, ..)) => Control::decode(&buffer.bytes()[..size]).map(Some),
        }
    }

    pub(crate) fn advance_client(&mut self) -> Result<Option<Connection>, Error> {
        let Some(answer) = self.control()? else { return Ok(None) };
        let state = self.await_welcome.take().ok_or(HANDSHAKE)?;
        let settled = state.on_answer(answer, &self.options)?;
        fail_point!("handshake.welcome_taken");
        self.finish(settled, Unix::client)
    }

    pub(crate) fn advance_server(&mut self) -> Result<Option<Connection>, Error> {
        let Some(hello) = self.control()? else { return Ok(None) };
        fail_point!("handshake.hello_taken");
        let framed = self.framed.as_mut().ok_or(HANDSHAKE)?;
        let settled = server::AwaitHello.on_hello(hello, &self.options, framed)?;
        self.finish(settled, Unix::server)
    }

    fn finish(
        &mut self,
        settled: Settled,
        side: fn(Framed, Settled, Arc<str>, crate::Receive, bool) -> Unix,
    ) -> Result<Option<Connection>, Error> {
        let framed = self.framed.take().ok_or(HANDSHAKE)?;
        tracing::info!(target: "strait", service = &*self.service, "connected");
        let mut unix = side(framed, settled, self.service.clone(), self.options.receive, self.options.shared_memory);
        unix.set_state_wishes(&self.options);
        unix.show_at_sleep(self.options.limits.max_shown_sockets);
        Ok(Some(Connection::unix(unix, &self.options, self.permit.take())))
    }

    /// Drives `advance` in a thread.
    pub(crate) fn block(
        &mut self,
        deadline: Instant,
        mut advance: impl FnMut(&mut Self) -> Result<Option<Connection>, Error>,
    ) -> Result<Connection, Error> {
        loop {
            if let Some(connection) = advance(self)? {
                return Ok(connection);
            }
            let framed = self.framed.as_ref().ok_or(HANDSHAKE)?;
            framed.link().set_wants(Wants { output: framed.has_output(), ..Wants::INPUT });
            match framed.link().sleep(Some(deadline))? {
                // A child of a dead peer may keep the socket open, so that no end ever comes.
                Wake::Ready if framed.link().peer_is_dead() => return advance(self)?.ok_or(Error::PeerGone),
                Wake::Ready => {}
                Wake::TimedOut => return Err(HANDSHAKE),
                Wake::Interrupted => return Err(Error::Closed),
            }
        }
    }

    /// Drives `advance` in a task.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll(
        &mut self,
        cx: &mut std::task::Context<'_>,
        mut advance: impl FnMut(&mut Self) -> Result<Option<Connection>, Error>,
    ) -> std::task::Poll<Result<Connection, Error>> {
        use std::task::{Poll, ready};
        loop {
            if let Some(connection) = advance(self)? {
                return Poll::Ready(Ok(connection));
            }
            let framed = self.framed.as_ref().ok_or(HANDSHAKE)?;
            framed.link().set_wants(Wants { output: framed.has_output(), ..Wants::INPUT });
            ready!(framed.link().poll_readable(cx))?;
            if framed.link().peer_is_dead() {
                return Poll::Ready(advance(self)?.ok_or(Error::PeerGone));
            }
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        // A handshake that fails ends for the peer too, even where a forked child has the socket as well.
        if let Some(framed) = &self.framed
            && framed.link().check_fork().is_ok()
        {
            framed.link().shutdown();
        }
    }
}

/// A stream socket that never blocks and is not inherited.
pub(crate) fn unix_socket() -> Result<OwnedFd, Error> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| Error::io("socket", error))
}

pub(crate) fn address(path: &Path) -> Result<SocketAddrUnix, Error> {
    SocketAddrUnix::new(path).map_err(|error| Error::io("making a socket address", error))
}
