//! What a peer may cost at most. Every default is finite.

use std::time::Duration;

/// Bounds on what peers can make this process spend.
///
/// ```
/// let limits = strait_transport::Limits { max_clients: 8, ..Default::default() };
/// assert_eq!(limits.max_pending_handshakes, 16);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that a listener keeps at once (default 128). One more gets `Refuse{Busy}`.
    pub max_clients: u32,
    /// Connections that have not finished their handshake (default 16).
    pub max_pending_handshakes: u32,
    /// From `connect` or `accept` to `Welcome` (default 2 s).
    pub handshake_timeout: Duration,
    /// Largest ring that a peer may bring (default 64 MiB).
    pub max_ring_bytes: u64,
    /// Largest published state that a peer may bring, in bytes of its whole segment (default 1 GiB).
    pub max_state_bytes: u64,
    /// Longest control frame in bytes (default 4,096).
    pub max_control_bytes: u32,
    /// Connections of this process that show their counters to tools while they are on their socket (default 128; 0: none does).
    /// An end does so from its first sleep there on. That takes a few system calls, a descriptor and 8 KiB until it is in shared memory,
    /// where showing them takes none of these. See [`observe`](crate::observe).
    pub max_shown_sockets: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_clients: 128,
            max_pending_handshakes: 16,
            handshake_timeout: Duration::from_secs(2),
            max_ring_bytes: 64 << 20,
            max_state_bytes: 1 << 30,
            max_control_bytes: 4096,
            max_shown_sockets: 128,
        }
    }
}
