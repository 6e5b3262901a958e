//! What an end counts: the words for it, said once for the screen and for scripts.

use strait::transport::Stats;

/// One counter of an end.
#[derive(Clone, Copy)]
pub(crate) struct Counter {
    /// The key in JSON.
    pub(crate) key: &'static str,
    /// What people read.
    pub(crate) label: &'static str,
    pub(crate) of: fn(&Stats) -> u64,
}

/// All that only grows, in the order in which it is shown.
pub(crate) const COUNTERS: [Counter; 14] = [
    Counter { key: "sent_messages", label: "messages sent", of: |end| end.sent_messages },
    Counter { key: "sent_bytes", label: "bytes sent", of: |end| end.sent_bytes },
    Counter { key: "received_messages", label: "messages received", of: |end| end.received_messages },
    Counter { key: "received_bytes", label: "bytes received", of: |end| end.received_bytes },
    Counter { key: "failed_claims", label: "failed claims", of: |end| end.full },
    Counter { key: "full_waits", label: "full waits", of: |end| end.space_parks },
    Counter { key: "empty_waits", label: "empty waits", of: |end| end.data_parks },
    Counter { key: "parks", label: "parks", of: |end| end.parks },
    Counter { key: "wakes", label: "wakes", of: Stats::rings },
    Counter { key: "data_wakes", label: "wakes for data", of: |end| end.data_rings },
    Counter { key: "space_wakes", label: "wakes for room", of: |end| end.space_rings },
    Counter { key: "crc_failures", label: "CRC failures", of: |end| end.checksum_errors },
    Counter { key: "decode_failures", label: "decode failures", of: |end| end.decode_errors },
    Counter { key: "errors", label: "errors", of: |end| end.errors },
];
