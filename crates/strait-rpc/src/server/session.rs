//! One client of an async server.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use strait_transport::{Connection, Error as TransportError, Interest, Message, Transport};
use tokio::{sync::watch, time::Sleep};

use super::{
    Shared,
    slots::{Outcome, Sent, Slots},
};
use crate::{
    counters::Counted,
    error::Code,
    header::{Header, Kind},
    observe::Call,
    outbox::{Outbox, corrupt},
    policy::Allowance,
    push::ClientHandle,
    refused::Refused,
    reserved,
    service::Service,
};

/// A connection and the calls in flight on it.
pub(super) struct Session<S: Service> {
    shared: Arc<Shared<S>>,
    calls: Slots<S::Answers>,
    /// Answers that found no room are kept here. At most a window full: nothing else is taken in until they are out.
    out: Outbox,
    window: usize,
    going_away: bool,
    allowance: Allowance,
    client: ClientHandle,
}

/// Messages that are taken in before handlers get their turn.
const MAX_BATCH: usize = 64;
/// Rounds of taking in, running handlers and answering before other tasks get their turn.
const MAX_ROUNDS: usize = 8;
/// What a client is given to read its last answers, once the server shuts down and all handlers are done.
const GRACE: Duration = Duration::from_secs(1);
/// How much later than its caller a handler may learn that nobody waits: timers are coarse, and a cancel comes first.
const DEADLINE_SLACK: Duration = Duration::from_millis(10);

impl<S: Service> Session<S> {
    pub(super) fn new(mut connection: Connection, shared: Arc<Shared<S>>) -> Self {
        let window = connection.max_in_flight() as usize;
        let client = Counted::new(shared.counters.clone(), &mut connection);
        let calls = Slots::new(window);
        let max_bytes = connection.limits().max_send_bytes;
        Self {
            client: ClientHandle::new(calls.waker(), shared.description.clone(), max_bytes),
            calls,
            out: Outbox::new(connection, client),
            window,
            going_away: false,
            allowance: Allowance::new(&shared.policy, &shared.total),
            shared,
        }
    }

    /// Serves until the client leaves, or until `stop` and all calls are finished.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut stopped = pin!(super::stopped(&mut stop));
        let mut timer = pin!(None::<Sleep>);
        let outcome = std::future::poll_fn(|cx| {
            if !self.going_away && stopped.as_mut().poll(cx).is_ready() {
                self.going_away = true;
                self.say_farewell()?;
            }
            loop {
                match self.poll(cx) {
                    Poll::Ready(outcome) => return Poll::Ready(outcome),
                    Poll::Pending => std::task::ready!(self.poll_timer(cx, timer.as_mut()))?,
                }
            }
        })
        .await;
        match outcome {
            Ok(()) | Err(TransportError::Closed) => tracing::info!(target: "strait", "a client left"),
            Err(error) => tracing::info!(target: "strait", %error, "a client is gone"),
        }
        self.client.close();
        self.out.connection.close();
    }

    /// Says farewell. Streams end with it: some would go on for ever, and others wait for readers that take nothing.
    fn say_farewell(&mut self) -> Result<(), TransportError> {
        while let Some(call) = self.calls.take_stream() {
            self.allowance.give_back();
            self.out.error(call, Code::SHUTTING_DOWN, "the stream is cut short")?;
        }
        self.out.message(Header::of(Kind::GoAway, 0), &[])
    }

    /// Waits for what no message tells of: the end of a caller's patience, and of ours with a client that does not read.
    fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Option<Sleep>>,
    ) -> Poll<Result<(), TransportError>> {
        if self.calls.is_empty() && !self.going_away {
            return Poll::Pending;
        }
        let now = Instant::now();
        let last_call = self.going_away && self.calls.is_empty();
        let until = match last_call {
            true => Some(now + GRACE),
            false => self.calls.next_deadline(now).map(|until| until + DEADLINE_SLACK),
        };
        let Some(until) = until else { return Poll::Pending };
        // Set anew only where an earlier end has come up, and for the grace, which runs once.
        let set = timer.as_ref().as_pin_ref().map(|timer| timer.deadline().into_std());
        if set.is_none_or(|set| until < set) {
            timer.set(Some(tokio::time::sleep_until(until.into())));
        }
        let Some(sleep) = timer.as_mut().as_pin_mut() else { return Poll::Pending };
        std::task::ready!(sleep.poll(cx));
        timer.set(None);
        if last_call {
            return Poll::Ready(Err(TransportError::TimedOut { what: "the last reply to a client" }));
        }
        while let Some(call) = self.calls.take_expired(Instant::now()) {
            self.allowance.give_back();
            self.out.error(call, Code::CANCELLED, "its deadline passed, and its handler was dropped")?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.calls.register(cx.waker());
        // A client that never stops must not keep the task from giving others their turn.
        for _ in 0..MAX_ROUNDS {
            let mut progressed = self.take_in()?;
            self.show_in_flight();
            progressed |= self.run_handlers()?;
            progressed |= self.out.flush()?;
            self.show_in_flight();
            progressed |= self.client.send(&mut self.out)?;
            self.out.connection.publish()?;
            if progressed {
                continue;
            }
            if self.going_away && self.calls.is_empty() && self.out.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.out.client.settle(&self.out.connection);
            let interest = Interest::data_and(!self.out.is_empty());
            match self.out.connection.poll_ready(cx, interest) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn in_flight(&self) -> usize {
        self.calls.len() + self.out.unanswered()
    }

    /// Shows how many calls are in flight to whoever looks from outside.
    fn show_in_flight(&mut self) {
        let calls = self.in_flight();
        self.out.connection.set_in_flight(calls as u64);
    }

    /// Receives requests and starts their handlers.
    fn take_in(&mut self) -> Result<bool, TransportError> {
        let mut taken = 0;
        while taken < MAX_BATCH
            && let Some(message) = self.out.receive()?
        {
            self.on_message(message)?;
            taken += 1;
        }
        Ok(taken > 0)
    }

    fn on_message(&mut self, mut message: Message) -> Result<(), TransportError> {
        let header = self.out.open(&mut message)?;
        match header.kind {
            Kind::Request => self.on_request(header, message),
            Kind::Cancel if self.calls.cancel(header.call) => {
                self.allowance.give_back();
                self.out.error(header.call, Code::CANCELLED, "its handler was dropped")
            }
            // Its call has been answered already.
            Kind::Cancel => Ok(()),
            Kind::Credit => {
                self.calls.grant(header.call, header.method.into());
                Ok(())
            }
            Kind::Notify => {
                if let Err(too_much) = self.allowance.pass(message.len()) {
                    tracing::debug!(target: "strait", too_much, "dropped a notification");
                    return Ok(());
                }
                match catch_unwind(AssertUnwindSafe(|| self.shared.service.notify(&header, message, &self.client))) {
                    Ok(Ok(())) => {}
                    Ok(Err(refused)) => {
                        tracing::debug!(target: "strait", text = refused.text, "dropped a notification")
                    }
                    Err(_panic) => tracing::error!(target: "strait", "a handler of notifications panicked"),
                }
                Ok(())
            }
            kind => Err(corrupt(format!("a message of kind {kind:?} from a client"))),
        }
    }

    fn on_request(&mut self, header: Header, message: Message) -> Result<(), TransportError> {
        if self.in_flight() >= self.window {
            return Err(corrupt(format!("more than the {} calls in flight that were agreed", self.window)));
        }
        self.out.client.call();
        let mut seen = self.shared.observer.serve(&header, &message);
        self.out.take_said();
        match self.begin(&header, message, &seen)? {
            Some(answers) => {
                let started = self.calls.start(header, answers, seen);
                debug_assert!(started, "the window was checked before");
            }
            None => seen.said(self.out.take_said(), true),
        }
        Ok(())
    }

    /// Begins a call; `None` where it is answered already.
    fn begin(&mut self, header: &Header, message: Message, seen: &Call) -> Result<Option<S::Answers>, TransportError> {
        let call = header.call;
        if reserved::answer(header, &self.shared.description, &mut self.out)? {
            return Ok(None);
        }
        if self.going_away {
            return self.out.error(call, Code::SHUTTING_DOWN, "try another server").map(|()| None);
        }
        if header.deadline.is_some_and(|left| left.is_zero()) {
            return self.out.error(call, Code::DEADLINE, "it was not executed").map(|()| None);
        }
        if let Err(too_much) = self.allowance.take(message.len()) {
            return self.out.error(call, Code::BUSY, too_much).map(|()| None);
        }
        // A plain closure may do its work, and panic, before it returns its future.
        let begun = {
            let _entered = seen.enter();
            catch_unwind(AssertUnwindSafe(|| self.shared.service.start(header, message, &self.client)))
        };
        let refused = match begun {
            Ok(Ok(answers)) => return Ok(Some(answers)),
            Ok(Err(refused)) => Some(refused),
            Err(_panic) => None,
        };
        self.allowance.give_back();
        match refused {
            Some(Refused { code, text }) => self.out.error(call, code, &text)?,
            None => panicked(&mut self.out, call)?,
        }
        Ok(None)
    }

    fn run_handlers(&mut self) -> Result<bool, TransportError> {
        let (service, out, allowance) = (&self.shared.service, &mut self.out, &mut self.allowance);
        let room = out.is_empty();
        self.calls.poll_ready(room, |request, seen, outcome| {
            out.take_failed();
            out.take_said();
            let (kind, value) = match outcome {
                Outcome::Item(value) => (Kind::Item, Some(value)),
                Outcome::Last(value) => (Kind::Reply, Some(value)),
                Outcome::Panicked => (Kind::Reply, None),
            };
            let header = Header { json: request.json, ..Header::of(kind, request.call) };
            match value.map(|value| catch_unwind(AssertUnwindSafe(|| service.send(header, value, out)))) {
                Some(Ok(sent)) => sent?,
                Some(Err(_)) | None => panicked(out, request.call)?,
            }
            seen.said(out.take_said(), kind == Kind::Reply);
            let failed = out.take_failed();
            if failed || kind != Kind::Item {
                allowance.give_back();
            }
            Ok(Sent { room: out.is_empty(), failed })
        })
    }
}

fn panicked(out: &mut Outbox, call: u32) -> Result<(), TransportError> {
    tracing::error!(target: "strait", call, "a handler panicked");
    out.error(call, Code::PANICKED, "see the server's log")
}
