//! What the ends of a ring of slots do when they end, what they refuse, and what they drop.
#![cfg(not(strait_loom))]
#![allow(unsafe_code)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use strait_spsc::slots::{
    CapacityError, ChunkError, Inline, PopError, PushError, PushStats, blocking_channel, channel, shared,
};

/// A value that notes its drop, and panics in it where it is asked to.
#[derive(Debug)]
struct Noted {
    number: u32,
    dropped: Arc<Mutex<Vec<u32>>>,
    panics: bool,
}

fn noted(number: u32, dropped: &Arc<Mutex<Vec<u32>>>) -> Noted {
    Noted { number, dropped: dropped.clone(), panics: false }
}

fn panicking(number: u32, panics: u32, dropped: &Arc<Mutex<Vec<u32>>>) -> Noted {
    Noted { number, dropped: dropped.clone(), panics: number == panics }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.dropped.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(self.number);
        assert!(!self.panics, "the drop of {} panics", self.number);
    }
}

fn sorted(dropped: &Arc<Mutex<Vec<u32>>>) -> Vec<u32> {
    let mut dropped = dropped.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    dropped.sort_unstable();
    dropped
}

#[test]
fn values_that_are_left_are_dropped_once_whichever_end_is_last() {
    for producer_first in [true, false] {
        let dropped = Arc::default();
        let (mut producer, mut consumer) = channel(4).unwrap();
        for number in 0..4 {
            producer.try_push(noted(number, &dropped)).unwrap();
        }
        drop(consumer.try_pop());
        producer.try_push(noted(4, &dropped)).unwrap(); // over the end
        match producer_first {
            true => drop(producer),
            false => {
                drop(consumer);
                assert_eq!(sorted(&dropped), [0], "the ring still lives");
                drop(producer);
                assert_eq!(sorted(&dropped), [0, 1, 2, 3, 4]);
                continue;
            }
        }
        assert_eq!(sorted(&dropped), [0], "the values can still be popped");
        drop(consumer);
        assert_eq!(sorted(&dropped), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn a_drop_that_panics_drops_the_others_all_the_same() {
    // The chunk lies over the end of the ring; any of its values may be the one that panics.
    for panics in 0..4 {
        let dropped = Arc::default();
        let (mut producer, mut consumer) = channel(4).unwrap();
        for _ in 0..2 {
            producer.try_push(noted(9, &dropped)).unwrap();
            std::mem::forget(consumer.try_pop());
        }
        for number in 0..4 {
            producer.try_push(panicking(number, panics, &dropped)).unwrap();
        }
        let chunk = consumer.read_chunk(4).unwrap();
        catch_unwind(AssertUnwindSafe(|| chunk.commit_all())).unwrap_err();
        assert_eq!(sorted(&dropped), [0, 1, 2, 3]);
        assert!(producer.is_empty(), "the slots are free");
        drop((producer, consumer));
        assert_eq!(sorted(&dropped), [0, 1, 2, 3], "none is dropped twice");
    }
}

#[test]
fn a_drop_that_panics_with_the_ring_drops_the_others_all_the_same() {
    for panics in 0..4 {
        let dropped = Arc::default();
        let (mut producer, consumer) = channel(4).unwrap();
        for number in 0..4 {
            producer.try_push(panicking(number, panics, &dropped)).unwrap();
        }
        drop(producer);
        catch_unwind(AssertUnwindSafe(|| drop(consumer))).unwrap_err();
        assert_eq!(sorted(&dropped), [0, 1, 2, 3]);
    }
}

#[test]
fn an_iterator_that_panics_publishes_what_it_gave() {
    let (mut producer, mut consumer) = channel(4).unwrap();
    let chunk = producer.claim(4).unwrap();
    let values = (0..4).map(|number| if number == 2 { panic!("no more") } else { number.to_string() });
    catch_unwind(AssertUnwindSafe(|| chunk.fill_from_iter(values))).unwrap_err();
    assert_eq!(consumer.try_pop().unwrap(), "0");
    assert_eq!(consumer.try_pop().unwrap(), "1");
    assert_eq!(consumer.try_pop(), Err(PopError::Empty));
}

#[test]
fn dropped_chunks_leave_no_trace() {
    let (mut producer, mut consumer) = channel(4).unwrap();
    producer.claim(3).unwrap().as_mut_slices().0[0].write(7);
    assert!(producer.is_empty());
    assert_eq!(producer.claim(4).unwrap().copy_from_slice(&[1, 2, 3, 4, 5]), 4);
    assert_eq!(consumer.read_chunk(4).unwrap().len(), 4);
    assert_eq!(consumer.len(), 4);
    drop(consumer.read_chunk(4).unwrap().into_iter());
    assert_eq!(consumer.read_chunk(4).unwrap().into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(producer.claim(0).unwrap().is_empty());
    assert!(consumer.read_chunk(0).unwrap().is_empty());
}

#[test]
fn slices_are_copied_over_the_end() {
    let (mut producer, mut consumer) = channel(8).unwrap();
    for first in 0..50u32 {
        let values: Vec<u32> = (first..first + 5).collect();
        assert_eq!(producer.claim(5).unwrap().copy_from_slice(&values), 5);
        let chunk = consumer.read_chunk(5).unwrap();
        let (one, other) = chunk.as_slices();
        assert_eq!([one, other].concat(), values);
        chunk.commit_all();
    }
}

#[test]
#[should_panic(expected = "3 slots were committed of a chunk of 2")]
fn committing_more_than_was_claimed_panics() {
    let (mut producer, _consumer) = channel::<u8>(4).unwrap();
    // SAFETY: it panics before anything is published.
    unsafe { producer.claim(2).unwrap().commit(3) };
}

#[test]
#[should_panic(expected = "2 values were committed of a chunk of 1")]
fn committing_more_than_was_read_panics() {
    let (mut producer, mut consumer) = channel(4).unwrap();
    producer.try_push(1).unwrap();
    consumer.read_chunk(1).unwrap().commit(2);
}

#[test]
fn ends_learn_that_the_other_is_gone() {
    let (mut producer, consumer) = channel(2).unwrap();
    assert!(!producer.is_abandoned());
    drop(consumer);
    assert!(producer.is_abandoned());
    assert_eq!(producer.claim(3).unwrap_err(), ChunkError::Abandoned);
    assert_eq!(producer.claim(2).unwrap().fill_from_iter([1, 2]), 2);
    assert_eq!(producer.try_push(3), Err(PushError::Abandoned(3)));

    let (mut producer, mut consumer) = channel(2).unwrap();
    producer.try_push(1).unwrap();
    drop(producer);
    assert!(consumer.is_abandoned());
    assert_eq!(consumer.read_chunk(2).unwrap_err(), ChunkError::TooFew { available: 1 });
    assert_eq!(consumer.try_pop(), Ok(1));
    assert_eq!(consumer.try_pop(), Err(PopError::Abandoned));
    assert_eq!(consumer.read_chunk(1).unwrap_err(), ChunkError::Abandoned);
    assert!(consumer.read_chunk(0).is_ok());
}

#[test]
fn counts_follow_from_positions_and_refusals() {
    let (mut producer, mut consumer) = channel(4).unwrap();
    assert_eq!(consumer.try_pop().unwrap_err(), PopError::Empty);
    assert!(consumer.read_chunk(1).is_err());
    for number in 0..4 {
        producer.try_push(number).unwrap();
    }
    assert_eq!(producer.stats().high_water, 4);
    assert!(producer.try_push(4).is_err() && producer.claim(1).is_err());
    consumer.read_chunk(3).unwrap().commit_all();
    assert_eq!((producer.stats().pushed, producer.stats().full, producer.stats().high_water), (4, 2, 4));
    assert_eq!((consumer.stats().popped, consumer.stats().empty), (3, 2));
    assert_eq!((producer.stats().utilisation(), producer.stats().drop_rate()), (0.25, 2.0 / 6.0));
    assert_eq!(
        (PushStats::default().utilisation(), PushStats::default().drop_rate()),
        (0.0, 0.0),
        "of nothing, nothing"
    );
}

#[test]
fn values_without_bytes_are_counted() {
    let (mut producer, mut consumer) = channel(1 << 63).unwrap();
    assert_eq!(producer.claim(1000).unwrap().fill_from_iter(std::iter::repeat(())), 1000);
    assert_eq!(consumer.read_chunk(1000).unwrap().into_iter().count(), 1000);
    assert_eq!(consumer.try_pop(), Err(PopError::Empty));
    assert_eq!(channel::<()>(12).unwrap_err(), CapacityError { capacity: 12, below: Some(8), above: Some(16) });
}

#[test]
fn an_inline_ring_keeps_its_values_between_its_ends_and_drops_them_once() {
    let dropped = Arc::default();
    let mut ring = Inline::<Noted, 4>::new();
    let (mut producer, mut consumer) = ring.try_split().unwrap();
    assert!(ring.try_split().is_none());
    for number in 0..4 {
        producer.try_push(noted(number, &dropped)).unwrap();
    }
    drop(consumer.try_pop());
    drop(producer);
    assert!(ring.try_split().is_none(), "the consumer lives");
    drop(consumer);
    let (producer, mut consumer) = ring.split();
    assert_eq!((producer.len(), consumer.try_pop().unwrap().number), (3, 1));
    drop((producer, consumer));
    drop(ring);
    assert_eq!(sorted(&dropped), [0, 1, 2, 3]);
}

#[test]
fn a_leaked_consumer_leaks_what_is_left_and_nothing_is_dropped_twice() {
    let dropped = Arc::default();
    let mut ring = Inline::<Noted, 4>::new();
    let (mut producer, mut consumer) = ring.split();
    for number in 0..3 {
        producer.try_push(noted(number, &dropped)).unwrap();
    }
    let mut taken = consumer.read_chunk(3).unwrap().into_iter();
    drop(taken.next());
    std::mem::forget(taken);
    std::mem::forget(consumer);
    drop(producer);
    assert!(ring.try_split().is_none(), "for all that it knows the consumer lives");
    let (mut producer, consumer) = ring.split();
    assert!(consumer.is_empty());
    producer.try_push(noted(3, &dropped)).unwrap();
    drop((producer, consumer));
    drop(ring);
    assert_eq!(sorted(&dropped), [0, 3]);
}

#[test]
fn what_a_leaked_iterator_has_taken_is_released_where_nothing_else_is_there() {
    let soon = || Some(Instant::now() + Duration::from_millis(20));
    for waiting in [false, true] {
        let (mut producer, mut consumer) = blocking_channel(2).unwrap();
        assert_eq!(producer.claim(2).unwrap().copy_from_slice(&[1, 2]), 2);
        let mut taken = consumer.read_chunk(2).unwrap().into_iter();
        assert_eq!((taken.next(), taken.next()), (Some(1), Some(2)));
        std::mem::forget(taken);
        assert_eq!(producer.try_push(3), Err(PushError::Full(3)));
        assert_eq!(if waiting { consumer.pop(soon()) } else { consumer.try_pop() }, Err(PopError::Empty));
        assert_eq!(producer.try_push(3), Ok(()), "both ends wait for ever");
    }
    let (mut producer, mut consumer) = blocking_channel(1).unwrap();
    producer.try_push(1).unwrap();
    let mut taken = consumer.read_chunk(1).unwrap().into_iter();
    taken.next();
    std::mem::forget(taken);
    let pushing = thread::spawn(move || producer.push(2, Some(Instant::now() + Duration::from_secs(20))));
    assert_eq!(consumer.pop(Some(Instant::now() + Duration::from_secs(20))), Ok(2), "both ends wait for ever");
    pushing.join().unwrap().unwrap();
}

#[test]
fn waiting_ends_give_up_at_their_deadline() {
    let (mut producer, mut consumer) = blocking_channel(1).unwrap();
    let soon = || Some(Instant::now() + Duration::from_millis(20));
    let start = Instant::now();
    assert_eq!(consumer.pop(soon()), Err(PopError::Empty));
    producer.push(1, soon()).unwrap();
    assert_eq!(producer.push(2, soon()), Err(PushError::Full(2)));
    assert!(start.elapsed() >= Duration::from_millis(40));
    let past = Some(Instant::now() - Duration::from_secs(1));
    assert_eq!(consumer.pop(past), Ok(1), "what is there is popped at any time");
    assert_eq!(consumer.pop(past), Err(PopError::Empty));
}

#[test]
fn waiting_ends_learn_that_the_other_is_gone() {
    let (producer, mut consumer) = blocking_channel::<u8>(1).unwrap();
    let waiting = thread::spawn(move || consumer.pop(None));
    thread::sleep(Duration::from_millis(20));
    drop(producer);
    assert_eq!(waiting.join().unwrap(), Err(PopError::Abandoned));

    let (mut producer, consumer) = blocking_channel(1).unwrap();
    producer.push(1, None).unwrap();
    let waiting = thread::spawn(move || producer.push(2, None));
    thread::sleep(Duration::from_millis(20));
    drop(consumer);
    assert_eq!(waiting.join().unwrap(), Err(PushError::Abandoned(2)));
}

#[test]
fn shared_ends_learn_that_the_other_is_gone() {
    let (mut producer, consumer) = shared::channel(2).unwrap();
    drop(consumer);
    assert!(producer.is_abandoned());
    assert_eq!(producer.push_slice(&[1u64; 3]), Ok(2));
    assert_eq!(producer.try_push(&1u64), Err(shared::PushError::Abandoned));
    let (mut producer, mut consumer) = shared::channel(2).unwrap();
    producer.try_push(&1u64).unwrap();
    drop(producer);
    assert!(consumer.is_abandoned());
    assert_eq!(consumer.try_pop(), Ok(1));
    assert_eq!(consumer.try_pop(), Err(shared::PopError::Abandoned));
}

#[test]
fn ends_can_be_sent() {
    fn send<T: Send>() {}
    send::<strait_spsc::slots::Producer<std::cell::Cell<u8>>>();
    send::<strait_spsc::slots::Consumer<std::cell::Cell<u8>>>();
    send::<strait_spsc::slots::BlockingProducer<String>>();
    send::<strait_spsc::slots::BlockingConsumer<String>>();
    send::<strait_spsc::slots::InlineProducer<'static, String, 4>>();
    send::<shared::HeapProducer<u64>>();
    send::<shared::HeapConsumer<u64>>();
}
