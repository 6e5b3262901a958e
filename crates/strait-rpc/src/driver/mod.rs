//! One driver per connection and process: whoever waits reads for all.
//!
//! The calls of a connection share it behind a lock that is never held while anybody sleeps. A thread that waits becomes the
//! *driver* if there is none: it spins on the reply ring (letting go of the lock whenever somebody wants it), then shows
//! its tickets and sleeps on the connection without the lock. Everybody else sleeps on a waker of its own: the driver hands
//! out the answers, and one that leaves with calls pending wakes another to take its place. Tasks have no driver: each
//! pending call is woken by the connection, and whoever is polled first reads for all.
//!
//! The rules (`tests/loom_driver.rs` has mutants of 1, 2 and 4, `tests/loom_tasks.rs` those of tasks, `tests/loom_poller.rs` those of
//! polling threads; the storms on a socket show 3):
//!
//! 1. Nobody waits for room without reading answers, so full rings in both directions cannot block each other.
//! 2. A driver sleeps on the connection alone, so it may only wait there for what comes over the connection: an answer or room.
//!    A *slot* is freed by a thread of this process, so who waits for one follows, unless every call in flight is one
//!    that nobody waits for any more; then a late answer is all that can free one.
//! 3. While the driver sleeps on a *socket*, nobody else reads it: a poll looks again when it is woken, and a thread that took
//!    the bytes meanwhile would leave it asleep. (In memory the peer's doorbell ends the sleep whoever reads.)
//! 4. Who leaves while nobody drives wakes one that waits for an answer; where there is none, all who wait for a slot or room.
//!
//! A polling thread is a driver of several connections, in memory alone, for as long as it is awake: see `polled`.

mod batch;
mod core;
mod park;
mod polled;
#[cfg(feature = "tokio")]
mod tasks;
mod threads;
mod vigil;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use strait_frame::Codec;
use strait_sync::primitive::{Mutex, MutexGuard};
use strait_transport::{Connection, Error as TransportError, Message, Stats, Transport, TransportKind};

use self::core::Core;
pub(crate) use self::core::Target;
pub(crate) use self::polled::{Bell, Look};
pub use self::vigil::ClientPolling;
use crate::{error::Error, observe::Observer, response::Response, wakers::Wakers};

/// A connection and the calls in flight on it.
pub(crate) struct Driver {
    core: Mutex<Core>,
    /// Threads that want the lock: a driver that spins with it lets go.
    contenders: AtomicUsize,
    wakers: Arc<Wakers>,
    observer: Observer,
    /// The process that the connection belongs to.
    #[cfg(not(strait_loom))]
    process_id: u32,
    /// Wakes everybody; what the connection gets to wake in a runtime.
    #[cfg(feature = "tokio")]
    broadcast: std::task::Waker,
}

type Locked<'a> = MutexGuard<'a, Core>;

impl Driver {
    pub(crate) fn new(connection: Connection) -> Self {
        let wakers = Arc::new(Wakers::new(connection.max_in_flight() as usize));
        Self {
            observer: Observer::client(&connection),
            core: Mutex::new(Core::new(connection)),
            contenders: AtomicUsize::new(0),
            #[cfg(not(strait_loom))]
            process_id: std::process::id(),
            #[cfg(feature = "tokio")]
            broadcast: std::task::Waker::from(wakers.clone()),
            wakers,
        }
    }

    /// Takes the lock, for somebody who comes from outside. `None` in a forked child whose parent held it at that moment: a
    /// polling thread does half the time, and in the child nobody ever gives it back.
    #[inline]
    fn enter(&self) -> Option<Locked<'_>> {
        self.core.try_lock().or_else(|| if self.is_forked() { None } else { Some(self.lock()) })
    }

    /// As [`enter`](Self::enter), for what can fail.
    #[inline]
    fn enter_or_fail(&self) -> Result<Locked<'_>, Error> {
        self.enter().ok_or(Error::Transport(TransportError::Forked))
    }

    #[cold]
    fn is_forked(&self) -> bool {
        #[cfg(not(strait_loom))]
        return std::process::id() != self.process_id;
        #[cfg(strait_loom)]
        false
    }

    fn lock(&self) -> Locked<'_> {
        if let Some(core) = self.core.try_lock() {
            return core;
        }
        // ORDERING: Relaxed; a hint to a spinning driver, the lock itself orders everything.
        self.contenders.fetch_add(1, Ordering::Relaxed);
        let core = self.core.lock();
        // ORDERING: Relaxed; as above.
        self.contenders.fetch_sub(1, Ordering::Relaxed);
        core
    }

    fn is_contended(&self) -> bool {
        // ORDERING: Relaxed; as in `lock`.
        self.contenders.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn transport(&self) -> TransportKind {
        self.enter().map_or(TransportKind::default(), |core| core.connection.transport())
    }

    pub(crate) fn fallback_reason(&self) -> Option<String> {
        self.enter()?.connection.fallback_reason().map(str::to_owned)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.enter().map_or(Stats::default(), |core| core.connection.stats())
    }

    /// Opens what answers a call; what cannot be read is counted.
    #[inline]
    pub(crate) fn open<T, C: Codec<T>>(&self, message: Message) -> Result<Response<T, C>, Error> {
        let opened = Response::open(message);
        if opened.is_err()
            && let Some(mut core) = self.enter()
        {
            core.count_unreadable();
        }
        opened
    }

    pub(crate) fn late_replies(&self) -> u64 {
        self.enter().map_or(0, |core| core.calls.late_replies())
    }

    /// Messages that the server sent by itself and that nobody took in time.
    pub(crate) fn dropped_events(&self) -> u64 {
        self.enter().map_or(0, |core| core.events.dropped())
    }

    /// Whether a call has a chance here, as far as what has come says. Waits for nothing.
    pub(crate) fn is_open(&self) -> bool {
        let Some(mut core) = self.enter() else { return false };
        core.drain(&self.wakers);
        core.takes_calls()
    }

    /// Lets threads that wait here look on after their spin: see [`ClientPolling`].
    pub(crate) fn set_polling(&self, polling: &ClientPolling) {
        if let Some(mut core) = self.enter() {
            core.polling = Some(polling.clone());
        }
    }

    /// Ends the connection in good order; calls in flight end in [`TransportError::Closed`].
    pub(crate) fn close(&self) {
        let Some(mut core) = self.enter() else { return };
        if core.ended.is_none() {
            core.connection.close();
            core.end(TransportError::Closed.into(), &self.wakers);
        }
        core.tell_poller();
    }

    /// Nobody waits for a call any more: cancels it, without waiting.
    pub(crate) fn abandon(&self, call: u32) {
        let Some(mut core) = self.enter() else { return };
        core.abandon(call);
        self.wakers.clear(crate::calls::Calls::slot(call));
    }
}
