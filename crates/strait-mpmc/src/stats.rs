//! What a queue counts.

use strait_sync::primitive::{AtomicU64, Ordering};

use crate::{cell::Line, shared::refused};

/// What a queue has done so far, as of a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many values fit.
    pub capacity: u64,
    /// Values pushed, or at this moment being pushed.
    pub pushes: u64,
    /// Values popped, or at this moment being popped.
    pub pops: u64,
    /// What only a queue that was made by `counting` knows.
    pub counted: Option<Counted>,
}

impl Stats {
    /// Values inside.
    pub fn len(&self) -> u64 {
        self.pushes.saturating_sub(self.pops).min(self.capacity)
    }

    /// Whether nothing is inside.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much of the capacity is in use, from 0 to 1.
    pub fn utilisation(&self) -> f64 {
        self.len() as f64 / self.capacity as f64
    }

    /// The share of pushes that found no room, from 0 to 1: what one that does not try again has dropped. `None` where that is
    /// not counted. A batch that found none counts once; each look of a blocking push counts.
    pub fn drop_rate(&self) -> Option<f64> {
        self.counted.map(|counted| refused(counted.failed_pushes, self.pushes))
    }
}

/// What costs something to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// Pushes that found no room.
    pub failed_pushes: u64,
    /// Pops that found nothing.
    pub failed_pops: u64,
    /// Claims that another thread was ahead of, and that were tried again.
    pub retries: u64,
    /// The most values that a push has found inside, its own included. Every 64th push looks, and each that finds the queue full.
    pub high_water: u64,
}

/// The words behind [`Counted`]: one line for the producers, one for the consumers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    producers: Line<Side>,
    consumers: Line<Side>,
    high_water: Line<AtomicU64>,
}

#[derive(Debug, Default)]
pub(crate) struct Side {
    failed: AtomicU64,
    retries: AtomicU64,
}

impl Side {
    pub(crate) fn failed(&self) {
        // ORDERING: Relaxed: a count, nothing follows from it.
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        // ORDERING: Relaxed: a count, nothing follows from it.
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn producers(&self) -> &Side {
        &self.producers.0
    }

    pub(crate) fn consumers(&self) -> &Side {
        &self.consumers.0
    }

    pub(crate) fn saw_inside(&self, values: u64) {
        // ORDERING: Relaxed: a statistic, nothing follows from it.
        if self.high_water.0.load(Ordering::Relaxed) < values {
            // ORDERING: Relaxed, as above.
            self.high_water.0.fetch_max(values, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Counted {
        // ORDERING: Relaxed: counts, nothing follows from them.
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        Counted {
            failed_pushes: load(&self.producers.0.failed),
            failed_pops: load(&self.consumers.0.failed),
            retries: load(&self.producers.0.retries) + load(&self.consumers.0.retries),
            high_water: load(&self.high_water.0),
        }
    }
}
