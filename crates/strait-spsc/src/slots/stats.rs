//! What the ends of a ring have counted.

/// What a producer has counted, from [`Producer::stats`](super::Producer::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushStats {
    /// Values pushed since the ring began. Wraps.
    pub pushed: u64,
    /// Pushes and claims that were refused because too few slots were free.
    pub full: u64,
    /// The most slots that were in use when the producer looked at the consumer's position. It looks each time that it has
    /// used up the slots that it knew to be free, so a ring that was full once has its capacity here.
    pub high_water: u64,
    /// Slots in use now; between memories, when the producer last looked at the consumer's position, so maybe more than are now.
    pub len: u64,
    /// Number of slots.
    pub capacity: u64,
}

impl PushStats {
    /// How much of the ring is in use, from 0 to 1.
    pub fn utilisation(&self) -> f64 {
        share(self.len, self.capacity)
    }

    /// The share of pushes that were refused, from 0 to 1: what one that does not try again has dropped. Of a chunk each
    /// value that was pushed counts, and each claim that was refused.
    pub fn drop_rate(&self) -> f64 {
        share(self.full, self.pushed.saturating_add(self.full))
    }
}

/// `part` of `whole`; of nothing, nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What a consumer has counted, from [`Consumer::stats`](super::Consumer::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PopStats {
    /// Values popped since the ring began. Wraps.
    pub popped: u64,
    /// Pops and chunks that were refused because too few values were there.
    pub empty: u64,
}
