//! The options that both programs share: which service, and how its connections are made.

use std::time::Duration;

use strait::rpc::{HonestPeer, Options, Receive};

/// How connections are made.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Name of the service: its socket is `$XDG_RUNTIME_DIR/strait/<NAME>.sock`
    #[arg(long, value_name = "NAME", default_value = "exchange", global = true)]
    pub service: String,
    /// Ring that this side sends through: a power of two from 4096 to 67108864. A message may be a quarter of it
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024, global = true)]
    pub ring_bytes: u64,
    /// Read messages where the other process wrote them, instead of copying them first. Saves a copy; says that you
    /// trust that process not to change a message while it is read
    #[arg(long, global = true)]
    pub in_place: bool,
    /// Longest spin before a thread sleeps; the library's default where it is not given. Try 0 with more clients than cores
    #[arg(long, value_name = "MICROSECONDS", global = true)]
    pub spin_us: Option<u32>,
    /// Keep threads on cores, round-robin: client i on core 2i, the exchange's thread for its i-th connection on 2i + 1
    #[arg(long, global = true)]
    pub pin: bool,
}

impl ConnectionArgs {
    /// The same, as the library takes it. `STRAIT_DISABLE_SHM=1` in the environment keeps connections on the socket.
    pub fn options(&self) -> Options {
        let mut options = Options { ring_bytes: self.ring_bytes, ..Options::default() };
        // Many traders start at the same moment.
        options.limits.max_pending_handshakes = options.limits.max_clients;
        if let Some(spin) = self.spin_us {
            options.spin = Duration::from_micros(spin.into());
        }
        if self.in_place {
            // SAFETY: whoever gives `--in-place` says that the other side is this package's own program, which never
            // writes to a message after it has sent it.
            options.receive = Receive::InPlace(unsafe { HonestPeer::assume() });
        }
        options
    }
}
