//! A received record, still in the ring.

#![allow(unsafe_code)]

use core::fmt;

use strait_sync::{HonestPeer, Words, WordsMut};

use super::{
    consumer::Consumer,
    layout::{Meta, RECORD_HEADER_BYTES},
};
#[cfg(feature = "alloc")]
use {super::guard::Guard, crate::error::TooManyHeld};

/// A record that was received and whose bytes still lie in the ring. Dropping it gives its space back.
///
/// Forgetting it (`mem::forget`) leaves it unconsumed: it is the next record again.
pub struct Record<'a, Own: WordsMut, Peer: Words> {
    consumer: &'a mut Consumer<Own, Peer>,
    at: u64,
    end: u64,
    len: usize,
    meta: Meta,
    /// Under loom there are no slices of the ring: what `as_slice` lends was copied here.
    #[cfg(strait_loom)]
    copy: core::cell::OnceCell<alloc::vec::Vec<u8>>,
}

impl<'a, Own: WordsMut, Peer: Words> Record<'a, Own, Peer> {
    #[inline]
    pub(super) fn new(consumer: &'a mut Consumer<Own, Peer>, at: u64, end: u64, len: usize, meta: Meta) -> Self {
        Self {
            consumer,
            at,
            end,
            len,
            meta,
            #[cfg(strait_loom)]
            copy: core::cell::OnceCell::new(),
        }
    }

    /// Length of the payload in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the payload has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What travelled with the payload, as the producer said it.
    #[inline]
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// Offset of the payload in the peer's memory.
    #[inline]
    fn payload(&self) -> usize {
        self.consumer.words.offset(self.at) + RECORD_HEADER_BYTES
    }

    /// Copies the payload to the first `len().div_ceil(8)` words of `destination`. Sound whatever the peer does meanwhile: it
    /// can only spoil the bytes.
    ///
    /// Bytes after the payload in the last word are whatever the ring held there.
    ///
    /// # Panics
    ///
    /// If `destination` has fewer words.
    #[inline]
    #[track_caller]
    pub fn copy_to(&self, destination: &mut [u64]) {
        let words = self.len.div_ceil(8);
        self.consumer.memories.peer.copy_out(self.payload(), &mut destination[..words]);
    }

    /// The payload in place, aligned to 16, for as long as the record is borrowed. The cheapest way to read one.
    ///
    /// ```
    /// use strait_spsc::records::channel;
    /// use strait_sync::HonestPeer;
    ///
    /// // SAFETY: both ends are in this program and go by the protocol.
    /// let trust = unsafe { HonestPeer::assume() };
    /// let (mut producer, mut consumer) = channel(4096)?;
    /// producer.try_claim(3)?.commit(3, Default::default());
    /// let record = consumer.next()?.expect("just sent");
    /// assert_eq!(record.as_slice(trust), [0; 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn as_slice(&self, trust: HonestPeer) -> &[u8] {
        #[cfg(not(strait_loom))]
        {
            let _ = trust;
            let payload = self.consumer.words.payload(self.at);
            // SAFETY: inside the ring, as the record was checked not to cross its end; initialised as all of it is, and alive,
            // as the consumer keeps it. Nobody writes the bytes while the slice lives: they were published before they were read here, an honest peer leaves them alone until they
            // are released, and that needs the record, which is borrowed.
            unsafe { core::slice::from_raw_parts(payload.as_ptr(), self.len) }
        }
        #[cfg(strait_loom)]
        {
            let _ = trust;
            self.copy.get_or_init(|| copied(&self.consumer.memories.peer, self.payload(), self.len))
        }
    }

    /// Keeps the record in the ring until the guard is dropped, whenever and wherever that is.
    ///
    /// # Errors
    ///
    /// The record, to be copied, and [`TooManyHeld`] where guards would hold more than half the ring.
    #[cfg(feature = "alloc")]
    #[inline]
    #[allow(clippy::type_complexity)]
    pub fn into_guard(self, trust: HonestPeer) -> Result<Guard<Own, Peer>, (Self, TooManyHeld)> {
        let payload = self.payload();
        let consumer = &*self.consumer;
        let begin = if self.at == consumer.position { self.at } else { consumer.pass_padding(self.at) };
        let number = match consumer.memories.log.hold(begin, self.end, consumer.ring.capacity_bytes() / 2) {
            Ok(number) => number,
            Err(error) => return Err((self, error)),
        };
        let guard = Guard::new(consumer.memories.clone(), number, payload, self.len, self.meta, trust);
        strait_sync::fail_point!("ring.guard_taken");
        self.consume();
        Ok(guard)
    }

    /// Ends the record without releasing it: its guard does that.
    #[cfg(feature = "alloc")]
    #[inline]
    fn consume(self) {
        let mut this = core::mem::ManuallyDrop::new(self);
        let end = this.end;
        this.consumer.position = end;
        this.consumer.holding = true;
    }
}

/// The `len` bytes at offset `payload`, copied out.
#[cfg(strait_loom)]
pub(super) fn copied(memory: &impl Words, payload: usize, len: usize) -> alloc::vec::Vec<u8> {
    let mut words = alloc::vec![0; len.div_ceil(8)];
    memory.copy_out(payload, &mut words);
    words.iter().flat_map(|word: &u64| word.to_le_bytes()).take(len).collect()
}

impl<Own: WordsMut, Peer: Words> Drop for Record<'_, Own, Peer> {
    #[inline]
    fn drop(&mut self) {
        if !crate::storage::unwinding() {
            self.consumer.pass(self.end);
        }
    }
}

impl<Own: WordsMut, Peer: Words> fmt::Debug for Record<'_, Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("position", &self.at)
            .field("len", &self.len)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}
