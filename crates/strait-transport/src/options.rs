//! How a connection is to be made.

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use strait_sync::{HonestPeer, ValidArchives};

use crate::{error::Error, limits::Limits};

/// Longest spin: short beside the 100 ms by which a wait may miss its deadline.
const MAX_SPIN: Duration = Duration::from_millis(50);

/// Longest handshake.
const MAX_HANDSHAKE: Duration = Duration::from_secs(3600);

/// In [`Options::codec`]: a client that speaks no codec in particular, such as a tool. No server compares codec and schema with
/// its own then.
pub const CODEC_ANY: u8 = 255;

/// Smallest ring.
pub const MIN_RING_BYTES: u64 = 4096;

/// Largest ring.
pub(crate) const MAX_RING_BYTES: u64 = 64 << 20;

/// Smallest limit on control frames: each frame that this version sends fits.
const MIN_CONTROL_BYTES: u32 = 2048;

/// Whom a connection trusts when it receives: nobody, or in two steps the peer, each said by a token that only `unsafe` makes.
#[derive(Clone, Copy, Debug, Default)]
pub enum Receive {
    /// Copied into a private buffer, then checked: sound for any peer.
    #[default]
    Copied,
    /// Read in the ring where the peer wrote it, for as long as the message is held. When messages that are held span more
    /// than half the ring, further ones are copied.
    InPlace(HonestPeer),
    /// As [`InPlace`](Self::InPlace), and rkyv archives are not validated: only their size and alignment are checked when they
    /// are opened. Other codecs, checksums and the protocol's own checks are the same as ever.
    ///
    /// The second token speaks of the peer, so it holds for every message of the connection, whatever way it came: in place,
    /// copied because too much is held, or over the socket. On a listener it speaks of every client that may connect. And it
    /// speaks of types: each message must be *read* as the type it was written as, which nobody checks then beyond what the two
    /// ends compare when they connect.
    ///
    /// No other step leads here; one token is not the other, and safe code makes neither:
    ///
    /// ```compile_fail,E0133
    /// strait_transport::ValidArchives::assume();
    /// ```
    /// ```compile_fail,E0423
    /// strait_transport::ValidArchives(());
    /// ```
    /// ```compile_fail,E0308
    /// # use strait_transport::{HonestPeer, Receive};
    /// fn skip_validation(trust: HonestPeer) -> Receive {
    ///     Receive::InPlaceUnvalidated(trust, trust)
    /// }
    /// ```
    InPlaceUnvalidated(HonestPeer, ValidArchives),
}

impl Receive {
    /// The token that spares archives their validation.
    pub(crate) fn valid_archives(self) -> Option<ValidArchives> {
        match self {
            Self::Copied | Self::InPlace(_) => None,
            Self::InPlaceUnvalidated(_, valid) => Some(valid),
        }
    }
}

/// How a connection is to be made. The same type serves both sides.
///
/// ```
/// use strait_transport::Options;
/// let options = Options { ring_bytes: 1 << 20, checksum: false, ..Options::default() };
/// options.check().unwrap();
/// assert_eq!(options.max_message_bytes(), 262_128);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Capacity of the ring that this side sends through: a power of two from 4 KiB to 64 MiB (default 256 KiB). A
    /// message may be a quarter of it, less 16 bytes, on whatever transport it goes.
    pub ring_bytes: u64,
    /// Records start at multiples of this: 16 (default), or 64 where latency counts more than memory.
    pub record_align_bytes: u32,
    /// Whether to try shared memory (default true, unless the environment has `STRAIT_DISABLE_SHM=1`).
    pub shared_memory: bool,
    /// Whether the kernel may join the pages of the segment that this side makes into huge ones (default false). A wish: see
    /// [`Pages::Transparent`](strait_region::Pages::Transparent).
    pub huge_pages: bool,
    /// Whether all pages of that segment are mapped when it is made, so that no first touch asks the kernel later (default
    /// false). They are allocated in any case.
    pub prefault: bool,
    /// Whether messages carry a CRC32 (default true). On where either side wants it.
    pub checksum: bool,
    /// Whether messages carry the time (default true). On where either side wants it.
    pub timestamp: bool,
    /// Whether requests may carry the trace context of their callers (default false): where both sides say so. `strait-rpc`
    /// says so where it is built with `spans`, whatever stands here, and nobody else makes use of it.
    pub trace_context: bool,
    /// How messages are received, and whom that trusts.
    pub receive: Receive,
    /// Longest spin of a thread before it sleeps (default 50 µs, zero on a single core).
    pub spin: Duration,
    /// Longest spin inside one poll of a task (default 5 µs, zero on a single core).
    pub spin_async: Duration,
    /// Longest spin of a thread on a socket, each look a system call (default zero).
    pub spin_socket: Duration,
    /// Service kind in `Hello` (1 is rpc); both sides must agree.
    pub service: u8,
    /// Codec in `Hello`; both sides must agree.
    pub codec: u8,
    /// Schema of the messages in `Hello`; both sides must agree.
    pub schema: u64,
    /// Messages in flight that this side can keep track of, 1..=4096 (default 64); the smaller of both sides' is settled.
    pub max_in_flight: u32,
    /// Asks for a pin on what the server publishes, so that its values can be read in place (default none). Of use to the shell
    /// of a state alone, and only where its daemon grants pins.
    ///
    /// The token says of the daemon that it leaves alone what is pinned. Whoever takes the memory from a connection by hand
    /// ([`Connection::take_state`](crate::Connection::take_state)) also says by it that nothing is pinned once that connection was
    /// closed or dropped: the daemon takes the pin back then.
    pub state_pin: Option<HonestPeer>,
    /// Where sockets lie, instead of the directory that the environment gives.
    pub runtime_dir: Option<PathBuf>,
    /// What the peer may cost.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        let spin = |duration| if processors() > 1 { duration } else { Duration::ZERO };
        Self {
            ring_bytes: 256 * 1024,
            record_align_bytes: 16,
            shared_memory: !shared_memory_disabled(),
            huge_pages: false,
            prefault: false,
            checksum: true,
            timestamp: true,
            trace_context: false,
            receive: Receive::Copied,
            spin: spin(Duration::from_micros(50)),
            spin_async: spin(Duration::from_micros(5)),
            spin_socket: Duration::ZERO,
            service: 0,
            codec: 0,
            schema: 0,
            max_in_flight: 64,
            state_pin: None,
            runtime_dir: None,
            limits: Limits::default(),
        }
    }
}

/// How many processors this process can have at a time, by its affinity and its quota. Asked once, and before any thread is kept on one
/// of them here: such a thread would be told that there is one.
pub(crate) fn processors() -> usize {
    static KNOWN: OnceLock<usize> = OnceLock::new();
    *KNOWN.get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// Whether `STRAIT_DISABLE_SHM` says so: any value but the empty one and `0`.
fn shared_memory_disabled() -> bool {
    std::env::var_os("STRAIT_DISABLE_SHM").is_some_and(|value| !value.is_empty() && value != "0")
}

impl Options {
    /// Checks each option against its range.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] naming the first one that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |option, found: String, expected| Err(Error::Option { option, found, expected });
        if !self.ring_bytes.is_power_of_two() || !(MIN_RING_BYTES..=MAX_RING_BYTES).contains(&self.ring_bytes) {
            return bad("ring_bytes", self.ring_bytes.to_string(), "a power of two from 4096 to 67108864");
        }
        if !matches!(self.record_align_bytes, 16 | 64) {
            return bad("record_align_bytes", self.record_align_bytes.to_string(), "16 or 64");
        }
        if !(1..=4096).contains(&self.max_in_flight) {
            return bad("max_in_flight", self.max_in_flight.to_string(), "1 to 4096");
        }
        for (option, spin) in [("spin", self.spin), ("spin_async", self.spin_async), ("spin_socket", self.spin_socket)]
        {
            if spin > MAX_SPIN {
                return bad(option, format!("{spin:?}"), "at most 50 ms: a spin does not look at deadlines");
            }
        }
        if self.limits.handshake_timeout > MAX_HANDSHAKE {
            let found = format!("{:?}", self.limits.handshake_timeout);
            return bad("limits.handshake_timeout", found, "at most 1 h");
        }
        if self.limits.max_ring_bytes > MAX_RING_BYTES {
            return bad("limits.max_ring_bytes", self.limits.max_ring_bytes.to_string(), "at most 67108864");
        }
        if !(MIN_CONTROL_BYTES..=1 << 20).contains(&self.limits.max_control_bytes) {
            return bad("limits.max_control_bytes", self.limits.max_control_bytes.to_string(), "2048 to 1048576");
        }
        Ok(())
    }

    /// Bytes of the segment that this side makes, all of them allocated; `ring_bytes` must be in its range.
    ///
    /// # Panics
    ///
    /// Where `ring_bytes` is so far out of its range that two pages more are beyond a `u64`.
    ///
    /// ```
    /// assert_eq!(strait_transport::Options::default().segment_bytes(), 2 * 4096 + 256 * 1024);
    /// ```
    pub fn segment_bytes(&self) -> u64 {
        crate::segment::total_bytes(self.ring_bytes)
    }

    /// Largest message that this side can send with these options, in bytes.
    pub fn max_message_bytes(&self) -> usize {
        max_message_bytes(self.ring_bytes)
    }
}

/// Largest message of a ring: a quarter of its capacity, less the record's header.
pub(crate) fn max_message_bytes(ring_bytes: u64) -> usize {
    (ring_bytes / 4 - 16) as usize
}

/// What goes into the envelope of each message, settled by the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    pub(crate) checksum: bool,
    pub(crate) timestamp: bool,
}

impl Framing {
    pub(crate) fn now(self) -> u64 {
        if self.timestamp { strait_frame::now_micros() } else { 0 }
    }
}
