//! The knobs, each said once: field, default, range, setter, and its name in text.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// A knob, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Its name: the field, the key in a file, and with `STRAIT_` before it and in capitals the variable.
    pub name: &'static str,
    /// Its default, as text; empty for none.
    pub default: &'static str,
    /// What it may be.
    pub range: &'static str,
}

/// What a thing in a file is called, and back.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl Text for $name {
            fn read(text: &str) -> Option<Self> {
                match text {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// How messages are received, and whom that trusts.
    Trust {
        /// Copied, then checked: nobody is trusted.
        #[default]
        Copied = "copied",
        /// Read where the peer wrote them.
        InPlace = "in_place",
        /// The same, and archives are not validated.
        InPlaceUnvalidated = "in_place_unvalidated",
    }
}

words! {
    /// What connections run over.
    Medium {
        /// Shared memory where both sides can, and unless `STRAIT_DISABLE_SHM` says no; else the socket.
        #[default]
        Auto = "auto",
        /// As `auto`, whatever `STRAIT_DISABLE_SHM` says. Where the other side cannot, the connection stays on its socket and says why.
        Shared = "shared",
        /// The socket alone.
        Socket = "socket",
        /// Inside this process.
        InProcess = "in_process",
    }
}

words! {
    /// What a stream does with a message that there is no room for.
    Backpressure {
        /// Waits for room.
        #[default]
        Block = "block",
        /// Fails at once.
        Fail = "fail",
        /// Drops it, and counts it.
        DropNewest = "drop_newest",
    }
}

words! {
    /// Which ways messages go.
    Direction {
        /// Both: each side has a ring of `ring_bytes`.
        #[default]
        Duplex = "duplex",
        /// One: the other side's ring is the smallest there is.
        OneWay = "one_way",
    }
}

/// A value in text.
trait Text: Sized {
    fn read(text: &str) -> Option<Self>;
}

macro_rules! parsed {
    ($($type:ty),*) => { $(impl Text for $type { fn read(text: &str) -> Option<Self> { text.trim().parse().ok() } })* };
}

parsed!(u32, u64, usize);

impl Text for bool {
    fn read(text: &str) -> Option<Self> {
        match text.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
}

impl Text for PathBuf {
    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }
}

impl<T: Text> Text for Option<T> {
    fn read(text: &str) -> Option<Self> {
        T::read(text).map(Some)
    }
}

macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $text:literal, $range:literal, $valid:expr;)*) => {
        /// A configuration: see the [module](super). Fields that a file leaves out have their defaults; one that there is not is an
        /// error.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $($(#[$doc])*
            #[doc = concat!("\n\nRange: ", $range, ".")]
            pub $name: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// All knobs.
        ///
        /// ```
        /// for knob in strait::config::KNOBS {
        ///     println!("{:<24} {:<10} {}", knob.name, knob.default, knob.range);
        /// }
        /// ```
        pub const KNOBS: &[Knob] = &[$(Knob { name: stringify!($name), default: $text, range: $range },)*];

        impl Config {
            /// Checks each field against its range, and those that depend on each other.
            ///
            /// # Errors
            ///
            /// [`ConfigError::OutOfRange`] naming the first one that is out of range.
            pub fn check(&self) -> Result<(), ConfigError> {
                $({
                    let valid: fn(&$type) -> bool = $valid;
                    if !valid(&self.$name) {
                        return Err(ConfigError::range(stringify!($name), format!("{:?}", self.$name), $range));
                    }
                })*
                self.check_together()
            }

            /// Sets a knob by its name, from text. What depends on other knobs is checked by [`check`](Self::check).
            ///
            /// # Errors
            ///
            /// [`ConfigError::OutOfRange`], [`ConfigError::Unknown`], [`ConfigError::Unread`].
            pub fn set(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
                match name {
                    $(stringify!($name) => {
                        let valid: fn(&$type) -> bool = $valid;
                        let value = <$type as Text>::read(text).filter(valid);
                        self.$name = value.ok_or_else(|| ConfigError::range(name, format!("{text:?}"), $range))?;
                        Ok(())
                    })*
                    other => Err(no_knob(other)),
                }
            }
        }

        /// Makes a [`Config`], knob by knob.
        #[derive(Clone, Debug, Default)]
        pub struct Builder {
            config: Config,
        }

        impl Builder {
            /// Goes on from `config`, such as a preset.
            pub fn from_config(config: Config) -> Self {
                Self { config }
            }

            $($(#[$doc])*
            #[doc = concat!("\n\nRange: ", $range, ".")]
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.config.$name = $name;
                self
            }
)*
            /// Checks it.
            ///
            /// # Errors
            ///
            /// As [`Config::check`].
            pub fn build(self) -> Result<Config, ConfigError> {
                self.config.check()?;
                Ok(self.config)
            }
        }
    };
}

knobs! {
    /// Capacity of the ring that this side sends through.
    ring_bytes: u64 = 256 << 10, "262144", "a power of two from 4096 to 67108864",
        |bytes| bytes.is_power_of_two() && (4096..=64 << 20).contains(bytes);
    /// A largest message that the ring must have room for: a quarter of it, less 16 bytes. None asks for nothing.
    max_message_bytes: Option<u64> = None, "", "1 to 16777200, and at most ring_bytes / 4 - 16",
        |bytes| bytes.is_none_or(|bytes| (1..=(16 << 20) - 16).contains(&bytes));
    /// Records start at multiples of this.
    record_align_bytes: u32 = 16, "16", "16 or 64", |bytes| matches!(bytes, 16 | 64);
    /// Longest spin of a thread before it sleeps, in µs. None is 50, and 0 on a single core.
    spin_us: Option<u64> = None, "", "0 to 50000", |us| us.is_none_or(|us| us <= 50_000);
    /// Longest spin inside one poll of a task, in µs. None is 5, and 0 on a single core.
    spin_async_us: Option<u64> = None, "", "0 to 50000", |us| us.is_none_or(|us| us <= 50_000);
    /// Longest spin of a thread on a socket, in µs, each look a system call.
    spin_socket_us: u64 = 0, "0", "0 to 50000", |us| *us <= 50_000;
    /// The processor for [`Config::polling`] and [`Config::pin_current_thread`]. None leaves the choice to the system.
    cpu: Option<usize> = None, "", "0 to 1023", |cpu| cpu.is_none_or(|cpu| cpu <= 1023);
    /// Whether the kernel may join pages of a segment into huge ones.
    huge_pages: bool = false, "false", "true or false", |_| true;
    /// Whether all pages of a segment are mapped when it is made.
    prefault: bool = false, "false", "true or false", |_| true;
    /// Messages of one client that a polling server takes in before the next has its turn.
    batch: u32 = 16, "16", "1 to 4096", |batch| (1..=4096).contains(batch);
    /// Whether messages carry a CRC32.
    checksum: bool = true, "true", "true or false", |_| true;
    /// Whether messages carry the time.
    timestamp: bool = true, "true", "true or false", |_| true;
    /// How messages are received.
    trust: Trust = Trust::Copied, "copied", "copied, in_place or in_place_unvalidated", |_| true;
    /// What connections run over.
    medium: Medium = Medium::Auto, "auto", "auto, shared, socket or in_process", |_| true;
    /// Which ways messages go.
    direction: Direction = Direction::Duplex, "duplex", "duplex or one_way", |_| true;
    /// Calls in flight on a connection.
    max_in_flight: u32 = 64, "64", "1 to 4096", |calls| (1..=4096).contains(calls);
    /// Where sockets lie, instead of the directory that the environment gives.
    runtime_dir: Option<PathBuf> = None, "", "a directory", |_| true;
    /// Connections that a listener keeps at once.
    max_clients: u32 = 128, "128", "1 to 1048576", |count| (1..=1 << 20).contains(count);
    /// Connections that have not finished their handshake.
    max_pending_handshakes: u32 = 16, "16", "1 to 1048576", |count| (1..=1 << 20).contains(count);
    /// From connect or accept to the end of the handshake, in ms.
    handshake_timeout_ms: u64 = 2000, "2000", "1 to 3600000", |ms| (1..=3_600_000).contains(ms);
    /// Largest ring that a peer may bring.
    max_ring_bytes: u64 = 64 << 20, "67108864", "4096 to 67108864", |bytes| (4096..=64 << 20).contains(bytes);
    /// Longest control frame.
    max_control_bytes: u32 = 4096, "4096", "2048 to 1048576", |bytes| (2048..=1 << 20).contains(bytes);
    /// Connections of a process that show their counters to tools while they are on their socket; 0 for none.
    max_shown_sockets: u32 = 128, "128", "0 to 1048576", |count| *count <= 1 << 20;
    /// What a `send` of a stream does where there is no room.
    stream_backpressure: Backpressure = Backpressure::Block, "block", "block, fail or drop_newest", |_| true;
    /// How long such a `send` waits, in ms; 0 for ever.
    stream_send_timeout_ms: u64 = 30_000, "30000", "0 to 3600000", |ms| *ms <= 3_600_000;
    /// The longest value of a state, in bytes. Its memory is three times that, and once more for each pin.
    state_max_value_bytes: u64 = 1 << 20, "1048576", "1 to 268435456", |bytes| (1..=256 << 20).contains(bytes);
    /// Shells of a state that may read in place at once.
    state_max_pins: u32 = 0, "0", "0 to 61", |pins| *pins <= 61;
    /// Commands of one shell that may be without an answer.
    state_commands: u32 = 64, "64", "1 to 4096", |commands| (1..=4096).contains(commands);
    /// The file that a state's checkpoints go to, and from which its next daemon goes on.
    state_checkpoint: Option<PathBuf> = None, "", "a file", |_| true;
    /// Items that the owner of a queue holds at most.
    queue_capacity: u32 = 1024, "1024", "1 to 16777216", |items| (1..=1 << 24).contains(items);
    /// Bytes of these items at which producers wait too.
    queue_capacity_bytes: u64 = 64 << 20, "67108864", "at least 1", |bytes| *bytes > 0;
    /// Whether workers of a queue acknowledge items.
    queue_acknowledged: bool = false, "false", "true or false", |_| true;
    /// How often an item of an acknowledged queue is given to a worker at most; 0 for no limit.
    queue_max_deliveries: u32 = 0, "0", "0 to 4294967295", |_| true;
    /// Items that a producer may have pushed and the owner not accepted yet.
    queue_window: u32 = 256, "256", "1 to 4096", |items| (1..=4096).contains(items);
    /// The most items that a worker is given ahead.
    queue_max_prefetch: u32 = 256, "256", "1 to 4096", |items| (1..=4096).contains(items);
}

/// Knobs that other libraries have and nothing here would read.
fn no_knob(name: &str) -> ConfigError {
    let why = match name {
        "yield_us" | "yield_threshold" => "a spin yields by itself after its first microseconds; see spin_us",
        "park_us" | "sleep_us" => "a sleeper is woken by its peer and sleeps no slices of time",
        _ => {
            let known = KNOBS.iter().map(|knob| knob.name).collect();
            return ConfigError::Unknown { name: name.into(), known };
        }
    };
    ConfigError::Unread { name: name.into(), why }
}

/// Variables with the same prefix that are read elsewhere, or tell a child of a test what to do.
fn is_no_knob(name: &str) -> bool {
    ["DISABLE_SHM", "TEST_", "MUTANT", "LOOM"].iter().any(|other| name.starts_with(other))
}

impl Config {
    /// A builder that begins with the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn check_together(&self) -> Result<(), ConfigError> {
        match self.max_message_bytes {
            Some(bytes) if bytes > self.largest_message_bytes() => {
                let (most, ring) = (self.largest_message_bytes(), self.ring_bytes);
                let expected = format!("at most {most}, a quarter of ring_bytes ({ring}) less 16");
                Err(ConfigError::range("max_message_bytes", bytes, &expected))
            }
            _ => Ok(()),
        }
    }

    /// Reads TOML: one key per knob.
    ///
    /// ```
    /// let config = strait::Config::from_toml("ring_bytes = 1048576\nmedium = \"socket\"\n")?;
    /// assert_eq!(config.ring_bytes, 1 << 20);
    /// assert!(strait::Config::from_toml("ring_byte = 1048576").is_err());
    /// # Ok::<(), strait::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Format`] with the place; [`ConfigError::OutOfRange`].
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Format(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Takes what variables say: those of this process, or any others, as pairs of name and value. Variables whose name does not
    /// begin with `STRAIT_` are left alone.
    ///
    /// ```
    /// use strait::Config;
    /// let config = Config::default().with_env([("STRAIT_RING_BYTES", "65536"), ("HOME", "/")])?;
    /// assert_eq!(config.ring_bytes, 65_536);
    /// let config = Config::balanced().with_env(std::env::vars())?;
    /// # Ok::<(), strait::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set) and [`check`](Self::check).
    pub fn with_env<N: AsRef<str>, V: AsRef<str>>(
        mut self,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in vars {
            let Some(knob) = name.as_ref().strip_prefix("STRAIT_").filter(|knob| !is_no_knob(knob)) else { continue };
            self.set(&knob.to_ascii_lowercase(), value.as_ref())?;
        }
        self.check()?;
        Ok(self)
    }
}
