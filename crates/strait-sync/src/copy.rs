//! Copying to and from memory that someone else may be accessing.
//!
//! The meaning is `n` relaxed loads, or stores, of 64 bits, in no particular order. Written as a loop that is all that
//! the compiler may make of it (it does not merge atomics into vectors). On x86_64 long copies are one `rep movsq`
//! instead, which moves the same words, each at least once and whole, and is several times as fast: see `bench
//! primitives`.
//!
//! Source: Intel SDM vol. 3, 8.2. Reads are not reordered with other reads; the exception for string operations
//! concerns stores alone (8.2.2), which may be seen in any order among themselves, but not before an earlier store and
//! not after a later one (8.2.4). So on x86_64 fences before and after are for the compiler, which moves no access to
//! memory across the `asm!`.
//!
//! Short copies move two words at a time there (`movups`): to the abstract machine two relaxed accesses each, whose order is the
//! caller's fences', as above.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

/// From this many words on, `rep movsq` is ahead of the loop (measured: docs/TUNING.md).
#[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
const STRING_COPY_WORDS: usize = 64;

/// Copies `words` words from `source` to `destination`, which needs no alignment.
///
/// # Safety
///
/// `source` is valid for that many atomic loads, `destination` for that many writes, and they do not overlap.
#[inline]
pub unsafe fn load_words(source: *const AtomicU64, destination: *mut u64, words: usize) {
    #[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
    if words >= STRING_COPY_WORDS {
        // SAFETY: the caller's contract. To the abstract machine this block is `words` relaxed loads and as many
        // writes; the acquire fence that orders them is the caller's, before and after.
        unsafe { move_string(source.cast(), destination, words) };
        return;
    }
    #[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
    let first = {
        // SAFETY: the caller's contract. To the abstract machine as above.
        unsafe { move_pairs(source.cast(), destination, words / 2) };
        words & !1
    };
    #[cfg(not(all(target_arch = "x86_64", not(strait_sanitize), not(miri))))]
    let first = 0;
    for index in first..words {
        // SAFETY: inside the source by the caller's contract.
        let word = unsafe { source.add(index) };
        // SAFETY: valid for atomic loads by the caller's contract.
        let word = unsafe { &*word };
        // ORDERING: Relaxed: racy by design; the caller orders it with fences or checks what came out.
        let value = word.load(Ordering::Relaxed);
        // SAFETY: inside the destination by the caller's contract.
        let place = unsafe { destination.add(index) };
        // SAFETY: as above; exclusive by the caller's contract.
        unsafe { place.write_unaligned(value) };
    }
}

/// Copies `words` words from `source`, which needs no alignment, to `destination`.
///
/// # Safety
///
/// `source` is valid for that many reads, `destination` for that many atomic stores, and they do not overlap.
#[inline]
pub unsafe fn store_words(source: *const u64, destination: *const AtomicU64, words: usize) {
    #[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
    if words >= STRING_COPY_WORDS {
        // SAFETY: the caller's contract; the words lie in `UnsafeCell`s. To the abstract machine this block is `words`
        // reads and as many relaxed stores; the fence before and the release store after are the caller's.
        unsafe { move_string(source, destination.cast_mut().cast(), words) };
        return;
    }
    for index in 0..words {
        // SAFETY: inside the source by the caller's contract.
        let place = unsafe { source.add(index) };
        // SAFETY: readable by the caller's contract.
        let value = unsafe { place.read_unaligned() };
        // SAFETY: inside the destination by the caller's contract.
        let word = unsafe { destination.add(index) };
        // SAFETY: valid for atomic stores by the caller's contract.
        let word = unsafe { &*word };
        // ORDERING: Relaxed: published, or shown to be in the making, by what the caller stores around it.
        word.store(value, Ordering::Relaxed);
    }
}

/// # Safety
///
/// `source` is valid for reads of `2 * pairs` words and `destination` for writes, and they do not overlap.
#[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
#[inline]
unsafe fn move_pairs(source: *const u64, destination: *mut u64, pairs: usize) {
    let (mut source, mut destination) = (source, destination);
    for _ in 0..pairs {
        // SAFETY: the caller's contract; every x86_64 has SSE2, and the access needs no alignment.
        unsafe {
            core::arch::asm!(
                "movups {pair}, [{source}]",
                "movups [{destination}], {pair}",
                pair = out(xmm_reg) _,
                source = in(reg) source,
                destination = in(reg) destination,
                options(nostack, preserves_flags)
            );
        }
        // SAFETY: inside the source, or at its end.
        source = unsafe { source.add(2) };
        // SAFETY: inside the destination, or at its end.
        destination = unsafe { destination.add(2) };
    }
}

/// # Safety
///
/// `source` is valid for reads of `words` words and `destination` for writes, and they do not overlap.
#[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
#[inline]
unsafe fn move_string(source: *const u64, destination: *mut u64, words: usize) {
    // SAFETY: the caller's contract; the direction flag is clear, as it is on entry to every `asm!`.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            inout("rcx") words => _,
            inout("rsi") source => _,
            inout("rdi") destination => _,
            options(nostack, preserves_flags)
        );
    }
}
