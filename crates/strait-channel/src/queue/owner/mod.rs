//! The owner's side: its books, its participants' connections, and what it does in a round.

mod engine;
mod seat;
#[cfg(feature = "tokio")]
pub(super) mod tasks;
pub(super) mod threads;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use strait_frame::Codec;
use strait_transport::Options;

use super::{SERVICE_QUEUE, settings::Stats};
use crate::meters::Owning;

/// What the owner has counted, for whoever asks.
#[derive(Clone)]
struct Board {
    stats: Arc<Mutex<Stats>>,
    meters: Arc<Owning>,
}

impl Board {
    fn new(service: &str) -> Self {
        Self { stats: Arc::default(), meters: Arc::new(Owning::new(service)) }
    }

    fn show(&self, stats: Stats) {
        let before = std::mem::replace(&mut *self.stats.lock().unwrap_or_else(PoisonError::into_inner), stats);
        self.meters.show(&before, &stats);
    }

    fn read(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// The options with which a queue of these items is offered or joined.
pub(super) fn identify<C: Codec<T>, T: ?Sized>(options: &Options) -> Options {
    let schema = if options.schema == 0 { C::schema() } else { options.schema };
    Options { service: SERVICE_QUEUE, codec: C::ID, schema, ..options.clone() }
}
