//! Where each byte goes.

use serde::Serialize;
use strait::{Config, config::ConfigError};

use super::Channel;

/// Memory of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    pub(super) what: String,
    /// In which process it counts, as its maker.
    pub(super) made_by: &'static str,
    pub(super) each_bytes: u64,
    pub(super) count: u64,
    pub(super) total_bytes: u64,
}

impl Part {
    fn new(what: impl Into<String>, made_by: &'static str, each_bytes: u64, count: u64) -> Self {
        Self { what: what.into(), made_by, each_bytes, count, total_bytes: each_bytes.saturating_mul(count) }
    }
}

/// What a service and its clients take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    /// Segments, to the byte as the kernel counts them: all of it is taken when they are made.
    pub(super) segments: Vec<Part>,
    pub(super) segments_bytes: u64,
    /// What may come on top, at need and at most.
    pub(super) at_most: Vec<Part>,
    pub(super) at_most_bytes: u64,
    /// What counts for the server of it all, and for each client.
    pub(super) server_bytes: u64,
    pub(super) client_bytes: u64,
}

const SERVER: &str = "server";
const CLIENT: &str = "client";

/// Reckons `config` for so many clients, each end of which holds so many received messages at once.
pub(super) fn reckon(config: &Config, channel: Channel, clients: u64, held: u64) -> Result<Memory, ConfigError> {
    let required = config.memory_required()?;
    // In shared memory or not: then both segments are 0.
    let pages = required.sender_segment_bytes.saturating_sub(config.ring_bytes);
    let mut segments = Vec::new();
    if required.sender_segment_bytes > 0 {
        for (side, made_by, segment_bytes) in [
            ("to the server", CLIENT, required.sender_segment_bytes),
            ("to the client", SERVER, required.receiver_segment_bytes),
        ] {
            segments.push(Part::new(format!("header and control lines of the ring {side}"), made_by, pages, clients));
            segments.push(Part::new(format!("ring {side}"), made_by, segment_bytes - pages, clients));
        }
    }
    let pins = u64::from(config.state_max_pins).min(clients);
    if channel == Channel::State && required.sender_segment_bytes > 0 {
        segments.push(Part::new("state: three values, one more per pin", SERVER, required.state_segment_bytes, 1));
        if pins > 0 {
            segments.push(Part::new(
                "pins of shells that read in place",
                CLIENT,
                required.state_pin_segment_bytes,
                pins,
            ));
        }
    }
    let buffers = |made_by, count| {
        Part::new("buffers of messages that are received and held", made_by, required.pooled_buffer_bytes, count)
    };
    let mut at_most =
        vec![buffers(SERVER, clients.saturating_mul(held)), buffers(CLIENT, clients.saturating_mul(held))];
    if channel == Channel::Queue {
        at_most.push(Part::new("items that the queue's owner holds", SERVER, config.queue_capacity_bytes, 1));
    }
    let sum = |parts: &[Part], of: &dyn Fn(&Part) -> bool| {
        parts.iter().filter(|part| of(part)).map(|part| part.total_bytes).sum::<u64>()
    };
    let all = |parts: &[Part]| sum(parts, &|_| true);
    // A pin's segment is small, and only some clients have one.
    let each = |parts: &[Part]| {
        parts
            .iter()
            .filter(|part| part.made_by == CLIENT && part.count >= clients)
            .map(|part| part.total_bytes / clients.max(1))
            .sum::<u64>()
    };
    Ok(Memory {
        segments_bytes: all(&segments),
        at_most_bytes: all(&at_most),
        server_bytes: sum(&segments, &|part| part.made_by == SERVER) + sum(&at_most, &|part| part.made_by == SERVER),
        client_bytes: each(&segments) + each(&at_most),
        segments,
        at_most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_make_the_segments_to_the_byte() {
        for config in [
            Config::default(),
            Config::balanced(),
            Config { direction: strait::config::Direction::OneWay, ..Config::high_throughput() },
        ] {
            for clients in [0, 1, 7] {
                let memory = reckon(&config, Channel::Calls, clients, 2).unwrap();
                let required = config.memory_required().unwrap();
                assert_eq!(memory.segments_bytes, required.segment_bytes(clients), "{config:?}");
                assert_eq!(memory.at_most_bytes, 4 * clients * required.pooled_buffer_bytes);
            }
        }
    }

    #[test]
    fn a_state_is_there_once_and_its_pins_for_as_many_shells_as_have_one() {
        let config = Config { state_max_pins: 2, ..Config::default() };
        let of = |clients| reckon(&config, Channel::State, clients, 1).unwrap();
        let required = config.memory_required().unwrap();
        let expected = required.segment_bytes(5) + required.state_segment_bytes + 2 * required.state_pin_segment_bytes;
        assert_eq!(of(5).segments_bytes, expected);
        assert_eq!(of(1).segments.last().unwrap().count, 1);
    }

    #[test]
    fn on_a_socket_there_are_no_segments() {
        let config = Config { medium: strait::config::Medium::Socket, ..Config::default() };
        let memory = reckon(&config, Channel::Queue, 3, 1).unwrap();
        assert_eq!((memory.segments.len(), memory.segments_bytes), (0, 0));
        assert_eq!(memory.at_most.last().unwrap().each_bytes, config.queue_capacity_bytes);
    }
}
