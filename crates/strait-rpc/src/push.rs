//! What a server sends to a client by itself: handed over by anybody, sent by the client's session.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use strait_frame::Codec;
use strait_transport::Error as TransportError;

use crate::{
    description::{Description, MethodKind},
    encode::encode_value,
    error::Error,
    header::{Header, Kind},
    outbox::Outbox,
};

/// One client, for who wants to send it something that it did not ask for. Cheap to clone; may outlive the client.
///
/// A handler gets it from [`Request::client`](crate::Request::client).
#[derive(Clone)]
pub struct ClientHandle {
    pushes: Arc<Pushes>,
}

struct Pushes {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    /// Something waits. Looked at by the session without the lock.
    any: AtomicBool,
    gone: AtomicBool,
    /// Wakes the session.
    session: Waker,
    description: Arc<Description>,
    max_bytes: usize,
}

impl Pushes {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientHandle {
    /// Events that may wait for a client that does not read.
    pub const MAX_WAITING: usize = 1024;

    pub(crate) fn new(session: Waker, description: Arc<Description>, max_bytes: usize) -> Self {
        let (waiting, any, gone) = (Mutex::default(), AtomicBool::new(false), AtomicBool::new(false));
        Self { pushes: Arc::new(Pushes { waiting, any, gone, session, description, max_bytes }) }
    }

    /// Sends the event `name`, which the service's [`Methods`](crate::blocking::Methods) declare. Never waits.
    ///
    /// # Errors
    ///
    /// [`Error::Method`] where the service declares no such event of this type, [`Error::Transport`] where the client is gone or
    /// `value` is too large for it, [`Error::Full`] where 1,024 events wait already.
    pub fn notify<C, T>(&self, name: &str, value: &T) -> Result<(), Error>
    where
        C: Codec<T>,
    {
        let method = self.pushes.description.resolve::<C, T, T>(name, MethodKind::Event)?;
        // ORDERING: Acquire; pairs with the Release in `close`. A client that goes at this moment loses the event as any other.
        if self.pushes.gone.load(Ordering::Acquire) {
            return Err(TransportError::PeerGone.into());
        }
        let header = Header { method, ..Header::of(Kind::Notify, 0) };
        let message = encode_value::<C, T>(header, value, self.pushes.max_bytes)?;
        {
            let mut waiting = self.pushes.waiting();
            if waiting.len() >= Self::MAX_WAITING {
                return Err(Error::Full);
            }
            waiting.push_back(message);
            // ORDERING: Release; pairs with the swap in `send`, which takes the lock after it.
            self.pushes.any.store(true, Ordering::Release);
        }
        self.pushes.session.wake_by_ref();
        Ok(())
    }

    /// Whether the client is gone.
    pub fn is_gone(&self) -> bool {
        // ORDERING: Acquire; pairs with the Release in `close`.
        self.pushes.gone.load(Ordering::Acquire)
    }

    /// Sends what waits, as far as there is room; whether that was any.
    #[inline]
    pub(crate) fn send(&self, out: &mut Outbox) -> Result<bool, TransportError> {
        // ORDERING: Relaxed; a first look, without taking the line from those who send. Who sends wakes the session afterwards.
        if !out.is_empty() || !self.pushes.any.load(Ordering::Relaxed) {
            return Ok(false);
        }
        self.send_waiting(out)
    }

    #[cold]
    fn send_waiting(&self, out: &mut Outbox) -> Result<bool, TransportError> {
        // ORDERING: Acquire; pairs with the Release in `notify`.
        if !self.pushes.any.swap(false, Ordering::Acquire) {
            return Ok(false);
        }
        let mut waiting = self.pushes.waiting();
        let mut sent = false;
        while out.is_empty()
            && let Some(message) = waiting.pop_front()
        {
            out.encoded(message)?;
            sent = true;
        }
        // ORDERING: Relaxed; read by this same task, or set by others under the lock that is held here.
        self.pushes.any.store(!waiting.is_empty(), Ordering::Relaxed);
        Ok(sent)
    }

    /// The client is gone: nothing is taken for it any more.
    pub(crate) fn close(&self) {
        // ORDERING: Release; pairs with the Acquire in `notify`.
        self.pushes.gone.store(true, Ordering::Release);
        self.pushes.waiting().clear();
    }
}

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandle").field("is_gone", &self.is_gone()).finish_non_exhaustive()
    }
}
