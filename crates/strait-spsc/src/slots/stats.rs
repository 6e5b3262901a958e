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
