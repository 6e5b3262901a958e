//! In-process: two rings on the heap, no name, no checksum.
//!
//! The same rings and tickets as between processes, with a condition variable and a waker where those have a socket.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use strait_spsc::records;
use strait_sync::{
    Heap,
    primitive::{Arc, Condvar, Mutex},
};

use crate::{
    connection::Connection,
    counters::{Board, Counters},
    error::Error,
    message::TransportKind,
    options::{Framing, Options},
    ring::{Bell, Held, RingTransport},
    transport::{Sleep, Wake},
};

/// One end of an in-process connection.
pub(crate) type Local = RingTransport<Arc<Heap>, Arc<Heap>, LocalBell>;

/// A message that lies in the other end's heap.
pub(crate) type LocalHeld = Held<Arc<Heap>, Arc<Heap>, LocalBell>;

/// Two connected ends inside this process, for threads and tasks alike.
///
/// ```
/// use std::time::{Duration, Instant};
/// use strait_transport::{Interest, Options, Transport, local};
///
/// let (mut left, mut right) = local::pair(&Options::default())?;
/// left.send(b"hello").unwrap();
/// right.wait_ready(Interest::DATA, Some(Instant::now() + Duration::from_secs(1)))?;
/// assert_eq!(&*right.try_recv()?.unwrap(), b"hello");
/// # Ok::<(), strait_transport::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Option`] where an option is out of range.
pub fn pair(options: &Options) -> Result<(Connection, Connection), Error> {
    options.check()?;
    joined(options.ring_bytes, options)
}

/// As [`pair`], with rings as small as the ring allows: for models.
#[cfg(strait_loom)]
pub fn ends(ring_bytes: u64, options: &Options) -> Result<(Connection, Connection), Error> {
    joined(ring_bytes, options)
}

fn joined(ring_bytes: u64, options: &Options) -> Result<(Connection, Connection), Error> {
    let (left, right) = records::duplex(ring_bytes).map_err(|error| Error::corrupt(error.to_string()))?;
    let bells = [Arc::new(Doorbell::default()), Arc::new(Doorbell::default())];
    let end = |side: records::Side, own: usize| {
        let bell = std::sync::Arc::new(LocalBell { own: bells[own].clone(), peer: bells[1 - own].clone() });
        let framing = Framing { checksum: false, timestamp: options.timestamp };
        let records::Side { producer, consumer } = side;
        let counters = Counters::new(Board::Nowhere, framing.timestamp);
        let local: Local = RingTransport::new((producer, consumer), bell, framing, options.receive, counters);
        Connection::local(local, options)
    };
    Ok((end(left, 0), end(right, 1)))
}

impl Local {
    /// Ends the connection for both ends.
    pub(crate) fn hang_up(&self) {
        // A model that has failed already has no locks to take.
        #[cfg(strait_loom)]
        if std::thread::panicking() {
            return;
        }
        self.bell().hang_up();
    }
}

/// Where one end is woken.
#[derive(Default)]
struct Doorbell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    rings: u64,
    gone: bool,
    farewell: bool,
    waker: Option<Waker>,
}

/// The doorbells of an in-process connection, as one end sees them.
pub(crate) struct LocalBell {
    own: Arc<Doorbell>,
    peer: Arc<Doorbell>,
}

impl Doorbell {
    fn wake(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state.lock();
            change(&mut state);
            state.waker.take()
        };
        self.rung.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Sleep for LocalBell {
    fn sleep(&self, deadline: Option<Instant>) -> Result<Wake, Error> {
        let mut state = self.own.state.lock();
        while state.rings == 0 && !state.gone {
            #[cfg(not(strait_loom))]
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(Wake::TimedOut);
                }
                state = self.own.rung.wait_timeout(state, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
                continue;
            }
            let _ = deadline;
            state = self.own.rung.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        Ok(Wake::Ready)
    }
}

impl Bell for LocalBell {
    const KIND: TransportKind = TransportKind::Local;

    fn ring(&self) {
        self.peer.wake(|state| state.rings += 1);
    }

    fn drain(&self) -> Result<(u64, bool), Error> {
        let mut state = self.own.state.lock();
        Ok((std::mem::take(&mut state.rings), state.gone))
    }

    fn check_fork(&self) -> Result<(), Error> {
        Ok(()) // private memory is copied by a fork, and the child's copy of both ends belongs to the child
    }

    fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.own.state.lock();
        if state.rings > 0 || state.gone {
            return Poll::Ready(Ok(()));
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn hang_up(&self) {
        self.peer.wake(|state| state.gone = true);
        self.own.wake(|state| state.gone = true);
    }

    fn say_farewell(&self) {
        self.peer.state.lock().farewell = true;
    }

    fn heard_farewell(&self) -> bool {
        self.own.state.lock().farewell
    }
}
