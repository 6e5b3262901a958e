//! A typed ring whose other end shows any cursor.

use std::sync::{Arc, atomic::Ordering};

use arbitrary::Unstructured;
use strait::{
    spsc::slots::shared::{Consumer, Geometry, PopError, Producer, PushError, control},
    sync::{Heap, WordsMut},
};

use crate::next;

const CAPACITY: usize = 8;

pub(crate) fn body(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Some(start) = next::<i8>(&mut input) else { return };
    let ring = Geometry::<u32>::new(0, control::BYTES, CAPACITY).expect("a small one");
    let heap = || Arc::new(Heap::zeroed(ring.end()));
    let (ours, theirs) = (heap(), heap());
    let position = i64::from(start) as u64;
    // One of each, that have never met: what each sees of its peer is what is written here.
    let mut consumer = Consumer::starting_at(ours.clone(), 0, theirs.clone(), ring, position).expect("it fits");
    let mut producer = Producer::starting_at(heap(), ring, theirs.clone(), 0, position).expect("it fits");
    let mut values = [0; CAPACITY + 1];
    while let Some((turn, word)) = next::<(u8, u64)>(&mut input) {
        let word = if word >> 62 == 0 { position.wrapping_add(word & 0xF) } else { word };
        let offset = match turn & 3 {
            0 => control::TAIL,
            1 => control::HEAD,
            2 => control::PRODUCER_CLOSED,
            _ => control::CONSUMER_CLOSED,
        };
        // ORDERING: Release, as the other end's; pairs with the acquire of whoever reads it.
        theirs.store(offset, word, Ordering::Release);
        match consumer.pop_slice(&mut values[..usize::from(turn >> 4) % (CAPACITY + 2)]) {
            Ok(count) => assert!(count <= CAPACITY),
            Err(PopError::Empty | PopError::Abandoned) => {}
            Err(PopError::Corrupt(error)) => assert_eq!(consumer.try_pop(), Err(PopError::Corrupt(error)), "poisoned"),
        }
        match producer.push_slice(&values[..usize::from(turn >> 2) % (CAPACITY + 2)]) {
            Ok(count) => assert!(count <= CAPACITY),
            Err(PushError::Full | PushError::Abandoned) => {}
            Err(PushError::Corrupt(error)) => {
                assert_eq!(producer.try_push(&1), Err(PushError::Corrupt(error)), "poisoned")
            }
        }
    }
}
