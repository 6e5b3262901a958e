//! Items on their way from producers to consumers.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Conditions, Failed, Line, Span, Wait};

/// How many items a ring or queue has room for.
pub const CAPACITY: usize = 1024;
/// How many items a chunk has.
pub(super) const CHUNK: usize = 64;

/// What is sent: its number, all over.
pub trait Item: Copy + Send + Sync + 'static + FromBytes + IntoBytes + Immutable {
    /// The item with this number.
    fn of(number: u64) -> Self;

    /// The number, if it is the same everywhere.
    fn number(&self) -> Option<u64>;
}

impl Item for u64 {
    #[inline]
    fn of(number: u64) -> Self {
        number
    }

    #[inline]
    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

impl Item for [u64; 8] {
    #[inline]
    fn of(number: u64) -> Self {
        [number; 8]
    }

    #[inline]
    fn number(&self) -> Option<u64> {
        let differences = self.iter().fold(0, |all, word| all | (word ^ self[0]));
        (differences == 0).then_some(self[0])
    }
}

/// The end that items go into.
pub trait Push<T: Copy>: Send {
    /// Pushes a value, if there is room.
    fn try_push(&mut self, value: T) -> bool;

    /// Pushes as many of `values` as there is room for, together if the engine can; returns how many.
    #[inline]
    fn push_chunk(&mut self, values: &[T]) -> usize {
        values.iter().take_while(|value| self.try_push(**value)).count()
    }
}

/// The end that items come out of.
pub trait Pop<T: Copy>: Send {
    /// Pops a value, if there is one.
    fn try_pop(&mut self) -> Option<T>;

    /// Pops at most `max` values, together if the engine can, and shows them; returns how many.
    #[inline]
    fn pop_chunk(&mut self, max: usize, see: &mut impl FnMut(&[T])) -> usize {
        (0..max).map_while(|_| self.try_pop()).inspect(|value| see(std::slice::from_ref(value))).count()
    }
}

/// Checks what a consumer gets.
pub(super) trait Check: Send + Default {
    fn see<T: Item>(&mut self, values: &[T]);

    /// How many items there were, and the sum of their numbers; `None` where some were not as they should be.
    fn counted(&self) -> Option<(u64, u64)>;
}

/// The items of one producer: each number after the one before it.
#[derive(Default)]
pub(super) struct InSequence {
    next: u64,
    wrong: bool,
}

impl Check for InSequence {
    #[inline]
    fn see<T: Item>(&mut self, values: &[T]) {
        for value in values {
            self.wrong |= value.number() != Some(self.next);
            self.next += 1;
        }
    }

    fn counted(&self) -> Option<(u64, u64)> {
        (!self.wrong).then_some((self.next, sum_below(self.next)))
    }
}

/// The items of several producers: numbers of each one only go up.
#[derive(Default)]
pub(super) struct PerProducer {
    next: [u64; 16],
    count: u64,
    sum: u64,
    wrong: bool,
}

/// Where in a number it says who sent it.
const PRODUCER_BIT: u32 = 56;

impl Check for PerProducer {
    #[inline]
    fn see<T: Item>(&mut self, values: &[T]) {
        for value in values {
            let Some(number) = value.number() else {
                self.wrong = true;
                continue;
            };
            let next = &mut self.next[(number >> PRODUCER_BIT) as usize & 15];
            let number = number & ((1 << PRODUCER_BIT) - 1);
            self.wrong |= number < *next;
            *next = number + 1;
            self.count += 1;
            self.sum = self.sum.wrapping_add(number);
        }
    }

    fn counted(&self) -> Option<(u64, u64)> {
        (!self.wrong).then_some((self.count, self.sum))
    }
}

fn sum_below(count: u64) -> u64 {
    (u128::from(count) * u128::from(count.saturating_sub(1)) / 2) as u64
}

/// What the threads of one run share.
struct Shared {
    start: Barrier,
    stop: Line<AtomicBool>,
    /// How many producers have stopped.
    done: Line<AtomicUsize>,
    producers: usize,
}

/// Moves items for a while, singly or in chunks, and returns how many a second.
pub(super) fn items_per_s<T: Item, C: Check>(
    producers: Vec<impl Push<T>>,
    consumers: Vec<impl Pop<T>>,
    chunks: bool,
    conditions: &Conditions,
) -> Result<f64, Failed> {
    let shared = &Shared {
        start: Barrier::new(producers.len() + consumers.len() + 1),
        stop: Line::default(),
        done: Line::default(),
        producers: producers.len(),
    };
    let (sent, received) = thread::scope(|scope| {
        let producers = producers.into_iter().enumerate().map(|(id, producer)| {
            scope.spawn(move || {
                let pinned = conditions.cores.pin(2 * id);
                shared.start.wait();
                let sent = produce(producer, id as u64, chunks, shared);
                pinned.map(|()| sent)
            })
        });
        let producers: Vec<_> = producers.collect();
        let consumers = consumers.into_iter().enumerate().map(|(id, consumer)| {
            scope.spawn(move || {
                let pinned = conditions.cores.pin(2 * id + 1);
                shared.start.wait();
                let received = consume::<T, C>(consumer, chunks, shared);
                pinned.map(|()| received)
            })
        });
        let consumers: Vec<_> = consumers.collect();
        shared.start.wait();
        thread::sleep(conditions.time);
        // ORDERING: Relaxed; only says when.
        shared.stop.0.store(true, Ordering::Relaxed);
        (joined(producers), joined(consumers))
    });
    let (sent, received) = (sent?, received?);
    let expected = sent.iter().fold((0, 0u64), |(count, sum), sent| (count + sent, sum.wrapping_add(sum_below(*sent))));
    let seconds = Span::seconds(received.iter().map(|(span, _)| *span));
    let mut got = (0, 0u64);
    for (_, counted) in received {
        let (count, sum) = counted.ok_or_else(|| Failed::Wrong("items came torn or out of order".into()))?;
        got = (got.0 + count, got.1.wrapping_add(sum));
    }
    match got == expected {
        true => Ok(got.0 as f64 / seconds),
        false => Err(Failed::Wrong(format!("{} items were sent and {} received, or others", expected.0, got.0))),
    }
}

fn joined<T>(threads: Vec<thread::ScopedJoinHandle<'_, std::io::Result<T>>>) -> Result<Vec<T>, Failed> {
    let results = threads.into_iter().map(|thread| match thread.join() {
        Ok(result) => result.map_err(|error| Failed::Wrong(format!("cannot pin a thread: {error}"))),
        Err(_) => Err(Failed::Wrong("a thread panicked".into())),
    });
    results.collect()
}

/// Returns how many were sent. Inlined for every engine, as in a program that has one such loop: an end that is passed by
/// reference stays in memory.
#[inline(always)]
fn produce<T: Item>(mut producer: impl Push<T>, id: u64, chunks: bool, shared: &Shared) -> u64 {
    let item = |number: u64| T::of(number | id << PRODUCER_BIT);
    // ORDERING: Relaxed; only says when.
    let stopped = || shared.stop.0.load(Ordering::Relaxed);
    let mut sent = 0u64;
    'sending: while !stopped() {
        let mut wait = Wait::default();
        if chunks {
            let values: [T; CHUNK] = std::array::from_fn(|index| item(sent + index as u64));
            let mut values = black_box(&values[..]);
            while !values.is_empty() {
                let count = producer.push_chunk(values);
                values = &values[count..];
                sent += count as u64;
                if count == 0 {
                    wait.a_little();
                    if stopped() {
                        break 'sending;
                    }
                }
            }
            continue;
        }
        for _ in 0..CHUNK {
            while !producer.try_push(item(sent)) {
                wait.a_little();
                if stopped() {
                    break 'sending;
                }
            }
            sent += 1;
        }
    }
    // ORDERING: Release; pairs with the acquire load in `consume`, whose last look then finds what was sent.
    shared.done.0.fetch_add(1, Ordering::Release);
    sent
}

/// Returns when, and what came. Inlined as [`produce`] is.
#[inline(always)]
fn consume<T: Item, C: Check>(mut consumer: impl Pop<T>, chunks: bool, shared: &Shared) -> (Span, Option<(u64, u64)>) {
    let begin = Instant::now();
    let mut check = C::default();
    let mut pop = || {
        let mut some = false;
        if chunks {
            while consumer.pop_chunk(CHUNK, &mut |values| check.see(values)) != 0 {
                some = true;
            }
        } else {
            while let Some(value) = consumer.try_pop() {
                check.see(&[value]);
                some = true;
            }
        }
        some
    };
    let mut wait = Wait::default();
    loop {
        // ORDERING: Acquire; pairs with the release in `produce`.
        let done = shared.done.0.load(Ordering::Acquire) == shared.producers;
        if !pop() {
            if done {
                break;
            }
            wait.a_little();
        }
    }
    (Span { begin, end: Instant::now() }, check.counted())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use super::*;
    use crate::pin::Cores;

    /// A queue that does something wrong with an item now and then, or nothing.
    #[derive(Clone)]
    struct Spoiling<T> {
        items: Arc<Mutex<VecDeque<T>>>,
        spoil: fn(&mut VecDeque<T>),
        pushes: u32,
    }

    impl<T: Item> Push<T> for Spoiling<T> {
        fn try_push(&mut self, value: T) -> bool {
            let mut items = self.items.lock().unwrap();
            let room = items.len() < CAPACITY;
            if room {
                items.push_back(value);
                self.pushes += 1;
                if self.pushes.is_multiple_of(50) {
                    (self.spoil)(&mut items);
                }
            }
            room
        }
    }

    impl<T: Item> Pop<T> for Spoiling<T> {
        fn try_pop(&mut self) -> Option<T> {
            self.items.lock().unwrap().pop_front()
        }
    }

    fn measured<T: Item, C: Check>(ends: usize, spoil: fn(&mut VecDeque<T>)) -> Result<f64, Failed> {
        let queue = Spoiling { items: Arc::default(), spoil, pushes: 0 };
        let conditions = Conditions { cores: Cores::allowed().unwrap(), time: Duration::from_millis(100) };
        items_per_s::<T, C>(vec![queue.clone(); ends], vec![queue; ends], false, &conditions)
    }

    #[test]
    fn what_is_right_is_measured() {
        assert!(measured::<u64, InSequence>(1, |_| ()).unwrap() > 0.0);
        assert!(measured::<u64, PerProducer>(2, |_| ()).unwrap() > 0.0);
    }

    #[test]
    fn an_item_that_is_lost_doubled_or_torn_is_noticed() {
        let lose = |items: &mut VecDeque<u64>| items.truncate(items.len() - 1);
        let double = |items: &mut VecDeque<u64>| items.extend(items.back().copied());
        let tear = |items: &mut VecDeque<[u64; 8]>| items.iter_mut().for_each(|item| item[7] += 1);
        for outcome in [
            measured::<_, InSequence>(1, lose),
            measured::<_, PerProducer>(2, lose),
            measured::<_, InSequence>(1, double),
            measured::<_, PerProducer>(2, double),
            measured::<_, InSequence>(1, tear),
        ] {
            assert!(matches!(outcome, Err(Failed::Wrong(_))), "{outcome:?}");
        }
    }
}
