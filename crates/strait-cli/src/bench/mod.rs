//! `strait bench`: a short look at what this machine can do, between two processes.

mod bounce;
mod draw;
mod pair;
mod round_trip;
mod samples;
mod stream;

use std::time::Duration;

use serde::Serialize;
use strait::{Options, TransportKind};

use self::{draw::Chart, pair::Cpus, samples::Samples, stream::Carried};
use crate::{failure::Failure, output, units::duration};

/// Measure round trips and a stream between two processes of this machine, in a few seconds.
///
/// 64 B there and back over a Unix socket and through shared memory, 32 KiB one way, and one cache line between two
/// threads as the floor. Connections have the library's defaults, checksum and time among them. Every payload is
/// written anew, every answer compared in full, every byte of the stream summed up. Ends with 1 where an answer was
/// wrong or shared memory was not to be had.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    strait bench\n  \
    strait bench --seconds 5 --no-pin\n  \
    strait bench --json | jq -r 'select(.metric == \"rtt_p50\") | \"\\(.engine) \\(.value)\"'\n\n\
    Longer, with other libraries beside: cargo xtask bench --compare, in the repository")]
pub(crate) struct Bench {
    /// How long each of the four is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Leave the two ends to the scheduler instead of keeping each on a processor.
    #[arg(long)]
    no_pin: bool,
    /// One JSON object per figure.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.05..=60.0).contains(number));
    number.ok_or_else(|| "expected seconds from 0.05 to 60".to_owned())
}

/// A figure, in the form of the repository's benchmarks.
#[derive(Serialize)]
struct Row<'a> {
    scenario: &'a str,
    engine: &'a str,
    payload_bytes: usize,
    metric: &'a str,
    value: f64,
    unit: &'a str,
    run: u32,
}

/// One thing that was measured.
enum Measured {
    Trips { engine: &'static str, title: &'static str, payload_bytes: usize, samples: Samples },
    Stream { engine: &'static str, title: &'static str, carried: Carried },
}

pub(crate) fn run(args: &Bench) -> Result<(), Failure> {
    let cpus = Cpus::choose(args.no_pin);
    let time = Duration::from_secs_f64(args.seconds);
    if !args.json {
        output::print(format!("{cpus}{}\n\n", busy()))?;
    }
    // Before this thread is pinned: on a single processor they would not spin.
    let shared = Options { shared_memory: true, ..Options::default() };
    let socket = Options { shared_memory: false, ..Options::default() };
    cpus.pin_this_end()?;
    let trips = |engine, title, payload_bytes, samples| Measured::Trips { engine, title, payload_bytes, samples };

    let mut chart = Chart::default();
    let mut show = |measured: &Measured| match args.json {
        true => json(measured),
        false => output::print(chart.add(measured)).map(drop),
    };
    if let Some(samples) = bounce::measure(&cpus, time)? {
        show(&trips("floor-one-line", "one cache line, between two threads", size_of::<u64>(), samples))?;
    }
    let bytes = round_trip::PAYLOAD_BYTES;
    let (samples, _) = round_trip::measure(&cpus, &socket, time)?;
    show(&trips("strait-socket", "64 B there and back, Unix socket", bytes, samples))?;
    let (samples, over) = round_trip::measure(&cpus, &shared, time)?;
    only_through_memory(over)?;
    show(&trips("strait-shm", "64 B there and back, shared memory", bytes, samples))?;
    let carried = stream::measure(&cpus, &shared, time)?;
    show(&Measured::Stream { engine: "strait-shm-stream", title: "32 KiB one way, shared memory", carried })?;
    if !args.json {
        output::print(chart.comparison())?;
    }
    Ok(())
}

/// A word of warning where others use the processors too.
fn busy() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    // `0.42 0.31 0.20 2/345 6789`: two threads run or want to at this moment, this one among them.
    let running = load.split(' ').nth(3).and_then(|part| part.split('/').next()?.parse::<u32>().ok());
    match running {
        Some(running) if running > 1 => {
            format!("; others run too ({} now), which shows above all in the tail", running - 1)
        }
        _ => String::new(),
    }
}

/// What a connection came to run over, and why it stayed on its socket if it did.
type Over = (TransportKind, Option<String>);

fn only_through_memory((kind, reason): Over) -> Result<(), Failure> {
    if kind == TransportKind::Shared {
        return Ok(());
    }
    let reason = reason.unwrap_or_else(|| "no reason was given".into());
    Err(Failure::DidNotHold(format!("the connection stayed on its socket: {reason}; `strait doctor` says more")))
}

fn json(measured: &Measured) -> Result<(), Failure> {
    let row = |engine, payload_bytes, metric, value, unit| Row {
        scenario: "bench",
        engine,
        payload_bytes,
        metric,
        value,
        unit,
        run: 1,
    };
    match measured {
        Measured::Trips { engine, payload_bytes, samples, .. } => {
            for (metric, nanos) in samples.points() {
                output::json(&row(engine, *payload_bytes, metric, nanos as f64, "ns"))?;
            }
            output::json(&row(engine, *payload_bytes, "requests_per_s", samples.per_second(), "1/s")).map(drop)
        }
        Measured::Stream { engine, carried, .. } => {
            output::json(&row(engine, stream::MESSAGE_BYTES, "bytes_per_s", carried.bytes_per_second(), "B/s"))?;
            output::json(&row(engine, stream::MESSAGE_BYTES, "messages_per_s", carried.messages_per_second(), "1/s"))
                .map(drop)
        }
    }
}

/// How long a connection may take to come about, or a partner to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a partner that does not answer in time is told of as.
fn too_slow(what: &str) -> Failure {
    Failure::DidNotHold(format!("{what} had no answer within {}", duration(PATIENCE)))
}
