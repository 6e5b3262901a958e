//! The codec that does nothing.

use crate::{Codec, DecodeError, EncodeError, Raw, Sink, StableBytes, schema::schema_of};
use alloc::vec::Vec;
use core::ops::Deref;

/// Received bytes as they are; derefs to `[u8]`.
///
/// ```
/// use strait_frame::{Codec, DecodeError, Raw};
///
/// let held = <Raw as Codec<[u8]>>::open(vec![1, 2, 3])?;
/// assert_eq!(held.len(), 3);
/// assert_eq!(held.into_inner(), vec![1, 2, 3]);
/// # Ok::<(), DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RawBytes<B>(B);

impl<B> RawBytes<B> {
    /// Gives the bytes back in the type they came in.
    pub fn into_inner(self) -> B {
        self.0
    }
}

impl<B: StableBytes> Deref for RawBytes<B> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Codec<[u8]> for Raw {
    const ID: u8 = 0;
    type View = [u8];
    type Held<B: StableBytes> = RawBytes<B>;

    #[inline]
    fn encode(value: &[u8], sink: &mut Sink<'_>) -> Result<(), EncodeError> {
        sink.write(value)
    }

    #[inline]
    fn open<B: StableBytes>(bytes: B) -> Result<RawBytes<B>, DecodeError> {
        Ok(RawBytes(bytes))
    }

    /// The same for every type that [`Raw`] takes: on the wire they are the same.
    fn schema() -> u64 {
        schema_of::<u8>()
    }

    #[inline]
    fn size_hint(value: &[u8]) -> usize {
        value.len()
    }
}

impl Codec<Vec<u8>> for Raw {
    const ID: u8 = 0;
    type View = [u8];
    type Held<B: StableBytes> = RawBytes<B>;

    #[inline]
    fn encode(value: &Vec<u8>, sink: &mut Sink<'_>) -> Result<(), EncodeError> {
        sink.write(value)
    }

    #[inline]
    fn open<B: StableBytes>(bytes: B) -> Result<RawBytes<B>, DecodeError> {
        Ok(RawBytes(bytes))
    }

    /// The same for every type that [`Raw`] takes: on the wire they are the same.
    fn schema() -> u64 {
        schema_of::<u8>()
    }

    #[inline]
    fn size_hint(value: &Vec<u8>) -> usize {
        value.len()
    }
}
