//! Copying to and from memory that someone else may be accessing.
//!
//! The meaning is `n` relaxed loads, or stores, of 64 bits, in no particular order. Written as a loop that is all that
//! the compiler may make of it (it does not merge atomics into vectors). On x86_64 the words move by vectors instead: to
//! the abstract machine as many relaxed accesses at each end, whose order is the caller's fences'; the compiler moves no
//! access to memory across an `asm!`.
//!
//! Not by `rep movsq`: it takes twice as long and more where the destination lies 16 bytes after the source within a
//! line (Zen 4; docs/TUNING.md), and records and buffers lie as they lie.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

/// Copies `words` words from `source` to `destination`, which needs no alignment.
///
/// # Safety
///
/// `source` is valid for that many atomic loads, `destination` for that many writes, and they do not overlap.
#[inline]
pub unsafe fn load_words(source: *const AtomicU64, destination: *mut u64, words: usize) {
    #[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
    let first = {
        // SAFETY: the caller's contract. To the abstract machine this is a relaxed load and a write of each word; the
        // acquire fence that orders them is the caller's, before and after.
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
    let first = {
        // SAFETY: the caller's contract; the words lie in `UnsafeCell`s. To the abstract machine this is a read and a
        // relaxed store of each word; the fence before and the release store after are the caller's.
        unsafe { move_pairs(source, destination.cast_mut().cast(), words / 2) };
        words & !1
    };
    #[cfg(not(all(target_arch = "x86_64", not(strait_sanitize), not(miri))))]
    let first = 0;
    for index in first..words {
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

/// Copies of these lengths, in pairs of words, move by 32 bytes where the processor can: while they fit its first-level cache
/// that is nearly twice as fast, beyond it no gain, and a loss where no end is aligned (docs/TUNING.md).
#[cfg(all(target_arch = "x86_64", feature = "std", not(strait_sanitize), not(miri)))]
const WIDE_PAIRS: core::ops::RangeInclusive<usize> = 32..=1024;

/// Moves `2 * pairs` words: by the line, then what is left by pairs.
///
/// # Safety
///
/// `source` is valid for reads of so many words and `destination` for writes, and they do not overlap.
#[cfg(all(target_arch = "x86_64", not(strait_sanitize), not(miri)))]
#[inline]
unsafe fn move_pairs(source: *const u64, destination: *mut u64, pairs: usize) {
    #[allow(unused_mut)]
    let (mut source, mut destination, mut pairs) = (source, destination, pairs);
    #[cfg(feature = "std")]
    if WIDE_PAIRS.contains(&pairs) && std::arch::is_x86_feature_detected!("avx") {
        let lines = pairs / 4;
        // SAFETY: the processor has AVX; the caller's contract.
        unsafe { move_lines_wide(source, destination, lines) };
        // SAFETY: inside the source, or at its end.
        source = unsafe { source.add(8 * lines) };
        // SAFETY: inside the destination, or at its end.
        destination = unsafe { destination.add(8 * lines) };
        pairs %= 4;
    }
    for _ in 0..pairs / 4 {
        // SAFETY: the caller's contract; every x86_64 has SSE2, and the accesses need no alignment.
        unsafe {
            core::arch::asm!(
                "movups {first}, [{source}]",
                "movups {second}, [{source} + 16]",
                "movups {third}, [{source} + 32]",
                "movups {fourth}, [{source} + 48]",
                "movups [{destination}], {first}",
                "movups [{destination} + 16], {second}",
                "movups [{destination} + 32], {third}",
                "movups [{destination} + 48], {fourth}",
                first = out(xmm_reg) _,
                second = out(xmm_reg) _,
                third = out(xmm_reg) _,
                fourth = out(xmm_reg) _,
                source = in(reg) source,
                destination = in(reg) destination,
                options(nostack, preserves_flags)
            );
        }
        // SAFETY: inside the source, or at its end.
        source = unsafe { source.add(8) };
        // SAFETY: inside the destination, or at its end.
        destination = unsafe { destination.add(8) };
    }
    for _ in 0..pairs % 4 {
        // SAFETY: as above.
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
        // SAFETY: as above.
        source = unsafe { source.add(2) };
        // SAFETY: as above.
        destination = unsafe { destination.add(2) };
    }
}

/// Moves `8 * lines` words.
///
/// # Safety
///
/// As [`move_pairs`].
#[cfg(all(target_arch = "x86_64", feature = "std", not(strait_sanitize), not(miri)))]
#[target_feature(enable = "avx")]
unsafe fn move_lines_wide(source: *const u64, destination: *mut u64, lines: usize) {
    let (mut source, mut destination) = (source, destination);
    for _ in 0..lines {
        // SAFETY: the caller's contract; the accesses need no alignment.
        unsafe {
            core::arch::asm!(
                "vmovups {first}, [{source}]",
                "vmovups {second}, [{source} + 32]",
                "vmovups [{destination}], {first}",
                "vmovups [{destination} + 32], {second}",
                first = out(ymm_reg) _,
                second = out(ymm_reg) _,
                source = in(reg) source,
                destination = in(reg) destination,
                options(nostack, preserves_flags)
            );
        }
        // SAFETY: inside the source, or at its end.
        source = unsafe { source.add(8) };
        // SAFETY: inside the destination, or at its end.
        destination = unsafe { destination.add(8) };
    }
    // Upper halves that are left behind slow down every `movups` after this.
    core::arch::x86_64::_mm256_zeroupper();
}
