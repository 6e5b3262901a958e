//! What a call returns.

use std::{fmt, ops::Deref, sync::Arc};

use strait_frame::{Codec, Rkyv};
use strait_transport::{Message, TransportKind};

use crate::{error::Error, header::HEADER_BYTES};

/// A reply: owns its bytes, derefs to what they are (`T::Archived` for rkyv, `T` for postcard, `[u8]` for raw), `Send`.
pub struct Response<T, C: Codec<T> = Rkyv> {
    held: C::Held<Message>,
    transport: TransportKind,
    in_place: bool,
    timestamp: u64,
}

impl<T, C: Codec<T>> Response<T, C> {
    #[inline]
    pub(crate) fn open(mut message: Message) -> Result<Self, Error> {
        let (transport, in_place, timestamp) = (message.transport(), message.is_in_place(), message.timestamp());
        message.skip(HEADER_BYTES);
        let held = C::open(message).map_err(|error| Error::Decode(Arc::new(error)))?;
        Ok(Self { held, transport, in_place, timestamp })
    }

    /// The reply. The same as dereferencing.
    #[inline]
    pub fn get(&self) -> &C::View {
        &self.held
    }

    /// Whether its bytes lie in the ring, where the server wrote them. True only for replies that came through shared memory
    /// on a connection with [`Receive::InPlace`](crate::Receive::InPlace); then the ring's space behind it is free only once
    /// it is dropped. A copied reply, and one that came over the socket, lies in a private buffer.
    pub fn is_zero_copy(&self) -> bool {
        self.in_place
    }

    /// Which way it came: a connection's first replies may come over its socket.
    pub fn transport(&self) -> TransportKind {
        self.transport
    }

    /// When the server sent it, in µs since the Unix epoch; 0 where the connection carries no timestamps.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }
}

impl<T, C: Codec<T>> Deref for Response<T, C> {
    type Target = C::View;

    #[inline]
    fn deref(&self) -> &C::View {
        &self.held
    }
}

impl<T, C: Codec<T>> fmt::Debug for Response<T, C>
where
    C::View: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Response").field(&self.get()).finish()
    }
}
