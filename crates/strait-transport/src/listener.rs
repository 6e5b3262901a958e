//! Offering a service under a name.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU32, atomic::Ordering},
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::Mode,
    io::Errno,
    net::SocketFlags,
};

use strait_sync::fail_point;

use crate::{
    connect::{Opening, address, unix_socket},
    connection::{Connection, Permit},
    error::{Error, Refusal},
    options::Options,
    runtime_dir::{RuntimeDir, check_name},
    transport::Wake,
    waiting::{Interrupt, timespec},
};

/// How long to wait for a descriptor before the next try.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// What a look at the queue of clients found.
enum Accepted {
    Client(Box<Incoming>),
    Nobody,
    /// One that was turned away. Others have their turn before the next is looked at: clients that come without end must not
    /// keep the server from ending.
    TurnedAway,
    /// Somebody, who could be neither taken nor turned away.
    NoDescriptor,
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// A bound service.
///
/// Its socket is the service's only name. It is removed when the listener is dropped by the process that bound it (or
/// [adopted](Listener::adopt) it); after a kill it stays, and the next server replaces it. A blocking listener maps nothing
/// and may cross a `fork`.
pub struct Listener {
    socket: Option<Socket>,
    /// Given up for a moment where no descriptor is left, so that a waiting client can be told by a hang-up.
    spare: std::sync::Mutex<Option<OwnedFd>>,
    dir: RuntimeDir,
    name: Arc<str>,
    identity: Option<(u64, u64)>,
    owner_pid: AtomicU32,
    options: Options,
    interrupt: Option<Arc<Interrupt>>,
    clients: Arc<AtomicU32>,
    pending: Arc<AtomicU32>,
}

enum Socket {
    Blocking(OwnedFd),
    #[cfg(feature = "tokio")]
    Async(tokio::io::unix::AsyncFd<OwnedFd>),
}

impl AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Blocking(fd) => fd.as_fd(),
            #[cfg(feature = "tokio")]
            Self::Async(fd) => fd.get_ref().as_fd(),
        }
    }
}

impl Listener {
    /// Binds the service `name`, for blocking use. `interrupt` ends waits on the listener and on all its connections.
    ///
    /// # Errors
    ///
    /// [`Error::Name`], [`Error::Option`], [`Error::RuntimeDir`], [`Error::NameTaken`] where a server is listening.
    pub fn bind(name: &str, options: &Options, interrupt: Option<Arc<Interrupt>>) -> Result<Self, Error> {
        Self::bound(name, options, interrupt)
    }

    /// Binds the service `name`, for async use on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    #[cfg(feature = "tokio")]
    pub fn bind_async(name: &str, options: &Options) -> Result<Self, Error> {
        let mut listener = Self::bound(name, options, None)?;
        if let Some(Socket::Blocking(fd)) = listener.socket.take() {
            listener.socket = Some(Socket::Async(crate::waiting::register(fd, tokio::io::Interest::READABLE)?));
        }
        Ok(listener)
    }

    fn bound(name: &str, options: &Options, interrupt: Option<Arc<Interrupt>>) -> Result<Self, Error> {
        check_name(name)?;
        options.check()?;
        let dir = RuntimeDir::open(options.runtime_dir.as_deref())?;
        let lock = dir.lock()?;
        fail_point!("bind.locked");
        let at = address(&dir.socket_address(name))?;
        let probe = unix_socket()?;
        match rustix::net::connect(&probe, &at) {
            Ok(()) | Err(Errno::AGAIN) => return Err(Error::NameTaken { path: dir.socket_path(name) }),
            Err(Errno::CONNREFUSED) => {
                tracing::info!(target: "strait", service = name, "replacing the socket of a server that is gone");
                dir.unlink(name).map_err(|error| Error::io("removing a stale socket", error))?;
                fail_point!("bind.replaced");
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::io("looking for another server", error)),
        }
        let socket = unix_socket()?;
        // The mode of the file that `bind` makes (unix(7)); the directory keeps others out in any case.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|error| Error::io("fchmod", error))?;
        rustix::net::bind(&socket, &at).map_err(|error| Error::io("bind", error))?;
        fail_point!("bind.bound");
        rustix::net::listen(&socket, BACKLOG).map_err(|error| Error::io("listen", error))?;
        fail_point!("bind.listening");
        let identity = dir.identity(name);
        drop(lock);
        fail_point!("bind.done");
        let spare = spare();
        Ok(Self {
            socket: Some(Socket::Blocking(socket)),
            spare: std::sync::Mutex::new(spare),
            dir,
            name: name.into(),
            identity,
            owner_pid: AtomicU32::new(std::process::id()),
            options: options.clone(),
            interrupt,
            clients: Arc::default(),
            pending: Arc::default(),
        })
    }

    /// Says what the service speaks, which every client's `Hello` is checked against. Call it before the first `accept`.
    pub fn identify(&mut self, service: u8, codec: u8, schema: u64) {
        (self.options.service, self.options.codec, self.options.schema) = (service, codec, schema);
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The socket's path.
    pub fn path(&self) -> PathBuf {
        self.dir.socket_path(&self.name)
    }

    /// Connections that are open.
    pub fn clients(&self) -> u32 {
        // ORDERING: Relaxed; a momentary count.
        self.clients.load(Ordering::Relaxed)
    }

    /// Makes this process the one that removes the socket: for the child of a server that forks into the background.
    pub fn adopt(&self) {
        // ORDERING: Relaxed; only this process uses its own copy.
        self.owner_pid.store(std::process::id(), Ordering::Relaxed);
    }

    /// Waits for a client, and returns before its handshake. `None` after [`Interrupt::raise`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; running out of descriptors is none, the client is turned away and the wait goes on.
    pub fn accept(&self) -> Result<Option<Incoming>, Error> {
        self.accept_until(None)
    }

    /// As [`accept`](Self::accept), until `deadline`, by which the handshake that follows has to end too.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept); [`Error::TimedOut`] where nobody came.
    pub fn accept_until(&self, deadline: Option<Instant>) -> Result<Option<Incoming>, Error> {
        loop {
            match self.try_accept(false)? {
                Accepted::Client(mut incoming) => {
                    incoming.deadline = deadline.map_or(incoming.deadline, |limit| limit.min(incoming.deadline));
                    return Ok(Some(*incoming));
                }
                Accepted::Nobody | Accepted::TurnedAway => {}
                Accepted::NoDescriptor => std::thread::sleep(PAUSE),
            }
            match self.wait(deadline)? {
                Wake::Interrupted => return Ok(None),
                Wake::TimedOut => return Err(Error::TimedOut { what: "waiting for a client" }),
                Wake::Ready => {}
            }
        }
    }

    /// Waits for a client in a task.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept); [`Error::Usage`] on a blocking listener.
    #[cfg(feature = "tokio")]
    pub async fn accept_async(&self) -> Result<Incoming, Error> {
        let Some(Socket::Async(socket)) = &self.socket else {
            return Err(Error::Usage("this listener was bound for blocking use: bind it with the async API"));
        };
        loop {
            let mut ready = socket.readable().await.map_err(|error| Error::io("waiting for clients", error))?;
            match self.try_accept(true)? {
                Accepted::Client(incoming) => return Ok(*incoming),
                Accepted::Nobody => ready.clear_ready(),
                Accepted::TurnedAway => tokio::task::yield_now().await,
                Accepted::NoDescriptor => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn wait(&self, deadline: Option<Instant>) -> Result<Wake, Error> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(std::time::Duration::ZERO) {
            return Ok(Wake::TimedOut);
        }
        let socket = self.socket()?;
        let fds = [
            Some(PollFd::new(socket, PollFlags::IN)),
            self.interrupt.as_ref().map(|interrupt| PollFd::from_borrowed_fd(interrupt.fd(), PollFlags::IN)),
        ];
        let mut fds: Vec<_> = fds.into_iter().flatten().collect();
        match poll(&mut fds, left.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::io("poll", error)),
        }
        let interrupted = self.interrupt.as_ref().is_some_and(|interrupt| interrupt.is_raised());
        Ok(if interrupted { Wake::Interrupted } else { Wake::Ready })
    }

    fn socket(&self) -> Result<&Socket, Error> {
        self.socket.as_ref().ok_or(Error::Usage("the listener is closed"))
    }

    /// The next client that waits, if one does. One that is turned away counts as none.
    fn try_accept(&self, is_async: bool) -> Result<Accepted, Error> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match rustix::net::accept_with(self.socket()?, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(Accepted::Nobody),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::MFILE | Errno::NFILE) => {
                    return Ok(if self.turn_away() { Accepted::TurnedAway } else { Accepted::NoDescriptor });
                }
                Err(error) => return Err(Error::io("accept", error)),
            };
            fail_point!("accept.accepted");
            let service = self.name.clone();
            let opening = Opening::accepted(socket, is_async, service, self.options.clone(), self.interrupt.clone());
            let mut opening = match opening {
                Ok(opening) => opening,
                Err(error) => {
                    tracing::debug!(target: "strait", %error, "turned a client away");
                    return Ok(Accepted::TurnedAway);
                }
            };
            let limits = &self.options.limits;
            let Some(permit) = Permit::take(&self.clients, limits.max_clients) else {
                opening.refuse(Refusal::Busy { server: limits.max_clients.into() });
                return Ok(Accepted::TurnedAway);
            };
            let Some(pending) = Permit::take(&self.pending, limits.max_pending_handshakes) else {
                opening.refuse(Refusal::Busy { server: limits.max_pending_handshakes.into() });
                return Ok(Accepted::TurnedAway);
            };
            opening.set_permit(permit);
            let deadline = Instant::now() + limits.handshake_timeout;
            return Ok(Accepted::Client(Box::new(Incoming { opening, deadline, _pending: pending })));
        }
    }

    /// No descriptor is left: uses the spare one to take the client and let it go, so that it learns of it at once. False where
    /// that failed too.
    fn turn_away(&self) -> bool {
        tracing::warn!(target: "strait", service = &*self.name, "no descriptor left: turning a client away (raise `ulimit -n`)");
        let mut place = self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *place = None;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let turned_away = self.socket().is_ok_and(|socket| rustix::net::accept_with(socket, flags).is_ok());
        *place = spare();
        turned_away
    }
}

fn spare() -> Option<OwnedFd> {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).ok()
}

impl Drop for Listener {
    fn drop(&mut self) {
        // ORDERING: Relaxed; see `adopt`.
        if self.owner_pid.load(Ordering::Relaxed) != std::process::id() {
            // A forked child closes its copy of the socket, or it would keep the service's name; but a runtime is the parent's.
            #[cfg(feature = "tokio")]
            if matches!(self.socket, Some(Socket::Async(_))) {
                std::mem::forget(self.socket.take());
            }
            return;
        }
        // Under the lock, and only if it is still this listener's: a successor may have replaced it.
        let Ok(_lock) = self.dir.lock() else { return };
        fail_point!("unbind.locked");
        if self.identity.is_some() && self.dir.identity(&self.name) == self.identity {
            let _ = self.dir.unlink(&self.name);
            fail_point!("unbind.removed");
        }
        self.socket = None;
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// A client whose handshake is still to come.
pub struct Incoming {
    opening: Opening,
    deadline: Instant,
    _pending: Permit,
}

impl Incoming {
    /// Does the handshake in this thread. Do it in a thread of the connection's own: a slow client must not hold up others.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with what the client was told; [`Error::TimedOut`], [`Error::Corrupt`], [`Error::PeerGone`].
    pub fn handshake(mut self) -> Result<Connection, Error> {
        self.opening.block(self.deadline, |opening| opening.advance_server())
    }

    /// Does the handshake in a task.
    ///
    /// # Errors
    ///
    /// As [`handshake`](Self::handshake).
    #[cfg(feature = "tokio")]
    pub async fn handshake_async(mut self) -> Result<Connection, Error> {
        let handshake = std::future::poll_fn(|cx| self.opening.poll(cx, |opening| opening.advance_server()));
        let timeout = Error::TimedOut { what: "the handshake" };
        tokio::time::timeout_at(self.deadline.into(), handshake).await.unwrap_or(Err(timeout))
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Where the socket of service `name` lies, by the options or the environment.
///
/// # Errors
///
/// [`Error::Name`], [`Error::RuntimeDir`].
pub fn socket_path(name: &str, runtime_dir: Option<&Path>) -> Result<PathBuf, Error> {
    check_name(name)?;
    Ok(RuntimeDir::open(runtime_dir)?.socket_path(name))
}
