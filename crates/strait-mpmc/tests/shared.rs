//! What the shared queue promises, call by call, and what it makes of garbage.
#![cfg(not(strait_loom))]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use strait_mpmc::shared::{
    AttachError, Geometry, GeometryError, Identity, Liveness, OpenError, Participant, PopError, PushError, SharedQueue,
    Violation,
};
use strait_sync::{Heap, Words, WordsMut, primitive::Ordering};

type Memory = Arc<Heap>;

// From the README's table.
const VERSION: usize = 8;
const CAPACITY: usize = 16;
const TAIL: usize = 128;
const HEAD: usize = 256;
const SPACE: usize = 512;
const LINES: usize = 768;
const PUSH_BEGIN: usize = 8;
const CELLS: usize = LINES + 2 * 128;

/// A queue of 4 messages of up to 16 bytes for 2 participants; a cell has 64 bytes.
fn queue() -> SharedQueue<Memory> {
    let geometry = Geometry::new(4, 16, 2).unwrap();
    assert_eq!(geometry.total_bytes() as usize, CELLS + 4 * 64);
    SharedQueue::create(Arc::new(Heap::zeroed(geometry.total_bytes() as usize)), geometry).unwrap()
}

fn attach(queue: &SharedQueue<Memory>, pid: u32) -> Participant<Memory> {
    queue.attach(Identity { pid, start_time: 0 }).unwrap()
}

/// Overwrites a word, as a participant with a bug would.
fn spoil(queue: &SharedQueue<Memory>, offset: usize, word: u64) {
    // ORDERING: Relaxed: one thread.
    queue.memory().store(offset, word, Ordering::Relaxed);
}

#[test]
fn geometries_that_cannot_be_are_refused_with_a_reason() {
    let error = Geometry::new(1, 16, 2).unwrap_err();
    assert_eq!(error, GeometryError::Capacity { capacity: 1 });
    assert!(error.to_string().contains("cannot tell a full cell from one that is free"), "{error}");
    for capacity in [0, 3, u64::MAX, 1 << 33] {
        assert_eq!(Geometry::new(capacity, 16, 2), Err(GeometryError::Capacity { capacity }));
    }
    for slot_bytes in [0, (1 << 20) + 1] {
        assert_eq!(Geometry::new(2, slot_bytes, 2), Err(GeometryError::SlotBytes { slot_bytes }));
    }
    for participants in [0, 1025] {
        assert_eq!(Geometry::new(2, 16, participants), Err(GeometryError::Participants { participants }));
    }
}

#[test]
fn memory_that_is_no_queue_is_refused() {
    let queue = queue();
    let open = || SharedQueue::open(queue.memory().clone()).map(drop);
    assert_eq!(open(), Ok(()));
    let need_bytes = queue.geometry().total_bytes();
    assert!(matches!(
        SharedQueue::create(Heap::zeroed(512), *queue.geometry()),
        Err(OpenError::OutOfBounds { len_bytes: 512, .. })
    ));
    spoil(&queue, CAPACITY, 5);
    assert_eq!(open(), Err(OpenError::Geometry(GeometryError::Capacity { capacity: 5 })));
    spoil(&queue, CAPACITY, 8);
    assert_eq!(open(), Err(OpenError::OutOfBounds { need_bytes: need_bytes + 4 * 64, len_bytes: need_bytes }));
    spoil(&queue, VERSION, 2);
    assert_eq!(open(), Err(OpenError::Version { found: 2, expected: 1 }));
    spoil(&queue, 0, 7);
    assert_eq!(open(), Err(OpenError::NoQueue { found: 7 }));
    // Whoever has opened it does not look there again.
    attach(&queue, 1).try_push(b"still works").unwrap();
}

#[test]
fn participants_are_told_apart_and_limited() {
    let queue = queue();
    let (one, two) = (attach(&queue, 7), attach(&queue, 7));
    assert_ne!(one.info().id, two.info().id);
    assert!(matches!(queue.attach(Identity { pid: 9, start_time: 0 }), Err(AttachError::TooMany { participants: 2 })));
    one.leave();
    let three = queue.attach(Identity { pid: 9, start_time: 1234 }).unwrap();
    assert_eq!((three.info().pid, three.info().start_time), (9, 1234));
    let pids: Vec<_> = queue.participants().map(|(info, _)| info.pid).collect();
    assert_eq!(pids, [9, 7]);
    for identity in [
        Identity { pid: 0, start_time: 0 },
        Identity { pid: 1 << 22, start_time: 0 },
        Identity { pid: 1, start_time: 1 << 42 },
    ] {
        assert!(matches!(queue.attach(identity), Err(AttachError::Identity { .. })));
    }
}

#[test]
fn messages_are_limited_by_the_slot_and_buffers_must_hold_one() {
    let queue = queue();
    let mut participant = attach(&queue, 1);
    assert_eq!(participant.try_push(&[0; 17]), Err(PushError::TooLong { len: 17, max: 16 }));
    assert_eq!(participant.push_batch(&[&[0; 16], &[0; 17]]), Err(PushError::TooLong { len: 17, max: 16 }));
    participant.try_push(b"").unwrap();
    participant.try_push(&[9; 16]).unwrap();
    assert_eq!(participant.try_pop(&mut [0; 15]), Err(PopError::BufferTooShort { len: 15, need: 16 }));
    let mut buffer = [1; 16];
    assert_eq!(participant.try_pop(&mut buffer), Ok(0));
    assert_eq!(participant.try_pop_value::<[u8; 16]>(), Ok([9; 16]));
    participant.try_push(b"abc").unwrap();
    assert_eq!(participant.try_pop_value::<[u64; 2]>(), Err(PopError::WrongLength { len: 3, expected: 16 }));
    assert_eq!((participant.stats().pushes, participant.stats().pops), (3, 3));
}

#[test]
fn blocking_calls_end_at_their_deadline() {
    let queue = queue();
    let mut participant = attach(&queue, 1);
    let start = Instant::now();
    let deadline = || Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(participant.pop(&mut [0; 16], deadline()), Err(PopError::Empty));
    for _ in 0..4 {
        participant.push(b"x", None).unwrap();
    }
    assert_eq!(participant.push(b"x", deadline()), Err(PushError::Full));
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert_eq!(participant.stats().high_water, 4);
    queue.close();
    assert_eq!(participant.push(b"x", None), Err(PushError::Closed));
    let mut lens = [0; 9];
    assert_eq!(participant.pop_batch(&mut [0; 9 * 16], &mut lens), Ok(4));
    assert_eq!(participant.pop(&mut [0; 16], None), Err(PopError::Closed));
}

#[test]
fn a_participant_that_was_taken_for_dead_is_told_so() {
    let queue = queue();
    let mut participant = attach(&queue, 1);
    let recovered = queue.recover(|_| Liveness::Dead).unwrap();
    assert_eq!((recovered.freed_participants, recovered.skipped, recovered.lost), (1, 0, 0));
    let Err(PushError::Corrupt(corrupt)) = participant.try_push(b"x") else { panic!("this must not pass") };
    assert_eq!(corrupt.what, Violation::Owner);
    let successor = attach(&queue, 2);
    spoil(&queue, LINES + PUSH_BEGIN, 6);
    assert!(participant.try_push(b"x").is_err());
    assert_eq!(queue.memory().load(LINES + PUSH_BEGIN), 6, "it does not touch its successor's journal");
    drop(participant);
    assert_eq!(queue.participants().count(), 1, "it does not free its successor's line");
    drop(successor);
}

#[test]
fn one_that_dies_while_it_attaches_is_recovered() {
    let geometry = Geometry::new(4, 16, 2).unwrap();
    let memory = Arc::new(Heap::zeroed(geometry.total_bytes() as usize));
    for word in 0..geometry.total_bytes() as usize / 8 {
        // ORDERING: Relaxed: one thread.
        memory.store(word * 8, 0x5555_5555_5555_5554, Ordering::Relaxed); // memory that was something else
    }
    let queue = SharedQueue::create(memory, geometry).unwrap();
    spoil(&queue, LINES, 77);
    assert_eq!(queue.recover(|_| Liveness::Dead).unwrap().freed_participants, 1);
}

#[test]
fn garbage_in_a_cell_is_corrupt() {
    let queue = queue();
    let mut participant = attach(&queue, 1);
    let found =
        |error: PushError| if let PushError::Corrupt(corrupt) = error { corrupt.what } else { panic!("{error}") };
    for (sequence, what) in [
        (1, Violation::Sequence),             // free and a tombstone
        (4, Violation::Sequence),             // of another cell
        (8 * 1000, Violation::AheadOfCursor), // of another lap
        (2, Violation::AheadOfCursor),        // full, and nobody has claimed it
        (0u64.wrapping_sub(16), Violation::Sequence),
    ] {
        spoil(&queue, CELLS, sequence);
        assert_eq!(found(participant.try_push(b"x").unwrap_err()), what, "{sequence}");
    }
    spoil(&queue, CELLS, 0);
    participant.try_push(b"x").unwrap();
    spoil(&queue, CELLS + 8, 17);
    let Err(PopError::Corrupt(corrupt)) = participant.try_pop(&mut [0; 16]) else { panic!("too long for its slot") };
    assert_eq!((corrupt.what, corrupt.found, queue.stats().lost), (Violation::Length, 17, 1));
    spoil(&queue, HEAD, 3);
    let Err(PopError::Corrupt(corrupt)) = participant.try_pop(&mut [0; 16]) else { panic!("a head is never marked") };
    assert_eq!(corrupt.what, Violation::Head);
}

#[test]
fn a_spoilt_message_makes_room_and_wakes_who_waits_for_it() {
    let queue = queue();
    let mut participant = attach(&queue, 1);
    participant.try_push(b"x").unwrap();
    spoil(&queue, CELLS + 8, 17);
    spoil(&queue, SPACE, 1); // somebody sleeps
    assert!(matches!(participant.try_pop(&mut [0; 16]), Err(PopError::Corrupt(_))));
    assert_eq!(queue.memory().load(SPACE), 2, "nobody was woken");
}

#[test]
fn a_dead_participants_garbage_is_corrupt_and_recovers_nothing() {
    let queue = queue();
    let victim = attach(&queue, 1);
    spoil(&queue, LINES + PUSH_BEGIN, 0);
    spoil(&queue, LINES + PUSH_BEGIN + 8, 1 << 40);
    assert_eq!(queue.recover(|_| Liveness::Dead).unwrap_err().what, Violation::Journal);
    assert_eq!(queue.participants().count(), 1);
    drop(victim);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any words anywhere behind the header: every call returns, within its deadline, and nothing panics.
    #[test]
    fn garbage_anywhere_ends_every_call(
        spoilt in prop::collection::vec(((TAIL / 8..CELLS / 8 + 32), prop_oneof![any::<u64>(), 0..40u64, (0..40u64).prop_map(|back| u64::MAX - back)]), 1..12),
    ) {
        let queue = queue();
        let (mut one, mut two) = (attach(&queue, 1), attach(&queue, 2));
        one.push_batch(&[b"a", b"b"]).unwrap();
        for (word, value) in spoilt {
            spoil(&queue, word * 8, value);
        }
        let (mut buffer, mut lens) = ([0; 64], [0; 4]);
        let soon = || Some(Instant::now() + Duration::from_micros(100));
        for _ in 0..4 {
            let _ = one.try_push(b"c");
            let _ = two.try_pop(&mut buffer);
            let _ = one.push_batch(&[b"d", b"e", b"f"]);
            let _ = two.pop_batch(&mut buffer, &mut lens);
            let _ = queue.recover(|participant| if participant.pid == 1 { Liveness::Dead } else { Liveness::Alive });
            let _ = (queue.stats(), queue.participants().count(), queue.len());
        }
        let _ = (one.push(b"g", soon()), two.pop(&mut buffer, soon()));
        queue.close();
        prop_assert!(queue.is_closed());
        prop_assert!(one.try_push(b"h").is_err());
    }
}
