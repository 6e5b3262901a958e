//! A service of several methods, each with types of its own, called by name.

use std::{fmt, fmt::Display, marker::PhantomData};

use futures_util::{
    FutureExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use serde::{Serialize, de::DeserializeOwned};
use strait_frame::{Codec, Rkyv};
use strait_transport::{Error as TransportError, Message};

use super::{Answer, Service};
use crate::{
    description::{Description, MethodKind},
    encode::schema,
    error::Code,
    header::Header,
    json::{self, from_json},
    outbox::Outbox,
    push::ClientHandle,
    refused::Refused,
    request::Request,
};

/// A value that a method has yielded: knows how to encode itself.
type Value = Box<dyn FnOnce(Header, &mut Outbox) -> Result<(), TransportError> + Send>;
type Answers = BoxStream<'static, Answer<Value>>;
type Start = Box<dyn Fn(&Header, Message, &ClientHandle) -> Result<Answers, Refused> + Send + Sync>;
type Notify = Box<dyn Fn(&Header, Message, &ClientHandle) -> Result<(), Refused> + Send + Sync>;

enum Handler {
    Start(Start),
    Notify(Notify),
    /// Something that the server sends.
    Nothing,
}

/// The methods of an async service, each with types of its own.
///
/// Clients call them by name, through a [`Proxy`](crate::Proxy). A method that was added with `call_json` can also be called
/// with JSON, by tools that know no types. Compared with a service of one method, a call costs two or three small allocations.
///
/// ```no_run
/// # async fn f() -> Result<(), strait_rpc::Error> {
/// use strait_rpc::{Methods, Request, Server};
///
/// let methods = Methods::new()
///     .call("double", |number: Request<u64>| async move { Ok::<u64, String>(number.to_native() * 2) })
///     .call("length", |text: Request<String>| async move { Ok::<u64, String>(text.len() as u64) });
/// Server::bind("arithmetic")?.serve_methods(methods).await
/// # }
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
    pub fn call<Req, Resp, E, F, Fut>(self, name: &str, handler: F) -> Self
    where
        C: Codec<Req> + Codec<Resp>,
        Req: 'static,
        Resp: Send + 'static,
        E: Display + Send + 'static,
        F: Fn(Request<Req, C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, E>> + Send + 'static,
    {
        let start = move |header: &Header, message: Message, client: &ClientHandle| {
            plain_body(header)?;
            let answer = handler(open::<C, Req>(message, header, client)?);
            Ok(stream::once(answer.map(|outcome| Answer::Last(value::<C, Resp, E>(outcome)))).boxed())
        };
        self.add(name, MethodKind::Call, schema::<C, Req, Resp>(), false, Handler::Start(Box::new(start)))
    }

    /// As [`call`](Self::call), and the method can also be called with JSON.
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    #[must_use]
    pub fn call_json<Req, Resp, E, F, Fut>(self, name: &str, handler: F) -> Self
    where
        C: Codec<Req> + Codec<Resp>,
        Req: DeserializeOwned + 'static,
        Resp: Serialize + Send + 'static,
        E: Display + Send + 'static,
        F: Fn(Request<Req, C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, E>> + Send + 'static,
    {
        let start = move |header: &Header, message: Message, client: &ClientHandle| {
            let message = if header.json { from_json::<C, Req>(message)? } else { message };
            let answer = handler(open::<C, Req>(message, header, client)?);
            Ok(stream::once(answer.map(|outcome| Answer::Last(value_or_json::<C, Resp, E>(outcome)))).boxed())
        };
        self.add(name, MethodKind::Call, schema::<C, Req, Resp>(), true, Handler::Start(Box::new(start)))
    }

    /// Adds a method of one request and a stream of items. The items go out as far as the client takes them: one that rests
    /// lets the stream rest, and one that leaves drops it.
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    #[must_use]
    pub fn stream<Req, Item, E, F, S>(self, name: &str, handler: F) -> Self
    where
        C: Codec<Req> + Codec<Item>,
        Req: 'static,
        Item: Send + 'static,
        E: Display + Send + 'static,
        F: Fn(Request<Req, C>) -> S + Send + Sync + 'static,
        S: Stream<Item = Result<Item, E>> + Send + 'static,
    {
        let start = move |header: &Header, message: Message, client: &ClientHandle| {
            plain_body(header)?;
            let items = handler(open::<C, Req>(message, header, client)?);
            Ok(until_first_error::<C, Item, E>(items))
        };
        self.add(name, MethodKind::Stream, schema::<C, Req, Item>(), false, Handler::Start(Box::new(start)))
    }

    /// Adds a method whose messages nobody answers. The handler runs in the task of its connection, and should be quick.
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
        let notify = move |header: &Header, message: Message, client: &ClientHandle| {
            plain_body(header)?;
            handler(open::<C, T>(message, header, client)?);
            Ok(())
        };
        self.add(name, MethodKind::Notification, schema::<C, T, T>(), false, Handler::Notify(Box::new(notify)))
    }

    /// Names something that the server sends by itself: see [`ClientHandle::notify`](crate::ClientHandle::notify).
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    #[must_use]
    pub fn event<T>(self, name: &str) -> Self
    where
        C: Codec<T>,
    {
        self.add(name, MethodKind::Event, schema::<C, T, T>(), false, Handler::Nothing)
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
    type Answers = Answers;
    type Value = Value;

    fn start(&self, header: &Header, message: Message, client: &ClientHandle) -> Result<Answers, Refused> {
        let method = self.description.find(header.method)?;
        let name = &method.name;
        match &self.handlers[usize::from(header.method)] {
            Handler::Start(start) if (method.kind == MethodKind::Stream) == header.stream => {
                start(header, message, client)
            }
            Handler::Start(_) if header.stream => {
                Err(Refused::new(Code::BAD_REQUEST, format!("{name:?} has one reply, and was called as a stream")))
            }
            Handler::Start(_) => {
                Err(Refused::new(Code::BAD_REQUEST, format!("{name:?} is a stream, and was called for one reply")))
            }
            _ => Err(Refused::new(Code::BAD_REQUEST, format!("{name:?} is no method that can be called"))),
        }
    }

    fn send(&self, header: Header, value: Value, out: &mut Outbox) -> Result<(), TransportError> {
        value(header, out)
    }

    fn notify(&self, header: &Header, message: Message, client: &ClientHandle) -> Result<(), Refused> {
        let method = self.description.find(header.method)?;
        match &self.handlers[usize::from(header.method)] {
            Handler::Notify(notify) => notify(header, message, client),
            _ => Err(Refused::new(Code::BAD_REQUEST, format!("{:?} takes no notifications", method.name))),
        }
    }

    fn description(&self) -> Description {
        self.description.clone()
    }
}

impl<C> fmt::Debug for Methods<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.description.methods.iter().map(|method| &method.name)).finish()
    }
}

fn plain_body(header: &Header) -> Result<(), Refused> {
    match header.json {
        true => Err(Refused::new(Code::BAD_REQUEST, "this method takes no JSON")),
        false => Ok(()),
    }
}

fn open<C: Codec<T>, T>(message: Message, header: &Header, client: &ClientHandle) -> Result<Request<T, C>, Refused> {
    let request = Request::<T, C>::open(message, header.deadline).map(|request| request.with_client(client));
    request.map_err(|error| Refused::new(Code::BAD_REQUEST, error.to_string()))
}

fn value<C, T, E>(outcome: Result<T, E>) -> Value
where
    C: Codec<T>,
    T: Send + 'static,
    E: Display + Send + 'static,
{
    Box::new(move |header, out| match outcome {
        Ok(value) => out.value::<C, T>(header, &value),
        Err(error) => out.error(header.call, Code::HANDLER, &error.to_string()),
    })
}

fn value_or_json<C, T, E>(outcome: Result<T, E>) -> Value
where
    C: Codec<T>,
    T: Serialize + Send + 'static,
    E: Display + Send + 'static,
{
    Box::new(move |header, out| match outcome {
        Ok(value) if header.json => json::send(out, header, &value),
        Ok(value) => out.value::<C, T>(header, &value),
        Err(error) => out.error(header.call, Code::HANDLER, &error.to_string()),
    })
}

/// Items up to the first error, which is the last answer; where none comes, the last answer is an empty one.
fn until_first_error<C, T, E>(items: impl Stream<Item = Result<T, E>> + Send + 'static) -> Answers
where
    C: Codec<T>,
    T: Send + 'static,
    E: Display + Send + 'static,
{
    let end = || -> Value { Box::new(|header, out| out.message(header, &[])) };
    let answers = items.map(|item| match item {
        Ok(item) => Answer::Item(value::<C, T, E>(Ok(item))),
        Err(error) => Answer::Last(value::<C, T, E>(Err(error))),
    });
    answers.chain(stream::once(async move { Answer::Last(end()) })).boxed()
}
