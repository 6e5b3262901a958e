//! A received message: bytes that stay as they are for as long as it is held.

use std::fmt;

use strait_frame::StableBytes;
use strait_sync::ValidArchives;

use crate::shared::SharedHeld;
use crate::{buffer::Buffer, local::LocalHeld};

/// Over which path a message came, or a connection runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// A Unix stream socket.
    #[default]
    Socket,
    /// Rings in shared memory.
    Shared,
    /// Rings inside this process.
    Local,
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "socket",
            Self::Shared => "shared memory",
            Self::Local => "in-process",
        })
    }
}

/// Bytes in a ring.
pub(crate) enum InPlace {
    Local(LocalHeld),
    Shared(SharedHeld),
}

impl InPlace {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Local(held) => held,
            Self::Shared(held) => held,
        }
    }
}

impl From<LocalHeld> for InPlace {
    fn from(held: LocalHeld) -> Self {
        Self::Local(held)
    }
}

impl From<SharedHeld> for InPlace {
    fn from(held: SharedHeld) -> Self {
        Self::Shared(held)
    }
}

/// What a message says of its bytes. It lies with them, so that a message is one pointer.
#[derive(Default)]
pub(crate) struct About {
    /// Where the bytes are, if not in the buffer.
    in_place: Option<InPlace>,
    start: usize,
    len: usize,
    timestamp: u64,
    kind: TransportKind,
    /// Set by the connection, where its options have the token.
    valid_archives: Option<ValidArchives>,
}

/// A received message.
///
/// Its bytes never change: they are a private copy (from a socket, or from a ring by default), or they lie in a ring
/// whose peer was declared honest. Read as an archive they are validated, unless the connection is one of
/// [`Receive::InPlaceUnvalidated`](crate::Receive::InPlaceUnvalidated). `Send`; may be held as long as one likes and dropped
/// anywhere.
pub struct Message {
    buffer: Buffer,
}

impl Message {
    #[inline]
    pub(crate) fn copied(mut buffer: Buffer, len: usize, timestamp: u64, kind: TransportKind) -> Self {
        debug_assert!(len <= buffer.bytes().len());
        buffer.packet_mut().about = About { in_place: None, start: 0, len, timestamp, kind, valid_archives: None };
        Self { buffer }
    }

    /// A message of one's own bytes, as if it had come over `kind`: for what is decoded and encoded anew on its way. It is
    /// validated like any other, whatever the connection's [`Receive`](crate::Receive).
    pub fn from_bytes(bytes: &[u8], timestamp: u64, kind: TransportKind) -> Self {
        let mut buffer = Buffer::take(bytes.len());
        buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        Self::copied(buffer, bytes.len(), timestamp, kind)
    }

    #[inline]
    pub(crate) fn in_place(bytes: InPlace, len: usize, timestamp: u64, kind: TransportKind) -> Self {
        let mut buffer = Buffer::take(0);
        buffer.packet_mut().about =
            About { in_place: Some(bytes), start: 0, len, timestamp, kind, valid_archives: None };
        Self { buffer }
    }

    #[inline]
    fn about(&self) -> &About {
        &self.buffer.packet().about
    }

    /// Says whether the message needs no validation.
    pub(crate) fn set_valid_archives(&mut self, valid_archives: Option<ValidArchives>) {
        self.buffer.packet_mut().about.valid_archives = valid_archives;
    }

    /// Length in bytes, without what was skipped.
    #[inline]
    pub fn len(&self) -> usize {
        self.about().len
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When it was sent, in µs since the Unix epoch; 0 where the connection carries no timestamps.
    #[inline]
    pub fn timestamp(&self) -> u64 {
        self.about().timestamp
    }

    /// Whether the bytes lie in the ring. Then the ring's space behind this message is free only once it is dropped.
    #[inline]
    pub fn is_in_place(&self) -> bool {
        self.about().in_place.is_some()
    }

    /// Which path it came over.
    #[inline]
    pub fn transport(&self) -> TransportKind {
        self.about().kind
    }

    /// Leaves out the first `bytes` bytes from now on; all of them where there are fewer.
    #[inline]
    pub fn skip(&mut self, bytes: usize) {
        let about = &mut self.buffer.packet_mut().about;
        let bytes = bytes.min(about.len);
        about.start += bytes;
        about.len -= bytes;
    }
}

impl std::ops::Deref for Message {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let packet = self.buffer.packet();
        let about = &packet.about;
        let all = match &about.in_place {
            None => packet.bytes(),
            Some(guard) => guard.bytes(),
        };
        &all[about.start..about.start + about.len]
    }
}

impl Drop for Message {
    #[inline]
    fn drop(&mut self) {
        // Before the buffer is used again: dropping the guard gives the ring its space back.
        if self.is_in_place() {
            self.buffer.packet_mut().about.in_place = None;
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("len", &self.len())
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}

// SAFETY: a copy lies on the heap, in a box that the message owns, belongs to the message alone and is never written again; a guard's bytes lie
// in a ring and stay until the guard is dropped, by the honest-peer decision that made it. `skip` needs `&mut self`, and
// whoever holds the message as `StableBytes` owns it. The token is set once, before the message is given out, and only
// on messages that came from the peer that the connection's options were given it for.
#[allow(unsafe_code)]
unsafe impl StableBytes for Message {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }

    #[inline]
    fn valid_archives(&self) -> Option<ValidArchives> {
        self.about().valid_archives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_skips_at_most_what_it_has() {
        let mut buffer = Buffer::take(4);
        buffer.bytes_mut()[..4].copy_from_slice(b"abcd");
        let mut message = Message::copied(buffer, 4, 7, TransportKind::Local);
        message.skip(1);
        assert_eq!(&*message, b"bcd");
        message.skip(9);
        assert!(message.is_empty());
        assert_eq!(message.timestamp(), 7);
    }
}
