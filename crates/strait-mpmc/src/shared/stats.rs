//! What a shared queue and its participants count.

use strait_sync::Words;

use super::layout::line;

/// What a queue has done so far, as of a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedStats {
    /// How many messages fit.
    pub capacity: u64,
    /// Positions claimed to push, skipped ones included.
    pub pushes: u64,
    /// Positions claimed to pop, skipped and lost ones included.
    pub pops: u64,
    /// Claims of dead producers that were skipped: they held no message yet.
    pub skipped: u64,
    /// Messages that are gone with the dead consumer that had claimed them, or that had an impossible length.
    pub lost: u64,
    /// Lines of dead participants that were given back.
    pub freed_participants: u64,
}

impl SharedStats {
    /// Messages inside, skipped ones included.
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
}

/// What one participant has done since it attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantStats {
    /// Messages pushed.
    pub pushes: u64,
    /// Messages popped.
    pub pops: u64,
    /// Pushes that found no room. A blocking push counts each look.
    pub failed_pushes: u64,
    /// Pops that found nothing. A blocking pop counts each look.
    pub failed_pops: u64,
    /// Claims that another participant was ahead of, and that were tried again.
    pub retries: u64,
    /// The most messages that it has seen inside. It looks at every 64th push and whenever it finds the queue full.
    pub high_water: u64,
}

impl ParticipantStats {
    /// The share of its pushes that found no room, from 0 to 1: what one that does not try again has dropped. A batch that found
    /// none counts once; each look of a blocking push counts.
    pub fn drop_rate(&self) -> f64 {
        refused(self.failed_pushes, self.pushes)
    }

    pub(super) fn read(memory: &impl Words, at: usize) -> Self {
        Self {
            pushes: memory.load(at + line::PUSHES),
            pops: memory.load(at + line::POPS),
            failed_pushes: memory.load(at + line::FAILED_PUSHES),
            failed_pops: memory.load(at + line::FAILED_POPS),
            retries: memory.load(at + line::RETRIES),
            high_water: memory.load(at + line::HIGH_WATER),
        }
    }
}

/// The share that was refused, from 0 to 1.
pub(crate) fn refused(refused: u64, done: u64) -> f64 {
    if refused == 0 { 0.0 } else { refused as f64 / refused.saturating_add(done) as f64 }
}
