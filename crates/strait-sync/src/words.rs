//! Shared memory as a row of 64-bit words.

#![allow(unsafe_code)]

use core::marker::PhantomData;

use crate::primitive::{AtomicU64, FENCED_LOAD, Ordering};

/// Where the words are: a base address and a length, or under loom a row of modelled cells.
///
/// The one place where an offset becomes an address. Every access checks it against the length, so what is built on
/// this can be wrong but not wild.
pub struct RawWords {
    #[cfg(not(strait_loom))]
    base: core::ptr::NonNull<AtomicU64>,
    #[cfg(strait_loom)]
    cells: loom::sync::Arc<LoomCells>,
    len_bytes: usize,
    _shared: PhantomData<AtomicU64>,
}

/// Under loom a word is an atomic for the protocol and an `UnsafeCell` for the payload, so that loom sees a payload
/// read that nothing orders after its write.
#[cfg(strait_loom)]
struct LoomCells {
    words: alloc::boxed::Box<[LoomCell]>,
    futex: loom::sync::Mutex<()>,
    sleepers: loom::sync::Condvar,
}

#[cfg(strait_loom)]
struct LoomCell {
    word: AtomicU64,
    payload: loom::cell::UnsafeCell<u64>,
}

// SAFETY: all access to the words is atomic, or goes through pointers whose users argue for it at their own `unsafe`.
unsafe impl Send for RawWords {}
// SAFETY: as above.
unsafe impl Sync for RawWords {}

impl core::fmt::Debug for RawWords {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RawWords").field("len_bytes", &self.len_bytes).finish_non_exhaustive()
    }
}

#[cold]
#[track_caller]
fn out_of_bounds(offset: usize, len_bytes: usize, memory_bytes: usize) -> ! {
    panic!("{len_bytes} bytes at offset {offset} are not aligned words inside a memory of {memory_bytes} bytes")
}

/// Up to 8 bytes as a word, filled up with zeroes.
#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

impl RawWords {
    /// Describes `len_bytes` of memory at `base`.
    ///
    /// # Safety
    ///
    /// - `base` is aligned to 8 and the memory is readable, initialised and at the same address for as long as the
    ///   result lives; for [`WordsMut`] it is writable too.
    /// - Inside this process it is accessed only through the result, or through accesses that are ordered with those.
    #[cfg(not(strait_loom))]
    pub unsafe fn new(base: core::ptr::NonNull<u8>, len_bytes: usize) -> Self {
        Self { base: base.cast(), len_bytes: len_bytes & !7, _shared: PhantomData }
    }

    /// Modelled memory of `len_bytes` zeroed bytes.
    #[cfg(strait_loom)]
    pub fn modelled(len_bytes: usize) -> Self {
        let words = (0..len_bytes / 8)
            .map(|_| LoomCell { word: AtomicU64::new(0), payload: loom::cell::UnsafeCell::new(0) })
            .collect();
        let cells = LoomCells { words, futex: loom::sync::Mutex::new(()), sleepers: loom::sync::Condvar::new() };
        Self { cells: loom::sync::Arc::new(cells), len_bytes, _shared: PhantomData }
    }

    #[inline]
    #[track_caller]
    fn check(&self, offset: usize, len_bytes: usize) {
        let fits = offset.checked_add(len_bytes).is_some_and(|end| end <= self.len_bytes);
        if !fits || !offset.is_multiple_of(8) {
            out_of_bounds(offset, len_bytes, self.len_bytes)
        }
    }

    #[inline]
    #[track_caller]
    fn word(&self, offset: usize) -> &AtomicU64 {
        self.check(offset, 8);
        #[cfg(not(strait_loom))]
        {
            // SAFETY: `check` has shown that the word lies inside the memory.
            let word = unsafe { self.base.byte_add(offset) };
            // SAFETY: the memory is valid and aligned by the contract of `new`, and is accessed atomically here.
            unsafe { word.as_ref() }
        }
        #[cfg(strait_loom)]
        {
            &self.cells.words[offset / 8].word
        }
    }

    /// The address of `len_bytes` bytes at `offset`, checked to lie inside the memory.
    ///
    /// # Panics
    ///
    /// If they don't, or if `offset` is not a multiple of 8.
    #[cfg(not(strait_loom))]
    #[inline]
    #[track_caller]
    pub fn as_ptr(&self, offset: usize, len_bytes: usize) -> core::ptr::NonNull<u8> {
        self.check(offset, len_bytes);
        // SAFETY: `check` has shown that the address lies inside the memory or at its end.
        unsafe { self.base.byte_add(offset) }.cast()
    }

    #[inline]
    #[track_caller]
    fn copy_out(&self, offset: usize, destination: &mut [u64]) {
        self.check(offset, size_of_val(destination));
        #[cfg(not(strait_loom))]
        {
            // SAFETY: `check` has shown that the source lies inside the memory.
            let source = unsafe { self.base.byte_add(offset) };
            // SAFETY: the source is readable by the contract of `new`; the destination is an exclusive slice.
            unsafe { crate::copy::load_words(source.as_ptr(), destination.as_mut_ptr(), destination.len()) };
        }
        #[cfg(strait_loom)]
        for (index, word) in destination.iter_mut().enumerate() {
            // SAFETY: loom reports a concurrent write instead of letting it happen.
            *word = self.cells.words[offset / 8 + index].payload.with(|payload| unsafe { *payload });
        }
    }

    #[inline]
    #[track_caller]
    fn copy_out_racing(&self, offset: usize, destination: &mut [u8]) {
        self.check(offset, destination.len().next_multiple_of(8));
        let (whole, last) = destination.split_at_mut(destination.len() & !7);
        #[cfg(not(strait_loom))]
        {
            // SAFETY: `check` has shown that the source lies inside the memory.
            let source = unsafe { self.base.byte_add(offset) };
            // SAFETY: the source is readable by the contract of `new`; the destination is an exclusive slice.
            unsafe { crate::copy::load_words(source.as_ptr(), whole.as_mut_ptr().cast(), whole.len() / 8) };
        }
        #[cfg(strait_loom)]
        for (index, bytes) in whole.chunks_mut(8).enumerate() {
            // ORDERING: Relaxed: racy by design; the caller orders it with fences.
            bytes.copy_from_slice(&self.word(offset + 8 * index).load(Ordering::Relaxed).to_le_bytes());
        }
        if !last.is_empty() {
            // ORDERING: Relaxed, as above.
            let word = self.word(offset + whole.len()).load(Ordering::Relaxed);
            last.copy_from_slice(&word.to_le_bytes()[..last.len()]);
        }
    }

    #[inline]
    #[track_caller]
    fn copy_in(&self, offset: usize, source: &[u8]) {
        self.check(offset, source.len().next_multiple_of(8));
        #[cfg(not(strait_loom))]
        {
            let (whole, last) = source.split_at(source.len() & !7);
            // SAFETY: `check` has shown that the destination lies inside the memory.
            let destination = unsafe { self.base.byte_add(offset) };
            // SAFETY: the destination is writable by the contract of `WordsMut`, the only way here; the source is a
            // slice.
            unsafe { crate::copy::store_words(whole.as_ptr().cast(), destination.as_ptr(), whole.len() / 8) };
            if !last.is_empty() {
                // ORDERING: Relaxed: payload, published by the commit that follows it.
                self.word(offset + whole.len()).store(word_of(last), Ordering::Relaxed);
            }
        }
        #[cfg(strait_loom)]
        for (index, bytes) in source.chunks(8).enumerate() {
            let value = word_of(bytes);
            // ORDERING: Relaxed, as above.
            self.word(offset + 8 * index).store(value, Ordering::Relaxed);
            // SAFETY: loom reports a concurrent access instead of letting it happen.
            self.cells.words[offset / 8 + index].payload.with_mut(|payload| unsafe { *payload = value });
        }
    }

    /// Sleeps until the low half of the word at `offset` is woken or found different from `expected`, for at most
    /// `timeout` (`None` waits without end). The memory may be mapped read-only.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside the memory.
    #[cfg(feature = "std")]
    pub fn futex_wait(&self, offset: usize, expected: u32, timeout: Option<core::time::Duration>) -> crate::FutexWait {
        #[cfg(not(strait_loom))]
        {
            self.check(offset, 8);
            // SAFETY: inside the memory by `check`; little-endian, so the low half comes first.
            let low = unsafe { self.base.byte_add(offset) }.cast::<crate::primitive::AtomicU32>();
            // SAFETY: valid and aligned as above; the reference is only handed to the kernel, which reads the half
            // word atomically.
            crate::wait(unsafe { low.as_ref() }, expected, timeout)
        }
        #[cfg(strait_loom)]
        {
            let _ = timeout;
            let queue = self.cells.futex.lock().unwrap();
            // ORDERING: Relaxed: the kernel compares under its own lock, which `queue` stands for.
            if self.word(offset).load(Ordering::Relaxed) as u32 != expected {
                return crate::FutexWait::Changed;
            }
            drop(self.cells.sleepers.wait(queue).unwrap());
            crate::FutexWait::Woken
        }
    }

    /// Wakes all that sleep on the low half of the word at `offset`. One system call, whether somebody sleeps or not.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside the memory.
    #[cfg(feature = "std")]
    pub fn futex_wake(&self, offset: usize) {
        #[cfg(not(strait_loom))]
        {
            self.check(offset, 8);
            // SAFETY: inside the memory by `check`.
            let low = unsafe { self.base.byte_add(offset) }.cast::<crate::primitive::AtomicU32>();
            // SAFETY: valid and aligned; the reference is only handed to the kernel, which uses its address.
            crate::wake(unsafe { low.as_ref() }, u32::MAX);
        }
        #[cfg(strait_loom)]
        {
            let _ = offset;
            drop(self.cells.futex.lock().unwrap());
            self.cells.sleepers.notify_all();
        }
    }
}

/// Memory whose words can be read.
///
/// Loads are relaxed, because nothing stronger is guaranteed to work on a read-only mapping: whoever needs an acquire
/// puts `fence(Acquire)` after the load.
///
/// # Safety
///
/// [`raw`](Words::raw) returns the same words each time, and they stay valid for as long as `self` lives, also when
/// `self` is moved.
pub unsafe trait Words: Send + Sync {
    /// The words.
    fn raw(&self) -> &RawWords;

    /// Length in bytes, a multiple of 8.
    #[inline]
    fn len_bytes(&self) -> usize {
        self.raw().len_bytes
    }

    /// Loads the word at byte `offset`, relaxed.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside the memory.
    #[inline]
    #[track_caller]
    fn load(&self, offset: usize) -> u64 {
        // ORDERING: Relaxed; callers that need more put a fence behind it (see the trait's docs).
        self.raw().word(offset).load(FENCED_LOAD)
    }

    /// Copies words from byte `offset` on into `destination`, each by one relaxed load.
    ///
    /// Sound while another process writes them: what comes out may then be a mixture, never undefined.
    ///
    /// # Panics
    ///
    /// If the span is not inside the memory or `offset` is not a multiple of 8.
    #[inline]
    #[track_caller]
    fn copy_out(&self, offset: usize, destination: &mut [u64]) {
        self.raw().copy_out(offset, destination);
    }

    /// Copies bytes from byte `offset` on into `destination`, by relaxed loads of whole words: for readers that race
    /// with the writer by design, and throw away what it spoilt.
    ///
    /// Does what [`copy_out`](Self::copy_out) does; but loom takes that for a read that something must have ordered
    /// after the write, and this for what it is.
    ///
    /// # Panics
    ///
    /// If the span, rounded up to 8, is not inside the memory or `offset` is not a multiple of 8.
    ///
    /// ```
    /// use strait_sync::{Heap, Words, WordsMut};
    /// let (memory, mut bytes) = (Heap::zeroed(128), [0; 5]);
    /// memory.copy_in(8, b"hello");
    /// memory.copy_out_racing(8, &mut bytes);
    /// assert_eq!(&bytes, b"hello");
    /// ```
    #[inline]
    #[track_caller]
    fn copy_out_racing(&self, offset: usize, destination: &mut [u8]) {
        self.raw().copy_out_racing(offset, destination);
    }
}

/// Memory whose words can be read and written.
///
/// # Safety
///
/// As for [`Words`], and the memory is writable.
pub unsafe trait WordsMut: Words {
    /// Stores `value` in the word at byte `offset`.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside the memory, or `ordering` is not one for a store.
    #[inline]
    #[track_caller]
    fn store(&self, offset: usize, value: u64, ordering: Ordering) {
        // ORDERING: the caller's, named at the call.
        self.raw().word(offset).store(value, ordering);
    }

    /// Replaces `current` by `new` in the word at byte `offset` (AcqRel, Relaxed on failure); `Err` holds what was
    /// there.
    ///
    /// # Errors
    ///
    /// The value that was found, where it was not `current`.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of 8 inside the memory.
    #[inline]
    #[track_caller]
    fn compare_exchange(&self, offset: usize, current: u64, new: u64) -> Result<u64, u64> {
        // ORDERING: AcqRel: pairs with itself and with the loads that callers follow by an acquire fence.
        self.raw().word(offset).compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed)
    }

    /// Copies `source` to byte `offset`, whole words at a time: the last one is filled up with zeroes.
    ///
    /// # Panics
    ///
    /// If the span, rounded up to 8, is not inside the memory or `offset` is not a multiple of 8.
    #[inline]
    #[track_caller]
    fn copy_in(&self, offset: usize, source: &[u8]) {
        self.raw().copy_in(offset, source);
    }
}

// SAFETY: an `Arc` gives the same `W` each time and keeps it alive.
#[cfg(feature = "alloc")]
unsafe impl<W: Words> Words for crate::primitive::Arc<W> {
    #[inline]
    fn raw(&self) -> &RawWords {
        (**self).raw()
    }
}

// SAFETY: as above.
#[cfg(feature = "alloc")]
unsafe impl<W: WordsMut> WordsMut for crate::primitive::Arc<W> {}
