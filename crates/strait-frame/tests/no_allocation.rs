//! Warm encoding and opening allocate nothing. Alone in its binary: the allocator counts for the whole process, per
//! thread.
#![cfg(all(feature = "rkyv", feature = "std"))]

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};
use strait_frame::{Codec, EncodeError, Envelope, Raw, Rkyv, Sink};
use support::{Tick, archive};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about `layout` is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` with this layout, see `alloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how often `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(7)))), 1);
}

#[test]
fn warm_rkyv_encode_and_open_allocate_nothing() {
    let tick = Tick { prices: vec![1.5; 10_000], ..Tick::sample() };
    let mut span = archive(&tick);
    let bytes: &'static [u8] = support::shifted(&span, 0);
    for _ in 0..3 {
        Rkyv::encode(&tick, &mut Sink::new(&mut span)).unwrap();
    }
    let count = allocations(|| {
        for _ in 0..100 {
            let mut sink = Sink::new(&mut span);
            Rkyv::encode(&tick, &mut sink).unwrap();
            let len = sink.len();
            let envelope = Envelope::seal(&span[..len], 1, true).unwrap();
            envelope.verify(bytes).unwrap();
            let held = <Rkyv as Codec<Tick>>::open(bytes).unwrap();
            assert_eq!(held.prices.len(), 10_000);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn warm_overflow_and_counting_allocate_nothing() {
    let tick = Tick::sample();
    let exact = Rkyv::encoded_len(&tick).unwrap();
    let count = allocations(|| {
        let mut span = [0; 40];
        let found = Rkyv::encode(&tick, &mut Sink::new(&mut span));
        assert!(matches!(found, Err(EncodeError::TooLarge { .. })));
        assert_eq!(Rkyv::encoded_len(&tick), Ok(exact));
    });
    assert_eq!(count, 0);
}

#[test]
fn raw_allocates_nothing() {
    let count = allocations(|| {
        Raw::encode(&b"some bytes"[..], &mut Sink::new(&mut [0; 16])).unwrap();
        let held = <Raw as Codec<[u8]>>::open(&b"some bytes"[..]).unwrap();
        assert_eq!(held.len(), 10);
    });
    assert_eq!(count, 0);
}
