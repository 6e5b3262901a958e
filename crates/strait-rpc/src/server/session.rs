//! One client of an async server.

use std::{
    collections::VecDeque,
    fmt::Display,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use strait_frame::Codec;
use strait_transport::{Connection, Error as TransportError, Interest, Message, SendError, Transport};
use tokio::sync::watch;

use super::slots::{Outcome, Slots};
use crate::{
    encode::{send_error, send_header, send_value},
    error::Code,
    header::{Header, Kind},
    request::Request,
};

/// An answer that waits for room in the client's ring.
enum Answer<Resp> {
    Reply(Resp),
    Error(Code, String),
}

/// A connection and its handlers.
pub(super) struct Session<C, Req, Resp, E, F, Fut> {
    connection: Connection,
    handler: Arc<F>,
    slots: Slots<Fut>,
    /// Answers that are not sent yet. At most a window full: nothing else is taken in until they are.
    answers: VecDeque<(u32, Answer<Resp>)>,
    window: usize,
    hint: usize,
    going_away: bool,
    types: PhantomData<fn(Req, C) -> E>,
}

/// Messages that are taken in before handlers get their turn.
const MAX_BATCH: usize = 64;
/// Rounds of taking in, running handlers and answering before other tasks get their turn.
const MAX_ROUNDS: usize = 8;
/// What a client is given to read its last answers, once the server shuts down and all handlers are done.
const GRACE: Duration = Duration::from_secs(1);

impl<C, Req, Resp, E, F, Fut> Session<C, Req, Resp, E, F, Fut>
where
    C: Codec<Req> + Codec<Resp>,
    E: Display,
    F: Fn(Request<Req, C>) -> Fut,
    Fut: Future<Output = Result<Resp, E>>,
{
    pub(super) fn new(connection: Connection, handler: Arc<F>) -> Self {
        let window = connection.max_in_flight() as usize;
        Self {
            connection,
            handler,
            slots: Slots::new(window),
            answers: VecDeque::with_capacity(window),
            window,
            hint: 0,
            going_away: false,
            types: PhantomData,
        }
    }

    /// Serves until the client leaves, or until `stop` and all calls are finished.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut stopped = pin!(super::stopped(&mut stop));
        let mut grace = pin!(None::<tokio::time::Sleep>);
        let outcome = std::future::poll_fn(|cx| {
            if !self.going_away && stopped.as_mut().poll(cx).is_ready() {
                self.going_away = true;
                // Best effort: a client without room for it learns by the end of the connection.
                let _ = send_header(&mut self.connection, Header::of(Kind::GoAway, 0));
            }
            let polled = self.poll(cx);
            if polled.is_pending() && self.going_away && self.slots.is_empty() {
                // Only a client that does not read keeps this open.
                if grace.is_none() {
                    grace.set(Some(tokio::time::sleep(GRACE)));
                }
                if grace.as_mut().as_pin_mut().is_some_and(|grace| grace.poll(cx).is_ready()) {
                    return Poll::Ready(Err(TransportError::TimedOut { what: "the last reply to a client" }));
                }
            }
            polled
        })
        .await;
        match outcome {
            Ok(()) | Err(TransportError::Closed) => tracing::info!(target: "strait", "a client left"),
            Err(error) => tracing::info!(target: "strait", %error, "a client is gone"),
        }
        self.connection.close();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.slots.register(cx.waker());
        // A client that never stops must not keep the task from giving others their turn.
        for _ in 0..MAX_ROUNDS {
            let mut progressed = self.take_in()?;
            progressed |= self.run_handlers();
            progressed |= self.send_answers()?;
            self.connection.publish()?;
            if progressed {
                continue;
            }
            if self.going_away && self.slots.is_empty() && self.answers.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let interest = Interest::data_and(!self.answers.is_empty());
            match self.connection.poll_ready(cx, interest) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Receives requests and starts their handlers.
    fn take_in(&mut self) -> Result<bool, TransportError> {
        let mut taken = 0;
        while taken < MAX_BATCH {
            match self.connection.try_recv() {
                Ok(Some(message)) => self.on_message(message)?,
                Ok(None) => break,
                Err(error @ TransportError::Checksum { .. }) => {
                    return Err(corrupt(format!("an rpc request was lost: {error}")));
                }
                Err(error) => return Err(error),
            }
            taken += 1;
        }
        Ok(taken > 0)
    }

    fn on_message(&mut self, message: Message) -> Result<(), TransportError> {
        let header = Header::decode(&message).map_err(corrupt)?;
        let call = header.call;
        match header.kind {
            Kind::Request => {}
            Kind::Cancel => {
                if self.slots.cancel(call) {
                    self.refuse(call, Code::CANCELLED, "its handler was dropped");
                }
                return Ok(());
            }
            kind => return Err(corrupt(format!("a message of kind {kind:?} from a client"))),
        }
        if self.slots.len() + self.answers.len() >= self.window {
            return Err(corrupt(format!("more than the {} calls in flight that were agreed", self.window)));
        }
        if self.going_away {
            self.refuse(call, Code::SHUTTING_DOWN, "try another server");
        } else if header.method != 0 {
            let text = format!("this service has only method 0, the call is for {}", header.method);
            self.refuse(call, Code::UNKNOWN_METHOD, &text);
        } else if header.deadline.is_some_and(|left| left.is_zero()) {
            self.refuse(call, Code::DEADLINE, "it was not executed");
        } else {
            match Request::open(message, header.deadline) {
                Ok(request) => self.start(call, request),
                Err(error) => self.refuse(call, Code::BAD_REQUEST, &error.to_string()),
            }
        }
        Ok(())
    }

    fn start(&mut self, call: u32, request: Request<Req, C>) {
        // A plain closure may do its work, and panic, before it returns its future.
        match catch_unwind(AssertUnwindSafe(|| (self.handler)(request))) {
            Ok(future) => {
                let started = self.slots.start(call, future);
                debug_assert!(started, "the window was checked before");
            }
            Err(_panic) => self.answers.push_back((call, panicked(call))),
        }
    }

    fn refuse(&mut self, call: u32, code: Code, text: &str) {
        self.answers.push_back((call, Answer::Error(code, text.to_owned())));
    }

    fn run_handlers(&mut self) -> bool {
        let answers = &mut self.answers;
        self.slots.poll_ready(|call, outcome| {
            let answer = match outcome {
                Outcome::Returned(Ok(reply)) => Answer::Reply(reply),
                Outcome::Returned(Err(error)) => match catch_unwind(AssertUnwindSafe(|| error.to_string())) {
                    Ok(text) => Answer::Error(Code::HANDLER, text),
                    Err(_panic) => panicked(call),
                },
                Outcome::Panicked => panicked(call),
            };
            answers.push_back((call, answer));
        })
    }

    /// Sends as many answers as there is room for; never waits.
    fn send_answers(&mut self) -> Result<bool, TransportError> {
        let mut progressed = false;
        while let Some((call, answer)) = self.answers.front_mut() {
            let sent = match answer {
                Answer::Reply(reply) => {
                    let header = Header::of(Kind::Reply, *call);
                    send_value::<C, Resp>(&mut self.connection, header, reply, &mut self.hint)
                }
                Answer::Error(code, text) => send_error(&mut self.connection, *call, *code, text),
            };
            match sent {
                Ok(()) => {
                    self.answers.pop_front();
                    progressed = true;
                }
                Err(SendError::Failed(error @ (TransportError::TooLarge { .. } | TransportError::Encode(_)))) => {
                    *answer = Answer::Error(Code::BAD_REPLY, error.to_string());
                }
                Err(SendError::Failed(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(progressed)
    }
}

fn panicked<Resp>(call: u32) -> Answer<Resp> {
    tracing::error!(target: "strait", call, "a handler panicked");
    Answer::Error(Code::PANICKED, "see the server's log".to_owned())
}

fn corrupt(what: String) -> TransportError {
    tracing::warn!(target: "strait", what, "corrupt input");
    TransportError::Corrupt { what: what.into() }
}
