//! A received message: bytes that stay as they are for as long as it is held.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use crossbeam_utils::atomic::AtomicCell;
use strait_frame::StableBytes;
use zerocopy::{FromBytes, IntoBytes};

use crate::local::LocalHeld;
#[cfg(not(strait_loom))]
use crate::shared::SharedHeld;

/// Over which path a message came, or a connection runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// A Unix stream socket.
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
    #[cfg(not(strait_loom))]
    Shared(SharedHeld),
}

impl InPlace {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Local(held) => held,
            #[cfg(not(strait_loom))]
            Self::Shared(held) => held,
        }
    }
}

impl From<LocalHeld> for InPlace {
    fn from(held: LocalHeld) -> Self {
        Self::Local(held)
    }
}

#[cfg(not(strait_loom))]
impl From<SharedHeld> for InPlace {
    fn from(held: SharedHeld) -> Self {
        Self::Shared(held)
    }
}

enum Body {
    Copied(PooledBuffer),
    InPlace(InPlace),
}

/// A received message.
///
/// Its bytes never change: they are a private copy (from a socket, or from a ring by default), or they lie in a ring
/// whose peer was declared honest. `Send`; may be held as long as one likes and dropped anywhere.
pub struct Message {
    body: Body,
    start: usize,
    len: usize,
    timestamp: u64,
    kind: TransportKind,
}

impl Message {
    pub(crate) fn copied(buffer: PooledBuffer, len: usize, timestamp: u64, kind: TransportKind) -> Self {
        debug_assert!(len <= buffer.capacity());
        Self { body: Body::Copied(buffer), start: 0, len, timestamp, kind }
    }

    pub(crate) fn in_place(bytes: InPlace, len: usize, timestamp: u64, kind: TransportKind) -> Self {
        Self { body: Body::InPlace(bytes), start: 0, len, timestamp, kind }
    }

    /// Length in bytes, without what was skipped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When it was sent, in µs since the Unix epoch; 0 where the connection carries no timestamps.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Whether the bytes lie in the ring. Then the ring's space behind this message is free only once it is dropped.
    pub fn is_in_place(&self) -> bool {
        matches!(self.body, Body::InPlace(_))
    }

    /// Which path it came over.
    pub fn transport(&self) -> TransportKind {
        self.kind
    }

    /// Leaves out the first `bytes` bytes from now on; all of them where there are fewer.
    pub fn skip(&mut self, bytes: usize) {
        let bytes = bytes.min(self.len);
        self.start += bytes;
        self.len -= bytes;
    }
}

impl std::ops::Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.body {
            Body::Copied(buffer) => buffer.bytes(),
            Body::InPlace(guard) => guard.bytes(),
        };
        &all[self.start..self.start + self.len]
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("len", &self.len).field("transport", &self.kind).finish_non_exhaustive()
    }
}

// SAFETY: a pooled buffer lies on the heap, belongs to the message alone and is never written again; a guard's bytes lie
// in a ring and stay until the guard is dropped, by the honest-peer decision that made it. `skip` needs `&mut self`, and
// whoever holds the message as `StableBytes` owns it.
#[allow(unsafe_code)]
unsafe impl StableBytes for Message {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// Buffers that received messages are copied into: made when first needed, used again when the message is dropped.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    shelves: Arc<Shelves>,
}

/// A buffer: 16-byte units, so that it is aligned for any archive. Boxed twice, so that it moves as one pointer.
type Units = Box<Box<[u128]>>;

#[derive(Default)]
struct Shelves {
    /// The buffer that was given back last: who has one message at a time needs no lock.
    top: AtomicCell<Option<Units>>,
    rest: Mutex<Vec<Units>>,
}

impl Pool {
    /// As many idle buffers are kept; more are given back to the system.
    const MAX_IDLE: usize = 64;
    /// Smallest buffer, so that small messages share one size.
    const MIN_BYTES: usize = 256;

    /// A buffer of at least `len` bytes; its content is left over from before.
    #[inline]
    pub(crate) fn take(&self, len: usize) -> PooledBuffer {
        let units = match self.shelves.top.take() {
            Some(units) if units.len() * 16 >= len => units,
            other => self.take_slow(len, other),
        };
        PooledBuffer { units: Some(units), shelves: self.shelves.clone() }
    }

    #[cold]
    fn take_slow(&self, len: usize, too_small: Option<Units>) -> Units {
        let found = {
            let mut rest = self.shelves.rest();
            rest.extend(too_small);
            let fits = |units: &Units| units.len() * 16 >= len;
            rest.iter().position(fits).map(|index| rest.swap_remove(index))
        };
        found.unwrap_or_else(|| {
            let bytes = len.max(Self::MIN_BYTES).next_power_of_two();
            Box::new(vec![0u128; bytes / 16].into_boxed_slice())
        })
    }
}

impl Shelves {
    fn rest(&self) -> MutexGuard<'_, Vec<Units>> {
        let mut rest = self.rest.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if rest.capacity() == 0 {
            rest.reserve_exact(Pool::MAX_IDLE + 1);
        }
        rest
    }

    #[inline]
    fn give_back(&self, units: Units) {
        if let Some(other) = self.top.swap(Some(units)) {
            let mut rest = self.rest();
            if rest.len() < Pool::MAX_IDLE {
                rest.push(other);
            }
        }
    }
}

/// A buffer aligned to 16 bytes that goes back to its pool when dropped.
pub(crate) struct PooledBuffer {
    /// Taken only by drop.
    units: Option<Units>,
    shelves: Arc<Shelves>,
}

impl PooledBuffer {
    pub(crate) fn capacity(&self) -> usize {
        self.bytes().len()
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.units.as_ref().map_or(&[], |units| units.as_bytes())
    }

    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.units.as_mut().map_or(&mut [], |units| units.as_mut_bytes())
    }

    /// The buffer as 64-bit words.
    #[inline]
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        <[u64]>::mut_from_bytes(self.bytes_mut()).expect("u128s are aligned and sized for u64s")
    }
}

impl Drop for PooledBuffer {
    #[inline]
    fn drop(&mut self) {
        if let Some(units) = self.units.take() {
            self.shelves.give_back(units);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let pool = Pool::default();
        let first = pool.take(100);
        let address = first.bytes().as_ptr();
        drop(first);
        let second = pool.take(200);
        assert_eq!(second.bytes().as_ptr(), address);
        assert!(second.capacity() >= 200);
        assert_eq!(address as usize % 16, 0);
    }

    #[test]
    fn a_message_skips_at_most_what_it_has() {
        let mut buffer = Pool::default().take(4);
        buffer.bytes_mut()[..4].copy_from_slice(b"abcd");
        let mut message = Message::copied(buffer, 4, 7, TransportKind::Local);
        message.skip(1);
        assert_eq!(&*message, b"bcd");
        message.skip(9);
        assert!(message.is_empty());
        assert_eq!(message.timestamp(), 7);
    }
}
