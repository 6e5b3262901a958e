//! One driver per connection and process: whoever waits reads for all.
//!
//! The calls of a connection share it behind a lock that is never held while anybody sleeps. A thread that waits becomes the
//! *driver* if there is none: it spins on the reply ring (letting go of the lock whenever somebody wants it), then shows
//! its tickets and sleeps on the connection without the lock. Everybody else sleeps on a waker of its own: the driver hands
//! out the answers, and one that leaves with calls pending wakes another to take its place. Tasks have no driver: each
//! pending call is woken by the connection, and whoever is polled first reads for all.
//!
//! Nobody waits for room without reading answers, so full rings in both directions cannot block each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

#[cfg(not(strait_loom))]
use std::task::{Context, Poll};

use strait_frame::Codec;
use strait_sync::{
    mutant,
    primitive::{Mutex, MutexGuard, spin_hint},
};
use strait_transport::{
    Connection, Error as TransportError, Interest, Message, SendError, Stats, Transport, TransportKind,
};

use crate::{
    calls::{Calls, Delivered},
    encode::{decode_error, send_header, send_value},
    error::Error,
    header::{HEADER_BYTES, Header, Kind},
    wakers::Wakers,
};

/// A connection and the calls in flight on it.
pub(crate) struct Driver {
    core: Mutex<Core>,
    /// Threads that want the lock: a driver that spins with it lets go.
    contenders: AtomicUsize,
    wakers: Arc<Wakers>,
    /// Wakes everybody; what the connection gets to wake in a runtime.
    broadcast: Waker,
}

/// What is behind the lock.
pub(crate) struct Core {
    connection: Connection,
    calls: Calls,
    /// Some thread is the driver.
    driving: bool,
    /// And it sleeps.
    asleep: bool,
    /// Calls to cancel, once there is room.
    cancels: Vec<u32>,
    going_away: bool,
    ended: Option<Error>,
    hint: usize,
}

type Locked<'a> = MutexGuard<'a, Core>;

/// What a thread waits for.
#[derive(Clone, Copy)]
enum Want {
    Slot,
    Room,
    Reply(u32),
}

/// How far a call came at once.
enum Begun {
    /// It is sent, under this id.
    Sent(u32),
    /// The window is full.
    NoSlot,
    /// The ring is full.
    NoRoom,
}

impl Driver {
    pub(crate) fn new(connection: Connection) -> Self {
        let window = connection.max_in_flight() as usize;
        let wakers = Arc::new(Wakers::new(window));
        let core = Core {
            connection,
            calls: Calls::new(window),
            driving: false,
            asleep: false,
            cancels: Vec::with_capacity(window),
            going_away: false,
            ended: None,
            hint: 0,
        };
        let broadcast = Waker::from(wakers.clone());
        Self { core: Mutex::new(core), contenders: AtomicUsize::new(0), wakers, broadcast }
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
        self.lock().connection.transport()
    }

    pub(crate) fn fallback_reason(&self) -> Option<String> {
        self.lock().connection.fallback_reason().map(str::to_owned)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().connection.stats()
    }

    pub(crate) fn late_replies(&self) -> u64 {
        self.lock().calls.late_replies()
    }

    /// Ends the connection in good order; calls in flight end in [`TransportError::Closed`].
    pub(crate) fn close(&self) {
        let mut core = self.lock();
        if core.ended.is_none() {
            core.connection.close();
            core.end(TransportError::Closed.into(), &self.wakers);
        }
    }

    // ---- threads ----

    /// Makes one call and waits for its answer in this thread, until `deadline` (`None` waits without end).
    pub(crate) fn call_blocking<C, T>(&self, value: &T, deadline: Option<Instant>) -> Result<Message, Error>
    where
        C: Codec<T>,
    {
        let mut core = self.lock();
        let call = loop {
            let want = match core.begin::<C, T>(value, deadline, &self.wakers) {
                Ok(Begun::Sent(call)) => break call,
                Ok(Begun::NoSlot) => Want::Slot,
                Ok(Begun::NoRoom) => Want::Room,
                Err(error) => {
                    self.leave(&core);
                    return Err(error);
                }
            };
            core = self.wait(core, want, deadline);
            core.drain(&self.wakers);
            if is_past(deadline) {
                self.leave(&core);
                return Err(Error::Deadline);
            }
        };
        loop {
            core.drain(&self.wakers);
            if let Some(answer) = core.answer(call) {
                self.wakers.clear(Calls::slot(call));
                self.leave(&core);
                return answer;
            }
            if is_past(deadline) {
                core.abandon(call, &self.wakers);
                self.wakers.clear(Calls::slot(call));
                self.leave(&core);
                return Err(Error::Deadline);
            }
            core = self.wait(core, Want::Reply(call), deadline);
        }
    }

    /// A thread leaves; if it was the driver, another takes its place.
    fn leave(&self, core: &Core) {
        if mutant!(leave_without_successor, !core.driving, false) {
            self.wakers.wake_one();
        }
    }

    /// Waits until something may have changed.
    fn wait<'a>(&'a self, mut core: Locked<'a>, want: Want, deadline: Option<Instant>) -> Locked<'a> {
        if core.ended.is_some() {
            return core;
        }
        if core.driving {
            return self.follow(core, want, deadline);
        }
        core.driving = true;
        let mut core = self.drive(core, want, deadline);
        core.driving = false;
        // They look again, and one of them may become the driver.
        self.wakers.wake_room();
        core
    }

    /// Waits while another thread drives.
    fn follow<'a>(&'a self, mut core: Locked<'a>, want: Want, deadline: Option<Instant>) -> Locked<'a> {
        let waker = thread_waker();
        match want {
            Want::Reply(call) => self.wakers.set(Calls::slot(call), &waker),
            Want::Slot => self.wakers.add_slot(&waker),
            Want::Room => {
                self.wakers.add_room(&waker);
                // A driver that sleeps did not know that somebody would wait for room: its sleep must end for that too.
                if mutant!(follower_shows_no_space_ticket, core.asleep, false) {
                    match core.connection.arm(Interest::SPACE) {
                        Ok(true) => {}
                        Ok(false) => return core,
                        Err(error) => {
                            core.end(error.into(), &self.wakers);
                            return core;
                        }
                    }
                }
            }
        }
        drop(core);
        park(deadline);
        self.lock()
    }

    /// Reads for all until there is something to read.
    fn drive<'a>(&'a self, mut core: Locked<'a>, want: Want, deadline: Option<Instant>) -> Locked<'a> {
        loop {
            let wants_room = matches!(want, Want::Room) || self.wakers.has_room_waiters();
            if core.connection.spin_until(Interest::data_and(wants_room), || self.is_contended()) {
                return core;
            }
            if !self.is_contended() {
                break;
            }
            drop(core);
            while self.is_contended() {
                spin_hint();
                #[cfg(not(strait_loom))]
                std::thread::yield_now();
            }
            core = self.lock();
            let done = match want {
                Want::Reply(call) => core.calls.is_done(call),
                Want::Room | Want::Slot => false,
            };
            if done || core.ended.is_some() || is_past(deadline) {
                return core;
            }
        }
        let wants_room = matches!(want, Want::Room) || self.wakers.has_room_waiters();
        match core.connection.arm(Interest::data_and(wants_room)) {
            Ok(false) => return core,
            Ok(true) => {}
            Err(error) => {
                core.end(error.into(), &self.wakers);
                return core;
            }
        }
        core.asleep = true;
        let sleeper = core.connection.sleeper();
        drop(core);
        let slept = sleeper.sleep(deadline);
        let mut core = self.lock();
        core.asleep = false;
        let disarmed = core.connection.disarm();
        if let Err(error) = slept.and(disarmed) {
            core.end(error.into(), &self.wakers);
        }
        core
    }

    // ---- tasks ----

    /// Sends one call in a task: ready with its id once there was room.
    #[cfg(not(strait_loom))]
    pub(crate) fn poll_begin<C, T>(
        &self,
        cx: &mut Context<'_>,
        value: &T,
        deadline: Option<Instant>,
    ) -> Poll<Result<u32, Error>>
    where
        C: Codec<T>,
    {
        let mut core = self.lock();
        loop {
            let interest = match core.begin::<C, T>(value, deadline, &self.wakers)? {
                Begun::Sent(call) => return Poll::Ready(Ok(call)),
                Begun::NoSlot => {
                    self.wakers.add_slot(cx.waker());
                    Interest::DATA
                }
                Begun::NoRoom => {
                    self.wakers.add_room(cx.waker());
                    Interest::BOTH
                }
            };
            if core.poll_connection(&self.broadcast, interest, &self.wakers).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Waits for the answer of a call in a task.
    #[cfg(not(strait_loom))]
    pub(crate) fn poll_answer(&self, cx: &mut Context<'_>, call: u32) -> Poll<Result<Message, Error>> {
        let mut core = self.lock();
        loop {
            core.drain(&self.wakers);
            if let Some(answer) = core.answer(call) {
                self.wakers.clear(Calls::slot(call));
                return Poll::Ready(answer);
            }
            self.wakers.set(Calls::slot(call), cx.waker());
            let interest = Interest::data_and(self.wakers.has_room_waiters());
            if core.poll_connection(&self.broadcast, interest, &self.wakers).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Nobody waits for a call any more: cancels it, without waiting.
    pub(crate) fn abandon(&self, call: u32) {
        let mut core = self.lock();
        core.abandon(call, &self.wakers);
        self.wakers.clear(Calls::slot(call));
    }
}

impl Core {
    /// Takes a slot, then room in the ring, and sends.
    #[inline]
    fn begin<C, T>(&mut self, value: &T, deadline: Option<Instant>, wakers: &Wakers) -> Result<Begun, Error>
    where
        C: Codec<T>,
    {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        if self.going_away {
            return Err(Error::ShuttingDown);
        }
        let Some(call) = self.calls.begin() else {
            self.drain(wakers);
            return Ok(Begun::NoSlot);
        };
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            self.calls.unsend(call);
            return Err(Error::Deadline);
        }
        let header = Header { deadline: left, ..Header::of(Kind::Request, call) };
        let sent = send_value::<C, T>(&mut self.connection, header, value, &mut self.hint)
            .and_then(|()| Ok(self.connection.publish()?));
        match sent {
            Ok(()) => Ok(Begun::Sent(call)),
            Err(SendError::Failed(error)) => {
                self.calls.unsend(call);
                if !matches!(error, TransportError::TooLarge { .. } | TransportError::Encode(_)) {
                    self.end(error.clone().into(), wakers);
                }
                Err(error.into())
            }
            // `Short` twice would be an encoder that counts wrong; there is nothing better to do than to try again.
            Err(_) => {
                self.calls.unsend(call);
                self.drain(wakers);
                Ok(Begun::NoRoom)
            }
        }
    }

    /// Hands out all answers that have come.
    #[inline]
    fn drain(&mut self, wakers: &Wakers) {
        while self.ended.is_none() {
            match self.connection.try_recv() {
                Ok(Some(message)) => self.dispatch(message, wakers),
                Ok(None) => break,
                // Whose answer it was cannot be known any more.
                Err(error @ TransportError::Checksum { .. }) => {
                    let what = format!("an rpc answer was lost: {error}").into();
                    self.end(TransportError::Corrupt { what }.into(), wakers);
                }
                Err(error) => self.end(error.into(), wakers),
            }
        }
        if !self.cancels.is_empty() {
            self.flush_cancels();
        }
    }

    fn dispatch(&mut self, message: Message, wakers: &Wakers) {
        let header = match Header::decode(&message) {
            Ok(header) => header,
            Err(what) => return self.corrupt(&what, wakers),
        };
        let answer = match header.kind {
            Kind::Reply => Ok(message),
            Kind::Error => match decode_error(&message[HEADER_BYTES..]) {
                Ok(error) => Err(error),
                Err(what) => return self.corrupt(&what, wakers),
            },
            Kind::GoAway => {
                self.going_away = true;
                wakers.wake_room();
                wakers.wake_slot();
                return;
            }
            Kind::Request | Kind::Cancel => return self.corrupt("a request from the server", wakers),
        };
        match self.calls.deliver(header.call, answer) {
            Delivered::To(slot) => mutant!(deliver_without_wake, wakers.wake_call(slot), ()),
            Delivered::Late => wakers.wake_slot(),
            Delivered::Unknown => {
                self.corrupt(&format!("an answer to call {:#x}, which is not in flight", header.call), wakers);
            }
        }
    }

    fn corrupt(&mut self, what: &str, wakers: &Wakers) {
        tracing::warn!(target: "strait", what, "corrupt input");
        self.end(TransportError::Corrupt { what: what.into() }.into(), wakers);
    }

    /// Ends the connection: every call in flight gets `error`.
    fn end(&mut self, error: Error, wakers: &Wakers) {
        if self.ended.is_none() {
            tracing::debug!(target: "strait", %error, "disconnected");
            self.ended = Some(error);
            self.connection.close();
            wakers.wake_all();
        }
    }

    /// The answer of a call: its own, or the connection's end.
    fn answer(&mut self, call: u32) -> Option<Result<Message, Error>> {
        if let Some(answer) = self.calls.take(call) {
            return Some(answer);
        }
        let ended = self.ended.clone()?;
        self.calls.abandon(call);
        Some(Err(ended))
    }

    fn abandon(&mut self, call: u32, wakers: &Wakers) {
        if self.calls.abandon(call) {
            self.cancels.push(call);
            self.flush_cancels();
        } else {
            wakers.wake_slot();
        }
    }

    /// Best effort: what finds no room waits for the next who drives.
    fn flush_cancels(&mut self) {
        while let Some(&call) = self.cancels.last() {
            if self.ended.is_none() && send_header(&mut self.connection, Header::of(Kind::Cancel, call)).is_err() {
                break;
            }
            self.cancels.pop();
        }
        let _ = self.connection.publish();
    }

    #[cfg(not(strait_loom))]
    fn poll_connection(&mut self, broadcast: &Waker, interest: Interest, wakers: &Wakers) -> Poll<()> {
        if self.ended.is_some() {
            return Poll::Ready(());
        }
        match self.connection.poll_ready(&mut Context::from_waker(broadcast), interest) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                wakers.wake_room(); // they look again, and register again
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                self.end(error.into(), wakers);
                Poll::Ready(())
            }
        }
    }
}

fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// A waker that unparks the current thread.
struct Unpark(#[cfg(strait_loom)] loom::thread::Thread, #[cfg(not(strait_loom))] std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(not(strait_loom))]
fn thread_waker() -> Waker {
    std::thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    }
    WAKER.with(Waker::clone)
}

#[cfg(strait_loom)]
fn thread_waker() -> Waker {
    Waker::from(Arc::new(Unpark(loom::thread::current())))
}

/// Parks the thread until its waker is woken or the deadline passes; may return early.
fn park(deadline: Option<Instant>) {
    #[cfg(strait_loom)]
    {
        let _ = deadline;
        loom::thread::park();
    }
    #[cfg(not(strait_loom))]
    match deadline {
        None => std::thread::park(),
        Some(deadline) => std::thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}
