//! Bodies in JSON, for who does not know the types.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Serialize, de::DeserializeOwned};
use strait_frame::Codec;
use strait_transport::{Error as TransportError, Message};

use crate::{
    encode::encode_value,
    error::Code,
    header::{HEADER_BYTES, Header, Kind},
    outbox::Outbox,
    refused::Refused,
};

/// A request that came as JSON, as the one that it would have been in the codec of its method.
pub(crate) fn from_json<C, T>(message: Message) -> Result<Message, Refused>
where
    C: Codec<T>,
    T: DeserializeOwned,
{
    let refused = |text: String| Refused::new(Code::BAD_REQUEST, text);
    let value: T = serde_json::from_slice(message.get(HEADER_BYTES..).unwrap_or_default())
        .map_err(|error| refused(format!("the JSON is no request of this method: {error}")))?;
    let bytes = encode_value::<C, T>(Header::of(Kind::Request, 0), &value, usize::MAX)
        .map_err(|error| refused(error.to_string()))?;
    Ok(Message::from_bytes(&bytes, message.timestamp(), message.transport()))
}

/// Sends `value` as JSON.
pub(crate) fn send<T: Serialize>(out: &mut Outbox, header: Header, value: &T) -> Result<(), TransportError> {
    // Its `Serialize` is not ours.
    match catch_unwind(AssertUnwindSafe(|| serde_json::to_vec(value))) {
        Ok(Ok(body)) => out.bytes(header, &body),
        Err(_panic) => out.error(header.call, Code::BAD_REPLY, "the code that makes JSON of it panicked"),
        Ok(Err(error)) => out.error(header.call, Code::BAD_REPLY, &format!("no JSON can be made of it: {error}")),
    }
}
