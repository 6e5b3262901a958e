//! Sleeping under loom: no wake-up is lost, and each fence is needed.
#![cfg(strait_loom)]

use loom::thread;
use strait_mpmc::{Blocking, PopError};
use strait_sync::{mutant, primitive::Arc};

fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.check(test);
}

/// Two consumers sleep for a value each.
fn two_sleepers() {
    model(2, || {
        let queue = Arc::new(Blocking::new(2).unwrap());
        let consumer = || {
            let queue = queue.clone();
            thread::spawn(move || queue.pop(None).unwrap())
        };
        let (one, other) = (consumer(), consumer());
        queue.try_push(1).unwrap();
        queue.try_push(2).unwrap();
        assert_eq!(one.join().unwrap() + other.join().unwrap(), 3);
    });
}

#[test]
fn no_wake_up_is_lost() {
    two_sleepers();
}

/// One consumer sleeps for two values. (What fails with a deadlock has to fail on the model's own thread.)
fn one_sleeper() {
    model(3, || {
        let queue = Arc::new(Blocking::new(2).unwrap());
        let producer = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.try_push(1).unwrap();
                queue.try_push(2).unwrap();
            })
        };
        assert_eq!((queue.pop(None), queue.pop(None)), (Ok(1), Ok(2)));
        producer.join().unwrap();
    });
}

#[test]
fn each_value_wakes_the_sleeper() {
    one_sleeper();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_sleeper_without_fence_sleeps_for_ever() {
    mutant::with("arm_no_fence", one_sleeper);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_waker_without_fence_wakes_nobody() {
    mutant::with("notify_no_fence", one_sleeper);
}

#[test]
fn a_full_queue_lets_its_producer_sleep() {
    model(2, || {
        let queue = Arc::new(Blocking::new(2).unwrap());
        queue.try_push(1).unwrap();
        queue.try_push(2).unwrap();
        let producer = {
            let queue = queue.clone();
            thread::spawn(move || queue.push(3, None).unwrap())
        };
        assert_eq!(queue.pop(None), Ok(1));
        producer.join().unwrap();
        assert_eq!((queue.pop(None), queue.pop(None)), (Ok(2), Ok(3)));
    });
}

#[test]
fn a_close_wakes_producers_and_consumers() {
    model(2, || {
        let (full, empty) = (Arc::new(Blocking::new(2).unwrap()), Arc::new(Blocking::<u8>::new(2).unwrap()));
        full.try_push(1).unwrap();
        full.try_push(2).unwrap();
        let producer = {
            let full = full.clone();
            thread::spawn(move || full.push(3, None).unwrap_err().into_inner())
        };
        let consumer = {
            let empty = empty.clone();
            thread::spawn(move || empty.pop(None))
        };
        full.close();
        empty.close();
        assert_eq!(producer.join().unwrap(), 3);
        assert_eq!(consumer.join().unwrap(), Err(PopError::Closed));
    });
}
