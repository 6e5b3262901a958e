//! The queue inside one process under loom: the code itself, and for each ordering and rule a mutant that breaks it.
#![cfg(strait_loom)]

use loom::thread;
use strait_mpmc::{PopError, Queue};
use strait_sync::{mutant, primitive::Arc};

fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.check(test);
}

/// A queue of two whose positions are about to come round, of `u64` and of the cells.
fn queue() -> Arc<Queue<u64>> {
    Arc::new(Queue::starting_at(2, 0u64.wrapping_sub(2)).unwrap())
}

/// Two producers and two consumers, one of each on one thread; what comes out is what went in, each once.
fn two_and_two(bound: usize) {
    model(bound, || {
        let queue = queue();
        let producer = |first: u64| {
            let queue = queue.clone();
            thread::spawn(move || (first..first + 2).filter(|&value| queue.try_push(value).is_ok()).collect::<Vec<_>>())
        };
        let (one, other) = (producer(10), producer(20));
        let consumer = {
            let queue = queue.clone();
            thread::spawn(move || (0..2).filter_map(|_| queue.try_pop().ok()).collect::<Vec<_>>())
        };
        let mut popped: Vec<u64> = (0..2).filter_map(|_| queue.try_pop().ok()).collect();
        let mut pushed = [one.join().unwrap(), other.join().unwrap()].concat();
        popped.extend(consumer.join().unwrap());
        popped.extend(std::iter::from_fn(|| queue.try_pop().ok()));
        popped.sort_unstable();
        pushed.sort_unstable();
        assert_eq!(popped, pushed, "what came out is not what went in");
    });
}

#[test]
fn two_producers_and_two_consumers() {
    two_and_two(2);
}

#[test]
#[should_panic(expected = "Causality violation: Concurrent write")]
fn mutant_push_without_a_look_at_the_sequence() {
    mutant::with("push_looks_at_no_sequence", || two_and_two(2));
}

/// One producer, one consumer, two laps.
fn one_and_one() {
    model(3, || {
        let queue = queue();
        let producer = {
            let queue = queue.clone();
            thread::spawn(move || {
                for value in 1..=4 {
                    while queue.try_push(value).is_err() {
                        thread::yield_now();
                    }
                }
            })
        };
        for expected in 1..=4 {
            let value = loop {
                match queue.try_pop() {
                    Ok(value) => break value,
                    Err(_) => thread::yield_now(),
                }
            };
            assert_eq!(value, expected);
        }
        producer.join().unwrap();
    });
}

#[test]
fn values_arrive_whole_and_in_order_over_a_wrap() {
    one_and_one();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_fill_is_not_a_release() {
    mutant::with("fill_relaxed", one_and_one);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_take_is_not_a_release() {
    mutant::with("take_relaxed", one_and_one);
}

#[test]
fn batches_meet_single_calls() {
    model(2, || {
        let queue = queue();
        let batch = {
            let queue = queue.clone();
            thread::spawn(move || {
                let mut values = vec![1, 2, 3];
                queue.push_batch(&mut values).unwrap_or(0)
            })
        };
        let single = {
            let queue = queue.clone();
            thread::spawn(move || usize::from(queue.try_push(9).is_ok()))
        };
        let mut popped = Vec::new();
        let _ = queue.pop_batch(&mut popped, 2);
        popped.extend(queue.try_pop());
        let pushed = batch.join().unwrap() + single.join().unwrap();
        popped.extend(std::iter::from_fn(|| queue.try_pop().ok()));
        assert_eq!(popped.len(), pushed);
        popped.retain(|&value| value != 9);
        assert!([1, 2, 3].starts_with(&popped), "a batch keeps its order: {popped:?}");
    });
}

#[test]
fn what_is_pushed_before_the_close_is_popped_before_closed() {
    model(3, || {
        let queue = queue();
        let producer = {
            let queue = queue.clone();
            thread::spawn(move || u64::from(queue.try_push(1).is_ok()) + u64::from(queue.try_push(2).is_ok()))
        };
        let closer = {
            let queue = queue.clone();
            thread::spawn(move || queue.close())
        };
        let mut popped = 0;
        loop {
            match queue.try_pop() {
                Ok(_) => popped += 1,
                Err(PopError::Empty) => thread::yield_now(),
                Err(PopError::Closed) => break,
            }
        }
        assert_eq!(popped, producer.join().unwrap(), "a value came after the end");
        closer.join().unwrap();
    });
}
