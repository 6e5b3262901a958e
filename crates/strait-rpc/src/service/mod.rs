//! What a server does with a call, apart from how it comes and goes.

mod methods;
mod single;

use futures_util::Stream;
use strait_transport::{Error as TransportError, Message};

use crate::{
    description::Description, error::Code, header::Header, outbox::Outbox, push::ClientHandle, refused::Refused,
};

pub use methods::Methods;
pub(crate) use single::Single;

/// What a handler gives: an answer, and whether more come.
pub(crate) enum Answer<T> {
    /// One of several; counts against the caller's credit.
    Item(T),
    /// The call is over.
    Last(T),
}

/// A service for tasks: each call becomes a stream of answers, of which the last ends it.
pub(crate) trait Service: Send + Sync + 'static {
    /// What is polled for one call.
    type Answers: Stream<Item = Answer<Self::Value>> + Send;
    /// What it yields, not encoded yet.
    type Value: Send;

    /// Begins a call. May panic where a handler does.
    fn start(&self, header: &Header, message: Message, client: &ClientHandle) -> Result<Self::Answers, Refused>;

    /// Encodes a value that a call has yielded.
    fn send(&self, header: Header, value: Self::Value, out: &mut Outbox) -> Result<(), TransportError>;

    /// What it says of itself.
    fn description(&self) -> Description;

    /// Takes a message that nobody answers. May panic where a handler does.
    fn notify(&self, header: &Header, message: Message, client: &ClientHandle) -> Result<(), Refused> {
        let _ = (message, client);
        Err(Refused::new(Code::UNKNOWN_METHOD, format!("nobody here takes notifications of method {}", header.method)))
    }
}
