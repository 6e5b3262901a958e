//! What an owner decides about its queue, and what it counts.

use strait_transport::Error as TransportError;

/// How a queue works: its owner decides, and its participants are told.
///
/// ```
/// use strait_channel::queue::Settings;
///
/// let settings = Settings { acknowledged: true, capacity: 10_000, ..Settings::default() };
/// settings.check().unwrap();
/// assert!(Settings { window: 0, ..settings }.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Items that the owner holds at most, waiting or handed out and not done with: 1..=16,777,216 (default 1,024). With as many,
    /// producers are not read, so that they wait.
    pub capacity: u32,
    /// Bytes of these items at which producers wait too, at least 1 (default 64 MiB). One item more may be over it.
    pub capacity_bytes: u64,
    /// Whether workers acknowledge items (default false). Then the items of a worker that goes before it has done so are given
    /// to another one; without, they are lost, and counted.
    pub acknowledged: bool,
    /// In an acknowledged queue, how often an item is given to a worker at most, before it is lost and counted; 0 (default) for
    /// no limit. It ends an item that kills every worker.
    pub max_deliveries: u32,
    /// Items that a producer may have pushed and the owner not accepted yet, 1..=4096 (default 256).
    pub window: u32,
    /// The most items that a worker is given ahead, whatever it asks for, 1..=4096 (default 256).
    pub max_prefetch: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: 1024,
            capacity_bytes: 64 << 20,
            acknowledged: false,
            max_deliveries: 0,
            window: 256,
            max_prefetch: 256,
        }
    }
}

impl Settings {
    /// Largest capacity.
    const MAX_CAPACITY: u32 = 1 << 24;

    /// Checks each setting against its range.
    ///
    /// # Errors
    ///
    /// [`TransportError::Option`](strait_transport::Error::Option) naming the first one that is out of range.
    pub fn check(&self) -> Result<(), TransportError> {
        let within = |option, found: u32, max: u32, expected| {
            if (1..=max).contains(&found) {
                return Ok(());
            }
            Err(TransportError::Option { option, found: found.to_string(), expected })
        };
        within("queue.capacity", self.capacity, Self::MAX_CAPACITY, "1 to 16777216")?;
        within("queue.window", self.window, MAX_CREDIT, "1 to 4096")?;
        within("queue.max_prefetch", self.max_prefetch, MAX_CREDIT, "1 to 4096")?;
        if self.capacity_bytes == 0 {
            return Err(TransportError::Option {
                option: "queue.capacity_bytes",
                found: "0".into(),
                expected: "at least 1",
            });
        }
        Ok(())
    }
}

/// The largest window and prefetch.
pub(crate) const MAX_CREDIT: u32 = 4096;

/// What an owner has counted. `pushed` is always the sum of `acked`, `lost`, `depth` and `in_flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Items that came from producers.
    pub pushed: u64,
    /// Times that an item was handed to a worker.
    pub popped: u64,
    /// Items that are done with: acknowledged, or without acknowledgements taken.
    pub acked: u64,
    /// Items that nobody gets any more: those of a worker that went without having said that it took them (it says so after at
    /// most half its prefetch, so some of them may have been worked on), discarded ones, and those over `max_deliveries`.
    pub lost: u64,
    /// Times that an item went back because its worker went, or refused it, after it may have seen it.
    pub redelivered: u64,
    /// Times that an item went back because its worker left in good order without having taken it.
    pub returned: u64,
    /// Items that wait.
    pub depth: u64,
    /// Items that workers have.
    pub in_flight: u64,
    /// The most that `depth` and `in_flight` were together.
    pub high_water: u64,
    /// Producers that are there.
    pub producers: u32,
    /// Workers that are there.
    pub workers: u32,
}
