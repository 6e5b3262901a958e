//! A message of a stream, as its consumer gets it.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use strait_frame::{Codec, Raw};
use strait_transport::{Message, TransportKind};

use super::{error::Error, header::HEADER_BYTES};

/// A message of a stream: owns its bytes and derefs to what they are (`[u8]` for raw, `T` for plain and postcard, `T::Archived` for
/// rkyv). Held in place, it keeps the ring's space behind it.
pub struct Received<T: ?Sized, C: Codec<T> = Raw> {
    held: C::Held<Message>,
    sequence: u64,
    lost_before: u64,
    timestamp: u64,
    transport: TransportKind,
    in_place: bool,
}

impl<T: ?Sized, C: Codec<T>> Received<T, C> {
    #[inline]
    pub(crate) fn open(mut message: Message, sequence: u64, lost_before: u64) -> Result<Self, Error> {
        let (timestamp, transport, in_place) = (message.timestamp(), message.transport(), message.is_in_place());
        message.skip(HEADER_BYTES);
        match C::open(message) {
            Ok(held) => Ok(Self { held, sequence, lost_before, timestamp, transport, in_place }),
            Err(reason) => Err(Error::Decode { sequence, reason: Arc::new(reason) }),
        }
    }

    /// Its number, from 0; messages that were dropped or discarded on the way have numbers too.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many messages are missing between the one before and this one.
    pub fn lost_before(&self) -> u64 {
        self.lost_before
    }

    /// When it was sent, in µs since the Unix epoch; 0 where the stream carries no timestamps.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// How long ago it was sent, by the system's clock; `None` where the stream carries no timestamps.
    pub fn age(&self) -> Option<Duration> {
        let micros = strait_frame::now_micros().saturating_sub(self.timestamp);
        (self.timestamp != 0).then(|| Duration::from_micros(micros))
    }

    /// Which way it came: the first messages of a stream between processes come over its socket.
    pub fn transport(&self) -> TransportKind {
        self.transport
    }

    /// Whether its bytes lie in the ring.
    pub fn is_in_place(&self) -> bool {
        self.in_place
    }
}

impl<T: ?Sized, C: Codec<T>> Deref for Received<T, C> {
    type Target = C::View;

    #[inline]
    fn deref(&self) -> &C::View {
        &self.held
    }
}

impl<T: ?Sized, C: Codec<T>> fmt::Debug for Received<T, C>
where
    C::View: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("sequence", &self.sequence).field("value", &&**self).finish_non_exhaustive()
    }
}
