//! A shared queue whose memory a participant has written all over: every call still ends, with its answer or a typed error.

use std::sync::{Arc, atomic::Ordering};

use arbitrary::Unstructured;
use strait::{
    mpmc::shared::{
        AttachError, Geometry, Identity, Liveness, OpenError, Participant, PopError, PushError, SharedQueue,
    },
    sync::{Heap, WordsMut},
};

use crate::next;

type Memory = Arc<Heap>;

/// Where a queue's constants end and what changes begins.
const CHANGES_AT: usize = 128;

pub(crate) fn body(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let geometry = Geometry::new(4, 16, 3).expect("a small one");
    let memory = Arc::new(Heap::zeroed(geometry.total_bytes() as usize));
    let queue = SharedQueue::create(memory.clone(), geometry).expect("it fits");
    let attach = |pid| queue.attach(Identity { pid, start_time: 5 });
    let (Ok(mut one), Ok(mut two)) = (attach(1), attach(2)) else { panic!("an empty queue has room") };
    // Few, so that a queue that never settles costs milliseconds and not the run.
    for _ in 0..24 {
        let Some((turn, offset, word)) = next::<(u8, u16, u64)>(&mut input) else { break };
        match turn % 8 {
            0 | 1 => spoil(&memory, offset, word),
            2 => push(&mut one),
            3 => pop(&mut two),
            4 => push(&mut two),
            5 => drop(
                queue.recover(|info| if info.pid == 2 && word & 1 == 0 { Liveness::Dead } else { Liveness::Alive }),
            ),
            6 => match attach(3 + u32::from(turn)) {
                Ok(mut third) => pop(&mut third),
                Err(AttachError::TooMany { .. }) => {}
                Err(other) => panic!("{other:?}"),
            },
            _ => {
                assert!(queue.participants().count() <= 3);
                std::hint::black_box((queue.stats(), queue.len(), queue.is_full(), queue.is_closed()));
            }
        }
    }
    open(&memory, input);
}

/// Writes a word, near what could be one where the high bits say so.
fn spoil(memory: &Memory, offset: u16, word: u64) {
    let words = (memory_bytes(memory) - CHANGES_AT) / 8;
    let word = if word >> 62 == 0 { word & 0x1F } else { word };
    // ORDERING: Relaxed: one thread.
    memory.store(CHANGES_AT + 8 * (usize::from(offset) % words), word, Ordering::Relaxed);
}

fn memory_bytes(memory: &Memory) -> usize {
    strait::sync::Words::len_bytes(memory)
}

fn push(participant: &mut Participant<Memory>) {
    match participant.try_push(b"sixteen bytes ..") {
        Ok(()) | Err(PushError::Full | PushError::Closed | PushError::Corrupt(_)) => {}
        Err(other) => panic!("{other:?}"),
    }
}

fn pop(participant: &mut Participant<Memory>) {
    match participant.try_pop(&mut [0; 16]) {
        Ok(len) => assert!(len <= 16),
        Err(PopError::Empty | PopError::Closed | PopError::Corrupt(_)) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// And the constants themselves.
fn open(memory: &Memory, mut input: Unstructured<'_>) {
    while let Some((offset, word)) = next::<(u8, u64)>(&mut input) {
        // ORDERING: Relaxed: one thread.
        memory.store(8 * usize::from(offset % 8), word, Ordering::Relaxed);
        match SharedQueue::open(memory.clone()) {
            Ok(queue) => assert!(queue.geometry().total_bytes() <= memory_bytes(memory) as u64),
            Err(OpenError::NoQueue { .. } | OpenError::Version { .. } | OpenError::Geometry(_)) => {}
            Err(OpenError::OutOfBounds { need_bytes, len_bytes }) => assert!(need_bytes > len_bytes),
            Err(other) => panic!("{other:?}"),
        }
    }
}
