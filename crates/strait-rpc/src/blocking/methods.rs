//! A service of several methods for threads, each with types of its own, called by name.

use std::{fmt, fmt::Display, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};
use strait_frame::{Codec, Rkyv};
use strait_transport::{Error as TransportError, Message};

use super::service::{Items, Panicked, Service, caught, respond};
use crate::{
    description::{Description, MethodKind},
    encode::schema,
    error::Code,
    header::{Header, Kind},
    json::{self, from_json},
    outbox::Outbox,
    push::ClientHandle,
    refused::Refused,
    request::Request,
};

type Answer = Box<dyn Fn(&Header, Message, &ClientHandle, &mut Outbox) -> Result<(), TransportError> + Send + Sync>;
type Begin = Box<dyn Fn(&Header, Message, &ClientHandle) -> Result<Items, Refused> + Send + Sync>;
type Take = Box<dyn Fn(&Header, Message, &ClientHandle) -> Result<(), Refused> + Send + Sync>;

enum Handler {
    Answer(Answer),
    Begin(Begin),
    Take(Take),
    /// Something that the server sends.
    Nothing,
}

/// The methods of a blocking service, each with types of its own. The same to its clients as those of an async
/// service.
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
        let answer =
            move |header: &Header, message: Message, client: &ClientHandle, out: &mut Outbox| match plain(header) {
                Err(refused) => out.error(header.call, refused.code, &refused.text),
                Ok(()) => {
                    respond::<C, Req, Resp, E>(header, message, Some(client), &handler, out, |out, header, reply| {
                        out.value::<C, Resp>(header, reply)
                    })
                }
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
        let answer = move |header: &Header, message: Message, client: &ClientHandle, out: &mut Outbox| {
            let message = match header.json {
                false => message,
                true => match from_json::<C, Req>(message) {
                    Ok(message) => message,
                    Err(refused) => return out.error(header.call, refused.code, &refused.text),
                },
            };
            respond::<C, Req, Resp, E>(header, message, Some(client), &handler, out, |out, header, reply| match header
                .json
            {
                true => json::send(out, header, reply),
                false => out.value::<C, Resp>(header, reply),
            })
        };
        self.add(name, MethodKind::Call, schema::<C, Req, Resp>(), true, Handler::Answer(Box::new(answer)))
    }

    /// Adds a method of several answers: one request, as many items as the iterator has, up to its first error. The iterator is
    /// asked for the next item while its reader takes more, in the thread of its connection: one that waits in
    /// `next` keeps this client's other calls waiting.
    ///
    /// ```
    /// use strait_rpc::{Request, blocking::Methods};
    ///
    /// let methods = Methods::new()
    ///     .stream("count", |below: Request<u64>| (0..below.to_native()).map(Ok::<u64, String>));
    /// ```
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    #[must_use]
    pub fn stream<Req, Item, E, F, I>(self, name: &str, handler: F) -> Self
    where
        C: Codec<Req> + Codec<Item>,
        Req: 'static,
        Item: 'static,
        E: Display,
        F: Fn(Request<Req, C>) -> I + Send + Sync + 'static,
        I: IntoIterator<Item = Result<Item, E>>,
        I::IntoIter: 'static,
    {
        let begin = move |header: &Header, message: Message, client: &ClientHandle| {
            let mut items = handler(open::<C, Req>(header, message, client)?).into_iter();
            let next: Items = Box::new(move |header, out| send_next::<C, Item, E>(&mut items, header, out));
            Ok(next)
        };
        self.add(name, MethodKind::Stream, schema::<C, Req, Item>(), false, Handler::Begin(Box::new(begin)))
    }

    /// Names something that the server sends by itself: see [`ClientHandle::notify`](crate::ClientHandle::notify). Each client
    /// of a service with events costs a server with one thread per connection one descriptor more.
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

    /// Adds a method whose messages nobody answers. They are taken as they come: one may overtake a call that waits its turn.
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
        let take = move |header: &Header, message: Message, client: &ClientHandle| {
            handler(open::<C, T>(header, message, client)?);
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
    fn call(
        &self,
        header: &Header,
        message: Message,
        client: &ClientHandle,
        out: &mut Outbox,
    ) -> Result<Option<Items>, TransportError> {
        let begun = self.description.find(header.method).and_then(|method| {
            let refused = |text| Err(Refused::new(Code::BAD_REQUEST, format!("{:?} {text}", method.name)));
            match &self.handlers[usize::from(header.method)] {
                Handler::Answer(answer) if !header.stream => Ok(Err(answer)),
                Handler::Begin(begin) if header.stream => Ok(Ok(begin)),
                Handler::Answer(_) => refused("has one reply, and was called as a stream"),
                Handler::Begin(_) => refused("is a stream, and was called for one reply"),
                Handler::Take(_) | Handler::Nothing => refused("is no method that can be called"),
            }
        });
        let begun = match begun {
            Ok(Err(answer)) => return answer(header, message, client, out).map(|()| None),
            Ok(Ok(begin)) => caught(header.call, || begin(header, message, client)),
            Err(refused) => Ok(Err(refused)),
        };
        match begun {
            Ok(Ok(items)) => return Ok(Some(items)),
            Ok(Err(refused)) => out.error(header.call, refused.code, &refused.text)?,
            Err(Panicked) => out.error(header.call, Code::PANICKED, "see the server's log")?,
        }
        Ok(None)
    }

    fn description(&self) -> Description {
        self.description.clone()
    }

    fn notify(&self, header: &Header, message: Message, client: &ClientHandle) {
        let taken =
            self.description.find(header.method).and_then(|method| match &self.handlers[usize::from(header.method)] {
                Handler::Take(take) => caught(0, || take(header, message, client)).unwrap_or(Ok(())),
                _ => Err(Refused::new(Code::BAD_REQUEST, format!("{:?} takes no notifications", method.name))),
            });
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

fn open<C: Codec<T>, T>(header: &Header, message: Message, client: &ClientHandle) -> Result<Request<T, C>, Refused> {
    plain(header)?;
    let request = Request::<T, C>::open(message, header.deadline).map(|request| request.with_client(client));
    request.map_err(|error| Refused::new(Code::BAD_REQUEST, error.to_string()))
}

/// Sends the next item, or the end, which is an error or empty; whether there may be more.
fn send_next<C, T, E>(
    items: &mut impl Iterator<Item = Result<T, E>>,
    header: &Header,
    out: &mut Outbox,
) -> Result<bool, TransportError>
where
    C: Codec<T>,
    E: Display,
{
    let call = header.call;
    match caught(call, || items.next().map(|item| item.map_err(|error| error.to_string()))) {
        Ok(Some(Ok(item))) => {
            out.take_failed();
            out.value::<C, T>(Header::of(Kind::Item, call), &item)?;
            return Ok(!out.take_failed());
        }
        Ok(Some(Err(text))) => out.error(call, Code::HANDLER, &text)?,
        Ok(None) => out.message(Header::of(Kind::Reply, call), &[])?,
        Err(Panicked) => out.error(call, Code::PANICKED, "see the server's log")?,
    }
    Ok(false)
}
