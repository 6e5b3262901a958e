//! A ring whose producer writes any words, and one whose consumer shows any head.

use std::sync::{Arc, atomic::Ordering};

use arbitrary::Unstructured;
use strait::{
    spsc::{
        ClaimError,
        records::{Consumer, Geometry, HeapConsumer, HeapProducer, Producer, control},
    },
    sync::{Heap, HonestPeer, WordsMut},
};

use crate::next;

const CAPACITY: u64 = 256;
const WORDS: usize = CAPACITY as usize / 8;

pub(crate) fn body(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Some((wide, start)) = next::<(bool, i8)>(&mut input) else { return };
    let align = if wide { 64 } else { 16 };
    let ring = Geometry::new(0, control::BYTES, CAPACITY, align).expect("a small one");
    // Before and after the place where positions wrap.
    let position = (i64::from(start) * align as i64) as u64;
    consume(&mut input, ring, position);
    produce(&mut input, ring, position);
}

fn memories() -> (Arc<Heap>, Arc<Heap>) {
    (Arc::new(Heap::zeroed(control::BYTES + CAPACITY as usize)), Arc::new(Heap::zeroed(control::BYTES)))
}

/// Words change while records are received, copied and held.
fn consume(input: &mut Unstructured<'_>, ring: Geometry, position: u64) {
    let (theirs, ours) = memories();
    #[allow(unsafe_code)]
    // SAFETY: one consumer, and whoever writes the ring's bytes here does so by whole words.
    let made = unsafe { Consumer::starting_at(ours, 0, theirs.clone(), ring, position) };
    let mut consumer: HeapConsumer = made.expect("it fits");
    #[allow(unsafe_code)]
    // SAFETY: one thread: no word changes while bytes of a guard are looked at, only before and after.
    let trust = unsafe { HonestPeer::assume() };
    let (mut guards, mut copy) = (Vec::new(), [0; WORDS]);
    for _ in 0..64 {
        let Some((turn, index, word)) = next::<(u8, u8, u64)>(input) else { break };
        if turn & 1 == 0 {
            let offset = ring.data() + 8 * (usize::from(index) % WORDS);
            // A commit of a short record, where the high bits say so.
            let word = if word >> 62 == 0 { 1 << 31 | word & 0x3F } else { word };
            // ORDERING: Release, as a producer's; pairs with the consumer's acquire.
            theirs.store(offset, word, Ordering::Release);
        }
        let before = consumer.position();
        let received = consumer.next().map(|next| {
            next.is_some_and(|record| {
                assert!(record.len() <= ring.max_message_bytes());
                record.copy_to(&mut copy);
                match turn >> 6 {
                    0 => drop(record.into_guard(trust).map(|guard| guards.push(guard))),
                    1 => guards.clear(),
                    _ => {}
                }
                true
            })
        });
        match received {
            Ok(false) => {}
            Ok(true) => {
                let advanced = consumer.position().wrapping_sub(before);
                assert!((16..CAPACITY).contains(&advanced) && consumer.held_bytes() <= CAPACITY);
            }
            Err(error) => {
                assert_eq!(consumer.next().map(drop), Err(error), "poisoned");
                break;
            }
        }
        std::hint::black_box(
            guards.iter().map(|guard| guard.iter().map(|&byte| u64::from(byte)).sum::<u64>()).sum::<u64>(),
        );
    }
}

/// Heads change while records are claimed and committed.
fn produce(input: &mut Unstructured<'_>, ring: Geometry, position: u64) {
    let (ours, theirs) = memories();
    #[allow(unsafe_code)]
    // SAFETY: one producer, and its bytes are written by it alone.
    let made = unsafe { Producer::starting_at(ours, ring, theirs.clone(), 0, position) };
    let mut producer: HeapProducer = made.expect("it fits");
    // ORDERING: Relaxed: one thread.
    theirs.store(control::HEAD, position, Ordering::Relaxed);
    while let Some((turn, head)) = next::<(u8, u64)>(input) {
        // Near the tail, where the high bits say so.
        let head = if head >> 62 == 0 { producer.position().wrapping_sub(head & 0x1F0) } else { head };
        if turn & 1 == 0 {
            // ORDERING: Release, as a consumer's; pairs with the producer's acquire.
            theirs.store(control::HEAD, head, Ordering::Release);
        }
        producer.set_rewind(turn & 2 != 0);
        match producer.try_claim(usize::from(turn >> 2)) {
            Ok(mut grant) => {
                grant.as_mut_slice().fill(0xEE);
                grant.commit(usize::from(turn >> 3), Default::default());
            }
            Err(ClaimError::Full | ClaimError::TooLarge { .. }) => {}
            Err(ClaimError::Corrupt(error)) => {
                assert_eq!(producer.has_room(0).expect_err("poisoned"), error);
                break;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}
