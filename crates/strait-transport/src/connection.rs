//! A connection, whatever it runs over.

use std::{
    fmt,
    mem::ManuallyDrop,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use strait_sync::{Spin, ValidArchives};

use crate::{
    error::{Error, SendError},
    local::Local,
    message::{Message, TransportKind},
    meters::Open,
    options::Options,
    shared::Shared,
    stats::{ErrorCode, Stats},
    transport::{Fill, Interest, MessageLimits, Sleep, Transport, Wake},
    unix::Unix,
};

/// A connection: framed messages in both directions, over a socket, shared memory or inside the process.
///
/// A connection between processes begins on its socket and moves to shared memory by itself, after the first message; the
/// calls stay the same. Blocking or async is fixed when it is opened: [`wait_ready`](Transport::wait_ready) or
/// [`poll_ready`](Transport::poll_ready).
pub struct Connection {
    // Not dropped in a forked child: what it holds belongs to the parent.
    inner: ManuallyDrop<Inner>,
    spin: Spin,
    spin_socket: Spin,
    spins_on_socket: bool,
    spin_async: Duration,
    task_spins: TaskSpins,
    max_in_flight: u32,
    service: Arc<str>,
    trace_context: bool,
    rewind: bool,
    /// For every message that the peer sends, whatever way it comes.
    valid_archives: Option<ValidArchives>,
    fallback: Option<Arc<str>>,
    #[cfg(not(strait_loom))]
    state: Option<crate::state::Received>,
    _permit: Option<Permit>,
    open: Open,
}

/// Whether a spin in a task pays: one that found nothing lets the next few be left out, more each time. A task that spins
/// keeps its thread from the tasks of other connections, which is what it waits for where they share a runtime.
#[derive(Default)]
struct TaskSpins {
    /// Spins to leave out.
    left_out: u8,
    /// How many the last spin that found nothing cost.
    penalty: u8,
}

impl TaskSpins {
    const MAX_PENALTY: u8 = 63;

    fn is_due(&mut self) -> bool {
        let due = self.left_out == 0;
        self.left_out = self.left_out.saturating_sub(1);
        due
    }

    fn ended(&mut self, found: bool) {
        self.penalty = if found { 0 } else { (2 * self.penalty + 1).min(Self::MAX_PENALTY) };
        self.left_out = self.penalty;
    }
}

enum Inner {
    Socket(Box<Unix>),
    Shared(Box<Shared>),
    Local(Box<Local>),
}

/// Counts a connection against its listener's limit for as long as it lives.
pub(crate) struct Permit(Arc<std::sync::atomic::AtomicU32>);

impl Permit {
    #[cfg(not(strait_loom))]
    /// Takes one of `max` permits.
    pub(crate) fn take(count: &Arc<std::sync::atomic::AtomicU32>, max: u32) -> Option<Self> {
        use std::sync::atomic::Ordering::Relaxed;
        // ORDERING: Relaxed; a count that guards no other memory.
        let raised = count.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1));
        raised.is_ok().then(|| Self(count.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // ORDERING: Relaxed; as in `take`.
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

macro_rules! each {
    ($connection:expr, $inner:ident => $body:expr) => {
        match &mut *$connection.inner {
            Inner::Socket($inner) => $body,
            Inner::Shared($inner) => $body,
            Inner::Local($inner) => $body,
        }
    };
}

impl Connection {
    fn new(inner: Inner, options: &Options, max_in_flight: u32, permit: Option<Permit>) -> Self {
        Self {
            inner: ManuallyDrop::new(inner),
            spin: Spin::new(options.spin),
            spin_socket: Spin::new(options.spin_socket),
            spins_on_socket: !options.spin_socket.is_zero(),
            spin_async: options.spin_async,
            task_spins: TaskSpins::default(),
            max_in_flight,
            service: Arc::from(""),
            trace_context: options.trace_context,
            rewind: false,
            valid_archives: options.receive.valid_archives(),
            fallback: None,
            #[cfg(not(strait_loom))]
            state: None,
            _permit: permit,
            open: Open::default(),
        }
    }

    pub(crate) fn local(local: Local, options: &Options) -> Self {
        Self::new(Inner::Local(Box::new(local)), options, options.max_in_flight, None)
    }

    pub(crate) fn unix(unix: Unix, options: &Options, permit: Option<Permit>) -> Self {
        let (max_in_flight, fallback) = (unix.settled().max_in_flight, unix.fallback().cloned());
        let (service, trace_context, open) =
            (unix.service().clone(), unix.settled().trace_context, unix.which_end().connected());
        let mut connection = Self::new(Inner::Socket(Box::new(unix)), options, max_in_flight, permit);
        (connection.fallback, connection.service) = (fallback, service);
        (connection.trace_context, connection.open) = (trace_context, open);
        connection
    }

    /// Over what the connection runs now.
    pub fn transport(&self) -> TransportKind {
        match &*self.inner {
            Inner::Socket(_) => TransportKind::Socket,
            Inner::Shared(_) => TransportKind::Shared,
            Inner::Local(_) => TransportKind::Local,
        }
    }

    /// Why the connection stays on its socket, if it does.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// How many messages may be in flight, as settled by both sides.
    pub fn max_in_flight(&self) -> u32 {
        self.max_in_flight
    }

    /// The service that it leads to, or that it was accepted for; empty inside the process, `inherited` for one without a name.
    pub fn service(&self) -> &Arc<str> {
        &self.service
    }

    /// Whether requests may carry a trace context, as settled by both sides: see [`Options::trace_context`].
    pub fn trace_context(&self) -> bool {
        self.trace_context
    }

    /// Whether a long message that finds everything read goes back to the start of the ring, which is still in the caches
    /// (default false): for request and reply. While it is unread, the ring holds less than its capacity: see
    /// [`Producer::set_rewind`](strait_spsc::records::Producer::set_rewind).
    pub fn set_rewind(&mut self, rewind: bool) {
        self.rewind = rewind;
        match &mut *self.inner {
            Inner::Socket(_) => {}
            Inner::Shared(shared) => shared.set_rewind(rewind),
            Inner::Local(local) => local.set_rewind(rewind),
        }
    }

    /// What [`stats`](Transport::stats) tells, for another thread, whatever the connection runs over by then.
    #[cfg(not(strait_loom))]
    pub fn live_stats(&mut self) -> crate::LiveStats {
        each!(self, inner => inner.counters_mut().live())
    }

    /// Says how many calls are in flight, for [`stats`](Transport::stats) and for tools. What is above counts them; the connection does
    /// not know what a call is.
    #[inline]
    pub fn set_in_flight(&mut self, calls: u64) {
        if self.check_fork().is_ok() {
            each!(self, inner => inner.counters_mut().set_in_flight(calls));
        }
    }

    /// Says that something went wrong above: a message that could not be decoded ([`ErrorCode::DECODE`]), say.
    ///
    /// ```
    /// use strait_transport::{ErrorCode, Options, Transport, local};
    /// let (mut left, _right) = local::pair(&Options::default())?;
    /// left.count_error(ErrorCode::DECODE);
    /// let stats = left.stats();
    /// assert_eq!((stats.decode_errors, stats.errors, stats.last_error), (1, 1, ErrorCode::DECODE));
    /// # Ok::<(), strait_transport::Error>(())
    /// ```
    pub fn count_error(&mut self, code: ErrorCode) {
        if self.check_fork().is_ok() {
            each!(self, inner => inner.counters_mut().error(code));
        }
    }

    /// Gives the client the memory of a published state, along with the server's own segment. For a server, before it
    /// receives the first message. A connection that stays on its socket, or inside the process, carries none.
    #[cfg(not(strait_loom))]
    pub fn attach_state(&mut self, memory: crate::StateMemory) {
        if let Inner::Socket(unix) = &mut *self.inner {
            unix.attach(memory);
        }
    }

    /// Takes the state that the server publishes, once it has come; `Err` says why it could not be mapped. It comes before
    /// any answer to a message that was sent after the first.
    #[cfg(not(strait_loom))]
    pub fn take_state(&mut self) -> Option<Result<crate::StateReader, String>> {
        self.settle();
        self.state.take()
    }

    /// Sends and publishes one message of bytes.
    ///
    /// # Errors
    ///
    /// As [`Transport::try_send`] and [`Transport::publish`].
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.try_send(bytes.len(), &mut |span| {
            span[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        })?;
        Ok(self.publish()?)
    }

    /// Waits in a thread until everything that was sent has left this process, or `deadline` passes.
    ///
    /// In shared memory that is so once it is published. A full socket takes more only once the peer has read: whoever sends
    /// over a socket and then neither waits nor calls again for long calls this first.
    ///
    /// # Errors
    ///
    /// The connection's end or its poison.
    pub fn flush(&mut self, deadline: Option<Instant>) -> Result<Wake, Error> {
        self.check_fork()?;
        if let Inner::Socket(unix) = &mut *self.inner {
            let flushed = unix.wait_flushed(deadline);
            self.settle();
            return flushed;
        }
        let _ = deadline;
        self.publish().map(|()| Wake::Ready)
    }

    /// Moves on to shared memory once both directions have switched.
    #[inline]
    fn settle(&mut self) {
        if let Inner::Socket(unix) = &mut *self.inner {
            #[cfg(not(strait_loom))]
            if let Some(state) = unix.take_state() {
                self.state = Some(state);
            }
            if let Some(mut shared) = unix.take_switched() {
                shared.set_rewind(self.rewind);
                *self.inner = Inner::Shared(shared);
            } else if self.fallback.is_none() {
                self.fallback = unix.fallback().cloned();
            }
        }
    }

    /// Fails in a forked child, where nothing of the connection may be touched.
    #[inline]
    fn check_fork(&self) -> Result<(), Error> {
        match &*self.inner {
            Inner::Socket(unix) => unix.link().check_fork(),
            Inner::Shared(shared) => shared.bell().link().check_fork(),
            Inner::Local(_) => Ok(()),
        }
    }

    /// Publishes before a wait. What cannot be sent any more must not keep the caller from receiving what has come.
    fn publish_before_wait(&mut self, interest: Interest) -> Result<(), Error> {
        self.check_fork()?;
        match self.publish() {
            Err(error) if !interest.data => Err(error),
            _ => Ok(()),
        }
    }

    /// The descriptors, where there are any.
    pub(crate) fn link(&self) -> Option<&crate::waiting::Link> {
        match &*self.inner {
            Inner::Socket(unix) => Some(unix.link()),
            Inner::Shared(shared) => Some(shared.bell().link()),
            Inner::Local(_) => None,
        }
    }

    /// Where this thread itself sleeps, which nobody else can touch the connection meanwhile.
    fn own_sleeper(&self) -> Arc<dyn Sleep> {
        match &*self.inner {
            Inner::Socket(unix) => unix.link().clone(),
            Inner::Shared(shared) => shared.bell().clone(),
            Inner::Local(local) => local.bell().clone(),
        }
    }

    /// Spins as long as it pays; whether something is ready.
    fn spin(&mut self, interest: Interest) -> bool {
        match &mut *self.inner {
            // Without a spin, the look that `arm` takes is enough.
            Inner::Socket(unix) => self.spins_on_socket && self.spin_socket.until(|| unix.is_ready(interest)),
            Inner::Shared(shared) => self.spin.until(|| shared.is_ready(interest)),
            Inner::Local(local) => self.spin.until(|| local.is_ready(interest)),
        }
    }

    /// As `spin`, within the bound for a poll of a task, and only while that pays.
    fn spin_in_task(&mut self, interest: Interest) -> bool {
        if !self.task_spins.is_due() {
            return false;
        }
        let found = self.spin_once_in_task(interest);
        self.task_spins.ended(found);
        found
    }

    fn spin_once_in_task(&mut self, interest: Interest) -> bool {
        let limit = self.spin_async;
        let until = |ready: &mut dyn FnMut() -> bool| {
            for _ in 0..16 {
                if ready() {
                    return true;
                }
                strait_sync::primitive::spin_hint();
            }
            let start = Instant::now();
            while start.elapsed() < limit {
                for _ in 0..16 {
                    if ready() {
                        return true;
                    }
                    strait_sync::primitive::spin_hint();
                }
            }
            false
        };
        match &mut *self.inner {
            Inner::Socket(_) => false,
            Inner::Shared(shared) => !limit.is_zero() && until(&mut || shared.is_ready(interest)),
            Inner::Local(local) => !limit.is_zero() && until(&mut || local.is_ready(interest)),
        }
    }

    /// Spins for a message or room, holding the connection, until there is one or `give_up` returns true; then `false`.
    ///
    /// For those who share a connection behind a lock: `give_up` tells them that somebody else wants it.
    pub fn spin_until(&mut self, interest: Interest, mut give_up: impl FnMut() -> bool) -> bool {
        if self.check_fork().is_err() {
            return true; // the next call says why
        }
        let mut gave_up = false;
        let mut look = |ready: bool| {
            gave_up = !ready && give_up();
            ready || gave_up
        };
        let found = match &mut *self.inner {
            Inner::Socket(unix) => self.spin_socket.until(|| look(unix.is_ready(interest))),
            Inner::Shared(shared) => self.spin.until(|| look(shared.is_ready(interest))),
            Inner::Local(local) => self.spin.until(|| look(local.is_ready(interest))),
        };
        self.settle();
        found && !gave_up
    }
}

impl Transport for Connection {
    #[inline]
    fn limits(&self) -> MessageLimits {
        match &*self.inner {
            Inner::Socket(unix) => unix.settled().limits,
            Inner::Shared(shared) => shared.limits(),
            Inner::Local(local) => local.limits(),
        }
    }

    #[inline]
    fn try_send(&mut self, max_bytes: usize, fill: &mut Fill<'_>) -> Result<(), SendError> {
        each!(self, inner => inner.try_send(max_bytes, fill))
    }

    #[inline]
    fn publish(&mut self) -> Result<(), Error> {
        self.check_fork()?;
        if let Inner::Shared(shared) = &mut *self.inner {
            return shared.publish();
        }
        let published = each!(self, inner => inner.publish());
        self.settle();
        published
    }

    #[inline]
    fn try_recv(&mut self) -> Result<Option<Message>, Error> {
        if let Inner::Shared(shared) = &mut *self.inner {
            return shared.try_recv();
        }
        let mut received = each!(self, inner => inner.try_recv());
        if matches!(*self.inner, Inner::Socket(_)) {
            self.settle();
            if matches!((&received, &*self.inner), (Ok(None), Inner::Shared(_))) {
                return self.try_recv();
            }
        }
        if let Ok(Some(message)) = &mut received {
            message.set_valid_archives(self.valid_archives);
        }
        received
    }

    #[inline]
    fn is_ready(&mut self, interest: Interest) -> bool {
        self.check_fork().is_err() || each!(self, inner => inner.is_ready(interest))
    }

    fn arm(&mut self, interest: Interest) -> Result<bool, Error> {
        self.check_fork()?;
        let armed = each!(self, inner => inner.arm(interest));
        self.settle();
        armed
    }

    fn disarm(&mut self) -> Result<(), Error> {
        self.check_fork()?;
        let disarmed = each!(self, inner => inner.disarm());
        self.settle();
        disarmed
    }

    fn sleeper(&self) -> Arc<dyn Sleep> {
        if let Inner::Socket(unix) = &*self.inner {
            unix.link().share();
        }
        self.own_sleeper()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>, interest: Interest) -> Poll<Result<(), Error>> {
        self.publish_before_wait(interest)?;
        if self.spin_in_task(interest) {
            return Poll::Ready(Ok(()));
        }
        let ready = each!(self, inner => inner.poll_ready(cx, interest));
        self.settle();
        ready
    }

    fn wait_ready(&mut self, interest: Interest, deadline: Option<Instant>) -> Result<Wake, Error> {
        self.publish_before_wait(interest)?;
        loop {
            if self.spin(interest) {
                self.settle();
                return Ok(Wake::Ready);
            }
            if !self.arm(interest)? {
                return Ok(Wake::Ready);
            }
            let woken = self.own_sleeper().sleep(deadline);
            self.disarm()?;
            match woken? {
                Wake::Ready => {}
                ended => return Ok(ended),
            }
        }
    }

    fn stats(&self) -> Stats {
        match &*self.inner {
            Inner::Socket(unix) => unix.stats(),
            Inner::Shared(shared) => shared.counters().stats(),
            Inner::Local(local) => local.counters().stats(),
        }
    }

    fn close(&mut self) {
        if self.check_fork().is_err() {
            return;
        }
        each!(self, inner => inner.close());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.check_fork().is_ok() {
            // Not left to the last owner of the socket: a message that is held in place, or a sleeping thread, may outlive
            // the connection, and a forked child has the socket too.
            match &*self.inner {
                Inner::Socket(unix) => unix.link().shutdown(),
                Inner::Shared(shared) => shared.bell().link().shutdown(),
                Inner::Local(local) => local.hang_up(),
            }
            #[allow(unsafe_code)]
            // SAFETY: `inner` is not used after this, because `self` is going.
            unsafe {
                ManuallyDrop::drop(&mut self.inner);
            }
        } else {
            std::mem::take(&mut self.open).disown();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("transport", &self.transport()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spin_that_finds_nothing_is_left_out_longer_each_time_and_one_that_pays_is_not() {
        let mut spins = TaskSpins::default();
        let mut left_out_before_next = |found: bool| {
            spins.ended(found);
            (0..).take_while(|_| !spins.is_due()).count()
        };
        assert_eq!([(); 8].map(|()| left_out_before_next(false)), [1, 3, 7, 15, 31, 63, 63, 63]);
        assert_eq!(left_out_before_next(true), 0);
        assert_eq!(left_out_before_next(false), 1);
    }
}
