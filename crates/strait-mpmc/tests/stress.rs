//! Real threads: nothing lost, nothing twice, each producer's values in order at each consumer.
#![cfg(not(strait_loom))]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use strait_mpmc::{
    Blocking, Queue,
    shared::{self, Geometry, Identity, Participant, SharedQueue},
};
use strait_sync::Heap;

const PRODUCERS: u64 = 3;
const CONSUMERS: usize = 3;
const EACH: u64 = 40_000;

/// What each consumer got, in order, as (producer, number).
fn check(received: &[Vec<(u64, u64)>]) {
    let mut all: Vec<_> = received.concat();
    for stream in received {
        for producer in 0..PRODUCERS {
            let numbers = stream.iter().filter(|(from, _)| *from == producer).map(|(_, number)| number);
            assert!(numbers.is_sorted_by(|a, b| a < b), "producer {producer} is out of order");
        }
    }
    all.sort_unstable();
    let expected: Vec<_> = (0..PRODUCERS).flat_map(|from| (0..EACH).map(move |number| (from, number))).collect();
    assert!(all == expected, "{} values came out of {}", all.len(), expected.len());
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(30))
}

#[test]
fn threads_that_spin_lose_nothing() {
    let queue = Queue::new(64).unwrap();
    let left = AtomicUsize::new((PRODUCERS * EACH) as usize);
    let received = thread::scope(|scope| {
        for from in 0..PRODUCERS {
            let queue = &queue;
            scope.spawn(move || {
                let mut next = 0;
                let mut batch = Vec::new();
                while next < EACH || !batch.is_empty() {
                    if from == 0 {
                        while batch.len() < 5 && next < EACH {
                            batch.push(Box::new((from, next)));
                            next += 1;
                        }
                        if queue.push_batch(&mut batch).is_err() {
                            thread::yield_now();
                        }
                    } else if queue.try_push(Box::new((from, next))).is_ok() {
                        next += 1;
                    } else {
                        thread::yield_now();
                    }
                }
            });
        }
        let consumers: Vec<_> = (0..CONSUMERS)
            .map(|index| {
                let (queue, left) = (&queue, &left);
                scope.spawn(move || {
                    let (mut got, mut batch) = (Vec::new(), Vec::new());
                    // ORDERING: Relaxed: a count, nothing follows from it.
                    while left.load(Ordering::Relaxed) > 0 {
                        let count = if index == 0 {
                            queue.pop_batch(&mut batch, 7).unwrap_or(0)
                        } else {
                            batch.extend(queue.try_pop());
                            batch.len()
                        };
                        got.extend(batch.drain(..).map(|value| *value));
                        // ORDERING: Relaxed, as above.
                        left.fetch_sub(count, Ordering::Relaxed);
                        if count == 0 {
                            thread::yield_now();
                        }
                    }
                    got
                })
            })
            .collect();
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect::<Vec<_>>()
    });
    check(&received);
    assert_eq!(queue.stats().pops, PRODUCERS * EACH);
}

#[test]
fn threads_that_sleep_lose_nothing() {
    let queue = Blocking::new(4).unwrap();
    let received = thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|from| {
                let queue = &queue;
                scope.spawn(move || (0..EACH).for_each(|number| queue.push((from, number), soon()).unwrap()))
            })
            .collect();
        let consumers: Vec<_> = (0..CONSUMERS)
            .map(|_| scope.spawn(|| std::iter::from_fn(|| queue.pop(soon()).ok()).collect::<Vec<_>>()))
            .collect();
        for producer in producers {
            producer.join().unwrap();
        }
        queue.close();
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect::<Vec<_>>()
    });
    check(&received);
}

#[test]
fn participants_lose_nothing() {
    let geometry = Geometry::new(8, 24, PRODUCERS + CONSUMERS as u64).unwrap();
    let memory = Arc::new(Heap::zeroed(geometry.total_bytes() as usize));
    let queue = SharedQueue::create_at(memory, geometry, u64::MAX - 100_000).unwrap();
    let attach = || queue.attach(Identity::current()).unwrap();
    let produce = |mut participant: Participant<_>, from: u64| {
        for number in 0..EACH {
            let message = [from.to_le_bytes(), number.to_le_bytes(), (from ^ number).to_le_bytes()].concat();
            participant.push(&message, soon()).unwrap();
        }
    };
    let consume = |mut participant: Participant<_>| {
        let mut got = Vec::new();
        let (mut buffer, mut lens) = ([0; 3 * 24], [0; 3]);
        loop {
            let count = match participant.pop_batch_until(&mut buffer, &mut lens, soon()) {
                Ok(count) => count,
                Err(shared::PopError::Closed) => return got,
                Err(error) => panic!("{error}"),
            };
            for index in 0..count {
                assert_eq!(lens[index], 24);
                let word = |at: usize| u64::from_le_bytes(buffer[index * 24 + at..][..8].try_into().unwrap());
                assert_eq!(word(0) ^ word(8), word(16), "torn");
                got.push((word(0), word(8)));
            }
        }
    };
    let received = thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|from| {
                let participant = attach();
                scope.spawn(move || produce(participant, from))
            })
            .collect();
        let consumers: Vec<_> = (0..CONSUMERS)
            .map(|_| {
                let participant = attach();
                scope.spawn(move || consume(participant))
            })
            .collect();
        // Meanwhile somebody looks for the dead, and finds none.
        for _ in 0..50 {
            assert_eq!(queue.recover(shared::process::liveness), Ok(shared::Recovered::default()));
            thread::sleep(Duration::from_millis(1));
        }
        for producer in producers {
            producer.join().unwrap();
        }
        queue.close();
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect::<Vec<_>>()
    });
    check(&received);
    assert_eq!((queue.stats().skipped, queue.stats().lost, queue.participants().count()), (0, 0, 0));
}
