//! What a server of threads does with a call, apart from how it comes and goes.

use std::{
    fmt::Display,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
};

use strait_frame::Codec;
use strait_transport::{Error as TransportError, Message};

use crate::{
    description::Description,
    error::Code,
    header::{Header, Kind},
    outbox::Outbox,
    push::ClientHandle,
    request::Request,
};

/// The rest of a stream: sends one more answer, and says whether there are others.
pub(super) type Items = Box<dyn FnMut(&Header, &mut Outbox) -> Result<bool, TransportError>>;

/// A service for threads: a call is answered before the next one is looked at.
pub(super) trait Service: Send + Sync + 'static {
    /// Answers a call, or returns what gives its answers. Fails where the connection has.
    fn call(
        &self,
        header: &Header,
        message: Message,
        client: &ClientHandle,
        out: &mut Outbox,
    ) -> Result<Option<Items>, TransportError>;

    /// What it says of itself.
    fn description(&self) -> Description;

    /// Takes a message that nobody answers.
    fn notify(&self, header: &Header, message: Message, client: &ClientHandle) {
        let _ = (message, client);
        tracing::debug!(target: "strait", method = header.method, "dropped a notification: nobody here takes any");
    }
}

/// One handler.
pub(super) struct Single<C, Req, Resp, E, F> {
    handler: F,
    types: PhantomData<fn(C, Req, Resp, E)>,
}

impl<C, Req, Resp, E, F> Single<C, Req, Resp, E, F> {
    pub(super) fn new(handler: F) -> Self {
        Self { handler, types: PhantomData }
    }
}

impl<C, Req, Resp, E, F> Service for Single<C, Req, Resp, E, F>
where
    C: Codec<Req> + Codec<Resp>,
    Req: 'static,
    Resp: 'static,
    E: Display + 'static,
    F: Fn(Request<Req, C>) -> Result<Resp, E> + Send + Sync + 'static,
{
    fn description(&self) -> Description {
        Description::of_one::<C, Req, Resp>()
    }

    fn call(
        &self,
        header: &Header,
        message: Message,
        _: &ClientHandle,
        out: &mut Outbox,
    ) -> Result<Option<Items>, TransportError> {
        let call = header.call;
        if header.method != 0 || header.json || header.stream {
            let text = format!("this service has one plain method, number 0; the call is for {}", header.method);
            return out.error(call, Code::UNKNOWN_METHOD, &text).map(|()| None);
        }
        let send = |out: &mut Outbox, header, reply: &Resp| out.value::<C, Resp>(header, reply);
        respond::<C, Req, Resp, E>(header, message, None, &self.handler, out, send).map(|()| None)
    }
}

/// Runs a handler and sends what it says, by `send` where that is a reply.
pub(super) fn respond<C, Req, Resp, E>(
    header: &Header,
    message: Message,
    client: Option<&ClientHandle>,
    handler: &impl Fn(Request<Req, C>) -> Result<Resp, E>,
    out: &mut Outbox,
    send: impl Fn(&mut Outbox, Header, &Resp) -> Result<(), TransportError>,
) -> Result<(), TransportError>
where
    C: Codec<Req>,
    E: Display,
{
    let call = header.call;
    let request = match Request::<Req, C>::open(message, header.deadline) {
        Ok(request) => match client {
            Some(client) => request.with_client(client),
            None => request,
        },
        Err(error) => return out.error(call, Code::BAD_REQUEST, &error.to_string()),
    };
    match caught(call, || handler(request).map_err(|error| error.to_string())) {
        Ok(Ok(reply)) => send(out, Header { json: header.json, ..Header::of(Kind::Reply, call) }, &reply),
        Ok(Err(text)) => out.error(call, Code::HANDLER, &text),
        Err(Panicked) => out.error(call, Code::PANICKED, "see the server's log"),
    }
}

/// A handler panicked; it is logged already.
pub(super) struct Panicked;

/// Runs a handler, whose panic ends here.
pub(super) fn caught<R>(call: u32, handle: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(handle)).map_err(|_panic| {
        tracing::error!(target: "strait", call, "a handler panicked");
        Panicked
    })
}
