//! A peer that writes what it likes: every answer is a record, nothing, or a typed error.
#![cfg(not(strait_loom))]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use common::{Bare, Random, trust};
use proptest::prelude::*;
use strait_spsc::{ClaimError, Corrupt, Violation, records::HeapConsumer};

const COMMITTED: u64 = 1 << 31;
const PADDING: u64 = 0xFFFF_FFFF;

/// A consumer at `position` over a ring of 256 bytes (messages up to 48) that holds these words.
fn consumer(position: u64, words: &[(u64, u64)]) -> HeapConsumer {
    let bare = Bare::new(256, 16);
    for &(at, word) in words {
        bare.poke(at, word);
    }
    bare.consumer(position)
}

#[track_caller]
fn refuses(mut consumer: HeapConsumer, what: Violation, position: u64, found: u64, limit: u64) {
    assert!(consumer.is_ready());
    let error = Corrupt { what, position, found, limit };
    assert_eq!(consumer.next().unwrap_err(), error);
    assert_eq!(consumer.next().unwrap_err(), error, "poisoned");
    assert_eq!(consumer.at_end().unwrap_err(), error, "poisoned");
    assert_eq!(consumer.position() % 16, 0);
}

#[test]
fn word_without_the_commit_bit() {
    refuses(consumer(0, &[(0, 5)]), Violation::NotACommit, 0, 5, COMMITTED);
    refuses(consumer(0, &[(0, 1 << 32)]), Violation::NotACommit, 0, 1 << 32, COMMITTED);
}

#[test]
fn record_longer_than_the_longest_message() {
    refuses(consumer(0, &[(0, COMMITTED | 49)]), Violation::TooLong, 0, 49, 48);
    refuses(consumer(0, &[(0, PADDING - 1)]), Violation::TooLong, 0, 0x7FFF_FFFE, 48);
    assert_eq!(consumer(0, &[(0, COMMITTED | 48)]).next().unwrap().unwrap().len(), 48);
}

#[test]
fn record_across_the_end_of_the_buffer() {
    refuses(consumer(224, &[(224, COMMITTED | 17)]), Violation::CrossesTheEnd, 224, 272, 256);
    assert_eq!(consumer(224, &[(224, COMMITTED | 16)]).next().unwrap().unwrap().len(), 16);
}

#[test]
fn padding_where_there_is_nothing_to_pad() {
    refuses(consumer(0, &[(0, PADDING)]), Violation::PaddingAtStart, 0, PADDING, 0);
}

#[test]
fn padding_without_a_record() {
    refuses(consumer(240, &[(240, PADDING)]), Violation::PaddingAlone, 256, 0, COMMITTED);
    refuses(consumer(240, &[(240, PADDING), (0, 7)]), Violation::NotACommit, 256, 7, COMMITTED);
}

#[test]
fn padding_twice() {
    refuses(consumer(240, &[(240, PADDING), (0, PADDING)]), Violation::PaddingTwice, 256, PADDING, COMMITTED);
}

#[test]
fn record_in_space_that_is_still_held() {
    let bare = Bare::new(256, 16);
    for at in [0, 64, 128, 192] {
        bare.poke(at, COMMITTED | 48);
    }
    let mut consumer = bare.consumer(0);
    let guard = consumer.next().unwrap().unwrap().into_guard(trust()).unwrap();
    for _ in 0..2 {
        drop(consumer.next().unwrap().unwrap());
    }
    refuses(consumer, Violation::NotReleased, 192, 256, 240);
    drop(guard);
}

#[test]
fn padding_into_space_that_is_still_held() {
    let bare = Bare::new(256, 16);
    for at in [16, 80, 144] {
        bare.poke(at, COMMITTED | 48);
    }
    bare.poke(208, COMMITTED | 16);
    bare.poke(240, PADDING);
    let mut consumer = bare.consumer(16);
    let guard = consumer.next().unwrap().unwrap().into_guard(trust()).unwrap();
    for _ in 0..3 {
        drop(consumer.next().unwrap().unwrap());
    }
    // Padding alone would just fit, but a record must follow it.
    bare.poke(0, COMMITTED);
    refuses(consumer, Violation::NotReleased, 256, 256, 240);
    drop(guard);
}

#[test]
fn heads_that_cannot_be() {
    for start in [0, u64::MAX - 127] {
        for (moved, what) in [
            (64, None),
            (32, None),
            (33, Some(Violation::HeadMisaligned)),
            (80, Some(Violation::HeadAheadOfTail)),
            (1 << 40, Some(Violation::HeadAheadOfTail)),
            (u64::MAX - 15, Some(Violation::HeadWentBack)),
        ] {
            let bare = Bare::new(256, 16);
            drop(bare.consumer(start));
            let mut producer = bare.producer(start);
            for _ in 0..2 {
                producer.try_claim(16).unwrap().commit(16, Default::default());
            }
            bare.poke_head(start.wrapping_add(moved));
            let Some(what) = what else {
                assert_eq!(producer.occupied_bytes().unwrap(), 64 - moved);
                continue;
            };
            let error = producer.occupied_bytes().unwrap_err();
            assert_eq!((error.what, error.found), (what, start.wrapping_add(moved)));
            assert_eq!(producer.try_claim(0).unwrap_err(), ClaimError::Corrupt(error), "poisoned");
            assert_eq!(producer.has_room(0).unwrap_err(), error, "poisoned");
            assert_eq!(producer.occupied_bytes().unwrap_err(), error, "poisoned");
            producer.close();
            assert_eq!(producer.try_claim(0).unwrap_err(), ClaimError::Corrupt(error), "poisoned");
        }
    }
}

#[test]
fn a_head_that_goes_back() {
    let bare = Bare::new(256, 16);
    let mut producer = bare.producer(0);
    producer.try_claim(48).unwrap().commit(48, Default::default());
    bare.poke_head(64);
    assert_eq!(producer.occupied_bytes().unwrap(), 0);
    bare.poke_head(48);
    assert_eq!(producer.occupied_bytes().unwrap_err().what, Violation::HeadWentBack);
}

/// Words as a hostile producer would choose them: rarely anything, mostly what comes close to a record.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => Just(0),
        1 => Just(PADDING),
        6 => (0u64..=50, any::<u32>()).prop_map(|(len, high)| COMMITTED | len | u64::from(high) << 32),
        1 => any::<u64>(),
    ]
}

/// Receives up to `calls` times, now and then in place, and stops at the first error.
fn receive(consumer: &mut HeapConsumer, calls: usize, mut random: Random) -> usize {
    let (mut guards, mut words) = (Vec::new(), [0; 6]);
    for call in 0..calls {
        assert!(consumer.held_bytes() <= consumer.capacity_bytes());
        let before = consumer.position();
        let error = match consumer.next() {
            Ok(Some(record)) => {
                record.copy_to(&mut words);
                match random.below(4) {
                    0 => drop(record.into_guard(trust()).map(|guard| guards.push(guard))),
                    1 => guards.clear(),
                    _ => {}
                }
                None
            }
            Ok(None) => return call,
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            assert_eq!(consumer.next().unwrap_err(), error, "poisoned");
            return call;
        }
        let advanced = consumer.position().wrapping_sub(before);
        assert!((16..consumer.capacity_bytes()).contains(&advanced));
    }
    calls
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 500 } else { 20_000 }))]

    #[test]
    fn any_bytes_are_records_or_typed_errors(
        start in 0u64..16,
        late in any::<bool>(),
        seed in 1u64..,
        words in proptest::collection::vec(word(), 32),
    ) {
        let bare = Bare::new(256, 16);
        for (index, word) in words.into_iter().enumerate() {
            bare.poke(8 * index as u64, word);
        }
        let position = (16 * start).wrapping_sub(if late { 256 } else { 0 });
        receive(&mut bare.consumer(position), 200, Random(seed));
    }

    #[test]
    fn any_heads_are_room_or_typed_errors(
        start in prop_oneof![Just(0), Just(0u64.wrapping_sub(128))],
        heads in proptest::collection::vec((any::<bool>(), prop_oneof![0u64..300, any::<u64>()]), 1..40),
    ) {
        let bare = Bare::new(256, 16);
        drop(bare.consumer(start));
        let mut producer = bare.producer(start);
        for (relative, head) in heads {
            bare.poke_head(if relative { producer.position().wrapping_sub(head) } else { start.wrapping_add(head) });
            match producer.try_claim(40) {
                Ok(mut grant) => {
                    grant.as_mut_slice().fill(0xEE);
                    grant.commit(33, Default::default());
                }
                Err(ClaimError::Full) => prop_assert!(!producer.has_room(40).unwrap()),
                Err(ClaimError::Corrupt(error)) => prop_assert_eq!(producer.has_room(0).unwrap_err(), error),
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }
}

#[test]
fn a_ring_that_changes_while_it_is_read() {
    let rounds = if cfg!(debug_assertions) { 200 } else { 20_000 };
    let bare = Arc::new(Bare::new(256, 16));
    let stop = Arc::new(AtomicBool::new(false));
    let (scribbled, stopped) = (bare.clone(), stop.clone());
    let scribbler = thread::spawn(move || {
        let mut random = Random(7);
        while !stopped.load(Ordering::Relaxed) {
            let word = match random.below(8) {
                0 => 0,
                1 => PADDING,
                2 => random.next(),
                _ => COMMITTED | random.below(50) as u64,
            };
            scribbled.poke(8 * random.below(32) as u64, word);
        }
    });
    let mut words = [0; 6];
    for round in 0..rounds {
        let mut consumer = bare.consumer(16 * (round % 16));
        for _ in 0..100 {
            match consumer.next() {
                Ok(Some(record)) => record.copy_to(&mut words),
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    scribbler.join().unwrap();
}

#[test]
fn a_producer_that_would_rewind_checks_the_head_it_finds() {
    const LEN: usize = 100 << 10;
    let bare = Bare::new(4 << 20, 16);
    let mut producer = bare.producer(0);
    producer.set_rewind(true);
    for _ in 0..3 {
        producer.try_claim(LEN).unwrap().commit(LEN, Default::default());
    }
    let tail = producer.position();
    bare.poke_head(tail + 16);
    let error = Corrupt { what: Violation::HeadAheadOfTail, position: tail, found: tail + 16, limit: tail };
    assert_eq!(producer.try_claim(LEN).unwrap_err(), ClaimError::Corrupt(error));
    bare.poke_head(tail);
    assert_eq!(producer.try_claim(8).unwrap_err(), ClaimError::Corrupt(error), "poisoned");
}
