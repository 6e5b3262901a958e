//! The descriptors of one connection, and sleeping on them.
//!
//! A connection sleeps on its socket and on the pidfd of its peer. A doorbell byte, a hang-up and a death all end the sleep,
//! whichever comes first; nothing here runs on a timer.

#[cfg(feature = "tokio")]
use std::task::{Context, Poll, Waker};
use std::{
    mem::ManuallyDrop,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
#[cfg(feature = "tokio")]
use tokio::io::{Interest as TokioInterest, unix::AsyncFd};

use crate::{
    error::Error,
    transport::{Sleep, Wake},
};

/// Wakes threads that wait on connections: all of them, at once, for good.
///
/// ```
/// let interrupt = strait_transport::Interrupt::new().unwrap();
/// assert!(!interrupt.is_raised());
/// interrupt.raise();
/// assert!(interrupt.is_raised());
/// ```
#[derive(Debug)]
pub struct Interrupt {
    event: OwnedFd,
    raised: AtomicBool,
}

impl Interrupt {
    /// Makes one that is not raised.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where no descriptor is left.
    pub fn new() -> Result<Self, Error> {
        let event =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| Error::io("eventfd", error))?;
        Ok(Self { event, raised: AtomicBool::new(false) })
    }

    /// Ends every wait on it, present and future.
    pub fn raise(&self) {
        // ORDERING: Release; pairs with the Acquire in `is_raised`.
        self.raised.store(true, Ordering::Release);
        // The only failure of an eventfd write is a counter that is full, and then it is readable, which is all we want.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Whether somebody raised it.
    pub fn is_raised(&self) -> bool {
        // ORDERING: Acquire; pairs with the Release in `raise`.
        self.raised.load(Ordering::Acquire)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Registers a descriptor with the tokio runtime that runs the caller.
#[cfg(feature = "tokio")]
#[allow(unsafe_code)]
pub(crate) fn register(fd: OwnedFd, interest: TokioInterest) -> Result<AsyncFd<OwnedFd>, Error> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(Error::Usage(
            "async connections need a tokio runtime: call this from inside one, or use the blocking API",
        ));
    }
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }
        .map_err(|error| Error::io("registering with the runtime", std::io::Error::from(error)))
}

enum Descriptor {
    Blocking(OwnedFd),
    #[cfg(feature = "tokio")]
    Async(AsyncFd<OwnedFd>),
}

impl Descriptor {
    fn new(fd: OwnedFd, is_async: bool) -> Result<Self, Error> {
        #[cfg(feature = "tokio")]
        if is_async {
            // A pidfd is never writable; it costs nothing to ask.
            return Ok(Self::Async(register(fd, TokioInterest::READABLE | TokioInterest::WRITABLE)?));
        }
        let _ = is_async;
        Ok(Self::Blocking(fd))
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Blocking(fd) => fd.as_fd(),
            #[cfg(feature = "tokio")]
            Self::Async(fd) => fd.get_ref().as_fd(),
        }
    }
}

/// What a sleep waits for at the socket, besides the peer's end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    /// Bytes to read.
    pub(crate) input: bool,
    /// Room for the output that waits.
    pub(crate) output: bool,
    /// Something that nobody can tell of: the sleep is cut into short ones.
    pub(crate) nap: bool,
}

impl Wants {
    pub(crate) const INPUT: Self = Self { input: true, output: false, nap: false };

    fn bits(self) -> u8 {
        u8::from(self.input) | u8::from(self.output) << 1 | u8::from(self.nap) << 2
    }

    fn of(bits: u8) -> Self {
        Self { input: bits & 1 != 0, output: bits & 2 != 0, nap: bits & 4 != 0 }
    }

    fn flags(self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.input);
        flags.set(PollFlags::OUT, self.output);
        flags
    }
}

/// How a sleeper is told that what it waits for has changed under it.
#[derive(Default)]
struct Kick {
    /// For a thread that sleeps without the connection: see [`Link::share`].
    event: Option<Arc<OwnedFd>>,
    /// The next sleep that it ends is the last one that it is for.
    retired: bool,
    /// For a task that waits on the socket.
    #[cfg(feature = "tokio")]
    waker: Option<Waker>,
}

/// The descriptors of one connection.
pub(crate) struct Link {
    // Not dropped in a forked child: the runtime that they are registered with is the parent's.
    socket: ManuallyDrop<Descriptor>,
    pidfd: ManuallyDrop<OnceLock<Descriptor>>,
    interrupt: Option<Arc<Interrupt>>,
    /// The bits of a [`Wants`].
    wants: AtomicU8,
    kick: Mutex<Kick>,
    always_naps: AtomicBool,
    is_async: bool,
    fork: strait_region::ForkToken,
}

/// Length of a nap.
pub(crate) const NAP: Duration = Duration::from_millis(1);

pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

impl Link {
    /// Takes over a connected socket. `is_async` registers it with the tokio runtime that runs the caller.
    pub(crate) fn new(socket: OwnedFd, is_async: bool, interrupt: Option<Arc<Interrupt>>) -> Result<Self, Error> {
        // Older kernels have no pidfd to pass; then a hang-up alone tells of a death.
        let _ = super::socket::fds::set_pass_pidfd(socket.as_fd(), true);
        let fork = strait_region::ForkToken::current().map_err(|error| Error::io("mapping the fork page", error))?;
        let socket = Descriptor::new(socket, is_async)?;
        let (pidfd, wants, kick) = (OnceLock::new(), AtomicU8::new(Wants::INPUT.bits()), Mutex::default());
        let always_naps = AtomicBool::new(false);
        let (socket, pidfd) = (ManuallyDrop::new(socket), ManuallyDrop::new(pidfd));
        Ok(Self { socket, pidfd, interrupt, wants, kick, always_naps, is_async, fork })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    #[inline]
    pub(crate) fn check_fork(&self) -> Result<(), Error> {
        self.fork.check().map_err(|_| Error::Forked)
    }

    /// Keeps the first pidfd that comes; later ones are closed, and no more are asked for: each would cost a descriptor.
    pub(crate) fn keep_pidfd(&self, pidfd: OwnedFd) {
        if self.pidfd.get().is_none() {
            // Where the runtime refuses it, hang-up alone tells of a death.
            if let Ok(pidfd) = Descriptor::new(pidfd, self.is_async) {
                let _ = self.pidfd.set(pidfd);
                self.stop_passing_pidfds();
            }
        }
    }

    /// No pidfds with doorbells.
    pub(crate) fn stop_passing_pidfds(&self) {
        let _ = super::socket::fds::set_pass_pidfd(self.fd(), false);
    }

    /// Says what the next sleep is for.
    pub(crate) fn set_wants(&self, wants: Wants) {
        // ORDERING: Relaxed; for this side's own next sleep, which the same thread begins or a lock orders.
        self.wants.store(wants.bits(), Ordering::Relaxed);
    }

    pub(crate) fn wants(&self) -> Wants {
        // ORDERING: Relaxed; see `set_wants`.
        Wants::of(self.wants.load(Ordering::Relaxed))
    }

    fn kick_state(&self) -> std::sync::MutexGuard<'_, Kick> {
        self.kick.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares for a thread that sleeps here while others use the connection: what they change must reach its sleep.
    pub(crate) fn share(&self) {
        let mut kick = self.kick_state();
        if kick.event.is_none() {
            // Without a descriptor left, that thread naps instead: see `sleep`.
            kick.event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok().map(Arc::new);
            // ORDERING: Relaxed; read by the sleep that follows, on this thread or after a lock.
            self.always_naps.store(kick.event.is_none(), Ordering::Relaxed);
        }
    }

    /// Wakes whoever sleeps or waits here: what it waits for has changed.
    pub(crate) fn kick(&self) {
        #[cfg(feature = "tokio")]
        let waker = {
            let mut kick = self.kick_state();
            if let Some(event) = &kick.event {
                let _ = rustix::io::write(event, &1u64.to_ne_bytes());
            }
            kick.waker.take()
        };
        #[cfg(feature = "tokio")]
        if let Some(waker) = waker {
            waker.wake();
        }
        #[cfg(not(feature = "tokio"))]
        if let Some(event) = &self.kick_state().event {
            let _ = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }

    /// Undoes [`share`](Self::share), with a last kick: from here on rings do. Whoever has armed before and goes to sleep only
    /// now must still get it.
    pub(crate) fn unshare(&self) {
        self.kick();
        self.kick_state().retired = true;
        // ORDERING: Relaxed; see `share`.
        self.always_naps.store(false, Ordering::Relaxed);
    }

    /// Adds what a sleep on many connections watches here; whether that sleep must be a nap.
    pub(crate) fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) -> bool {
        let wants = self.wants();
        fds.push(PollFd::new(&*self.socket, wants.flags()));
        fds.extend(self.pidfd.get().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        wants.nap
    }

    /// Whether the peer has hung up: it reads and writes no more. What it wrote may still be there.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&*self.socket, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Whether the process that sent the peer's bytes is dead.
    pub(crate) fn peer_is_dead(&self) -> bool {
        let Some(pidfd) = self.pidfd.get() else { return false };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Ends the connection for both sides.
    pub(crate) fn shutdown(&self) {
        let _ = rustix::net::shutdown(self.fd(), rustix::net::Shutdown::Both);
    }

    /// As [`poll_readable`](Self::poll_readable), and [`kick`](Self::kick) wakes it too.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_kickable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.kick_state().waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        self.poll_readable(cx)
    }

    /// Waits in a task until the socket or the pidfd has something; then the caller must look at the socket until it would
    /// block, or the wait ends at once again.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Descriptor::Async(socket) = &*self.socket else {
            return Poll::Ready(Err(Error::Usage(
                "this connection was opened for blocking use: open it with the async API",
            )));
        };
        let failed = |error| Error::io("waiting in the runtime", error);
        if self.wants().output {
            match socket.poll_write_ready(cx) {
                Poll::Ready(Ok(mut guard)) => {
                    guard.clear_ready();
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
                Poll::Pending => {}
            }
        }
        match socket.poll_read_ready(cx) {
            Poll::Ready(Ok(mut guard)) => {
                guard.clear_ready();
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
            Poll::Pending => {}
        }
        if let Some(Descriptor::Async(pidfd)) = self.pidfd.get() {
            match pidfd.poll_read_ready(cx) {
                // Never cleared: who is dead stays dead.
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

impl Drop for Link {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if !self.fork.is_forked() {
            // SAFETY: not used after this, because `self` is going.
            unsafe { ManuallyDrop::drop(&mut self.socket) };
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.pidfd) };
        }
    }
}

impl Sleep for Link {
    fn sleep(&self, deadline: Option<Instant>) -> Result<Wake, Error> {
        if self.interrupt.as_ref().is_some_and(|interrupt| interrupt.is_raised()) {
            return Ok(Wake::Interrupted);
        }
        let wants = self.wants();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(Wake::TimedOut);
        }
        // ORDERING: Relaxed; see `share`.
        let naps = wants.nap || self.always_naps.load(Ordering::Relaxed);
        let (left, naps) = match left {
            left if naps && left.is_none_or(|left| left > NAP) => (Some(NAP), true),
            left => (left, false),
        };
        let timeout = left.map(timespec);
        let socket = PollFd::new(&*self.socket, wants.flags());
        // A missing descriptor is stood in for by the socket itself, asked for nothing.
        let nothing = || PollFd::new(&*self.socket, PollFlags::empty());
        let pidfd = self.pidfd.get().map_or_else(nothing, |pidfd| PollFd::new(pidfd, PollFlags::IN));
        let interrupt = self.interrupt.as_ref().map(|interrupt| interrupt.fd());
        let interrupt = interrupt.as_ref().map_or_else(nothing, |fd| PollFd::new(fd, PollFlags::IN));
        let event = self.kick_state().event.clone();
        let kick = event.as_ref().map_or_else(nothing, |event| PollFd::new(event, PollFlags::IN));
        let mut fds = [socket, pidfd, interrupt, kick];
        let woken = poll(&mut fds, timeout.as_ref());
        if let Some(event) = &event
            && !fds[3].revents().is_empty()
        {
            let _ = rustix::io::read(event, &mut [0u8; 8]);
            let mut kick = self.kick_state();
            if kick.retired {
                kick.event = None;
            }
        }
        match woken {
            Ok(0) if naps => Ok(Wake::Ready),
            Ok(0) => Ok(Wake::TimedOut),
            Ok(_) if self.interrupt.as_ref().is_some_and(|interrupt| interrupt.is_raised()) => Ok(Wake::Interrupted),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Wake::Ready),
            Err(error) => Err(Error::io("poll", error)),
        }
    }
}
