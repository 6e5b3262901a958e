//! Of which type the body of a command or an answer is.

use strait_frame::{Codec, EncodeError, Sink};
use strait_transport::Message;

use super::Error;

/// The codec and the schema that travel with a body. Bytes that are of no type say 0 and 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) codec: u8,
    pub(super) schema: u64,
}

impl Form {
    pub(super) const BYTES: Self = Self { codec: 0, schema: 0 };

    fn of<T: ?Sized, C: Codec<T>>() -> Self {
        Self { codec: C::ID, schema: C::schema() }
    }
}

/// A body and its form, as one side gives it and the other takes it.
#[derive(Clone, Debug)]
pub(super) struct Body<B> {
    pub(super) form: Form,
    pub(super) bytes: B,
}

impl Body<Vec<u8>> {
    /// Encodes `value`.
    pub(super) fn encode<T: ?Sized, C: Codec<T>>(value: &T) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let len = encode::<T, C>(value, &mut bytes, usize::MAX)?;
        bytes.truncate(len);
        Ok(Self { form: Form::of::<T, C>(), bytes })
    }
}

impl Body<Message> {
    /// Opens it as what it says that it is.
    pub(super) fn open<T: ?Sized, C: Codec<T>>(self, what: &'static str) -> Result<C::Held<Message>, Error> {
        let (expected, found) = (Form::of::<T, C>(), self.form);
        if found != expected {
            return Err(Error::OtherType {
                what,
                found: (found.codec, found.schema),
                expected: (expected.codec, expected.schema),
            });
        }
        C::open(self.bytes).map_err(Error::Decode)
    }
}

/// Encodes `value` at the start of `buffer`, which grows as needed, but to no more than `max`. Returns its bytes.
pub(super) fn encode<T: ?Sized, C: Codec<T>>(value: &T, buffer: &mut Vec<u8>, max: usize) -> Result<usize, Error> {
    let into = |span: &mut [u8]| {
        let mut sink = Sink::new(span);
        C::encode(value, &mut sink).map(|()| sink.len())
    };
    let failed = |error: EncodeError| Error::Encode(error.to_string());
    let wanted = C::size_hint(value).clamp(1, max);
    if buffer.len() < wanted {
        buffer.resize(wanted, 0);
    }
    match into(buffer) {
        Err(EncodeError::TooLarge { .. }) => {
            let need = C::encoded_len(value).map_err(failed)?;
            if need > max {
                return Err(Error::ValueTooLarge { need, max });
            }
            buffer.resize(need.max(buffer.len()), 0);
            into(buffer).map_err(failed)
        }
        other => other.map_err(failed),
    }
}
