//! Copying out of memory that a peer may be writing.
//!
//! The meaning is `n` relaxed loads of 64 bits, in no particular order. Written as a loop that is all that the compiler may
//! make of it (it does not merge atomics into vectors). On x86_64 long copies are one `rep movsq` instead, which reads
//! the same words, each at least once and whole, and is several times as fast: see `bench primitives`.

#![allow(unsafe_code)]
#![cfg_attr(strait_loom, allow(dead_code))]

use core::sync::atomic::{AtomicU64, Ordering};

/// From this many words on, `rep movsq` is ahead of the loop (measured: docs/TUNING.md).
const STRING_COPY_WORDS: usize = 64;

/// Copies `words` words from `source` to `destination`.
///
/// # Safety
///
/// `source` is valid for that many atomic loads, `destination` for that many writes, and they do not overlap.
#[inline]
pub(crate) unsafe fn load_words(source: *const AtomicU64, destination: *mut u64, words: usize) {
    #[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
    if words >= STRING_COPY_WORDS {
        // SAFETY: the caller's contract. To the abstract machine this block is `words` relaxed loads and as many
        // writes; the acquire fence that orders them is the caller's, before and after.
        unsafe {
            core::arch::asm!(
                "rep movsq",
                inout("rcx") words => _,
                inout("rsi") source => _,
                inout("rdi") destination => _,
                options(nostack, preserves_flags)
            );
        }
        return;
    }
    for index in 0..words {
        // SAFETY: inside the source by the caller's contract.
        let word = unsafe { source.add(index) };
        // SAFETY: valid for atomic loads by the caller's contract.
        let word = unsafe { &*word };
        // ORDERING: Relaxed: racy by design; the caller orders it with fences or checks what came out.
        let value = word.load(Ordering::Relaxed);
        // SAFETY: inside the destination by the caller's contract.
        let place = unsafe { destination.add(index) };
        // SAFETY: as above; exclusive by the caller's contract.
        unsafe { place.write(value) };
    }
}
