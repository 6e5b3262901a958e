//! How a daemon publishes its state.

use std::path::PathBuf;

use strait_transport::{Options, StateWriter};

use super::Error;

/// How a [`Daemon`](super::Daemon) publishes its state, and what its shells may cost.
///
/// ```
/// use strait_channel::state::Config;
///
/// let config = Config { max_value_bytes: 4 << 20, ..Config::default() };
/// config.check().unwrap();
/// assert!(Config { commands: 0, ..Config::default() }.check().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The longest value in bytes: 1 to 256 MiB (default 1 MiB). The memory is three times that, and once more for each pin.
    pub max_value_bytes: usize,
    /// Shells at once that may [read in place](super::blocking::Shell::pin): 0 to 61 (default 0). One more is refused its pin, and
    /// copies.
    pub max_pins: usize,
    /// Commands of one shell that may be without an answer: 1 to 4,096 (default 64).
    pub commands: usize,
    /// Shells at once: 1 to 65,536 (default 128). One more is refused as busy.
    pub max_clients: u32,
    /// The file that [`Daemon::checkpoint`](super::Daemon::checkpoint) writes, and from which a new daemon goes on.
    pub checkpoint: Option<PathBuf>,
    /// The connections, each with two rings (default 64 KiB each way).
    pub options: Options,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_value_bytes: 1 << 20,
            max_pins: 0,
            commands: 64,
            max_clients: 128,
            checkpoint: None,
            options: Options { ring_bytes: 64 << 10, ..Options::default() },
        }
    }
}

impl Config {
    /// Checks each setting against its range.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the first one outside; the options' own are checked when they are used.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |field, found: String, expected| Err(Error::Config { field, found, expected });
        if !(1..=256 << 20).contains(&self.max_value_bytes) {
            return bad("max_value_bytes", self.max_value_bytes.to_string(), "1 to 268435456");
        }
        if self.max_pins > StateWriter::MAX_PINS {
            return bad("max_pins", self.max_pins.to_string(), "0 to 61");
        }
        if !(1..=4096).contains(&self.commands) {
            return bad("commands", self.commands.to_string(), "1 to 4096");
        }
        if !(1..=65536).contains(&self.max_clients) {
            return bad("max_clients", self.max_clients.to_string(), "1 to 65536");
        }
        Ok(())
    }
}
