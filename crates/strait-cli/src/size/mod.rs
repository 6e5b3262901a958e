//! `strait size`: what memory a configuration takes, and which configuration fits.

mod advice;
mod memory;

use std::{path::PathBuf, time::Duration};

use anstyle::Style;
use clap::{ValueEnum, builder::RangedU64ValueParser};
use serde::Serialize;
use serde_json::json;
use strait::Config;

use self::{
    advice::{Advice, Need},
    memory::{Memory, Part},
};
use crate::{cpus, failure::Failure, output, units::bytes};

/// Reckon the memory that a configuration takes, or find a configuration for what is wanted.
///
/// With --preset, --config or --set: a table of where each byte goes. With --rate, --latency-us, --message-bytes,
/// --producers or --consumers: a channel and a preset, why these, and then the same table.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    strait size --preset balanced --clients 100\n  \
    strait size --config service.toml --set ring_bytes=1048576 --clients 16\n  \
    strait size --rate 2e6 --message-bytes 64 --latency-us 5\n  \
    strait size --producers 8 --consumers 2 --message-bytes 4000 --json")]
pub(crate) struct Size {
    /// A ready configuration.
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<Preset>,
    /// A configuration in TOML: one key per knob.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a knob; may be given more than once.
    #[arg(long, value_name = "KNOB=VALUE")]
    set: Vec<String>,
    /// What the service is. With what is wanted, that is recommended instead.
    #[arg(long, default_value = "calls")]
    channel: Channel,
    /// Clients of the service; where a channel is recommended, as many as there are ends.
    #[arg(long, value_name = "N", value_parser = up_to(1 << 20))]
    clients: Option<u64>,
    /// Received messages that each end holds at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    held: u64,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    // Last: its heading holds for what follows.
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Debug, clap::Args)]
#[group(multiple = true, conflicts_with_all = ["preset", "config", "set", "channel"])]
#[command(next_help_heading = "What is wanted")]
struct Wanted {
    /// Messages per second, of all producers together; 2e6 is understood.
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    rate: Option<f64>,
    /// How long a message may take at most, in microseconds.
    #[arg(long, visible_alias = "latency", value_name = "MICROSECONDS", value_parser = up_to(1_000_000_000))]
    latency_us: Option<u64>,
    /// Bytes of a message [default: 64].
    #[arg(long, value_name = "BYTES", value_parser = up_to(1 << 40))]
    message_bytes: Option<u64>,
    /// Processes that send [default: 1].
    #[arg(long, value_name = "N", value_parser = up_to(1 << 20))]
    producers: Option<u64>,
    /// Processes that receive [default: 1].
    #[arg(long, value_name = "N", value_parser = up_to(1 << 20))]
    consumers: Option<u64>,
}

impl Wanted {
    /// What is wanted, where anything is said of it.
    fn need(&self) -> Option<Need> {
        let said = self.rate.is_some()
            || [self.latency_us, self.message_bytes, self.producers, self.consumers].iter().any(Option::is_some);
        said.then(|| Need {
            rate: self.rate,
            latency: self.latency_us.map(Duration::from_micros),
            message_bytes: self.message_bytes.unwrap_or(64),
            producers: self.producers.unwrap_or(1),
            consumers: self.consumers.unwrap_or(1),
        })
    }
}

/// A whole number from 1 on.
fn up_to(most: u64) -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=most)
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0 && *number <= 1e12);
    number.ok_or_else(|| "expected a number above 0 and up to 1e12, such as 50000 or 2e6".to_owned())
}

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Channel {
    /// `strait::rpc`: calls and notifications.
    Calls,
    /// `strait::stream`: one producer, one consumer.
    Stream,
    /// `strait::state`: a daemon's latest value, for any number of shells.
    State,
    /// `strait::queue`: work that many share.
    Queue,
}

/// The ready configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Preset {
    /// `Config::default`.
    Default,
    /// `Config::ultra_low_latency`.
    UltraLowLatency,
    /// `Config::high_throughput`.
    HighThroughput,
    /// `Config::balanced`.
    Balanced,
    /// `Config::multi_producer`.
    MultiProducer,
    /// `Config::multi_consumer`.
    MultiConsumer,
}

impl Preset {
    fn config(self) -> Config {
        match self {
            Self::Default => Config::default(),
            Self::UltraLowLatency => Config::ultra_low_latency(),
            Self::HighThroughput => Config::high_throughput(),
            Self::Balanced => Config::balanced(),
            Self::MultiProducer => Config::multi_producer(),
            Self::MultiConsumer => Config::multi_consumer(),
        }
    }
}

pub(crate) fn run(args: &Size) -> Result<(), Failure> {
    let need = args.wanted.need();
    let advice = need.as_ref().map(|need| advice::advise(need, cpus::allowed().len())).transpose()?;
    let (config, channel) = match &advice {
        Some(advice) => (advice.config.clone(), advice.channel),
        None => (configured(args)?, args.channel),
    };
    let clients = args.clients.unwrap_or_else(|| need.as_ref().map_or(1, |need| ends(need, channel)));
    let memory =
        memory::reckon(&config, channel, clients, args.held).map_err(|error| Failure::Usage(error.to_string()))?;
    if args.json {
        let largest_message_bytes = config.largest_message_bytes();
        let all = json!({
            "advice": advice, "channel": channel, "clients": clients, "ring_bytes": config.ring_bytes,
            "largest_message_bytes": largest_message_bytes, "memory": memory,
        });
        return output::json(&all).map(drop);
    }
    if let Some(advice) = &advice {
        output::print(recommendation(advice))?;
    }
    output::print(table(&config, channel, clients, &memory)).map(drop)
}

/// Who connects to whoever has the name.
fn ends(need: &Need, channel: Channel) -> u64 {
    match channel {
        Channel::Stream => 1,
        Channel::Calls => need.producers,
        Channel::State => need.consumers,
        Channel::Queue => need.producers + need.consumers,
    }
}

fn configured(args: &Size) -> Result<Config, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    let mut config = match &args.config {
        None => args.preset.unwrap_or(Preset::Default).config(),
        Some(path) => {
            let shown = path.display();
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))?;
            Config::from_toml(&text).map_err(|error| Failure::Usage(format!("{shown}: {error}")))?
        }
    };
    for setting in &args.set {
        let pair = setting.split_once('=');
        let (knob, value) =
            pair.ok_or_else(|| wrong(&format_args!("{setting:?} sets nothing, expected KNOB=VALUE")))?;
        config.set(knob.trim(), value.trim()).map_err(|error| wrong(&error))?;
    }
    config.check().map_err(|error| wrong(&error))?;
    Ok(config)
}

/// As it is written on the command line.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn recommendation(advice: &Advice) -> String {
    let bold = Style::new().bold();
    let mut text = format!("{bold}{} with the preset {}{bold:#}\n", name(advice.channel), name(advice.preset));
    for reason in &advice.reasons {
        text.push_str(&format!("  - {reason}\n"));
    }
    for change in &advice.changes {
        text.push_str(&format!("  {change}\n"));
    }
    text + "\n"
}

fn table(config: &Config, channel: Channel, clients: u64, memory: &Memory) -> String {
    let row = |part: &Part| {
        vec![
            part.what.clone(),
            part.made_by.to_owned(),
            bytes(part.each_bytes),
            part.count.to_string(),
            bytes(part.total_bytes),
        ]
    };
    let sum = |what: &str, total: u64| vec![what.to_owned(), String::new(), String::new(), String::new(), bytes(total)];
    let rows = memory.segments.iter().map(row);
    let rows = rows.chain([sum("segments", memory.segments_bytes)]);
    let rows = rows.chain(memory.at_most.iter().map(row)).chain([sum("at most besides", memory.at_most_bytes)]);
    let table = output::table(&["what", "made by", "each", "count", "total"], 2, rows);
    format!(
        "{}\n\n{}, {}: {} in the server, {} in each client, {} in sum\n\
         largest message {}; pools keep up to 64 MiB of free buffers per process, and 4 MiB per thread\n",
        table.trim_fmt(),
        name(channel),
        if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") },
        bytes(memory.server_bytes),
        bytes(memory.client_bytes),
        bytes(memory.segments_bytes.saturating_add(memory.at_most_bytes)),
        bytes(config.largest_message_bytes()),
    )
}
