//! What a stream has done.

use strait_transport::Connection;
use strait_transport::Transport;

/// What one end of a stream has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages sent.
    pub sent: u64,
    /// Messages dropped here for lack of room ([`DropNewest`](super::Backpressure::DropNewest)).
    pub dropped: u64,
    /// Messages received.
    pub received: u64,
    /// Messages that the peer sent or dropped and that never came, as the sequence numbers of those that came show: dropped ones
    /// and those with a wrong checksum. What is lost after the last message that came shows at the producer alone.
    pub lost: u64,
    /// How many of them the peer dropped for lack of room.
    pub lost_by_choice: u64,
    /// The connection below: bytes, checksum errors, sleeps, wake-ups.
    pub connection: strait_transport::Stats,
}

impl Stats {
    pub(crate) fn of(connection: &Connection) -> Self {
        Self { connection: connection.stats(), ..Self::default() }
    }
}
