//! Sleeping on a modelled socket.

use std::{
    task::{Context, Poll, Waker},
    time::Instant,
};

use strait_sync::primitive::{AtomicBool, AtomicU32, Ordering};

use crate::{
    error::Error,
    socket::fds::{Fd, Socket, State},
    transport::{Sleep, Wake},
};

/// What a sleep waits for at the socket, besides the peer's end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub(crate) input: bool,
    pub(crate) output: bool,
    pub(crate) nap: bool,
}

impl Wants {
    pub(crate) const INPUT: Self = Self { input: true, output: false, nap: false };

    fn bits(self) -> u32 {
        u32::from(self.input) | u32::from(self.output) << 1 | u32::from(self.nap) << 2
    }

    fn of(bits: u32) -> Self {
        Self { input: bits & 1 != 0, output: bits & 2 != 0, nap: bits & 4 != 0 }
    }
}

/// The socket of one connection, as a place to sleep.
pub(crate) struct Link {
    socket: Socket,
    wants: AtomicU32,
    /// A thread sleeps here while others use the connection: only then do kicks reach it.
    shared: AtomicBool,
}

impl Link {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, wants: AtomicU32::new(Wants::INPUT.bits()), shared: AtomicBool::new(false) }
    }

    pub(crate) fn fd(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn check_fork(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn keep_pidfd(&self, _: Fd) {}

    pub(crate) fn stop_passing_pidfds(&self) {}

    pub(crate) fn set_wants(&self, wants: Wants) {
        // ORDERING: Relaxed; for this side's own next sleep, which the same thread begins or a lock orders.
        self.wants.store(wants.bits(), Ordering::Relaxed);
    }

    pub(crate) fn wants(&self) -> Wants {
        // ORDERING: Relaxed; see `set_wants`.
        Wants::of(self.wants.load(Ordering::Relaxed))
    }

    pub(crate) fn share(&self) {
        // ORDERING: Relaxed; a lock orders it before whoever kicks.
        self.shared.store(true, Ordering::Relaxed);
    }

    pub(crate) fn kick(&self) {
        // ORDERING: Relaxed; see `share`.
        let shared = self.shared.load(Ordering::Relaxed);
        self.socket.kernel.change(|state| state.ends[self.socket.end].kicked |= shared);
    }

    pub(crate) fn unshare(&self) {
        self.kick();
    }

    pub(crate) fn is_hung_up(&self) -> bool {
        self.socket.kernel.state.lock().gone
    }

    pub(crate) fn peer_is_dead(&self) -> bool {
        false
    }

    pub(crate) fn shutdown(&self) {
        // A model that has failed already has no locks to take.
        if !std::thread::panicking() {
            self.socket.kernel.change(|state| state.gone = true);
        }
    }

    /// Whether a sleep for `wants` is over; takes in the kick that ended it.
    fn is_woken(&self, state: &mut State, wants: Wants) -> bool {
        let (own, peer) = (self.socket.end, 1 - self.socket.end);
        let input = wants.input && !state.ends[own].bytes.is_empty();
        let output = wants.output && state.ends[peer].bytes.len() < state.room_bytes;
        std::mem::take(&mut state.ends[own].kicked) || input || output || state.gone
    }

    /// Whether a sleep on many connections is over because of this one; if not, `waker` is woken when it is.
    pub(crate) fn watch(&self, waker: &Waker) -> bool {
        let wants = self.wants();
        let mut state = self.socket.kernel.state.lock();
        if wants.nap || self.is_woken(&mut state, wants) {
            return true;
        }
        state.ends[self.socket.end].waker = Some(waker.clone());
        false
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn poll_kickable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_readable(cx)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.socket.kernel.state.lock();
        if self.is_woken(&mut state, self.wants()) {
            return Poll::Ready(Ok(()));
        }
        state.ends[self.socket.end].waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Sleep for Link {
    fn sleep(&self, _: Option<Instant>) -> Result<Wake, Error> {
        let wants = self.wants();
        let mut state = self.socket.kernel.state.lock();
        while !self.is_woken(&mut state, wants) {
            if wants.nap {
                drop(state);
                loom::thread::yield_now();
                return Ok(Wake::Ready);
            }
            state = self.socket.kernel.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        Ok(Wake::Ready)
    }
}
