//! Claimed room, until it is committed or dropped.

#![allow(unsafe_code)]

use core::fmt;

use strait_sync::{Words, WordsMut};

use super::{layout::Meta, producer::Producer};

/// Room for one message, to be filled in place. Dropping it is no operation: nobody has seen anything of it.
#[must_use = "a grant that is dropped sends nothing"]
pub struct Grant<'a, Own: WordsMut, Peer: Words> {
    producer: &'a mut Producer<Own, Peer>,
    /// Length of the padding that must go before the record.
    padding: u64,
    max_bytes: usize,
    /// Under loom the payload is written here and copied in, so that loom sees the writes.
    #[cfg(strait_loom)]
    scratch: alloc::vec::Vec<u8>,
}

impl<'a, Own: WordsMut, Peer: Words> Grant<'a, Own, Peer> {
    #[inline]
    pub(super) fn new(producer: &'a mut Producer<Own, Peer>, padding: u64, max_bytes: usize) -> Self {
        Self {
            producer,
            padding,
            max_bytes,
            #[cfg(strait_loom)]
            scratch: alloc::vec![0; max_bytes],
        }
    }

    /// How many bytes were claimed: the most that can be committed.
    #[inline]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Where the record would begin.
    #[inline]
    fn record(&self) -> u64 {
        self.producer.tail.wrapping_add(self.padding)
    }

    /// The claimed bytes, all [`max_bytes`](Self::max_bytes) of them, aligned to 16. They hold whatever was there before.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        #[cfg(not(strait_loom))]
        {
            let payload = self.producer.words.payload(self.record());
            // SAFETY: inside the ring, as the claim does not cross its end; initialised as all of it is, and writable: `Own:
            // WordsMut`, and alive, as the producer keeps it. Nobody
            // else accesses it: the claim is free space (rule 2), which the consumer has released and read before, and
            // polls no word of; the borrow of `self` keeps this the only slice; and nobody else in this process writes the
            // ring (contract of `Producer::new`).
            unsafe { core::slice::from_raw_parts_mut(payload.as_ptr(), self.max_bytes) }
        }
        #[cfg(strait_loom)]
        {
            &mut self.scratch
        }
    }

    /// Sends the first `len` bytes, and with them all that was staged before.
    ///
    /// # Panics
    ///
    /// If `len` is more than was claimed.
    #[inline]
    pub fn commit(self, len: usize, meta: Meta) {
        self.write(len, meta).publish();
    }

    /// Adds the first `len` bytes to the open batch: they are sent by the next commit, or by
    /// [`publish`](Producer::publish), or when the ring is found full.
    ///
    /// # Panics
    ///
    /// If `len` is more than was claimed.
    ///
    /// ```
    /// use strait_spsc::records::channel;
    /// let (mut producer, mut consumer) = channel(4096)?;
    /// for byte in 1..=3 {
    ///     let mut grant = producer.try_claim(1)?;
    ///     grant.as_mut_slice()[0] = byte;
    ///     grant.stage(1, Default::default());
    /// }
    /// assert!(!consumer.is_ready());
    /// assert!(producer.publish());
    /// let mut word = [0];
    /// for byte in 1..=3 {
    ///     consumer.next()?.expect("all were published").copy_to(&mut word);
    ///     assert_eq!(word[0] as u8, byte);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn stage(self, len: usize, meta: Meta) {
        self.write(len, meta);
    }

    #[inline]
    #[track_caller]
    fn write(self, len: usize, meta: Meta) -> &'a mut Producer<Own, Peer> {
        if len > self.max_bytes {
            longer_than_claimed(len, self.max_bytes)
        }
        let padding = self.padding;
        let producer = self.into_producer();
        let record_bytes = producer.ring.record_bytes(len as u64);
        producer.stage(padding, record_bytes, meta.encode(len));
        producer
    }

    #[cfg(not(strait_loom))]
    #[inline]
    fn into_producer(self) -> &'a mut Producer<Own, Peer> {
        self.producer
    }
}

#[cold]
#[track_caller]
fn longer_than_claimed(len: usize, max_bytes: usize) -> ! {
    panic!("{len} bytes were committed of a grant of {max_bytes}")
}

/// Under loom: what was written through the slice reaches the ring here, the whole claim, whether it is committed or not.
#[cfg(strait_loom)]
mod modelled {
    use super::{super::layout::RECORD_HEADER_BYTES, *};

    impl<'a, Own: WordsMut, Peer: Words> Grant<'a, Own, Peer> {
        pub(super) fn into_producer(self) -> &'a mut Producer<Own, Peer> {
            let producer: *mut Producer<Own, Peer> = &raw mut *self.producer;
            drop(self);
            // SAFETY: the pointer was the grant's exclusive borrow for `'a`, and the grant is gone.
            unsafe { &mut *producer }
        }
    }

    impl<Own: WordsMut, Peer: Words> Drop for Grant<'_, Own, Peer> {
        fn drop(&mut self) {
            if !crate::storage::unwinding() {
                let payload = self.producer.words.offset(self.record()) + RECORD_HEADER_BYTES;
                self.producer.own.copy_in(payload, &self.scratch);
            }
        }
    }
}

impl<Own: WordsMut, Peer: Words> fmt::Debug for Grant<'_, Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}
