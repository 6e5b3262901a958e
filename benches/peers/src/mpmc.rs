//! Queues and channels between several threads. Channels are polled as queues are: what is measured is not the sleep.

use std::sync::Arc;

use concurrent_queue::ConcurrentQueue;
use crossbeam_queue::ArrayQueue;
use strait_benches::primitives::{
    Bench, Kind,
    flow::{CAPACITY, Pop, Push},
    mpmc::{Mpmc, all},
};

pub fn peers() -> Vec<Bench> {
    let engines = [all::<Crossbeam>, all::<CrossbeamChannel>, all::<Concurrent>, all::<Flume>, all::<Kanal>];
    engines.into_iter().flat_map(|benches| benches(Kind::Peer)).collect()
}

/// A queue or channel: what a thread has of it, how it is made, and how an item goes in and comes out.
macro_rules! engine {
    ($engine:ident, $name:literal, $handle:ty, $open:expr, $push:expr, $pop:expr) => {
        struct $engine($handle);

        impl Mpmc for $engine {
            const NAME: &'static str = $name;
            type Handle = Self;

            fn open(handles: usize) -> Vec<Self> {
                let handle: $handle = $open;
                (0..handles).map(|_| Self(handle.clone())).collect()
            }
        }

        impl Push<u64> for $engine {
            #[inline]
            fn try_push(&mut self, value: u64) -> bool {
                let push: fn(&$handle, u64) -> bool = $push;
                push(&self.0, value)
            }
        }

        impl Pop<u64> for $engine {
            #[inline]
            fn try_pop(&mut self) -> Option<u64> {
                let pop: fn(&$handle) -> Option<u64> = $pop;
                pop(&self.0)
            }
        }
    };
}

engine!(
    Crossbeam,
    "crossbeam-queue",
    Arc<ArrayQueue<u64>>,
    Arc::new(ArrayQueue::new(CAPACITY)),
    |queue, value| queue.push(value).is_ok(),
    |queue| queue.pop()
);

engine!(
    Concurrent,
    "concurrent-queue",
    Arc<ConcurrentQueue<u64>>,
    Arc::new(ConcurrentQueue::bounded(CAPACITY)),
    |queue, value| queue.push(value).is_ok(),
    |queue| queue.pop().ok()
);

engine!(
    CrossbeamChannel,
    "crossbeam-channel",
    (crossbeam_channel::Sender<u64>, crossbeam_channel::Receiver<u64>),
    crossbeam_channel::bounded(CAPACITY),
    |channel, value| channel.0.try_send(value).is_ok(),
    |channel| channel.1.try_recv().ok()
);

engine!(
    Flume,
    "flume",
    (flume::Sender<u64>, flume::Receiver<u64>),
    flume::bounded(CAPACITY),
    |channel, value| channel.0.try_send(value).is_ok(),
    |channel| channel.1.try_recv().ok()
);

engine!(
    Kanal,
    "kanal",
    (kanal::Sender<u64>, kanal::Receiver<u64>),
    kanal::bounded(CAPACITY),
    |channel, value| channel.0.try_send(value) == Ok(true),
    |channel| channel.1.try_recv().ok().flatten()
);
