//! What is seen of calls from outside: a span of each (feature `spans`) and numbers (feature `metrics`).
//!
//! Without either feature every type here is empty, and every function does nothing.

mod carried;
#[cfg(feature = "metrics")]
mod meters;
#[cfg(feature = "spans")]
mod spans;

use std::marker::PhantomData;
#[cfg(any(feature = "spans", feature = "metrics"))]
use std::sync::Arc;

use strait_transport::{Connection, Message};

pub(crate) use self::carried::Carried;
use crate::error::{Code, Error};
#[cfg(any(feature = "spans", feature = "metrics"))]
use crate::header::HEADER_BYTES;
#[cfg(not(strait_loom))]
use crate::header::Header;

/// What a call that was not answered ended in.
#[cfg(any(feature = "spans", feature = "metrics"))]
const CANCELLED: &str = "cancelled";

/// The name of a method; nothing where nobody would ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Name<'a> {
    #[cfg(any(feature = "spans", feature = "metrics"))]
    text: &'a str,
    lifetime: PhantomData<&'a str>,
}

impl<'a> Name<'a> {
    #[inline]
    pub(crate) fn new(text: &'a str) -> Self {
        let _ = text;
        Self {
            #[cfg(any(feature = "spans", feature = "metrics"))]
            text,
            lifetime: PhantomData,
        }
    }
}

/// Sees the calls of a connection, or of a server.
pub(crate) struct Observer {
    #[cfg(feature = "spans")]
    service: Arc<str>,
    /// Whether the server takes trace contexts.
    #[cfg(feature = "spans")]
    carries: bool,
    #[cfg(feature = "metrics")]
    meters: meters::Meters,
    /// The methods of a server.
    #[cfg(all(any(feature = "spans", feature = "metrics"), not(strait_loom)))]
    description: Option<Arc<crate::Description>>,
}

impl Observer {
    /// Of a client's calls.
    pub(crate) fn client(connection: &Connection) -> Self {
        let _ = connection;
        Self {
            #[cfg(feature = "spans")]
            service: connection.service().clone(),
            #[cfg(feature = "spans")]
            carries: connection.trace_context(),
            #[cfg(feature = "metrics")]
            meters: meters::Meters::new(connection.service(), "client"),
            #[cfg(all(any(feature = "spans", feature = "metrics"), not(strait_loom)))]
            description: None,
        }
    }

    /// A client makes a call of `method`.
    #[inline]
    pub(crate) fn call(&self, method: u16, name: Name<'_>) -> Call {
        let _ = (method, name);
        Call {
            #[cfg(feature = "spans")]
            span: spans::CallSpan::client(&self.service, name.text, self.carries),
            #[cfg(feature = "metrics")]
            meter: self.meters.begin(method, name.text),
            #[cfg(any(feature = "spans", feature = "metrics"))]
            tally: Some(Tally::default()),
        }
    }
}

#[cfg(not(strait_loom))]
impl Observer {
    /// Of the calls that a server answers.
    pub(crate) fn server(service: &str, description: &std::sync::Arc<crate::Description>) -> Self {
        let _ = (service, description);
        #[cfg(feature = "metrics")]
        let meters = meters::Meters::new(service, "server");
        #[cfg(feature = "metrics")]
        meters.announce(description);
        Self {
            #[cfg(feature = "spans")]
            service: service.into(),
            #[cfg(feature = "spans")]
            carries: true,
            #[cfg(feature = "metrics")]
            meters,
            #[cfg(any(feature = "spans", feature = "metrics"))]
            description: Some(description.clone()),
        }
    }

    /// A server comes to a call.
    #[inline]
    pub(crate) fn serve(&self, header: &Header, message: &Message) -> Call {
        let _ = (header, message);
        #[cfg(any(feature = "spans", feature = "metrics"))]
        let ((_method, name), tally) = (self.name(header.method), Tally::of(header.call, body_bytes(message)));
        Call {
            #[cfg(feature = "spans")]
            span: spans::CallSpan::server(&self.service, name, header.trace.context(), &tally),
            #[cfg(feature = "metrics")]
            meter: self.meters.begin(_method, name),
            #[cfg(any(feature = "spans", feature = "metrics"))]
            tally: Some(tally),
        }
    }

    /// The name of a server's method, and a number of it: all that there are not have one between them, so that a client
    /// cannot make up as many as it likes.
    #[cfg(any(feature = "spans", feature = "metrics"))]
    fn name(&self, method: u16) -> (u16, &str) {
        use crate::header::{METHOD_DESCRIBE, METHOD_HEALTH, METHODS_RESERVED};
        let known = self.description.as_ref().and_then(|description| description.methods.get(usize::from(method)));
        match (known, method) {
            (Some(known), _) => (method, &known.name),
            (None, METHOD_DESCRIBE) => (method, DESCRIBE),
            (None, METHOD_HEALTH) => (method, HEALTH),
            (None, _) => (METHODS_RESERVED, "_unknown"),
        }
    }
}

/// What the methods that every server has are called: no name of a method on the wire, so that they stand apart.
#[cfg(not(strait_loom))]
pub(crate) const DESCRIBE: &str = "_describe";
/// As [`DESCRIBE`].
#[cfg(not(strait_loom))]
pub(crate) const HEALTH: &str = "_health";

/// One call, until it is over. One that is dropped before was cancelled.
#[derive(Default)]
pub(crate) struct Call {
    #[cfg(feature = "spans")]
    span: spans::CallSpan,
    #[cfg(feature = "metrics")]
    meter: Option<meters::CallMeter>,
    /// `None` once it is over.
    #[cfg(any(feature = "spans", feature = "metrics"))]
    tally: Option<Tally>,
}

/// What is told of a call at its end.
#[cfg(any(feature = "spans", feature = "metrics"))]
#[derive(Default)]
struct Tally {
    call: u32,
    request_bytes: u64,
    reply_bytes: u64,
}

#[cfg(any(feature = "spans", feature = "metrics"))]
impl Tally {
    #[cfg(not(strait_loom))]
    fn of(call: u32, request_bytes: u64) -> Self {
        Self { call, request_bytes, reply_bytes: 0 }
    }
}

/// Length of what a message carries, behind its header.
#[cfg(any(feature = "spans", feature = "metrics"))]
fn body_bytes(message: &Message) -> u64 {
    message.len().saturating_sub(HEADER_BYTES) as u64
}

impl Call {
    /// What travels with the request.
    #[inline]
    pub(crate) fn carried(&self) -> Carried {
        #[cfg(feature = "spans")]
        return Carried::new(self.span.carried());
        #[cfg(not(feature = "spans"))]
        Carried::default()
    }

    /// The request is sent, under this id.
    #[inline]
    pub(crate) fn sent(&mut self, call: u32, body_bytes: usize) {
        let _ = (call, body_bytes);
        #[cfg(any(feature = "spans", feature = "metrics"))]
        if let Some(tally) = &mut self.tally {
            (tally.call, tally.request_bytes) = (call, body_bytes as u64);
            #[cfg(feature = "spans")]
            self.span.request(tally);
        }
    }

    /// One of several answers has come.
    #[inline]
    pub(crate) fn item(&mut self, message: &Message) {
        let _ = message;
        #[cfg(any(feature = "spans", feature = "metrics"))]
        if let Some(tally) = &mut self.tally {
            tally.reply_bytes += body_bytes(message);
        }
    }

    /// The answer has come, or the call has failed.
    #[inline]
    pub(crate) fn reply(&mut self, answer: &Result<Message, Error>) {
        let _ = answer;
        #[cfg(any(feature = "spans", feature = "metrics"))]
        {
            if let Ok(message) = answer {
                self.item(message);
            }
            self.close(answer.as_ref().err().map(Error::label));
        }
    }

    /// The last of several answers has come, or the call has failed.
    #[inline]
    pub(crate) fn over(&mut self, end: Result<(), &Error>) {
        let _ = end;
        #[cfg(any(feature = "spans", feature = "metrics"))]
        self.close(end.err().map(Error::label));
    }

    /// A call of several answers was sent, or failed.
    pub(crate) fn begun(mut self, begun: Result<u32, Error>) -> Result<(u32, Self), Error> {
        begun.inspect_err(|error| self.over(Err(error))).map(|call| (call, self))
    }

    /// The server has said something; an error is always the last word.
    #[cfg(not(strait_loom))]
    #[inline]
    pub(crate) fn said(&mut self, said: Said, is_last: bool) {
        let _ = (&said, is_last);
        #[cfg(any(feature = "spans", feature = "metrics"))]
        {
            if let Some(tally) = &mut self.tally {
                tally.reply_bytes += said.bytes;
            }
            if is_last || said.code.is_some() {
                self.close(said.code.map(Code::label));
            }
        }
    }

    /// The server ends it in an error, without a word of its handler.
    #[cfg(not(strait_loom))]
    #[inline]
    pub(crate) fn cut(&mut self, code: Code) {
        let _ = code;
        #[cfg(any(feature = "spans", feature = "metrics"))]
        self.close(Some(code.label()));
    }

    /// Runs what belongs to the call: for as long as what is returned lives, its span is the current one.
    #[cfg(not(strait_loom))]
    #[inline]
    pub(crate) fn enter(&self) -> Entered<'_> {
        Entered {
            #[cfg(feature = "spans")]
            _span: self.span.enter(),
            lifetime: PhantomData,
        }
    }

    #[cfg(any(feature = "spans", feature = "metrics"))]
    fn close(&mut self, error: Option<&'static str>) {
        let Some(tally) = self.tally.take() else { return };
        #[cfg(feature = "spans")]
        std::mem::take(&mut self.span).close(&tally, error);
        #[cfg(feature = "metrics")]
        if let Some(meter) = self.meter.take() {
            meter.close(&tally, error);
        }
    }
}

#[cfg(any(feature = "spans", feature = "metrics"))]
impl Drop for Call {
    fn drop(&mut self) {
        self.close(Some(CANCELLED));
    }
}

/// See [`Call::enter`].
#[cfg(not(strait_loom))]
pub(crate) struct Entered<'a> {
    #[cfg(feature = "spans")]
    _span: spans::Entered<'a>,
    #[allow(dead_code)]
    lifetime: PhantomData<&'a ()>,
}

/// What a server has answered a call with since this was last asked.
#[cfg(not(strait_loom))]
#[derive(Default)]
pub(crate) struct Said {
    #[cfg(any(feature = "spans", feature = "metrics"))]
    code: Option<Code>,
    #[cfg(any(feature = "spans", feature = "metrics"))]
    bytes: u64,
}

#[cfg(not(strait_loom))]
impl Said {
    /// A body was sent.
    #[inline]
    pub(crate) fn body(&mut self, bytes: usize) {
        let _ = bytes;
        #[cfg(any(feature = "spans", feature = "metrics"))]
        {
            self.bytes += bytes as u64;
        }
    }

    /// An error was.
    #[inline]
    pub(crate) fn error(&mut self, code: Code) {
        let _ = code;
        #[cfg(any(feature = "spans", feature = "metrics"))]
        {
            self.code = Some(code);
        }
    }
}
