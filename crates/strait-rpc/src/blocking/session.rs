//! One client of a blocking server.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Wake as Awaken, Waker},
    time::{Duration, Instant},
};

use strait_sync::fail_point;
use strait_transport::{
    Connection, Error as TransportError, Incoming, Interest, Interrupt, Message, Transport, TransportKind, WaitSet,
    Wake,
};

use super::{
    server::Shared,
    service::{Items, Service},
};
use crate::{
    counters::{Counted, Counters},
    error::Code,
    header::{Header, Kind},
    observe::Call,
    outbox::{Outbox, corrupt},
    policy::Allowance,
    push::ClientHandle,
    reserved,
};

/// Does the handshake with a client and serves it until it leaves or `interrupt` is raised.
pub(super) fn serve_client<S: Service>(incoming: Incoming, shared: &Shared<S>, interrupt: &Arc<Interrupt>) {
    let Some(connection) = handshake(incoming, &shared.counters) else { return };
    // Only who sends by himself has to wake the thread: that costs a descriptor.
    let bell = shared.description.has_events().then(|| WaitSet::with_interrupt(interrupt.clone()).map(Arc::new));
    let bell = match bell.transpose() {
        Ok(bell) => bell,
        Err(error) => return tracing::error!(target: "strait", %error, "no descriptor for a client: turned it away"),
    };
    let mut session = Session::new(connection, shared, bell.as_ref());
    let outcome = session.serve(interrupt, bell.as_deref());
    if outcome.is_ok() {
        session.hand_over();
    }
    session.end(outcome);
}

/// Wakes the thread that sleeps on a set.
struct Ring(Arc<WaitSet>);

impl Awaken for Ring {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify();
    }
}

/// Does the handshake with a client; one that fails is counted and logged.
pub(super) fn handshake(incoming: Incoming, counters: &Counters) -> Option<Connection> {
    match incoming.handshake() {
        Ok(connection) => Some(connection),
        Err(error) => {
            counters.refuse();
            tracing::debug!(target: "strait", %error, "a handshake failed");
            None
        }
    }
}

/// What a client is given to read its last answers, once the server shuts down.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How often a full ring is looked at in that time.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(1);

/// One client: what it asks, and what it is answered.
pub(super) struct Session<'a, S> {
    shared: &'a Shared<S>,
    pub(super) out: Outbox,
    allowance: Allowance,
    client: ClientHandle,
    /// Calls that have come and were not executed yet, in order. With the streams, at most the window.
    waiting: VecDeque<Waiting>,
    /// Calls of several answers.
    streams: Vec<Streaming>,
    window: usize,
    /// Messages that have come.
    messages: u64,
    /// How long a client that reads nothing may still hold up the server's end.
    grace_until: Option<Instant>,
}

/// A call that has come.
struct Waiting {
    header: Header,
    message: Message,
    /// Items that its caller takes.
    credit: u32,
}

/// A call that is answered item by item.
struct Streaming {
    header: Header,
    credit: u32,
    items: Items,
    seen: Call,
}

impl<'a, S: Service> Session<'a, S> {
    /// `bell` is where the thread sleeps that is woken to send events.
    pub(super) fn new(mut connection: Connection, shared: &'a Shared<S>, bell: Option<&Arc<WaitSet>>) -> Self {
        let counted = Counted::new(shared.counters.clone(), &mut connection);
        let allowance = Allowance::new(&shared.policy, &shared.total);
        let waker = bell.map_or_else(|| Waker::noop().clone(), |bell| Waker::from(Arc::new(Ring(bell.clone()))));
        let client = ClientHandle::new(waker, shared.description.clone(), connection.limits().max_send_bytes);
        let window = connection.max_in_flight() as usize;
        Self {
            shared,
            out: Outbox::new(connection, counted),
            allowance,
            client,
            waiting: VecDeque::new(),
            streams: Vec::new(),
            window,
            messages: 0,
            grace_until: None,
        }
    }

    /// Closes the connection, and logs why.
    pub(super) fn end(mut self, outcome: Result<(), TransportError>) {
        fail_point!("rpc.session_ended");
        match outcome {
            Ok(()) => tracing::info!(target: "strait", "a client was served to the end"),
            Err(TransportError::Closed) => tracing::info!(target: "strait", "a client left"),
            Err(error) => tracing::info!(target: "strait", %error, "a client is gone"),
        }
        self.out.connection.close();
    }

    /// Gives the last replies to the socket: a full one takes them only once the client has read. Not by one wait, which the
    /// interrupt that ends the server would end too.
    fn hand_over(&mut self) {
        let until = Instant::now() + GRACE;
        while self.out.connection.flush(Some(Instant::now())).is_ok_and(|wake| wake != Wake::Ready)
            && Instant::now() < until
        {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn serve(&mut self, interrupt: &Interrupt, bell: Option<&WaitSet>) -> Result<(), TransportError> {
        while !interrupt.is_raised() {
            // One by one: the next handler may take its time.
            if self.work(1)? {
                self.publish()?;
            } else {
                self.out.client.settle(&self.out.connection);
                self.wait(bell)?;
            }
        }
        self.finish()
    }

    /// Waits for a message, or until an event is to be sent.
    fn wait(&mut self, bell: Option<&WaitSet>) -> Result<(), TransportError> {
        let connection = &mut self.out.connection;
        let Some(bell) = bell else { return connection.wait_ready(Interest::DATA, None).map(drop) };
        connection.publish()?;
        let mut rung = false;
        let mut is_rung = || {
            rung |= bell.take_notice();
            rung
        };
        if connection.spin_until(Interest::DATA, &mut is_rung) || is_rung() || !connection.arm(Interest::DATA)? {
            return Ok(());
        }
        let slept = bell.sleep([&*connection], None);
        connection.disarm()?;
        slept.map(drop)
    }

    /// Takes in what has come, executes up to `max` calls, and gives each stream as many turns. Stops where an answer finds no
    /// room. Whether there was anything to do.
    pub(super) fn work(&mut self, max: u32) -> Result<bool, TransportError> {
        let mut worked = self.take_in(max)?;
        self.show_in_flight();
        for _ in 0..max {
            if !self.out.is_empty() {
                break;
            }
            let Some(call) = self.waiting.pop_front() else { break };
            self.execute(call)?;
            fail_point!("rpc.executed");
            worked = true;
        }
        for _ in 0..max {
            if !self.give_items()? {
                break;
            }
            worked = true;
        }
        self.show_in_flight();
        Ok(self.client.send(&mut self.out)? | worked)
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.streams.len() + self.out.unanswered()
    }

    /// Shows how many calls are in flight to whoever looks from outside.
    fn show_in_flight(&mut self) {
        let calls = self.in_flight();
        self.out.connection.set_in_flight(calls as u64);
    }

    /// Takes in what has come, so that what concerns calls that wait or run is known before the next is executed. At most the
    /// window: who sends more before it is answered is wrong. Over a socket, where a look may be a system call, no more
    /// than are executed `at_once`, unless a stream waits for credit.
    fn take_in(&mut self, at_once: u32) -> Result<bool, TransportError> {
        let mut taken = 0;
        let max = self.max_messages();
        while taken < max
            // One load of one line, where a look at the peer's other words would take them from it each time.
            && self.out.connection.is_ready(Interest::DATA)
            && let Some(message) = self.out.receive()?
        {
            self.on_message(message)?;
            taken += 1;
            let has_enough = self.streams.is_empty() && self.waiting.len() >= at_once as usize;
            if has_enough && self.out.connection.transport() == TransportKind::Socket {
                break;
            }
        }
        Ok(taken > 0)
    }

    fn on_message(&mut self, mut message: Message) -> Result<(), TransportError> {
        self.messages += 1;
        let header = self.out.open(&mut message)?;
        match header.kind {
            Kind::Request => {
                if self.in_flight() >= self.window {
                    return Err(corrupt(format!("more than the {} calls in flight that were agreed", self.window)));
                }
                self.waiting.push_back(Waiting { header, message, credit: 0 });
            }
            Kind::Cancel => return self.cancel(header.call),
            Kind::Credit => {
                let running = self.streams.iter_mut().map(|stream| (stream.header.call, &mut stream.credit));
                let waiting = self.waiting.iter_mut().rev().map(|call| (call.header.call, &mut call.credit));
                if let Some((_, credit)) = waiting.chain(running).find(|(call, _)| *call == header.call) {
                    *credit = credit.saturating_add(header.method.into());
                }
            }
            Kind::Notify => match self.allowance.pass(message.len()) {
                Ok(()) => self.shared.service.notify(&header, message, &self.client),
                Err(too_much) => tracing::debug!(target: "strait", too_much, "dropped a notification"),
            },
            kind => return Err(corrupt(format!("a message of kind {kind:?} from a client"))),
        }
        Ok(())
    }

    /// Nobody waits for a call any more. One that was answered already is none of those that wait or run.
    fn cancel(&mut self, call: u32) -> Result<(), TransportError> {
        if let Some(at) = self.streams.iter().position(|stream| stream.header.call == call) {
            self.streams.remove(at).seen.cut(Code::CANCELLED);
            self.allowance.give_back();
            self.out.error(call, Code::CANCELLED, "the stream was dropped")
        } else if let Some(at) = self.waiting.iter().position(|waiting| waiting.header.call == call) {
            self.waiting.remove(at);
            self.out.error(call, Code::CANCELLED, "it was not executed")
        } else {
            Ok(())
        }
    }

    /// An item of each stream whose reader takes more; whether there was one.
    fn give_items(&mut self) -> Result<bool, TransportError> {
        let (mut gave, mut at) = (false, 0);
        while let Some(stream) = self.streams.get_mut(at) {
            at += 1;
            if stream.credit == 0 || !self.out.is_empty() {
                continue;
            }
            gave = true;
            stream.credit -= 1;
            self.out.take_said();
            let goes_on = {
                let _entered = stream.seen.enter();
                (stream.items)(&stream.header, &mut self.out)?
            };
            stream.seen.said(self.out.take_said(), !goes_on);
            if !goes_on {
                at -= 1;
                self.streams.remove(at);
                self.allowance.give_back();
            }
        }
        Ok(gave)
    }

    /// Executes what has come, says farewell, and tells what comes after that that it was not executed. A client has at most
    /// its window in flight, so neither can go on for ever.
    fn finish(&mut self) -> Result<(), TransportError> {
        let last = self.last_message();
        while self.messages < last {
            self.end_streams()?;
            if !self.work(1)? {
                break;
            }
            self.publish()?;
        }
        self.say_farewell()?;
        self.publish()?;
        for _ in 0..self.window {
            let Some(message) = self.out.receive()? else { break };
            self.refuse(message)?;
            self.publish()?;
        }
        Ok(())
    }

    /// More do not come from a client that calls as far as its window goes: credit and cancels come on top of calls.
    fn max_messages(&self) -> usize {
        4 * self.window
    }

    /// How many messages may come before the farewell.
    pub(super) fn last_message(&self) -> u64 {
        self.messages + self.max_messages() as u64
    }

    /// How many messages have come.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Cuts the streams short: some would go on for ever, and others wait for readers that take nothing.
    pub(super) fn end_streams(&mut self) -> Result<(), TransportError> {
        for mut stream in std::mem::take(&mut self.streams) {
            stream.seen.cut(Code::SHUTTING_DOWN);
            self.allowance.give_back();
            self.out.error(stream.header.call, Code::SHUTTING_DOWN, "the stream is cut short")?;
        }
        Ok(())
    }

    /// Says farewell: what comes after that is not executed, nor is what still waits.
    pub(super) fn say_farewell(&mut self) -> Result<(), TransportError> {
        self.end_streams()?;
        for call in std::mem::take(&mut self.waiting) {
            self.out.error(call.header.call, Code::SHUTTING_DOWN, "try another server")?;
        }
        fail_point!("rpc.going_away");
        self.out.message(Header::of(Kind::GoAway, 0), &[])
    }

    /// Tells a call that came after the farewell that it was not executed.
    pub(super) fn refuse(&mut self, message: Message) -> Result<(), TransportError> {
        let header = Header::decode(&message).map_err(corrupt)?;
        match header.kind {
            Kind::Request => self.out.error(header.call, Code::SHUTTING_DOWN, "try another server"),
            _ => Ok(()),
        }
    }

    /// Executes a call, and answers it, or begins to.
    fn execute(&mut self, Waiting { header, message, credit }: Waiting) -> Result<(), TransportError> {
        self.out.client.call();
        let mut seen = self.shared.observer.serve(&header, &message);
        self.out.take_said();
        let items = self.answer(&header, message, &seen)?;
        seen.said(self.out.take_said(), items.is_none());
        if let Some(items) = items {
            self.streams.push(Streaming { header, credit, items, seen });
        }
        Ok(())
    }

    /// Answers a call, or returns what gives its answers.
    fn answer(&mut self, header: &Header, message: Message, seen: &Call) -> Result<Option<Items>, TransportError> {
        let call = header.call;
        if reserved::answer(header, &self.shared.description, &mut self.out)? {
            return Ok(None);
        }
        if header.deadline.is_some_and(|left| left.is_zero()) {
            return self.out.error(call, Code::DEADLINE, "it was not executed").map(|()| None);
        }
        if let Err(too_much) = self.allowance.take(message.len()) {
            return self.out.error(call, Code::BUSY, too_much).map(|()| None);
        }
        fail_point!("rpc.executing");
        let _entered = seen.enter();
        let items = self.shared.service.call(header, message, &self.client, &mut self.out)?;
        if items.is_none() {
            self.allowance.give_back();
        }
        Ok(items)
    }

    /// Publishes what was answered, and waits for room where there was none as long as the client is there. It is this
    /// client's own ring: nobody else waits for it.
    fn publish(&mut self) -> Result<(), TransportError> {
        loop {
            self.out.flush()?;
            self.out.connection.publish()?;
            if self.out.is_empty() {
                return Ok(());
            }
            if self.out.connection.wait_ready(Interest::SPACE, None)? == Wake::Interrupted {
                // From here on every wait ends at once.
                self.check_grace()?;
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// Fails when a client that holds up the server's end has had its time, which begins with the first such look.
    pub(super) fn check_grace(&mut self) -> Result<(), TransportError> {
        let now = Instant::now();
        if now < *self.grace_until.get_or_insert(now + GRACE) {
            return Ok(());
        }
        Err(TransportError::TimedOut { what: "the last reply to a client" })
    }
}

impl<S> Drop for Session<'_, S> {
    fn drop(&mut self) {
        self.client.close();
    }
}
