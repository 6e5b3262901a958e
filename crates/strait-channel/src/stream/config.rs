//! How a stream is to be made.

use std::time::Duration;

use strait_transport::Options;

/// What a `send` does when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backpressure {
    /// Waits for room, at most [`Config::send_timeout`].
    #[default]
    Block,
    /// Returns [`Error::Full`](super::Error::Full) at once.
    Fail,
    /// Drops the message that does not fit and counts it: the producer in its [`Stats`](super::Stats), the consumer by the
    /// sequence number of the next message.
    DropNewest,
}

/// How a stream is to be made. The same type serves both ends; each has its own.
///
/// ```
/// use strait_channel::stream::{Backpressure, Config};
/// let config = Config { backpressure: Backpressure::DropNewest, ..Config::default() };
/// assert!(config.options.ring_bytes.is_power_of_two());
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The connection below: ring, checksums, timestamps, spins, trust. `service`, `codec` and `max_in_flight` are not used;
    /// `schema`, where it is not 0, stands for the schema of the type.
    pub options: Options,
    /// What a `send` does when there is no room.
    pub backpressure: Backpressure,
    /// How long a blocking `send` waits for room under [`Backpressure::Block`] (default 30 s); `None` is for ever.
    pub send_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            options: Options::default(),
            backpressure: Backpressure::Block,
            send_timeout: Some(Duration::from_secs(30)),
        }
    }
}
