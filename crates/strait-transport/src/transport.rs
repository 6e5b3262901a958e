//! The one interface of all transports: framed messages both ways, never blocking, and two ways to wait.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use strait_frame::EncodeError;

use crate::{
    error::{Error, SendError},
    message::Message,
    stats::Stats,
};

/// Fills a claimed span with a message and returns its length in bytes.
pub type Fill<'a> = dyn FnMut(&mut [u8]) -> Result<usize, EncodeError> + 'a;

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    pub(crate) data: bool,
    pub(crate) space: bool,
}

impl Interest {
    /// Nothing.
    pub(crate) const NONE: Self = Self { data: false, space: false };
    /// A message to receive, or the end.
    pub const DATA: Self = Self { data: true, space: false };
    /// Room for the message that did not fit last.
    pub const SPACE: Self = Self { data: false, space: true };
    /// Either.
    pub const BOTH: Self = Self { data: true, space: true };

    /// `DATA`, and `SPACE` too if `space`.
    pub const fn data_and(space: bool) -> Self {
        Self { data: true, space }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something may be ready: try.
    Ready,
    /// The deadline passed.
    TimedOut,
    /// Somebody called [`Interrupt::raise`](crate::Interrupt::raise).
    Interrupted,
}

/// Largest messages in bytes, fixed when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Largest message that can be sent.
    pub max_send_bytes: usize,
    /// Largest message that can arrive.
    pub max_receive_bytes: usize,
}

/// Puts a thread to sleep until its connection needs a look, without borrowing the connection.
pub trait Sleep: Send + Sync {
    /// Sleeps until woken, until `deadline`, or until interrupted. Wakes spuriously.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the system refuses to wait.
    fn sleep(&self, deadline: Option<Instant>) -> Result<Wake, Error>;
}

/// Framed messages in both directions.
///
/// The core never blocks. A message is claimed, filled in place and taken into an open batch by
/// [`try_send`](Transport::try_send); [`publish`](Transport::publish) shows the batch to the peer and wakes it once.
///
/// Waiting comes in two forms: [`poll_ready`](Transport::poll_ready) for tasks and [`wait_ready`](Transport::wait_ready)
/// for threads. Threads that share a connection behind a lock use the pieces of the latter: [`arm`](Transport::arm) with
/// the lock, [`sleeper`](Transport::sleeper)`.sleep()` without it, [`disarm`](Transport::disarm) with it again.
///
/// No file descriptor, pid or memory appears here, so that a transport can also run over a network.
pub trait Transport: Send {
    /// Largest messages.
    fn limits(&self) -> MessageLimits;

    /// Claims `max_bytes`, lets `fill` write, and takes the message into the open batch.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] where there is no room now; [`SendError::Short`] where `fill` wanted more than `max_bytes`;
    /// [`Error::TooLarge`] where `max_bytes` is over the limit. Nothing is sent then.
    fn try_send(&mut self, max_bytes: usize, fill: &mut Fill<'_>) -> Result<(), SendError>;

    /// Shows the peer what was sent since the last call, and wakes it if it sleeps.
    ///
    /// Never blocks: what a full socket does not take now goes out with the next calls on this connection, a wait among
    /// them. Who sends a last message and then lets the connection lie calls
    /// [`Connection::flush`](crate::Connection::flush).
    ///
    /// # Errors
    ///
    /// The connection's end or its poison.
    fn publish(&mut self) -> Result<(), Error>;

    /// The next message, if there is one.
    ///
    /// A peer's death is learned in a wait: who only ever calls this on shared memory sees a close, and no death.
    ///
    /// # Errors
    ///
    /// [`Error::Checksum`] once for a message that was discarded: the connection goes on. [`Error::Closed`] and
    /// [`Error::PeerGone`] come after all that the peer sent, [`Error::Corrupt`] at once; all three are final.
    fn try_recv(&mut self) -> Result<Option<Message>, Error>;

    /// Whether a `try_recv` or a `try_send` would get on now; cheap enough to spin on.
    fn is_ready(&mut self, interest: Interest) -> bool;

    /// Announces a sleep. `false` where something is ready already: then do not sleep.
    ///
    /// May be called while another thread of this process sleeps: what that one waits for stays announced.
    ///
    /// # Errors
    ///
    /// The connection's end or its poison.
    fn arm(&mut self, interest: Interest) -> Result<bool, Error>;

    /// Ends an announced sleep and takes in what woke it.
    ///
    /// # Errors
    ///
    /// The connection's poison.
    fn disarm(&mut self) -> Result<(), Error>;

    /// Where to sleep between `arm` and `disarm`.
    ///
    /// Whoever receives while another thread sleeps here goes on until there is nothing: what one look has taken out of the
    /// socket wakes nobody any more.
    fn sleeper(&self) -> Arc<dyn Sleep>;

    /// Waits in a task: ready where something may be, else `cx` is woken when it is.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] on a connection that was opened for blocking use; the connection's end or its poison.
    fn poll_ready(&mut self, cx: &mut Context<'_>, interest: Interest) -> Poll<Result<(), Error>>;

    /// Waits in a thread: spins, yields, then sleeps until something may be ready or `deadline` passes.
    ///
    /// # Errors
    ///
    /// The connection's end or its poison.
    fn wait_ready(&mut self, interest: Interest, deadline: Option<Instant>) -> Result<Wake, Error>;

    /// What happened so far.
    fn stats(&self) -> Stats;

    /// Publishes what is sent and tells the peer that no more comes. What the peer sent can still be received.
    ///
    /// Where a socket takes no more at the moment, the rest goes out with later calls on this connection: after `close`, a
    /// wait for [`Interest::SPACE`] ends when all of it has. A connection that is dropped takes what is left with it.
    fn close(&mut self);
}
