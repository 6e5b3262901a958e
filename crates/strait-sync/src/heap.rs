//! Words on the heap.

#![allow(unsafe_code)]

use crate::words::{RawWords, Words, WordsMut};

/// Zeroed words on the heap, aligned to 128 bytes: for tests, for loom, and for two ends inside one process.
///
/// ```
/// use strait_sync::{Heap, Words};
/// assert_eq!(Heap::zeroed(4096).len_bytes(), 4096);
/// ```
#[derive(Debug)]
pub struct Heap {
    raw: RawWords,
    #[cfg(not(strait_loom))]
    layout: core::alloc::Layout,
}

impl Heap {
    /// Allocates `len_bytes`, rounded up to 128, all zero.
    ///
    /// # Panics
    ///
    /// If that is more than `isize::MAX`. Where memory runs out, the process ends as with any allocation.
    pub fn zeroed(len_bytes: usize) -> Self {
        let len_bytes = len_bytes.max(128).checked_next_multiple_of(128).expect("a heap of at most isize::MAX bytes");
        #[cfg(not(strait_loom))]
        {
            let layout =
                core::alloc::Layout::from_size_align(len_bytes, 128).expect("a heap of at most isize::MAX bytes");
            // SAFETY: the layout's size is not zero.
            let base = unsafe { alloc::alloc::alloc_zeroed(layout) };
            let base = core::ptr::NonNull::new(base).unwrap_or_else(|| alloc::alloc::handle_alloc_error(layout));
            // SAFETY: the allocation is aligned to 128, zeroed, ours alone and freed only when `self` is dropped.
            let raw = unsafe { RawWords::new(base, len_bytes) };
            Self { raw, layout }
        }
        #[cfg(strait_loom)]
        Self { raw: RawWords::modelled(len_bytes) }
    }
}

#[cfg(not(strait_loom))]
impl Drop for Heap {
    fn drop(&mut self) {
        let base = self.raw.as_ptr(0, 0);
        // SAFETY: allocated in `zeroed` with this very layout; `self` is going, so nobody uses it any more.
        unsafe { alloc::alloc::dealloc(base.as_ptr(), self.layout) }
    }
}

// SAFETY: the allocation lives until drop and does not move with `self`.
unsafe impl Words for Heap {
    #[inline]
    fn raw(&self) -> &RawWords {
        &self.raw
    }
}

// SAFETY: heap memory is writable.
unsafe impl WordsMut for Heap {}
