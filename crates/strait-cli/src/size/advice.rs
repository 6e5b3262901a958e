//! From what is wanted to a channel and its knobs.

use std::time::Duration;

use serde::Serialize;
use strait::{Config, config::KNOBS};

use super::{Channel, Preset};
use crate::{
    failure::Failure,
    units::{bytes, count, decimal_bytes, duration},
};

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub(super) rate: Option<f64>,
    pub(super) latency: Option<Duration>,
    pub(super) message_bytes: u64,
    pub(super) producers: u64,
    pub(super) consumers: u64,
}

/// What is recommended, and why.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Advice {
    pub(super) channel: Channel,
    pub(super) preset: Preset,
    pub(super) reasons: Vec<String>,
    /// The knobs that differ from the preset's, as lines of TOML.
    pub(super) changes: Vec<String>,
    #[serde(skip)]
    pub(super) config: Config,
}

/// A sleeper is woken through the kernel in 10 to 100 µs (docs/BENCHMARKS.md, "wake"): below, somebody has to stay
/// awake.
const WAKE_UP: Duration = Duration::from_micros(100);
/// From here on a queue's owner, with one connection in and one out, is not enough (docs/BENCHMARKS.md, "queue").
const QUEUE_ITEMS_PER_S: f64 = 1e6;
/// From here on bytes count and not messages.
const BULK_BYTES_PER_S: f64 = 1e9;
/// One way and copied, this much was measured at best (docs/BENCHMARKS.md, "stream").
const MEASURED_BYTES_PER_S: f64 = 18e9;
const MEASURED_MESSAGES_PER_S: f64 = 10e6;
/// A consumer that loses its processor is away for so long: the ring should hold what comes meanwhile.
const PAUSE: Duration = Duration::from_millis(4);

/// Header of a record, of a channel's message, and what aligns them.
const RECORD_BYTES: u64 = 32;
const LARGEST_RING_BYTES: u64 = 64 << 20;
const LARGEST_STATE_BYTES: u64 = 256 << 20;

pub(super) fn advise(need: &Need, processors: usize) -> Result<Advice, Failure> {
    let mut reasons = Vec::new();
    let channel = channel(need, &mut reasons);
    let preset = preset(need, channel, processors, &mut reasons);
    let base = preset.config();
    let mut config = base.clone();
    fit(need, channel, &mut config, &mut reasons)?;
    beyond_what_was_measured(need, &mut reasons);
    config.check().map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(Advice { channel, preset, reasons, changes: changes(&base, &config)?, config })
}

fn channel(need: &Need, reasons: &mut Vec<String>) -> Channel {
    let fast =
        need.latency.is_some_and(|latency| latency < WAKE_UP) || need.rate.is_some_and(|rate| rate > QUEUE_ITEMS_PER_S);
    let (channel, reason) = match (need.producers, need.consumers) {
        (1, 1) => {
            (Channel::Stream, "one producer and one consumer: a stream is one ring, with nobody in between".to_owned())
        }
        (1, consumers) => (
            Channel::State,
            format!(
                "one producer, {consumers} consumers: each reads the latest value of a published state and slows \
                 nobody. Where each message must reach one of them, take a queue; where it must reach all, a stream \
                 to each"
            ),
        ),
        (producers, 1) if fast => (
            Channel::Calls,
            format!(
                "{producers} producers to one consumer, fast: calls or notifications to a server that polls \
                 (serve_polling) take one step, the items of a queue two"
            ),
        ),
        (producers, consumers) => (
            Channel::Queue,
            format!(
                "{producers} producers and {consumers} consumers share work: a queue gives each item to one, and \
                 notices who dies"
            ),
        ),
    };
    reasons.push(reason);
    if channel == Channel::Queue && fast {
        reasons.push(
            "each item crosses two connections and the queue's owner between them: 1 to 3 M items/s were measured \
             (docs/BENCHMARKS.md); several queues give more"
                .to_owned(),
        );
    }
    channel
}

fn preset(need: &Need, channel: Channel, processors: usize, reasons: &mut Vec<String>) -> Preset {
    let bytes_per_s = need.rate.map(|rate| rate * need.message_bytes as f64);
    let awake = need.latency.filter(|latency| *latency < WAKE_UP);
    let (preset, reason) = match channel {
        Channel::Queue if need.consumers > need.producers => (
            Preset::MultiConsumer,
            "more consumers than producers: few items are handed out ahead, so that each has some".to_owned(),
        ),
        Channel::Queue => {
            (Preset::MultiProducer, "many producers: the queue's owner has room for what they bring".to_owned())
        }
        _ => match (awake, bytes_per_s) {
            (Some(latency), _) if processors < 2 => (
                Preset::Balanced,
                format!(
                    "{} would need a thread that stays awake on a processor of its own: there is one processor here",
                    duration(latency)
                ),
            ),
            (Some(latency), _) => (
                Preset::UltraLowLatency,
                format!(
                    "{} is less than the kernel takes to wake a sleeper (10 to 100 µs): threads stay awake, each on a \
                     processor of its own (knob cpu)",
                    duration(latency)
                ),
            ),
            (None, Some(bytes_per_s)) if bytes_per_s >= BULK_BYTES_PER_S => (
                Preset::HighThroughput,
                format!(
                    "{}/s: large rings, mapped at once, in huge pages where there are some",
                    decimal_bytes(bytes_per_s)
                ),
            ),
            _ => (Preset::Balanced, "neither the last microsecond nor gigabytes per second are asked for".to_owned()),
        },
    };
    reasons.push(reason);
    preset
}

/// Makes room for the message, and for what comes while a consumer is away.
fn fit(need: &Need, channel: Channel, config: &mut Config, reasons: &mut Vec<String>) -> Result<(), Failure> {
    let message = bytes(need.message_bytes);
    if channel == Channel::State {
        if need.message_bytes > LARGEST_STATE_BYTES {
            let most = bytes(LARGEST_STATE_BYTES);
            return Err(Failure::Usage(format!(
                "a state of {message} is more than {most}, the largest there is: publish parts of it"
            )));
        }
        config.state_max_value_bytes = need.message_bytes;
        reasons.push(format!("values of {message} lie in the daemon's own segment, three of them"));
        return Ok(());
    }
    let least = (4 * (need.message_bytes + RECORD_BYTES)).next_power_of_two();
    if least > LARGEST_RING_BYTES {
        let most = bytes(LARGEST_RING_BYTES / 4 - RECORD_BYTES);
        return Err(Failure::Usage(format!(
            "a message of {message} is more than {most}, the largest there is: send it in parts over a stream, or \
             publish it as a state"
        )));
    }
    if config.ring_bytes < least {
        config.ring_bytes = least;
        reasons.push(format!("a message may be a quarter of its ring: {message} need one of {}", bytes(least)));
    }
    // The knob only asks for room that the ring must have.
    config.max_message_bytes = None;
    // A queue's items wait in its owner.
    if let (Some(rate), true) = (need.rate, channel != Channel::Queue) {
        let record_bytes = (need.message_bytes + RECORD_BYTES).next_multiple_of(u64::from(config.record_align_bytes));
        let away = rate * PAUSE.as_secs_f64() * record_bytes as f64;
        let wanted = (away as u64).min(LARGEST_RING_BYTES).next_power_of_two();
        if wanted > config.ring_bytes {
            config.ring_bytes = wanted;
        }
        let held = Duration::from_secs_f64((config.ring_bytes / record_bytes) as f64 / rate);
        reasons.push(format!(
            "the ring of {} holds {} of these messages: {} at that rate, a consumer that loses its processor is away \
             for some {}",
            bytes(config.ring_bytes),
            config.ring_bytes / record_bytes,
            duration(held),
            duration(PAUSE)
        ));
    }
    Ok(())
}

fn beyond_what_was_measured(need: &Need, reasons: &mut Vec<String>) {
    let Some(rate) = need.rate else { return };
    let bytes_per_s = rate * need.message_bytes as f64;
    if rate > MEASURED_MESSAGES_PER_S || bytes_per_s > MEASURED_BYTES_PER_S {
        reasons.push(format!(
            "{} messages/s, {}/s: more than was measured of one connection (docs/BENCHMARKS.md). Try `strait bench` \
             here, send more in one message, or use several connections",
            count(rate),
            decimal_bytes(bytes_per_s)
        ));
    }
}

/// The knobs of `config` that differ from those of `base`.
fn changes(base: &Config, config: &Config) -> Result<Vec<String>, Failure> {
    let table = |config: &Config| {
        serde_json::to_value(config).map_err(|error| Failure::because("cannot write the knobs down", error))
    };
    let (base, config) = (table(base)?, table(config)?);
    let differ =
        KNOBS.iter().map(|knob| knob.name).filter(|name| base[name] != config[name] && !config[name].is_null());
    Ok(differ.map(|name| format!("{name} = {}", config[name])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need { rate: None, latency: None, message_bytes: 64, producers: 1, consumers: 1 };

    fn advice(need: Need) -> (Channel, Preset, Config) {
        let advice = advise(&need, 4).unwrap();
        (advice.channel, advice.preset, advice.config)
    }

    #[test]
    fn the_ends_decide_the_channel() {
        let micros = Some(Duration::from_micros(10));
        for (producers, consumers, latency, channel) in [
            (1, 1, None, Channel::Stream),
            (1, 5, None, Channel::State),
            (5, 1, None, Channel::Queue),
            (5, 1, micros, Channel::Calls),
            (5, 5, micros, Channel::Queue),
        ] {
            assert_eq!(advice(Need { producers, consumers, latency, ..NEED }).0, channel, "{producers}, {consumers}");
        }
    }

    #[test]
    fn latency_and_bytes_decide_the_preset() {
        let micros = |micros| Some(Duration::from_micros(micros));
        assert_eq!(advice(NEED).1, Preset::Balanced);
        assert_eq!(advice(Need { latency: micros(5), ..NEED }).1, Preset::UltraLowLatency);
        assert_eq!(advice(Need { latency: micros(500), ..NEED }).1, Preset::Balanced);
        assert_eq!(advice(Need { rate: Some(1e5), message_bytes: 32_768, ..NEED }).1, Preset::HighThroughput);
        assert_eq!(advice(Need { producers: 2, consumers: 9, ..NEED }).1, Preset::MultiConsumer);
        assert_eq!(advise(&Need { latency: micros(5), ..NEED }, 1).unwrap().preset, Preset::Balanced);
    }

    #[test]
    fn every_advice_has_room_for_its_message_and_its_rate() {
        for message_bytes in [1, 64, 4096, 65_536, (16 << 20) - 64] {
            for rate in [None, Some(10.0), Some(1e5), Some(1e8)] {
                let (_, _, config) = advice(Need { rate, message_bytes, ..NEED });
                assert!(config.largest_message_bytes() >= message_bytes + 16, "{message_bytes}: {}", config.ring_bytes);
                let while_away = rate.unwrap_or(0.0) * PAUSE.as_secs_f64() * message_bytes as f64;
                assert!(config.ring_bytes as f64 >= while_away.min(LARGEST_RING_BYTES as f64));
            }
        }
    }

    #[test]
    fn what_fits_nowhere_is_refused_with_what_to_do() {
        let error = advise(&Need { message_bytes: 16 << 20, ..NEED }, 2).unwrap_err().to_string();
        assert!(error.contains("in parts over a stream"), "{error}");
        let state = Need { message_bytes: 300 << 20, consumers: 3, ..NEED };
        assert!(advise(&state, 2).unwrap_err().to_string().contains("256 MiB"));
    }

    #[test]
    fn only_what_differs_from_the_preset_is_to_be_written() {
        let advice = advise(&Need { message_bytes: 2 << 20, ..NEED }, 2).unwrap();
        assert_eq!(advice.changes, ["ring_bytes = 16777216"]);
    }
}
