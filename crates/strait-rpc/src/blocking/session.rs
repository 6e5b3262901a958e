//! One client of a blocking server.

use std::time::{Duration, Instant};

use strait_transport::{Connection, Error as TransportError, Incoming, Interest, Interrupt, Message, Transport, Wake};

use super::{server::Shared, service::Service};
use crate::{
    counters::{Counted, Counters},
    error::Code,
    header::{Header, Kind},
    outbox::{Outbox, corrupt},
    policy::Allowance,
    reserved,
};

/// Does the handshake with a client and serves it until it leaves or `interrupt` is raised.
pub(super) fn serve_client<S: Service>(incoming: Incoming, shared: &Shared<S>, interrupt: &Interrupt) {
    let Some(connection) = handshake(incoming, &shared.counters) else { return };
    let mut session = Session::new(connection, shared);
    let outcome = session.serve(interrupt);
    if outcome.is_ok() {
        session.hand_over();
    }
    session.end(outcome);
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
    /// How long a client that reads nothing may still hold up the server's end.
    grace_until: Option<Instant>,
}

impl<'a, S: Service> Session<'a, S> {
    pub(super) fn new(connection: Connection, shared: &'a Shared<S>) -> Self {
        let client = Counted::new(shared.counters.clone());
        let allowance = Allowance::new(&shared.policy, &shared.total);
        Self { shared, out: Outbox::new(connection, client), allowance, grace_until: None }
    }

    /// Closes the connection, and logs why.
    pub(super) fn end(mut self, outcome: Result<(), TransportError>) {
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

    fn serve(&mut self, interrupt: &Interrupt) -> Result<(), TransportError> {
        while !interrupt.is_raised() {
            match self.out.receive()? {
                Some(message) => {
                    self.answer(message)?;
                    // Not once for several: the next handler may take its time.
                    self.publish()?;
                }
                None => {
                    self.out.client.settle(&self.out.connection);
                    self.out.connection.wait_ready(Interest::DATA, None)?;
                }
            }
        }
        self.finish()
    }

    /// Executes what has come, says farewell, and tells what comes after that that it was not executed. A client has at most
    /// its window in flight, so neither can go on for ever.
    fn finish(&mut self) -> Result<(), TransportError> {
        let window = self.out.connection.max_in_flight();
        for _ in 0..window {
            let Some(message) = self.out.receive()? else { break };
            self.answer(message)?;
            self.publish()?;
        }
        self.say_farewell()?;
        self.publish()?;
        for _ in 0..window {
            let Some(message) = self.out.receive()? else { break };
            self.refuse(message)?;
            self.publish()?;
        }
        Ok(())
    }

    /// Says farewell: what comes after that is not executed.
    pub(super) fn say_farewell(&mut self) -> Result<(), TransportError> {
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

    /// Executes a call, and answers it.
    pub(super) fn answer(&mut self, message: Message) -> Result<(), TransportError> {
        let header = Header::decode(&message).map_err(corrupt)?;
        match header.kind {
            Kind::Request => self.on_request(&header, message),
            Kind::Notify => {
                if let Err(too_much) = self.allowance.pass(message.len()) {
                    tracing::debug!(target: "strait", too_much, "dropped a notification");
                    return Ok(());
                }
                self.shared.service.notify(&header, message);
                Ok(())
            }
            // By the time that this thread reads it, its call has been answered.
            Kind::Cancel | Kind::Credit => Ok(()),
            kind => Err(corrupt(format!("a message of kind {kind:?} from a client"))),
        }
    }

    fn on_request(&mut self, header: &Header, message: Message) -> Result<(), TransportError> {
        self.out.client.call();
        if reserved::answer(header, &self.shared.description, &mut self.out)? {
            return Ok(());
        }
        if header.deadline.is_some_and(|left| left.is_zero()) {
            return self.out.error(header.call, Code::DEADLINE, "it was not executed");
        }
        if let Err(too_much) = self.allowance.take(message.len()) {
            return self.out.error(header.call, Code::BUSY, too_much);
        }
        let answered = self.shared.service.call(header, message, &mut self.out);
        self.allowance.give_back();
        answered
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
