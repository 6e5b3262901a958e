//! Configurations that are ready. The table of them stands in [`config`](crate::config).

use crate::config::Config;

impl Config {
    /// The shortest way for small messages, between threads that have processors to spend.
    pub fn ultra_low_latency() -> Self {
        Self {
            ring_bytes: 1 << 20,
            max_message_bytes: Some(4 << 10),
            record_align_bytes: 64,
            spin_us: Some(1_000),
            spin_async_us: Some(50),
            prefault: true,
            checksum: false,
            timestamp: false,
            ..Self::default()
        }
    }

    /// Bulk data of any size.
    pub fn high_throughput() -> Self {
        Self {
            ring_bytes: 64 << 20,
            max_message_bytes: Some(64 << 10),
            huge_pages: true,
            prefault: true,
            batch: 64,
            ..Self::default()
        }
    }

    /// For most.
    pub fn balanced() -> Self {
        Self { ring_bytes: 4 << 20, max_message_bytes: Some(64 << 10), ..Self::default() }
    }

    /// A work queue that many fill: its owner holds up to 8,192 items, and 128 MiB of them.
    pub fn multi_producer() -> Self {
        Self {
            max_message_bytes: Some(16 << 10),
            queue_capacity: 8_192,
            queue_capacity_bytes: 128 << 20,
            ..Self::default()
        }
    }

    /// A work queue that many empty: its owner holds up to 2,048 items, and 16 MiB of them, and hands few out ahead.
    pub fn multi_consumer() -> Self {
        Self {
            max_message_bytes: Some(8 << 10),
            queue_capacity: 2_048,
            queue_capacity_bytes: 16 << 20,
            queue_max_prefetch: 16,
            ..Self::default()
        }
    }
}
