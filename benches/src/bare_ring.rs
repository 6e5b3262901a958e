//! A bare shared ring of slots, each with one commit word, and no checks at all: what the floors of calls and streams run over.

use std::{fs::File, sync::atomic::AtomicU64};

use memmap2::{MmapOptions, MmapRaw};

/// The consumer's position lies alone before the slots.
const HEAD_BYTES: usize = 256;
/// Slots begin on a line; a message begins behind its commit word and its checksum, as it does in a record.
const LINE: usize = 64;
const COMMIT_BYTES: usize = 16;
/// Where a slot's checksum lies, for those that have one.
pub(crate) const CRC_AT: usize = 8;

/// The slots of one direction.
pub(crate) struct Ring {
    memory: MmapRaw,
    payload_bytes: usize,
    stride: usize,
    slots: u64,
}

impl Ring {
    /// Bytes of memory for slots of so many bytes in all.
    pub(crate) fn memory_bytes(ring_bytes: u64) -> u64 {
        HEAD_BYTES as u64 + ring_bytes
    }

    /// What a slot for such a payload takes.
    pub(crate) fn slot_bytes(payload_bytes: usize) -> u64 {
        (COMMIT_BYTES + payload_bytes).next_multiple_of(LINE) as u64
    }

    /// Maps a file of [`Self::memory_bytes`].
    pub(crate) fn map(file: &File, payload_bytes: usize, ring_bytes: u64) -> std::io::Result<Self> {
        let memory = MmapOptions::new().len(Self::memory_bytes(ring_bytes) as usize).map_raw(file)?;
        let stride = Self::slot_bytes(payload_bytes);
        Ok(Self { memory, payload_bytes, stride: stride as usize, slots: ring_bytes / stride })
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    #[allow(unsafe_code)]
    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset + len <= self.memory.len());
        // SAFETY: inside the mapping by the assertion.
        unsafe { self.memory.as_mut_ptr().add(offset) }
    }

    #[allow(unsafe_code)]
    #[inline]
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: mapped for as long as `self`, aligned (offsets are multiples of 64), and only ever accessed as an atomic.
        unsafe { AtomicU64::from_ptr(self.at(offset, 8).cast()) }
    }

    #[inline]
    pub(crate) fn head(&self) -> &AtomicU64 {
        self.word(0)
    }

    #[inline]
    pub(crate) fn slot(&self, number: u64) -> usize {
        HEAD_BYTES + (number % self.slots) as usize * self.stride
    }

    /// The bytes of a message. Between its commit and the head's step over it they are the consumer's, else the producer's.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    #[inline]
    pub(crate) fn message(&self, slot: usize) -> &mut [u8] {
        let first = self.at(slot + COMMIT_BYTES, self.payload_bytes);
        // SAFETY: inside the mapping; the other process leaves it alone by the rule above, and each side holds one at a time.
        unsafe { std::slice::from_raw_parts_mut(first, self.payload_bytes) }
    }
}

/// Polls, with the processor's hint.
pub(crate) fn wait(mut until: impl FnMut() -> bool) {
    while !until() {
        std::hint::spin_loop();
    }
}
