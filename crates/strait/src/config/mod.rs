//! Every knob with its name, its default and its range, in one place.
//!
//! A [`Config`] comes from code ([`Config::builder`]), from a preset, from TOML (feature `toml`, or any other serde format), from
//! the environment or from a table of properties. It is turned into what the parts take: [`Config::options`] for connections,
//! [`Config::stream_config`], [`Config::state_config`], [`Config::queue_settings`], [`Config::polling`].
//!
//! ```
//! use strait::Config;
//!
//! let config = Config::builder().ring_bytes(1 << 20).checksum(false).build()?;
//! assert_eq!(config.options()?.max_message_bytes(), (1 << 18) - 16);
//!
//! let error = Config::builder().ring_bytes(5000).build().unwrap_err();
//! assert_eq!(error.to_string(), "ring_bytes is 5000, expected a power of two from 4096 to 67108864");
//! # Ok::<(), strait::config::ConfigError>(())
//! ```
//!
//! # Presets
//!
//! Entries of a largest size, as bytes. Records take what they need, so that more of the smaller ones fit.
//!
//! | preset | entries | largest message | in bytes | ring | and |
//! |---|---|---|---|---|---|
//! | [`Config::ultra_low_latency`] | 256 | 4 KiB | 1 MiB | 1 MiB | records on lines of their own, a long spin, no checksum, no timestamp, mapped at once |
//! | [`Config::high_throughput`] | 16,384 | 64 KiB | 1 GiB | 64 MiB, the largest there is: 1,023 of the largest, 16,384 of about 4 KiB | mapped at once, huge pages where the kernel has them |
//! | [`Config::balanced`] | 4,096 | 64 KiB | 256 MiB | 4 MiB: 63 of the largest, 4,096 of about 1 KiB | the defaults |
//! | [`Config::multi_producer`] | 8,192 | 16 KiB | 128 MiB | 256 KiB for each participant | the entries lie in the queue's owner, and 128 MiB is its limit |
//! | [`Config::multi_consumer`] | 2,048 | 8 KiB | 16 MiB | 256 KiB for each participant | the same with 16 MiB, and few items ahead, so that each consumer has some |
//!
//! # The environment
//!
//! `STRAIT_` and the knob's name in capitals, such as `STRAIT_RING_BYTES=1048576`: [`Config::with_env`].
//!
//! # What is not here
//!
//! A knob that nothing would read is refused, in every way in. So there is none for yields or for parks: a thread that waits spins
//! for `spin_us`, after its first microseconds giving the processor away between looks, and then sleeps until it is woken.

mod error;
mod knobs;
mod properties;

pub use error::ConfigError;
pub use knobs::{Backpressure, Builder, Config, Direction, KNOBS, Knob, Medium, Trust};
pub use properties::Properties;

use std::time::Duration;

use strait_channel::{queue::Settings, state, stream};
use strait_region::{HEADER_BYTES, LayoutCursor};
use strait_rpc::blocking::Polling;
use strait_seqlock::snapshot::Geometry;
use strait_transport::{
    Connection, HonestPeer, Limits, MIN_RING_BYTES, Options, PIN_SEGMENT_BYTES, PinError, Receive, ValidArchives,
};

/// What connections of a [`Config`] take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRequired {
    /// The segment of the side that sends (in a duplex connection of each side alike): allocated in full when the connection
    /// moves to shared memory.
    pub sender_segment_bytes: u64,
    /// The segment of the other side: as large, and in a one-way connection the smallest there is.
    pub receiver_segment_bytes: u64,
    /// A buffer for the largest message. Buffers are made at first need, one per message that is received and held, and kept
    /// for the next: none for messages that are read in place.
    pub pooled_buffer_bytes: u64,
    /// What a process keeps of them at most while nobody uses them, besides 4 MiB for each of its threads.
    pub pool_bytes: u64,
    /// The segment of a published state, one for its daemon and all of its shells: allocated in full when it is made.
    pub state_segment_bytes: u64,
    /// The segment that a shell makes to read a state in place: one for each that asks for a pin
    /// ([`state_pin`](Options::state_pin)), granted or not.
    pub state_pin_segment_bytes: u64,
}

impl MemoryRequired {
    /// The segments of so many connections, to the byte as the kernel counts them.
    pub fn segment_bytes(&self, connections: u64) -> u64 {
        connections * (self.sender_segment_bytes + self.receiver_segment_bytes)
    }
}

impl Config {
    /// The options of a side that sends: of either one, where the connection is duplex.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`]; [`ConfigError::NotHere`] where `trust` needs a token
    /// ([`options_trusting`](Self::options_trusting)) or `medium` is [`Medium::InProcess`] ([`pair`](Self::pair)).
    pub fn options(&self) -> Result<Options, ConfigError> {
        self.check()?;
        if self.medium == Medium::InProcess {
            return Err(ConfigError::NotHere {
                field: "medium",
                what: "in-process connections come from Config::pair",
            });
        }
        let receive = self.receive(None, None)?;
        Ok(self.options_of(receive))
    }

    /// As [`options`](Self::options), with the tokens that `trust` asks for: the second one only for
    /// [`Trust::InPlaceUnvalidated`]. The tokens are those of [`Receive`].
    ///
    /// # Errors
    ///
    /// As [`options`](Self::options); [`ConfigError::NotHere`] where the second token is missing.
    pub fn options_trusting(&self, peer: HonestPeer, archives: Option<ValidArchives>) -> Result<Options, ConfigError> {
        let receive = self.receive(Some(peer), archives)?;
        let copied = Self { trust: Trust::Copied, ..self.clone() };
        Ok(Options { receive, ..copied.options()? })
    }

    /// The options of a side that only receives: in a one-way connection its own ring, which carries nothing but what the
    /// protocol itself has to say, is the smallest there is.
    ///
    /// # Errors
    ///
    /// As [`options`](Self::options).
    pub fn receiver_options(&self) -> Result<Options, ConfigError> {
        let options = self.options()?;
        Ok(Options { ring_bytes: self.receiver_ring_bytes(), ..options })
    }

    /// Two connected ends inside this process, whose medium must be [`Medium::InProcess`]. Both rings have `ring_bytes`.
    ///
    /// # Errors
    ///
    /// As [`options`](Self::options); [`ConfigError::NotHere`] for another medium.
    pub fn pair(&self) -> Result<(Connection, Connection), ConfigError> {
        if self.medium != Medium::InProcess {
            return Err(ConfigError::NotHere { field: "medium", what: "only in-process connections come in pairs" });
        }
        if self.direction == Direction::OneWay {
            return Err(ConfigError::NotHere { field: "direction", what: "in-process connections are duplex" });
        }
        let options = Self { medium: Medium::Auto, ..self.clone() }.options()?;
        Ok(strait_transport::local::pair(&options)?)
    }

    /// The settings of a queue.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`].
    pub fn queue_settings(&self) -> Result<Settings, ConfigError> {
        self.check()?;
        Ok(Settings {
            capacity: self.queue_capacity,
            capacity_bytes: self.queue_capacity_bytes,
            acknowledged: self.queue_acknowledged,
            max_deliveries: self.queue_max_deliveries,
            window: self.queue_window,
            max_prefetch: self.queue_max_prefetch,
        })
    }

    /// How a stream is made.
    ///
    /// # Errors
    ///
    /// As [`options`](Self::options).
    pub fn stream_config(&self) -> Result<stream::Config, ConfigError> {
        Ok(stream::Config {
            options: self.options()?,
            backpressure: match self.stream_backpressure {
                Backpressure::Block => stream::Backpressure::Block,
                Backpressure::Fail => stream::Backpressure::Fail,
                Backpressure::DropNewest => stream::Backpressure::DropNewest,
            },
            send_timeout: match self.stream_send_timeout_ms {
                0 => None,
                ms => Some(Duration::from_millis(ms)),
            },
        })
    }

    /// How a daemon publishes its state.
    ///
    /// # Errors
    ///
    /// As [`options`](Self::options); [`ConfigError::OutOfRange`] for `max_clients` beyond 65,536.
    pub fn state_config(&self) -> Result<state::Config, ConfigError> {
        let options = self.options()?;
        if self.max_clients > 65_536 {
            return Err(ConfigError::range("max_clients", self.max_clients, "1 to 65536 for a state"));
        }
        Ok(state::Config {
            max_value_bytes: self.state_max_value_bytes as usize,
            max_pins: self.state_max_pins as usize,
            commands: self.state_commands as usize,
            max_clients: self.max_clients,
            checkpoint: self.state_checkpoint.clone(),
            options,
        })
    }

    /// How a server that polls does so: from one thread, on `cpu`, `batch` messages in a turn.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`].
    pub fn polling(&self) -> Result<Polling, ConfigError> {
        self.check()?;
        Ok(Polling { cpus: self.cpu.into_iter().collect(), max_batch: self.batch, ..Polling::default() })
    }

    /// Keeps the calling thread on `cpu`, if there is one.
    ///
    /// # Errors
    ///
    /// [`PinError`] for a processor that there is not.
    pub fn pin_current_thread(&self) -> Result<(), PinError> {
        self.cpu.map_or(Ok(()), strait_transport::pin_current_thread)
    }

    /// What a connection takes, both sides being of this configuration.
    ///
    /// ```
    /// let required = strait::Config::default().memory_required()?;
    /// assert_eq!(required.segment_bytes(1), 2 * (8192 + 256 * 1024));
    /// # Ok::<(), strait::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`].
    pub fn memory_required(&self) -> Result<MemoryRequired, ConfigError> {
        self.check()?;
        let bytes = |ring_bytes| {
            let in_segments = matches!(self.medium, Medium::Auto | Medium::Shared);
            if in_segments { Options { ring_bytes, ..Options::default() }.segment_bytes() } else { 0 }
        };
        let largest = self.largest_message_bytes();
        Ok(MemoryRequired {
            sender_segment_bytes: bytes(self.ring_bytes),
            receiver_segment_bytes: bytes(self.receiver_ring_bytes()),
            pooled_buffer_bytes: largest.max(256).next_power_of_two(),
            pool_bytes: 64 << 20,
            state_segment_bytes: self.state_segment_bytes()?,
            state_pin_segment_bytes: PIN_SEGMENT_BYTES,
        })
    }

    /// A header, a line of constants, three slots, and one for each pin.
    fn state_segment_bytes(&self) -> Result<u64, ConfigError> {
        let field = "state_max_value_bytes";
        let too_long = |_| ConfigError::range(field, self.state_max_value_bytes, "what this machine can address");
        let max = usize::try_from(self.state_max_value_bytes).map_err(|_| too_long(()))?;
        let geometry = Geometry::new(max)
            .and_then(|geometry| geometry.with_pins(self.state_max_pins as usize))
            .and_then(|geometry| geometry.at(HEADER_BYTES + 128));
        let mut cursor = LayoutCursor::new();
        cursor.place(geometry.map_err(|_| too_long(()))?.end() as u64, 1).map_err(|_| too_long(()))?;
        cursor.total(HEADER_BYTES as u64).map_err(|_| too_long(()))
    }

    /// Largest message in bytes: what the ring allows.
    pub fn largest_message_bytes(&self) -> u64 {
        self.ring_bytes / 4 - 16
    }

    fn receiver_ring_bytes(&self) -> u64 {
        match self.direction {
            Direction::Duplex => self.ring_bytes,
            Direction::OneWay => MIN_RING_BYTES,
        }
    }

    fn receive(&self, peer: Option<HonestPeer>, archives: Option<ValidArchives>) -> Result<Receive, ConfigError> {
        match (self.trust, peer, archives) {
            (Trust::Copied, ..) => Ok(Receive::Copied),
            (Trust::InPlace, Some(peer), _) => Ok(Receive::InPlace(peer)),
            (Trust::InPlaceUnvalidated, Some(peer), Some(archives)) => Ok(Receive::InPlaceUnvalidated(peer, archives)),
            _ => Err(ConfigError::NotHere {
                field: "trust",
                what: "a file cannot vouch for a peer: pass the tokens to Config::options_trusting",
            }),
        }
    }

    fn options_of(&self, receive: Receive) -> Options {
        let default = Options::default();
        Options {
            ring_bytes: self.ring_bytes,
            record_align_bytes: self.record_align_bytes,
            shared_memory: match self.medium {
                Medium::Auto => default.shared_memory,
                Medium::Shared => true,
                Medium::Socket | Medium::InProcess => false,
            },
            huge_pages: self.huge_pages,
            prefault: self.prefault,
            checksum: self.checksum,
            timestamp: self.timestamp,
            receive,
            spin: self.spin_us.map_or(default.spin, Duration::from_micros),
            spin_async: self.spin_async_us.map_or(default.spin_async, Duration::from_micros),
            spin_socket: Duration::from_micros(self.spin_socket_us),
            max_in_flight: self.max_in_flight,
            runtime_dir: self.runtime_dir.clone(),
            limits: Limits {
                max_clients: self.max_clients,
                max_pending_handshakes: self.max_pending_handshakes,
                handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
                max_ring_bytes: self.max_ring_bytes,
                max_control_bytes: self.max_control_bytes,
                max_shown_sockets: self.max_shown_sockets,
                ..default.limits
            },
            ..default
        }
    }
}
