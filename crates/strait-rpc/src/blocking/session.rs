//! One client of a blocking server.

use std::{
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use strait_frame::Codec;
use strait_transport::{
    Connection, Error as TransportError, Incoming, Interest, Interrupt, Message, SendError, Transport, Wake,
};

use crate::{
    encode::{send_error, send_header, send_value},
    error::Code,
    header::{Header, Kind},
    request::Request,
};

/// Does the handshake with a client and serves it until it leaves or `interrupt` is raised.
pub(super) fn serve_client<C, Req, Resp, E, F>(incoming: Incoming, handler: &F, interrupt: &Interrupt)
where
    C: Codec<Req> + Codec<Resp>,
    E: Display,
    F: Fn(Request<Req, C>) -> Result<Resp, E>,
{
    let connection = match incoming.handshake() {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(target: "strait", %error, "a handshake failed");
            return;
        }
    };
    let mut session = Session { connection, hint: 0, grace_until: None };
    match session.serve::<C, Req, Resp, E, F>(handler, interrupt) {
        Ok(()) => {
            session.hand_over();
            tracing::info!(target: "strait", "a client was served to the end");
        }
        Err(TransportError::Closed) => tracing::info!(target: "strait", "a client left"),
        Err(error) => tracing::info!(target: "strait", %error, "a client is gone"),
    }
    session.connection.close();
}

/// One client.
struct Session {
    connection: Connection,
    hint: usize,
    /// How long a client that reads nothing may still hold up the server's end.
    grace_until: Option<Instant>,
}

impl Session {
    /// What a client is given to read its last answers, once the server shuts down.
    const GRACE: Duration = Duration::from_secs(1);

    /// Gives the last replies to the socket: a full one takes them only once the client has read. Not by one wait, which the
    /// interrupt that ends the server would end too.
    fn hand_over(&mut self) {
        let until = Instant::now() + Self::GRACE;
        while self.connection.flush(Some(Instant::now())).is_ok_and(|wake| wake != Wake::Ready)
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    /// How often a full ring is looked at in that time.
    const LOOK_EVERY: Duration = Duration::from_millis(1);

    fn serve<C, Req, Resp, E, F>(&mut self, handler: &F, interrupt: &Interrupt) -> Result<(), TransportError>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display,
        F: Fn(Request<Req, C>) -> Result<Resp, E>,
    {
        while !interrupt.is_raised() {
            match self.receive()? {
                Some(message) => self.answer::<C, Req, Resp, E, F>(message, handler)?,
                None => {
                    self.connection.wait_ready(Interest::DATA, None)?;
                }
            }
        }
        self.finish::<C, Req, Resp, E, F>(handler)
    }

    /// Executes what has come, says farewell, and tells what comes after that that it was not executed. A client has at most
    /// its window in flight, so neither can go on for ever.
    fn finish<C, Req, Resp, E, F>(&mut self, handler: &F) -> Result<(), TransportError>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display,
        F: Fn(Request<Req, C>) -> Result<Resp, E>,
    {
        let window = self.connection.max_in_flight();
        for _ in 0..window {
            let Some(message) = self.receive()? else { break };
            self.answer::<C, Req, Resp, E, F>(message, handler)?;
        }
        self.send(|connection| send_header(connection, Header::of(Kind::GoAway, 0)))?;
        for _ in 0..window {
            let Some(message) = self.receive()? else { break };
            if let Some(header) = request_header(&message)? {
                self.refuse(header.call, Code::SHUTTING_DOWN, "try another server")?;
            }
        }
        Ok(())
    }

    /// The next message; one whose checksum is wrong ends an rpc connection, because its call can't be answered.
    fn receive(&mut self) -> Result<Option<Message>, TransportError> {
        self.connection.try_recv().map_err(|error| match error {
            TransportError::Checksum { .. } => {
                TransportError::Corrupt { what: format!("an rpc request was lost: {error}").into() }
            }
            error => error,
        })
    }

    fn answer<C, Req, Resp, E, F>(&mut self, message: Message, handler: &F) -> Result<(), TransportError>
    where
        C: Codec<Req> + Codec<Resp>,
        E: Display,
        F: Fn(Request<Req, C>) -> Result<Resp, E>,
    {
        let Some(header) = request_header(&message)? else { return Ok(()) };
        let call = header.call;
        if header.method != 0 {
            let text = format!("this service has only method 0, the call is for {}", header.method);
            return self.refuse(call, Code::UNKNOWN_METHOD, &text);
        }
        if header.deadline.is_some_and(|left| left.is_zero()) {
            return self.refuse(call, Code::DEADLINE, "it was not executed");
        }
        let request = match Request::<Req, C>::open(message, header.deadline) {
            Ok(request) => request,
            Err(error) => return self.refuse(call, Code::BAD_REQUEST, &error.to_string()),
        };
        let handled = || handler(request).map_err(|error| error.to_string());
        match catch_unwind(AssertUnwindSafe(handled)) {
            Ok(Ok(reply)) => self.reply::<C, Resp>(call, &reply),
            Ok(Err(text)) => self.refuse(call, Code::HANDLER, &text),
            Err(_panic) => {
                tracing::error!(target: "strait", call, "a handler panicked");
                self.refuse(call, Code::PANICKED, "see the server's log")
            }
        }
    }

    fn refuse(&mut self, call: u32, code: Code, text: &str) -> Result<(), TransportError> {
        self.send(|connection| send_error(connection, call, code, text))
    }

    fn reply<C, Resp>(&mut self, call: u32, reply: &Resp) -> Result<(), TransportError>
    where
        C: Codec<Resp>,
    {
        let mut hint = self.hint;
        let header = Header::of(Kind::Reply, call);
        let sent = self.send(|connection| send_value::<C, Resp>(connection, header, reply, &mut hint));
        self.hint = hint;
        match sent {
            Err(error @ (TransportError::TooLarge { .. } | TransportError::Encode(_))) => {
                self.refuse(call, Code::BAD_REPLY, &error.to_string())
            }
            other => other,
        }
    }

    /// Sends, waiting for room as long as the client is there. It is this client's own ring: nobody else waits for it.
    fn send(&mut self, mut send: impl FnMut(&mut Connection) -> Result<(), SendError>) -> Result<(), TransportError> {
        loop {
            match send(&mut self.connection) {
                Ok(()) => return self.connection.publish(),
                Err(SendError::Failed(error)) => return Err(error),
                Err(_full) => {}
            }
            if self.connection.wait_ready(Interest::SPACE, None)? == Wake::Interrupted {
                // From here on every wait ends at once.
                let until = *self.grace_until.get_or_insert_with(|| Instant::now() + Self::GRACE);
                if Instant::now() >= until {
                    return Err(TransportError::TimedOut { what: "the last reply to a client" });
                }
                std::thread::sleep(Self::LOOK_EVERY);
            }
        }
    }
}

/// The header of a request; `None` for a cancel: by the time that this thread reads it, its call has been answered.
fn request_header(message: &Message) -> Result<Option<Header>, TransportError> {
    let header = Header::decode(message).map_err(corrupt)?;
    match header.kind {
        Kind::Request => Ok(Some(header)),
        Kind::Cancel => Ok(None),
        kind => Err(corrupt(format!("a message of kind {kind:?} from a client"))),
    }
}

fn corrupt(what: String) -> TransportError {
    tracing::warn!(target: "strait", what, "corrupt input");
    TransportError::Corrupt { what: what.into() }
}
