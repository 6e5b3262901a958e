//! A service of one method: one type of request, one of reply.

use std::{fmt::Display, future::Future, marker::PhantomData};

use futures_util::{
    future::{FutureExt, Map},
    stream::{Once, once},
};
use strait_frame::Codec;
use strait_transport::{Error as TransportError, Message};

use super::{Answer, Service};
use crate::{
    description::Description, error::Code, header::Header, outbox::Outbox, push::ClientHandle, refused::Refused,
    request::Request,
};

/// Makes what a handler returns the last answer.
type ToAnswer<T> = fn(T) -> Answer<T>;

/// One async handler.
pub(crate) struct Single<C, Req, Resp, E, F> {
    handler: F,
    types: PhantomData<fn(C, Req, Resp, E)>,
}

impl<C, Req, Resp, E, F> Single<C, Req, Resp, E, F> {
    pub(crate) fn new(handler: F) -> Self {
        Self { handler, types: PhantomData }
    }
}

impl<C, Req, Resp, E, F, Fut> Service for Single<C, Req, Resp, E, F>
where
    C: Codec<Req> + Codec<Resp>,
    Req: 'static,
    Resp: Send + 'static,
    E: Display + Send + 'static,
    F: Fn(Request<Req, C>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Resp, E>> + Send + 'static,
{
    type Answers = Once<Map<Fut, ToAnswer<Result<Resp, E>>>>;
    type Value = Result<Resp, E>;

    fn start(&self, header: &Header, message: Message, _: &ClientHandle) -> Result<Self::Answers, Refused> {
        if header.method != 0 || header.json || header.stream {
            let text = format!("this service has one plain method, number 0; the call is for {}", header.method);
            return Err(Refused::new(Code::UNKNOWN_METHOD, text));
        }
        let request = Request::open(message, header.deadline)
            .map_err(|error| Refused::new(Code::BAD_REQUEST, error.to_string()))?;
        let last: ToAnswer<_> = Answer::Last;
        Ok(once((self.handler)(request).map(last)))
    }

    fn description(&self) -> Description {
        Description::of_one::<C, Req, Resp>()
    }

    fn send(&self, header: Header, value: Self::Value, out: &mut Outbox) -> Result<(), TransportError> {
        match value {
            Ok(reply) => out.value::<C, Resp>(header, &reply),
            Err(error) => out.error(header.call, Code::HANDLER, &error.to_string()),
        }
    }
}
