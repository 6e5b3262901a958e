//! Looking on after a spin has found nothing: a thread that polls.

use std::time::{Duration, Instant};

use strait_transport::{Interest, Transport, TransportKind};

use super::core::Core;
use crate::{deadline::Deadline, wakers::Wakers};

/// How threads wait that call through a client which polls: see [`Client::set_polling`](crate::blocking::Client::set_polling);
/// or how a [`Poller`](crate::blocking::Poller) does.
///
/// ```
/// use strait_rpc::blocking::ClientPolling;
///
/// // A thread that has a processor for itself and never rests.
/// let polling = ClientPolling { cpu: Some(3), idle: None };
/// # assert_ne!(polling, ClientPolling::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPolling {
    /// The processor that the thread which polls is kept on; `None` (the default) leaves it where it is.
    pub cpu: Option<usize>,
    /// How long a thread looks for what it waits for before it sleeps (default 1 ms); `None` looks until the deadline, and a
    /// `Poller` for as long as it has clients. A calling thread looks as long as [`Options::spin`](crate::Options::spin) at
    /// least, a `Poller` some microseconds.
    pub idle: Option<Duration>,
}

impl Default for ClientPolling {
    fn default() -> Self {
        Self { cpu: None, idle: Some(Duration::from_millis(1)) }
    }
}

/// One wait of a thread that polls.
pub(super) struct Vigil {
    sleeps_at: Option<Instant>,
    looked_after_at: Instant,
}

impl Vigil {
    /// How often it is found out whether the server is still there: in memory a death is learned in a wait alone.
    const LOOK_AFTER_EVERY: Duration = Duration::from_millis(1);

    pub(super) fn begin(idle: Option<Duration>) -> Self {
        let now = Instant::now();
        Self { sleeps_at: idle.and_then(|idle| now.checked_add(idle)), looked_after_at: now }
    }

    /// Whether to look on instead of sleeping. On a socket, where each look is a system call, never.
    pub(super) fn goes_on(
        &mut self,
        core: &mut Core,
        interest: Interest,
        deadline: &mut Deadline,
        wakers: &Wakers,
    ) -> bool {
        let now = Instant::now();
        let is_over = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if core.connection.transport() == TransportKind::Socket || is_over(self.sleeps_at) || is_over(deadline.at()) {
            return false;
        }
        if now - self.looked_after_at >= Self::LOOK_AFTER_EVERY {
            self.looked_after_at = now;
            look_after(core, interest, wakers);
        }
        true
    }
}

/// Finds out whether the server is still there. Not while a thread sleeps on the connection: it would take back what that
/// one has announced.
pub(super) fn look_after(core: &mut Core, interest: Interest, wakers: &Wakers) {
    let looked = match core.connection.arm(interest) {
        Ok(true) => core.connection.disarm(),
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = looked {
        core.end(error.into(), wakers);
    }
}
