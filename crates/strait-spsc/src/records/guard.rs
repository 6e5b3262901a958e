//! A received record that is kept in the ring.

#![allow(unsafe_code)]

use core::{fmt, ops::Deref};

use strait_sync::{HonestPeer, Words, WordsMut, fail_point, mutant};

use super::{
    layout::Meta,
    memories::{Kept, Memories},
};

/// A received record in place: its bytes, aligned to 16, at an address that stays.
///
/// It can be cloned, sent, held across an await and dropped in any order from any thread. It keeps its space in the ring,
/// **and the space of all that was received after it**, until the last clone is dropped. Forgetting it keeps them for ever.
///
/// ```
/// use strait_spsc::records::channel;
/// use strait_sync::HonestPeer;
///
/// // SAFETY: both ends are in this program and go by the protocol.
/// let trust = unsafe { HonestPeer::assume() };
/// let (mut producer, mut consumer) = channel(4096)?;
/// let mut grant = producer.try_claim(5)?;
/// grant.as_mut_slice().copy_from_slice(b"hello");
/// grant.commit(5, Default::default());
///
/// let guard = consumer.next()?.expect("just sent").into_guard(trust).expect("nothing else is held");
/// let thread = std::thread::spawn(move || assert_eq!(&*guard, b"hello"));
/// thread.join().unwrap();
/// assert_eq!(consumer.held_bytes(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Guard<Own: WordsMut, Peer: Words> {
    memories: Kept<Own, Peer>,
    /// Which entry of the release log it belongs to.
    number: u64,
    meta: Meta,
    #[cfg(not(strait_loom))]
    payload: core::ptr::NonNull<u8>,
    #[cfg(not(strait_loom))]
    len: usize,
    /// Under loom there are no slices of the ring: the bytes are copied out, and once more at the end.
    #[cfg(strait_loom)]
    copy: alloc::vec::Vec<u8>,
    #[cfg(strait_loom)]
    payload: usize,
}

// SAFETY: the pointer leads into memory that `memories` keeps alive and in place, and that is only read through it.
// The rest is `Send` by itself: memories are (`Words: Send + Sync`), and the log is atomics and a lock.
unsafe impl<Own: WordsMut, Peer: Words> Send for Guard<Own, Peer> {}
// SAFETY: as above; a shared guard allows reading the bytes and cloning, which the log's lock serialises.
unsafe impl<Own: WordsMut, Peer: Words> Sync for Guard<Own, Peer> {}

impl<Own: WordsMut, Peer: Words> Guard<Own, Peer> {
    #[inline]
    pub(super) fn new(
        memories: Kept<Own, Peer>,
        number: u64,
        payload: usize,
        len: usize,
        meta: Meta,
        _trust: HonestPeer,
    ) -> Self {
        Self {
            #[cfg(not(strait_loom))]
            payload: memories.peer.raw().as_ptr(payload, len),
            #[cfg(not(strait_loom))]
            len,
            #[cfg(strait_loom)]
            copy: super::record::copied(&memories.peer, payload, len),
            #[cfg(strait_loom)]
            payload,
            memories,
            number,
            meta,
        }
    }

    /// What travelled with the payload, as the producer said it.
    #[inline]
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// Ends the guard as dropping it does, and says whether the producer sleeps until there is room and must be woken now.
    ///
    /// For those who let peers sleep: guards end on threads that don't have the consumer. True once per sleep, whether a
    /// guard asks or the consumer.
    pub fn release(self) -> bool {
        let this = core::mem::ManuallyDrop::new(self);
        let moved = this.end();
        let must_ring = moved && this.memories.must_ring_space();
        let memories: *const Kept<Own, Peer> = &raw const this.memories;
        // SAFETY: `this` is never used again and never dropped, so the memories are moved out just once.
        drop(unsafe { memories.read() });
        must_ring
    }

    /// Takes this holder out of the log; returns whether the head moved.
    #[inline]
    fn end(&self) -> bool {
        #[cfg(strait_loom)]
        {
            let now = super::record::copied(&self.memories.peer, self.payload, self.copy.len());
            assert_eq!(now, self.copy, "held bytes changed");
        }
        let memories: &Memories<Own, Peer> = &self.memories;
        memories.log.release(self.number, |head| {
            fail_point!("ring.guard_releasing");
            memories.publish_head(head);
            fail_point!("ring.guard_released");
        })
    }
}

impl<Own: WordsMut, Peer: Words> Deref for Guard<Own, Peer> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        #[cfg(not(strait_loom))]
        {
            // SAFETY: inside the peer's memory (checked in `new`), which `memories` keeps alive. Nobody writes the bytes while
            // the guard lives: the peer is honest (the token), and they are released when the last clone ends.
            unsafe { core::slice::from_raw_parts(self.payload.as_ptr(), self.len) }
        }
        #[cfg(strait_loom)]
        {
            &self.copy
        }
    }
}

impl<Own: WordsMut, Peer: Words> AsRef<[u8]> for Guard<Own, Peer> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<Own: WordsMut, Peer: Words> Clone for Guard<Own, Peer> {
    fn clone(&self) -> Self {
        mutant!(clone_not_counted, self.memories.log.share(self.number), ());
        Self {
            memories: self.memories.clone(),
            number: self.number,
            meta: self.meta,
            payload: self.payload,
            #[cfg(not(strait_loom))]
            len: self.len,
            #[cfg(strait_loom)]
            copy: self.copy.clone(),
        }
    }
}

impl<Own: WordsMut, Peer: Words> Drop for Guard<Own, Peer> {
    #[inline]
    fn drop(&mut self) {
        if !crate::storage::unwinding() {
            self.end();
        }
    }
}

impl<Own: WordsMut, Peer: Words> fmt::Debug for Guard<Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("len", &self.len()).field("meta", &self.meta).finish_non_exhaustive()
    }
}
