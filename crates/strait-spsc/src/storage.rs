//! The words of a ring, by position.

use strait_sync::{
    Words, WordsMut,
    primitive::Ordering,
};

use crate::records::Geometry;

/// Turns positions into words. Whatever the position, the word lies inside the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingWords {
    data: usize,
    /// Keeps the word that a position lies in: `capacity - 8`.
    mask: u64,
}

impl RingWords {
    pub(crate) fn new(ring: &Geometry) -> Self {
        Self { data: ring.data(), mask: ring.capacity_bytes() - 8 }
    }

    /// Offset in the memory of the word at `position`.
    #[inline]
    pub(crate) fn offset(&self, position: u64) -> usize {
        self.data + (position & self.mask) as usize
    }

    #[inline]
    pub(crate) fn load(&self, memory: &impl Words, position: u64) -> u64 {
        memory.load(self.offset(position))
    }

    #[inline]
    pub(crate) fn store(&self, memory: &impl WordsMut, position: u64, value: u64, ordering: Ordering) {
        memory.store(self.offset(position), value, ordering);
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
