//! Configurations as tables of properties: rings counted in entries of a largest size.

use super::{
    error::ConfigError,
    knobs::{Config, Direction},
};

/// What a table of properties says.
#[derive(Clone, Debug, PartialEq)]
pub struct Properties {
    /// The configuration.
    pub config: Config,
    /// Whether this side offers the service (`create_shm`: true is for who binds, false for who connects); `None` where the
    /// table does not say.
    pub binds: Option<bool>,
}

const KNOWN: &[&str] = &["shm_size", "ring_buffer_capacity", "create_shm", "bidirectional", "max_message_size"];

/// Bytes of a ring for so many entries of a largest size: their product as the next power of two, at least what one message needs
/// and at most the largest ring.
pub(crate) fn ring_bytes(entries: u64, message_bytes: u64) -> u64 {
    const MAX: u64 = 64 << 20;
    let least = (4 * (message_bytes + 16)).next_power_of_two().max(4096);
    entries.saturating_mul(message_bytes).min(MAX).next_power_of_two().clamp(least.min(MAX), MAX)
}

impl Config {
    /// Reads a table of properties:
    ///
    /// | key | becomes |
    /// |---|---|
    /// | `ring_buffer_capacity` | entries, a power of two; times `max_message_size` (1,024 where it is missing), as the next power of two and at most 64 MiB, it is `ring_bytes` |
    /// | `max_message_size` | `max_message_bytes` |
    /// | `shm_size` | what all segments together may take: rings are halved until they fit |
    /// | `bidirectional` | `direction`: true is duplex, false one-way |
    /// | `create_shm` | [`Properties::binds`] |
    ///
    /// Entries that would take more than there is are fewer then, of the largest size: records take what they need, so that there
    /// may be as many of a smaller one.
    ///
    /// ```
    /// use strait::Config;
    /// let properties = [("ring_buffer_capacity", "256"), ("max_message_size", "4096"), ("create_shm", "true")];
    /// let properties = Config::from_properties(properties)?;
    /// assert_eq!(properties.config.ring_bytes, 1 << 20);
    /// assert_eq!(properties.binds, Some(true));
    /// # Ok::<(), strait::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unknown`] for another key; [`ConfigError::OutOfRange`] naming the key.
    pub fn from_properties<'a>(table: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Properties, ConfigError> {
        let (mut config, mut binds) = (Self::default(), None);
        let (mut entries, mut message_bytes, mut total_bytes) = (None, None, None);
        for (key, text) in table {
            match key {
                "ring_buffer_capacity" => {
                    entries = Some(number(key, text, "a power of two from 1 to 16777216", |entries| {
                        entries.is_power_of_two() && entries <= 1 << 24
                    })?);
                }
                "max_message_size" => {
                    message_bytes =
                        Some(number(key, text, "1 to 16777200", |bytes| (1..=(16 << 20) - 16).contains(&bytes))?);
                }
                "shm_size" => total_bytes = Some(number(key, text, "at least 24576", |bytes| bytes >= 24_576)?),
                "bidirectional" => {
                    config.direction = if flag(key, text)? { Direction::Duplex } else { Direction::OneWay };
                }
                "create_shm" => binds = Some(flag(key, text)?),
                // What a ring does not have: no property stands for it, so that the knob is its name.
                knob if ["stream_", "state_", "queue_"].iter().any(|part| knob.starts_with(part)) => {
                    config.set(knob, text)?
                }
                other => return Err(ConfigError::Unknown { name: other.into(), known: KNOWN.to_vec() }),
            }
        }
        if entries.is_some() || message_bytes.is_some() {
            let default_entries = |bytes| config.ring_bytes / bytes;
            let bytes = message_bytes.unwrap_or(1024);
            config.ring_bytes = ring_bytes(entries.unwrap_or_else(|| default_entries(bytes)), bytes);
        }
        config.max_message_bytes = message_bytes;
        if let Some(total) = total_bytes {
            while config.memory_required()?.segment_bytes(1) > total {
                config.ring_bytes /= 2;
                if config.check().is_err() {
                    let expected = "enough for two segments with room for max_message_size";
                    return Err(ConfigError::range("shm_size", total, expected));
                }
            }
        }
        config.check()?;
        Ok(Properties { config, binds })
    }
}

fn number(key: &str, text: &str, expected: &str, valid: impl Fn(u64) -> bool) -> Result<u64, ConfigError> {
    let number = text.trim().parse().ok().filter(|number| valid(*number));
    number.ok_or_else(|| ConfigError::range(key, format!("{text:?}"), expected))
}

fn flag(key: &str, text: &str) -> Result<bool, ConfigError> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ConfigError::range(key, format!("{text:?}"), "true or false")),
    }
}
