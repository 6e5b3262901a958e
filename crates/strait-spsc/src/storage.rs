//! The words of a ring, by position.

#![allow(unsafe_code)]

#[cfg(not(strait_loom))]
use strait_sync::primitive::FENCED_LOAD;
use strait_sync::{Words, WordsMut, primitive::Ordering};

use crate::records::Geometry;

/// A cache line, in bytes, as the hints for the processor count them.
pub(crate) const LINE: u64 = 64;

/// Turns positions into words. Whatever the position, the word lies inside the ring.
///
/// Remembers the ring's address, so that the hot path neither follows the memory's handles nor compares with its length:
/// the mask is the bounds check. The memory is passed along all the same; under loom it is what is accessed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingWords {
    #[cfg(not(strait_loom))]
    base: core::ptr::NonNull<u8>,
    data: usize,
    /// Keeps the word that a position lies in: `capacity - 8`.
    mask: u64,
}

// SAFETY: the pointer is only used for atomic accesses, by those who keep the memory alive (contract of `new`).
unsafe impl Send for RingWords {}
// SAFETY: as above.
unsafe impl Sync for RingWords {}

impl RingWords {
    /// Finds the ring in `memory`.
    ///
    /// # Safety
    ///
    /// `ring` was checked to lie inside `memory`, and the result is used only while `memory` lives and with it.
    pub(crate) unsafe fn new(memory: &impl Words, ring: &Geometry) -> Self {
        let _ = memory;
        Self {
            #[cfg(not(strait_loom))]
            base: memory.raw().as_ptr(ring.data(), ring.capacity_bytes() as usize),
            data: ring.data(),
            mask: ring.capacity_bytes() - 8,
        }
    }

    /// Offset in the memory of the word at `position`.
    #[inline]
    pub(crate) fn offset(&self, position: u64) -> usize {
        self.data + (position & self.mask) as usize
    }

    #[cfg(not(strait_loom))]
    #[inline]
    fn word(&self, position: u64) -> &core::sync::atomic::AtomicU64 {
        // SAFETY: the mask keeps it inside the ring, 8 bytes before its end at the latest.
        let word = unsafe { self.base.add((position & self.mask) as usize) };
        // SAFETY: valid while the memory lives (contract of `new`); aligned, as the mask clears the low bits; only accessed
        // atomically while the consumer can be led to it.
        unsafe { word.cast().as_ref() }
    }

    /// The address of the payload of the record at `position`: 16 bytes on, in the same ring as records are aligned to that.
    #[cfg(not(strait_loom))]
    #[inline]
    pub(crate) fn payload(&self, position: u64) -> core::ptr::NonNull<u8> {
        let offset = (position & self.mask & !15) as usize;
        // SAFETY: the mask keeps it inside the ring, and 16 bytes on is its end at the latest.
        unsafe { self.base.add(offset + 16) }
    }

    /// Asks the processor to make the cache line at `position` this side's own, because it will be written soon.
    #[inline]
    pub(crate) fn expect_write(&self, position: u64) {
        #[cfg(all(target_arch = "x86_64", not(strait_loom), not(miri)))]
        // SAFETY: a hint, which reads and writes nothing, whatever the address; it lies inside the ring.
        unsafe {
            core::arch::asm!("prefetchw [{line}]", line = in(reg) self.word(position), options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(all(target_arch = "x86_64", not(strait_loom), not(miri))))]
        let _ = position;
    }

    /// Asks the processor for the cache line at `position`, because it will be read soon.
    #[inline]
    pub(crate) fn expect_read(&self, position: u64) {
        #[cfg(all(target_arch = "x86_64", not(strait_loom), not(miri)))]
        // SAFETY: a hint, which reads and writes nothing, whatever the address; it lies inside the ring.
        unsafe {
            core::arch::asm!("prefetcht0 [{line}]", line = in(reg) self.word(position), options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(all(target_arch = "x86_64", not(strait_loom), not(miri))))]
        let _ = position;
    }

    /// Loads the word at `position`, relaxed.
    #[inline]
    pub(crate) fn load(&self, memory: &impl Words, position: u64) -> u64 {
        #[cfg(not(strait_loom))]
        {
            let _ = memory;
            // ORDERING: Relaxed; callers that need more put a fence behind it.
            self.word(position).load(FENCED_LOAD)
        }
        #[cfg(strait_loom)]
        memory.load(self.offset(position))
    }

    /// Stores `value` in the word at `position`.
    #[inline]
    pub(crate) fn store(&self, memory: &impl WordsMut, position: u64, value: u64, ordering: Ordering) {
        #[cfg(not(strait_loom))]
        {
            let _ = memory;
            // ORDERING: the caller's, named at the call.
            self.word(position).store(value, ordering);
        }
        #[cfg(strait_loom)]
        memory.store(self.offset(position), value, ordering);
    }
}

/// One word of a memory, whose address is remembered for the same reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneWord {
    #[cfg(not(strait_loom))]
    word: core::ptr::NonNull<core::sync::atomic::AtomicU64>,
    #[cfg(strait_loom)]
    offset: usize,
}

// SAFETY: the pointer is only used for atomic accesses, by those who keep the memory alive (contract of `new`).
unsafe impl Send for OneWord {}
// SAFETY: as above.
unsafe impl Sync for OneWord {}

impl OneWord {
    /// Finds the word at byte `offset` of `memory`.
    ///
    /// # Safety
    ///
    /// The result is used only while `memory` lives and with it.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside the memory.
    pub(crate) unsafe fn new(memory: &impl WordsMut, offset: usize) -> Self {
        let _ = memory;
        Self {
            #[cfg(not(strait_loom))]
            word: memory.raw().as_ptr(offset, 8).cast(),
            #[cfg(strait_loom)]
            offset,
        }
    }

    /// Stores `value`.
    #[inline]
    pub(crate) fn store(&self, memory: &impl WordsMut, value: u64, ordering: Ordering) {
        #[cfg(not(strait_loom))]
        {
            let _ = memory;
            // SAFETY: inside the memory, aligned (both checked in `new`) and alive (its contract); words are accessed atomically.
            let word = unsafe { self.word.as_ref() };
            // ORDERING: the caller's, named at the call.
            word.store(value, ordering);
        }
        #[cfg(strait_loom)]
        memory.store(self.offset, value, ordering);
    }
}

/// Whether a loom model is failing, so that a drop must not go on with it. Otherwise always false: a panic elsewhere does not
/// keep space from being released.
#[inline]
pub(crate) fn unwinding() -> bool {
    #[cfg(strait_loom)]
    {
        std::thread::panicking()
    }
    #[cfg(not(strait_loom))]
    false
}
