//! Plain values: their bytes as they lie in memory.

use std::ops::Deref;

use strait_frame::{Codec, DecodeError, EncodeError, Sink, StableBytes, fnv1a};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Plain values of a fixed size whose bytes all mean something: zerocopy's `FromBytes + IntoBytes`. Protocol byte 3.
///
/// Both ends are of one machine and compare the type's name and size, so byte order is no matter.
///
/// ```
/// use strait_channel::stream::{self, Config, Plain};
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
/// #[repr(C)]
/// struct Tick { instrument: u32, size: u32, price: f64 }
///
/// let (mut producer, mut consumer) = stream::local::<Tick, Plain>(&Config::default())?;
/// producer.send(&Tick { instrument: 7, size: 100, price: 101.5 })?;
/// assert_eq!(consumer.recv()?.unwrap().price, 101.5);
/// # Ok::<(), stream::Error>(())
/// ```
#[derive(Debug)]
pub enum Plain {}

/// A received plain value.
#[derive(Clone, Copy, Debug)]
pub struct PlainValue<T>(T);

impl<T> PlainValue<T> {
    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for PlainValue<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FromBytes + IntoBytes + Immutable + 'static> Codec<T> for Plain {
    const ID: u8 = 3;
    type View = T;
    type Held<B: StableBytes> = PlainValue<T>;

    fn encode(value: &T, sink: &mut Sink<'_>) -> Result<(), EncodeError> {
        sink.write(value.as_bytes())
    }

    fn open<B: StableBytes>(bytes: B) -> Result<PlainValue<T>, DecodeError> {
        let (bytes, expected) = (bytes.bytes(), size_of::<T>());
        T::read_from_bytes(bytes).map(PlainValue).map_err(|_| match bytes.len().checked_sub(expected) {
            None => DecodeError::TooShort { expected, found: bytes.len() },
            Some(count) => DecodeError::TrailingBytes { count },
        })
    }

    fn schema() -> u64 {
        let name = std::any::type_name::<T>();
        let name = name.rsplit("::").next().unwrap_or(name);
        fnv1a(format!("{name} {} {}", size_of::<T>(), align_of::<T>()).as_bytes())
    }

    fn size_hint(_: &T) -> usize {
        size_of::<T>()
    }

    fn encoded_len(_: &T) -> Result<usize, EncodeError> {
        Ok(size_of::<T>())
    }
}
