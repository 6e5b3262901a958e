//! The owner's side: its books, its participants' connections, and what it does in a round.

mod engine;
mod seat;
#[cfg(feature = "tokio")]
pub(super) mod tasks;
pub(super) mod threads;

use std::sync::{Arc, Mutex, PoisonError};

use strait_frame::Codec;
use strait_transport::Options;

use super::{SERVICE_QUEUE, settings::Stats};

/// What the owner has counted, for whoever asks.
#[derive(Clone, Debug, Default)]
struct Board(Arc<Mutex<Stats>>);

impl Board {
    fn show(&self, stats: Stats) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    fn read(&self) -> Stats {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The options with which a queue of these items is offered or joined.
pub(super) fn identify<C: Codec<T>, T: ?Sized>(options: &Options) -> Options {
    let schema = if options.schema == 0 { C::schema() } else { options.schema };
    Options { service: SERVICE_QUEUE, codec: C::ID, schema, ..options.clone() }
}
