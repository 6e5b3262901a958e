//! Words on the heap: bounds, copies of every length, and parking over real threads.
#![cfg(not(strait_loom))]

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use strait_sync::{Heap, Parked, Parker, Unparker, Words, WordsMut};

#[test]
#[should_panic(expected = "are not aligned words inside")]
fn a_load_past_the_end_panics() {
    Heap::zeroed(128).load(128);
}

#[test]
#[should_panic(expected = "are not aligned words inside")]
fn a_misaligned_store_panics() {
    Heap::zeroed(128).store(4, 1, Ordering::Relaxed);
}

#[test]
#[should_panic(expected = "are not aligned words inside")]
fn an_offset_that_overflows_panics() {
    Heap::zeroed(128).copy_out(usize::MAX - 7, &mut [0; 2]);
}

#[test]
fn compare_exchange_tells_what_was_there() {
    let heap = Heap::zeroed(128);
    assert_eq!(heap.compare_exchange(8, 0, 5), Ok(0));
    assert_eq!(heap.compare_exchange(8, 0, 6), Err(5));
}

proptest! {
    // Covers words, pairs, lines and wide lines.
    #[test]
    fn what_is_copied_in_comes_out(start in 0usize..64, bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        let heap = Heap::zeroed(32 << 10);
        heap.copy_in(start * 8, &bytes);
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        heap.copy_out(start * 8, &mut words);
        let out: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take(bytes.len()).collect();
        prop_assert_eq!(out, bytes);
    }

    #[test]
    fn what_is_copied_in_comes_out_racing_and_nothing_beside_it_changes(
        start in 0usize..64,
        shift in 0usize..8,
        bytes in proptest::collection::vec(any::<u8>(), 8..2000),
    ) {
        let heap = Heap::zeroed(4096);
        let (before, after) = (start * 8, (start * 8 + bytes.len() - shift).next_multiple_of(8));
        heap.copy_in(0, &[0xAA; 4096]);
        // Neither end is aligned in private memory.
        heap.copy_in(before, &bytes[shift..]);
        let mut out = vec![0; bytes.len()];
        heap.copy_out_racing(before, &mut out[shift..]);
        prop_assert_eq!(&out[shift..], &bytes[shift..]);
        prop_assert_eq!(&out[..shift], &vec![0; shift][..]);
        prop_assert!((0..before).step_by(8).chain((after..4096).step_by(8)).all(|at| heap.load(at) == 0xAAAA_AAAA_AAAA_AAAA));
    }
}

#[test]
fn park_ends_at_its_deadline() {
    let (mine, theirs) = (Heap::zeroed(128), Heap::zeroed(128));
    let start = Instant::now();
    let deadline = Some(start + Duration::from_millis(150));
    let parked = Parker::default().park(&mine, 0, &theirs, 8, deadline, || false);
    assert_eq!(parked, Parked::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn two_threads_hand_over_ten_thousand_turns() {
    const TURNS: u64 = 10_000;
    const TICKET: usize = 0;
    const WAKES: usize = 8;
    const TURN: usize = 16;
    let sides = [Arc::new(Heap::zeroed(128)), Arc::new(Heap::zeroed(128))];
    let threads = [0usize, 1].map(|me| {
        let (own, other) = (sides[me].clone(), sides[1 - me].clone());
        std::thread::spawn(move || {
            let (mut parker, mut unparker) = (Parker::default(), Unparker::default());
            for turn in 1..=TURNS {
                if me == 0 {
                    own.store(TURN, turn, Ordering::Release);
                    unparker.unpark(&own, WAKES, &other, TICKET);
                }
                let deadline = Some(Instant::now() + Duration::from_secs(60));
                let ready = || {
                    let seen = other.load(TURN);
                    std::sync::atomic::fence(Ordering::Acquire);
                    seen >= turn
                };
                assert_eq!(parker.park(&own, TICKET, &other, WAKES, deadline, ready), Parked::Ready);
                if me == 1 {
                    own.store(TURN, turn, Ordering::Release);
                    unparker.unpark(&own, WAKES, &other, TICKET);
                }
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}
