//! postcard, decoded into an owned value under limits.

use crate::limited::{Limited, Limits};
use crate::{Codec, DecodeError, EncodeError, Postcard, Sink, StableBytes, schema::schema_of};
use ::postcard::{Deserializer, Error, ser_flavors::Flavor, serialize_with_flavor};
use alloc::string::ToString;
use core::ops::Deref;
use serde::{Serialize, de::DeserializeOwned};

/// A decoded value; derefs to `T`. The bytes that it was decoded from are gone.
///
/// ```
/// use strait_frame::{Codec, Postcard};
///
/// let held = <Postcard as Codec<Vec<u16>>>::open(vec![2, 7, 8])?;
/// assert_eq!(held.len(), 2);
/// assert_eq!(held.into_inner(), vec![7, 8]);
/// # Ok::<(), strait_frame::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoded<T>(T);

impl<T> Decoded<T> {
    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Decoded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Codec<T> for Postcard {
    const ID: u8 = 2;
    type View = T;
    type Held<B: StableBytes> = Decoded<T>;

    fn encode(value: &T, sink: &mut Sink<'_>) -> Result<(), EncodeError> {
        let outcome = serialize_with_flavor(value, Output(sink));
        sink.check()?;
        outcome.map_err(|error| EncodeError::Codec(error.to_string()))
    }

    /// Decodes with two limits that postcard itself doesn't have: [`MAX_DEPTH`](crate::MAX_DEPTH) levels, and no more
    /// sequence elements than there are bytes, plus 65 536 for elements that take none.
    fn open<B: StableBytes>(bytes: B) -> Result<Decoded<T>, DecodeError> {
        let bytes = bytes.bytes();
        let limits = Limits::new(bytes.len());
        let mut input = Deserializer::from_bytes(bytes);
        let value = T::deserialize(Limited::new(&mut input, &limits));
        limits.check()?;
        let value = value.map_err(refused)?;
        match input.finalize().map_err(refused)?.len() {
            0 => Ok(Decoded(value)),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }

    fn schema() -> u64 {
        schema_of::<T>()
    }

    fn size_hint(_: &T) -> usize {
        size_of::<T>() + 256
    }
}

fn refused(error: Error) -> DecodeError {
    DecodeError::Codec { codec: "postcard", reason: error.to_string() }
}

/// Lets postcard write into a sink, which remembers what a full buffer would have needed.
struct Output<'m, 's>(&'m mut Sink<'s>);

impl Flavor for Output<'_, '_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.0.put(data) { Ok(()) } else { Err(Error::SerializeBufferFull) }
    }

    fn try_push(&mut self, data: u8) -> Result<(), Error> {
        self.try_extend(&[data])
    }

    fn finalize(self) -> Result<(), Error> {
        Ok(())
    }
}
