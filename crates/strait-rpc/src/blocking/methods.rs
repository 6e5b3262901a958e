//! A service of several methods for threads, each with types of its own, called by name.

use std::{fmt, fmt::Display, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};
use strait_frame::{Codec, Rkyv};
use strait_transport::{Error as TransportError, Message};

use super::service::{Service, caught, respond};
use crate::{
    description::{Description, MethodKind},
    encode::schema,
    error::Code,
    header::Header,
    json::{self, from_json},
    outbox::Outbox,
    refused::Refused,
    request::Request,
};

type Answer = Box<dyn Fn(&Header, Message, &mut Outbox) -> Result<(), TransportError> + Send + Sync>;
type Take = Box<dyn Fn(&Header, Message) -> Result<(), Refused> + Send + Sync>;

enum Handler {
    Answer(Answer),
    Take(Take),
}

/// The methods of a blocking service, each with types of its own. The same to its clients as [`strait_rpc::Methods`](crate::Methods),
/// but for streams and events, which need the async server.
///
/// ```no_run
/// use strait_rpc::{Request, blocking::{Methods, Server}};
///
/// let methods = Methods::new()
///     .call("double", |number: Request<u64>| Ok::<u64, String>(number.to_native() * 2))
///     .call("length", |text: Request<String>| Ok::<u64, String>(text.len() as u64));
/// Server::bind("arithmetic")?.serve_methods(methods)?;
/// # Ok::<(), strait_rpc::Error>(())
/// ```
pub struct Methods<C = Rkyv> {
    description: Description,
    handlers: Vec<Handler>,
    codec: PhantomData<fn() -> C>,
}

impl Methods<Rkyv> {
    /// None yet; messages are rkyv archives.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<C> Default for Methods<C> {
    fn default() -> Self {
        Self { description: Description::default(), handlers: Vec::new(), codec: PhantomData }
    }
}

impl<C: 'static> Methods<C> {
    /// Adds a method: one request, one reply.
    ///
    /// # Panics
    ///
    /// If there is a method of that name already, or if there are 65,280.
    #[must_use]
    pub fn call<Req, Resp, E, F>(self, name: &str, handler: F) -> Self
    where
        C: Codec<Req> + Codec<Resp>,
        Req: 'static,
        Resp: 'static,
        E: Display,
        F: Fn(Request<Req, C>) -> Result<Resp, E> + Send + Sync + 'static,
    {
        let answer = move |header: &Header, message: Message, out: &mut Outbox| match plain(header) {
            Err(refused) => out.error(header.call, refused.code, &refused.text),
            Ok(()) => respond::<C, Req, Resp, E>(header, message, &handler, out, |out, header, reply| {
                out.value::<C, Resp>(header, reply)
            }),
        };
        self.add(name, MethodKind::Call, schema::<C, Req, Resp>(), false, Handler::Answer(Box::new(answer)))
    }

    /// As [`call`](Self::call), and the method can also be called with JSON.
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    #[must_use]
    pub fn call_json<Req, Resp, E, F>(self, name: &str, handler: F) -> Self
    where
        C: Codec<Req> + Codec<Resp>,
        Req: DeserializeOwned + 'static,
        Resp: Serialize + 'static,
        E: Display,
        F: Fn(Request<Req, C>) -> Result<Resp, E> + Send + Sync + 'static,
    {
        let answer = move |header: &Header, message: Message, out: &mut Outbox| {
            let message = match header.json {
                false => message,
                true => match from_json::<C, Req>(message) {
                    Ok(message) => message,
                    Err(refused) => return out.error(header.call, refused.code, &refused.text),
                },
            };
            respond::<C, Req, Resp, E>(header, message, &handler, out, |out, header, reply| match header.json {
                true => json::send(out, header, reply),
                false => out.value::<C, Resp>(header, reply),
            })
        };
        self.add(name, MethodKind::Call, schema::<C, Req, Resp>(), true, Handler::Answer(Box::new(answer)))
    }

    /// Adds a method whose messages nobody answers.
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    #[must_use]
    pub fn notification<T, F>(self, name: &str, handler: F) -> Self
    where
        C: Codec<T>,
        T: 'static,
        F: Fn(Request<T, C>) + Send + Sync + 'static,
    {
        let take = move |header: &Header, message: Message| {
            plain(header)?;
            handler(Request::open(message, None).map_err(|error| Refused::new(Code::BAD_REQUEST, error.to_string()))?);
            Ok(())
        };
        self.add(name, MethodKind::Notification, schema::<C, T, T>(), false, Handler::Take(Box::new(take)))
    }

    /// What any client can read of the service: prose, or a schema in whatever language its users understand.
    #[must_use]
    pub fn document(mut self, document: impl Into<String>) -> Self {
        self.description.document = Some(document.into());
        self
    }

    /// What the service says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    fn add(mut self, name: &str, kind: MethodKind, schema: u64, json: bool, handler: Handler) -> Self {
        self.description.add(name, kind, schema, json);
        self.handlers.push(handler);
        self
    }
}

impl<C: 'static> Service for Methods<C> {
    fn call(&self, header: &Header, message: Message, out: &mut Outbox) -> Result<(), TransportError> {
        match self.description.find(header.method).map(|method| (method, &self.handlers[usize::from(header.method)])) {
            Err(refused) => out.error(header.call, refused.code, &refused.text),
            Ok((_, Handler::Answer(answer))) if !header.stream => answer(header, message, out),
            Ok((method, _)) => {
                let text = format!("{:?} is no method that can be called like this", method.name);
                out.error(header.call, Code::BAD_REQUEST, &text)
            }
        }
    }

    fn description(&self) -> Description {
        self.description.clone()
    }

    fn notify(&self, header: &Header, message: Message) {
        let taken = match self.description.find(header.method) {
            Err(refused) => Err(refused),
            Ok(method) => match &self.handlers[usize::from(header.method)] {
                Handler::Take(take) => caught(0, || take(header, message)).unwrap_or(Ok(())),
                Handler::Answer(_) => {
                    Err(Refused::new(Code::BAD_REQUEST, format!("{:?} takes no notifications", method.name)))
                }
            },
        };
        if let Err(refused) = taken {
            tracing::debug!(target: "strait", text = refused.text, "dropped a notification");
        }
    }
}

impl<C> fmt::Debug for Methods<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.description.methods.iter().map(|method| &method.name)).finish()
    }
}

fn plain(header: &Header) -> Result<(), Refused> {
    match header.json {
        true => Err(Refused::new(Code::BAD_REQUEST, "this method takes no JSON")),
        false => Ok(()),
    }
}
