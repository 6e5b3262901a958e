//! What a handler gets.

use std::{
    fmt,
    ops::Deref,
    time::{Duration, Instant},
};

use strait_frame::{Codec, DecodeError, Rkyv};
use strait_transport::{Message, TransportKind};

use crate::{deadline::Remaining, header::HEADER_BYTES};

/// A request, as a handler gets it: owns its bytes, derefs to what they are (`T::Archived` for rkyv, `T` for postcard, `[u8]`
/// for raw), `Send`, may be held across `.await`.
pub struct Request<T, C: Codec<T> = Rkyv> {
    held: C::Held<Message>,
    transport: TransportKind,
    in_place: bool,
    timestamp: u64,
    remaining: Remaining,
    #[cfg(not(strait_loom))]
    client: Option<crate::push::ClientHandle>,
}

impl<T, C: Codec<T>> Request<T, C> {
    #[inline]
    pub(crate) fn open(mut message: Message, left: Option<Duration>) -> Result<Self, DecodeError> {
        let (transport, in_place, timestamp) = (message.transport(), message.is_in_place(), message.timestamp());
        let remaining = Remaining::from_now(left);
        message.skip(HEADER_BYTES);
        Ok(Self {
            held: C::open(message)?,
            transport,
            in_place,
            timestamp,
            remaining,
            #[cfg(not(strait_loom))]
            client: None,
        })
    }

    #[cfg(not(strait_loom))]
    pub(crate) fn with_client(mut self, client: &crate::push::ClientHandle) -> Self {
        self.client = Some(client.clone());
        self
    }

    /// Who sent it, to be sent events. Only in a service of several methods; `None` elsewhere.
    #[cfg(not(strait_loom))]
    pub fn client(&self) -> Option<&crate::push::ClientHandle> {
        self.client.as_ref()
    }

    /// The request. The same as dereferencing.
    #[inline]
    pub fn get(&self) -> &C::View {
        &self.held
    }

    /// Which way it came: a connection's first requests come over its socket.
    pub fn transport(&self) -> TransportKind {
        self.transport
    }

    /// Whether its bytes lie in the ring ([`Receive::InPlace`](crate::Receive::InPlace)). Then the ring's space behind it is
    /// free only once it is dropped, so a handler must not hold one while it waits for another call on the same connection.
    pub fn is_zero_copy(&self) -> bool {
        self.in_place
    }

    /// When the client sent it, in µs since the Unix epoch; 0 where the connection carries no timestamps.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// When the client stops waiting, by this process's clock; `None` is never.
    pub fn deadline(&self) -> Option<Instant> {
        self.remaining().and_then(|left| Instant::now().checked_add(left))
    }

    /// How long the client still waits, to within a tick of the kernel's coarse clock (1 to 10 ms); `None` is for ever, zero
    /// that it has given up.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining.left()
    }
}

impl<T, C: Codec<T>> Deref for Request<T, C> {
    type Target = C::View;

    #[inline]
    fn deref(&self) -> &C::View {
        &self.held
    }
}

impl<T, C: Codec<T>> fmt::Debug for Request<T, C>
where
    C::View: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Request").field(&self.get()).finish()
    }
}
