//! What the queue in one process promises, call by call.
#![cfg(not(strait_loom))]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use strait_mpmc::{Blocking, CapacityError, PopError, PushError, Queue};

#[test]
fn capacities_that_cannot_be_are_refused_with_a_reason() {
    let refused = |capacity| Queue::<u8>::new(capacity).expect_err("this capacity cannot be");
    assert_eq!(refused(1), CapacityError::TooSmall { capacity: 1 });
    assert!(refused(1).to_string().contains("cannot tell a full cell from one that is free"), "{}", refused(1));
    assert_eq!(refused(0), CapacityError::TooSmall { capacity: 0 });
    assert_eq!(refused(3), CapacityError::NotAPowerOfTwo { capacity: 3 });
    assert_eq!(refused(1 << 62), CapacityError::TooLarge { capacity: 1 << 62 });
    assert_eq!(Queue::<u8>::new(2).unwrap().capacity(), 2);
}

#[test]
fn full_and_empty_give_the_value_back_and_are_counted() {
    let queue = Queue::counting(2).unwrap();
    assert_eq!(queue.try_pop(), Err(PopError::Empty));
    assert!(queue.is_empty() && !queue.is_full());
    queue.try_push(1).unwrap();
    queue.try_push(2).unwrap();
    assert!(queue.is_full());
    assert_eq!(queue.try_push(3).unwrap_err().into_inner(), 3);
    let stats = queue.stats();
    assert_eq!((stats.pushes, stats.pops, stats.len()), (2, 0, 2));
    assert!((stats.utilisation() - 1.0).abs() < f64::EPSILON);
    let counted = stats.counted.unwrap();
    assert_eq!((counted.failed_pushes, counted.failed_pops, counted.high_water), (1, 1, 2));
    assert_eq!(stats.drop_rate(), Some(1.0 / 3.0));
    let uncounted = Queue::<u8>::new(2).unwrap().stats();
    assert_eq!((uncounted.counted, uncounted.drop_rate()), (None, None), "what nobody asked for is not counted");
}

#[test]
fn a_closed_queue_is_emptied_and_then_says_so() {
    let queue = Queue::new(4).unwrap();
    queue.push_batch(&mut vec![1, 2, 3]).unwrap();
    queue.close();
    assert_eq!(queue.try_push(4), Err(PushError::Closed(4)));
    assert_eq!(queue.push_batch(&mut vec![5]), Err(PushError::Closed(())));
    let mut rest = Vec::new();
    assert_eq!(queue.pop_batch(&mut rest, 9), Ok(3));
    assert_eq!(rest, [1, 2, 3]);
    assert_eq!((queue.try_pop(), queue.is_closed(), queue.len()), (Err(PopError::Closed), true, 0));
}

#[test]
fn a_batch_leaves_behind_what_does_not_fit() {
    let queue = Queue::new(4).unwrap();
    queue.try_push(0).unwrap();
    let mut values = vec![1, 2, 3, 4, 5];
    assert_eq!(queue.push_batch(&mut values), Ok(3));
    assert_eq!(values, [4, 5]);
    assert_eq!(queue.push_batch(&mut values), Err(PushError::Full(())));
    assert_eq!((queue.push_batch(&mut Vec::new()), queue.pop_batch(&mut values, 0)), (Ok(0), Ok(0)));
    assert_eq!(queue.pop_batch(&mut values, 2), Ok(2));
    assert_eq!(values, [4, 5, 0, 1]);
}

struct Counts<'a>(&'a AtomicUsize, bool);
impl Drop for Counts<'_> {
    fn drop(&mut self) {
        // ORDERING: Relaxed: a count, read by the same thread.
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(!self.1, "a drop that panics");
    }
}

#[test]
fn values_left_inside_are_dropped_once() {
    let drops = AtomicUsize::new(0);
    let queue = Queue::starting_at(8, u64::MAX - 5).unwrap();
    for _ in 0..6 {
        queue.try_push(Box::new(Counts(&drops, false))).unwrap_or_else(|_| panic!("there is room"));
    }
    drop(queue.try_pop());
    drop(queue.try_pop());
    // ORDERING: Relaxed: one thread.
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    drop(queue);
    // ORDERING: Relaxed: one thread.
    assert_eq!(drops.load(Ordering::Relaxed), 6);
}

#[test]
fn a_drop_that_panics_does_not_keep_the_others_from_being_dropped() {
    let drops = AtomicUsize::new(0);
    let queue = Queue::new(8).unwrap();
    for index in 0..6 {
        queue.try_push(Counts(&drops, index == 2)).unwrap_or_else(|_| panic!("there is room"));
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(queue))).is_err());
    // ORDERING: Relaxed: one thread.
    assert_eq!(drops.load(Ordering::Relaxed), 6);
}

#[test]
fn values_without_size_are_counted_all_the_same() {
    let queue = Queue::new(2).unwrap();
    queue.try_push(()).unwrap();
    queue.try_push(()).unwrap();
    assert_eq!(queue.try_push(()), Err(PushError::Full(())));
    assert_eq!((queue.try_pop(), queue.try_pop(), queue.try_pop()), (Ok(()), Ok(()), Err(PopError::Empty)));
}

#[test]
fn blocking_calls_end_at_their_deadline() {
    let queue = Blocking::new(2).unwrap();
    let start = Instant::now();
    let deadline = || Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(queue.pop(deadline()), Err(PopError::Empty));
    queue.push(1, None).unwrap();
    queue.push(2, None).unwrap();
    assert_eq!(queue.push(3, deadline()), Err(PushError::Full(3)));
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(queue.pop(Some(start)), Ok(1), "a deadline that has passed still looks once");
}

#[test]
fn a_close_ends_all_who_sleep() {
    let (full, empty) = (Blocking::over(Queue::counting(2).unwrap()), Blocking::<u8>::new(2).unwrap());
    full.push_batch(&mut vec![1, 2]).unwrap();
    thread::scope(|scope| {
        let producers = [scope.spawn(|| full.push(3, None)), scope.spawn(|| full.push(4, None))];
        let consumers = [scope.spawn(|| empty.pop(None)), scope.spawn(|| empty.pop(None))];
        thread::sleep(Duration::from_millis(20));
        full.close();
        empty.close();
        for producer in producers {
            assert!(matches!(producer.join().unwrap(), Err(PushError::Closed(3 | 4))));
        }
        for consumer in consumers {
            assert_eq!(consumer.join().unwrap(), Err(PopError::Closed));
        }
    });
    let mut rest = Vec::new();
    assert_eq!(full.pop_batch(&mut rest, 8, None), Ok(2), "what was inside still comes out");
}
