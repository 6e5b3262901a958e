//! What each decision buys: a ring in small, with one of them taken the other way.
//!
//! It has no handles that end, no chunks, no counters, and words for slots, so that it needs no unsafe code.
//! `ablation-none` is that ring with every decision as ours has it: the others are to be read beside it.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    flow::{CAPACITY, Item, Pop, Push},
    spsc::Spsc,
};

/// Padded indices, and a copy of the other end's.
pub type Both = Ring<true, true>;
/// The indices of both ends on one line.
pub type UnpaddedIndices = Ring<false, true>;
/// Each push and each pop asks for the other end's index.
pub type NoCachedIndex = Ring<true, false>;

/// A ring in small.
pub struct Ring<const PADDED: bool, const CACHED: bool>;

/// Which of them it is.
const fn name(padded: bool, cached: bool) -> &'static str {
    match (padded, cached) {
        (true, true) => "ablation-none",
        (false, true) => "ablation-unpadded-indices",
        (true, false) => "ablation-no-cached-index",
        (false, false) => "ablation-unpadded-and-no-cached-index",
    }
}

/// Both indices. What every push and pop reads besides is elsewhere, so that it shares no line with them.
#[repr(align(128))]
struct Indices([AtomicU64; 48]);

/// One end: its own index, and the other's as last seen.
pub struct End<T, const PADDED: bool, const CACHED: bool> {
    indices: Arc<Indices>,
    slots: Arc<[AtomicU64]>,
    own: u64,
    other: u64,
    _items: PhantomData<T>,
}

impl<T: Item, const PADDED: bool, const CACHED: bool> End<T, PADDED, CACHED> {
    const WORDS: usize = size_of::<T>() / 8;
    const HEAD: usize = 0;
    /// On another line, and another pair of lines, where the indices are padded.
    const TAIL: usize = if PADDED { 32 } else { 1 };

    fn slot(&self) -> &[AtomicU64] {
        let first = self.own as usize % CAPACITY * Self::WORDS;
        &self.slots[first..first + Self::WORDS]
    }

    /// Whether the other end is `distance` away from this one, as `CACHED` says by a look or by memory.
    #[inline]
    fn is_away(&mut self, other: usize, distance: u64) -> bool {
        if CACHED && self.own.wrapping_sub(self.other) != distance {
            return false;
        }
        // ORDERING: Acquire; pairs with the release store in `show` of the other end.
        self.other = self.indices.0[other].load(Ordering::Acquire);
        self.own.wrapping_sub(self.other) == distance
    }

    #[inline]
    fn show(&mut self, own: usize) {
        self.own += 1;
        // ORDERING: Release; pairs with the acquire load in `is_away` of the other end.
        self.indices.0[own].store(self.own, Ordering::Release);
    }
}

impl<const PADDED: bool, const CACHED: bool> Spsc for Ring<PADDED, CACHED> {
    const NAME: &'static str = name(PADDED, CACHED);
    type Producer<T: Item> = End<T, PADDED, CACHED>;
    type Consumer<T: Item> = Popping<T, PADDED, CACHED>;

    fn open<T: Item>() -> (Self::Producer<T>, Self::Consumer<T>) {
        let slots: Arc<[AtomicU64]> = (0..CAPACITY * size_of::<T>() / 8).map(|_| AtomicU64::new(0)).collect();
        let indices = Arc::new(Indices([const { AtomicU64::new(0) }; 48]));
        let end = || End { indices: indices.clone(), slots: slots.clone(), own: 0, other: 0, _items: PhantomData };
        (end(), Popping(end()))
    }
}

impl<T: Item, const PADDED: bool, const CACHED: bool> Push<T> for End<T, PADDED, CACHED> {
    #[inline]
    fn try_push(&mut self, value: T) -> bool {
        if self.is_away(Self::HEAD, CAPACITY as u64) {
            return false;
        }
        for (word, bytes) in self.slot().iter().zip(value.as_bytes().chunks_exact(8)) {
            let value = u64::from_le_bytes(bytes.try_into().expect("chunks of 8"));
            // ORDERING: Relaxed; published by `show`.
            word.store(value, Ordering::Relaxed);
        }
        self.show(Self::TAIL);
        true
    }
}

/// The popping end.
pub struct Popping<T, const PADDED: bool, const CACHED: bool>(End<T, PADDED, CACHED>);

impl<T: Item, const PADDED: bool, const CACHED: bool> Pop<T> for Popping<T, PADDED, CACHED> {
    #[inline]
    fn try_pop(&mut self) -> Option<T> {
        let end = &mut self.0;
        if end.is_away(End::<T, PADDED, CACHED>::TAIL, 0) {
            return None;
        }
        let mut value = T::of(0);
        for (word, bytes) in end.slot().iter().zip(value.as_mut_bytes().chunks_exact_mut(8)) {
            // ORDERING: Relaxed; read after the acquire load in `is_away`, released by `show`.
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        end.show(End::<T, PADDED, CACHED>::HEAD);
        Some(value)
    }
}
