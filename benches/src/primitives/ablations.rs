//! What each decision buys: a ring in small, with one of them taken the other way.
//!
//! It has no handles that end, no chunks, and words for slots, so that it needs no unsafe code.
//! `ablation-none` is that ring with every decision as ours has it, but that its consumer never holds back (`strait-spsc`'s `pace`):
//! the others are to be read beside it.

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

/// Padded indices, a copy of the other end's, and statistics.
pub type AsOurs = Ring<true, true, true>;
/// The indices of both ends on one line.
pub type UnpaddedIndices = Ring<false, true, true>;
/// Each push and each pop asks for the other end's index.
pub type NoCachedIndex = Ring<true, false, true>;
/// Nobody counts what is refused, nor looks for the high-water mark.
pub type NoStatistics = Ring<true, true, false>;

/// A ring in small.
pub struct Ring<const PADDED: bool, const CACHED: bool, const COUNTED: bool>;

/// Which of them it is.
const fn name(padded: bool, cached: bool, counted: bool) -> &'static str {
    match (padded, cached, counted) {
        (true, true, true) => "ablation-none",
        (false, true, true) => "ablation-unpadded-indices",
        (true, false, true) => "ablation-no-cached-index",
        (true, true, false) => "ablation-no-statistics",
        _ => "ablation-several",
    }
}

/// Both indices. What every push and pop reads besides is elsewhere, so that it shares no line with them.
#[repr(align(128))]
struct Indices([AtomicU64; 48]);

/// One end: its own index, and the other's as last seen.
pub struct End<T, const PADDED: bool, const CACHED: bool, const COUNTED: bool> {
    indices: Arc<Indices>,
    slots: Arc<[AtomicU64]>,
    own: u64,
    other: u64,
    refused: u64,
    high_water: u64,
    _items: PhantomData<T>,
}

impl<T: Item, const PADDED: bool, const CACHED: bool, const COUNTED: bool> End<T, PADDED, CACHED, COUNTED> {
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
        let between = self.own.wrapping_sub(self.other);
        if COUNTED {
            self.refused += u64::from(between == distance);
            // As ours: the producer alone looks for it.
            if distance != 0 {
                self.high_water = self.high_water.max(between);
            }
        }
        between == distance
    }

    #[inline]
    fn show(&mut self, own: usize) {
        self.own += 1;
        // ORDERING: Release; pairs with the acquire load in `is_away` of the other end.
        self.indices.0[own].store(self.own, Ordering::Release);
    }
}

impl<T, const PADDED: bool, const CACHED: bool, const COUNTED: bool> Drop for End<T, PADDED, CACHED, COUNTED> {
    fn drop(&mut self) {
        // Somebody may ask: so they are counted indeed.
        std::hint::black_box((self.refused, self.high_water));
    }
}

impl<const PADDED: bool, const CACHED: bool, const COUNTED: bool> Spsc for Ring<PADDED, CACHED, COUNTED> {
    const NAME: &'static str = name(PADDED, CACHED, COUNTED);
    type Producer<T: Item> = End<T, PADDED, CACHED, COUNTED>;
    type Consumer<T: Item> = Popping<T, PADDED, CACHED, COUNTED>;

    fn open<T: Item>() -> (Self::Producer<T>, Self::Consumer<T>) {
        let slots: Arc<[AtomicU64]> = (0..CAPACITY * size_of::<T>() / 8).map(|_| AtomicU64::new(0)).collect();
        let indices = Arc::new(Indices([const { AtomicU64::new(0) }; 48]));
        let end = || End {
            indices: indices.clone(),
            slots: slots.clone(),
            own: 0,
            other: 0,
            refused: 0,
            high_water: 0,
            _items: PhantomData,
        };
        (end(), Popping(end()))
    }
}

impl<T: Item, const PADDED: bool, const CACHED: bool, const COUNTED: bool> Push<T> for End<T, PADDED, CACHED, COUNTED> {
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
pub struct Popping<T, const PADDED: bool, const CACHED: bool, const COUNTED: bool>(End<T, PADDED, CACHED, COUNTED>);

impl<T: Item, const PADDED: bool, const CACHED: bool, const COUNTED: bool> Pop<T>
    for Popping<T, PADDED, CACHED, COUNTED>
{
    #[inline]
    fn try_pop(&mut self) -> Option<T> {
        let end = &mut self.0;
        if end.is_away(End::<T, PADDED, CACHED, COUNTED>::TAIL, 0) {
            return None;
        }
        let mut value = T::of(0);
        for (word, bytes) in end.slot().iter().zip(value.as_mut_bytes().chunks_exact_mut(8)) {
            // ORDERING: Relaxed; read after the acquire load in `is_away`, released by `show`.
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        end.show(End::<T, PADDED, CACHED, COUNTED>::HEAD);
        Some(value)
    }
}
