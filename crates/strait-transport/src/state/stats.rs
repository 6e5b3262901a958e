//! What a state has done.

/// What was published in the memory of a state, and who has it. The same numbers lie in the memory, for tools: see
/// [`observe`](crate::observe).
///
/// ```
/// use strait_transport::StateWriter;
///
/// let mut writer = StateWriter::create("weather", 4096, 10)?;
/// writer.write(b"sunny")?;
/// let stats = writer.stats();
/// assert_eq!((stats.version, stats.published, stats.published_bytes, stats.readers), (11, 1, 5, 0));
/// assert!(stats.published_us > 0);
/// # Ok::<(), strait_transport::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateStats {
    /// The version of the latest value.
    pub version: u64,
    /// Values published in this memory.
    pub published: u64,
    /// Bytes of all of them.
    pub published_bytes: u64,
    /// When the last one was published, in microseconds since the Unix epoch; 0 for never. By a clock that ticks every few
    /// milliseconds.
    pub published_us: u64,
    /// When the memory was made, in microseconds since the Unix epoch.
    pub opened_us: u64,
    /// Clients that were given the memory, for as long as their [`StateMemory`](crate::StateMemory) is kept. Those that stayed on their
    /// socket are not among them.
    pub readers: u64,
    /// How many clients may read in place.
    pub pins: u64,
}

impl StateStats {
    /// What happened between an earlier reading and this one: counts of values and bytes are differences, all else stays as it is.
    ///
    /// ```
    /// use strait_transport::StateStats;
    /// let earlier = StateStats { published: 3, ..StateStats::default() };
    /// let now = StateStats { published: 5, readers: 2, ..StateStats::default() };
    /// assert_eq!((now.since(&earlier).published, now.since(&earlier).readers), (2, 2));
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            published: self.published.saturating_sub(earlier.published),
            published_bytes: self.published_bytes.saturating_sub(earlier.published_bytes),
            ..*self
        }
    }
}
