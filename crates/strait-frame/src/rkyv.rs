//! rkyv archives, written straight into the sink and read where they lie.
//!
//! The archive's root is at the end of its bytes and its padding is relative to the sink's first byte, so a message
//! that is to be read in place begins at a multiple of 16, in the sink and in memory.

use crate::{Codec, DecodeError, EncodeError, Rkyv, RkyvError, Sink, StableBytes, View, schema::schema_of};
use ::rkyv::{
    Archive, Portable, Serialize,
    api::high::{HighSerializer, HighValidator, to_bytes_in_with_alloc},
    bytecheck::CheckBytes,
    rancor::Source,
    ser::{Positional, Writer, allocator::ArenaHandle},
    util::with_arena,
};

/// The serializer behind [`Rkyv`], to spell a bound: `T: for<'m, 's, 'a> rkyv::Serialize<RkyvSerializer<'m, 's, 'a>>`.
/// Every type with `#[derive(rkyv::Serialize)]` has it.
pub type RkyvSerializer<'m, 's, 'a> = HighSerializer<&'m mut Sink<'s>, ArenaHandle<'a>, RkyvError>;

/// The validator behind [`Rkyv`], to spell a bound: `T::Archived: for<'a> CheckBytes<RkyvValidator<'a>>`. Every
/// archived type that rkyv derives has it.
pub type RkyvValidator<'a> = HighValidator<'a, RkyvError>;

impl<T> Codec<T> for Rkyv
where
    T: Archive + for<'m, 's, 'a> Serialize<RkyvSerializer<'m, 's, 'a>>,
    T::Archived: Portable + for<'a> CheckBytes<RkyvValidator<'a>> + 'static,
{
    const ID: u8 = 1;
    type View = T::Archived;
    type Held<B: StableBytes> = View<T::Archived, B>;

    /// Scratch memory comes from an arena that is kept, one per thread (one per process without `std`), so a warm call
    /// allocates nothing. A value with `Rc`, `Arc` or hash maps may still allocate.
    fn encode(value: &T, sink: &mut Sink<'_>) -> Result<(), EncodeError> {
        let outcome =
            with_arena(|arena| to_bytes_in_with_alloc::<_, _, RkyvError>(value, &mut *sink, arena.acquire()).map(drop));
        sink.check()?;
        outcome.map_err(RkyvError::into_encode_error)
    }

    /// Validates the whole archive once, at most [`MAX_DEPTH`](crate::MAX_DEPTH) pointers deep; only its size and its
    /// alignment where `bytes` come with a [`ValidArchives`](crate::ValidArchives) token.
    fn open<B: StableBytes>(bytes: B) -> Result<View<T::Archived, B>, DecodeError> {
        View::open(bytes)
    }

    fn schema() -> u64 {
        schema_of::<T::Archived>()
    }

    /// The root, which is exact for types without pointers, and 256 bytes for what it points to.
    fn size_hint(_: &T) -> usize {
        size_of::<T::Archived>() + 256
    }
}

impl Positional for Sink<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.len()
    }
}

impl<E: Source> Writer<E> for Sink<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        if self.put(bytes) { Ok(()) } else { Err(E::new(self.too_large())) }
    }
}
