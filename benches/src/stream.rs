//! stream: one process sends as fast as another receives, beside a bare ring, sockets, pipes and other libraries.
//!
//! Every byte of every message is written by the producer and read by the consumer, which compares the sum of its words with
//! what it must be. `-nosum` is without checksum and timestamp. Both are pinned, and the runs of all engines with one payload are interleaved.

mod floor;
mod others;

use std::{
    error::Error,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use strait::{
    HonestPeer, Options, TransportKind,
    stream::{Config, Consumer, Endpoint, Producer},
    transport::Receive,
};

pub(crate) use self::others::SYSTEM;
pub use self::others::{OneWay, Send, Take};
use crate::{
    cost::{Cost, Meter},
    engine::{Engine, Peer, Role, Side, run_client},
    pin,
    progress::Progress,
    report::median,
    rows::JsonRow,
    runner::Plan,
};

const NAMES: [&str; 10] = [
    floor::IN_PLACE,
    floor::IN_PLACE_CRC,
    floor::COPIED,
    floor::COPIED_CRC,
    "strait-stream",
    "strait-stream-nosum",
    "strait-stream-batch",
    "strait-stream-batch-nosum",
    "strait-stream-inplace",
    "strait-stream-inplace-nosum",
];
const PAYLOADS: [usize; 5] = [64, 1024, 20_000, 256 << 10, 1 << 20];
const QUICK_PAYLOADS: [usize; 2] = [64, 20_000];

pub(crate) const SERVICE: &str = "bench";
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Before what is measured: the first messages go over the socket, and memory is touched for the first time.
const WARM_UP: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rate {
    messages_per_s: f64,
    /// From the start on, the warm-up included.
    messages: u64,
    cost: Cost,
}

/// Ours, the floors and others, with a payload.
pub(crate) fn engines(peers: &[OneWay], payload_bytes: usize) -> Vec<Engine> {
    let names = NAMES.into_iter().chain(others::SYSTEM.iter().chain(peers).map(|way| way.name));
    names.map(|name| Engine { scenario: "stream".into(), name: name.into(), payload_bytes }).collect()
}

/// Runs all engines with all payloads; whether that held.
pub(crate) fn run(plan: &Plan, peers: &[OneWay], json: bool) -> bool {
    let mut held = true;
    let others = others::SYSTEM.iter().chain(peers).map(|way| way.name);
    let all: Vec<&str> = NAMES.into_iter().chain(others).collect();
    if !json {
        println!("\nstream: two pinned processes, every byte written and read; median of {} runs\n", plan.runs);
        println!(
            "CPU us and (context) switches: per message, of both processes together; floor: what does the same work bare\n"
        );
        println!(
            "{:<28} {:>9} {:>13} {:>9} {:>20} {:>8} {:>9} {:>9}  floor",
            "engine", "payload B", "messages/s", "GB/s", "range of messages/s", "CPU us", "switches", "of floor"
        );
    }
    for payload_bytes in PAYLOADS {
        if plan.quick && !QUICK_PAYLOADS.contains(&payload_bytes) {
            continue;
        }
        let names: Vec<&str> = all.iter().copied().filter(|name| plan.chooses(name, payload_bytes)).collect();
        let mut rates: Vec<Vec<Option<Rate>>> = vec![Vec::new(); names.len()];
        let mut progress = Progress::new("stream", names.len() * plan.runs as usize);
        for run in 1..=plan.runs {
            for (name, rates) in names.iter().zip(&mut rates) {
                progress.step(&format!("{name} {payload_bytes} B, run {run} of {}", plan.runs));
                let rate = measure(plan, name, payload_bytes).inspect_err(|error| {
                    eprintln!("failed: {name} {payload_bytes} B: {error}");
                });
                if let Ok(rate) = &rate {
                    put(name, payload_bytes, *rate, run);
                }
                held &= rate.is_ok();
                rates.push(rate.ok());
            }
        }
        if json {
            continue;
        }
        drop(progress);
        for (name, of_name) in names.iter().zip(&rates) {
            let floor = floor::like(name);
            let floors = names.iter().position(|name| *name == floor).map_or(&[][..], |index| &rates[index]);
            print_row(name, payload_bytes, of_name, floor, floors);
        }
    }
    held
}

/// Medians of an engine. Its share of the floor is the median over the runs of their ratio in one run: the machine changes between runs.
fn print_row(name: &str, payload_bytes: usize, runs: &[Option<Rate>], floor: &str, floors: &[Option<Rate>]) {
    let rates: Vec<&Rate> = runs.iter().flatten().collect();
    if rates.is_empty() {
        println!("{name:<28} {payload_bytes:>9} {:>13}", "failed");
        return;
    }
    let of = |value: fn(&Rate) -> f64| median(rates.iter().copied().map(value).collect());
    let (low, high) = rates
        .iter()
        .fold((f64::MAX, 0f64), |(low, high), rate| (low.min(rate.messages_per_s), high.max(rate.messages_per_s)));
    let rate = of(|rate| rate.messages_per_s);
    let in_one_run = |(run, floor): (&Option<Rate>, &Option<Rate>)| {
        Some(run.as_ref()?.messages_per_s / floor.as_ref()?.messages_per_s)
    };
    let shares: Vec<f64> = runs.iter().zip(floors).filter_map(in_one_run).collect();
    let share = if shares.is_empty() { String::new() } else { format!("{:.1} %", 100.0 * median(shares)) };
    println!(
        "{name:<28} {payload_bytes:>9} {rate:>13.0} {:>9.3} {:>20} {:>8.2} {:>9.3} {share:>9}  {floor}",
        rate * payload_bytes as f64 / 1e9,
        format!("{low:.0}..{high:.0}"),
        of(|rate| rate.cost.cpu_us),
        of(|rate| rate.cost.switches),
    );
}

fn put(engine: &str, payload_bytes: usize, rate: Rate, run: u32) {
    let Rate { messages_per_s, cost, .. } = rate;
    let values =
        [("messages_per_s", messages_per_s, "1/s"), ("bytes_per_s", messages_per_s * payload_bytes as f64, "B/s")];
    for (metric, value, unit) in values {
        JsonRow { scenario: "stream", engine, payload_bytes, metric, value, unit, run }.put();
    }
    cost.put("stream", engine, payload_bytes, "message", run);
}

/// One run of one engine: a consumer, which starts its producer.
fn measure(plan: &Plan, name: &str, payload_bytes: usize) -> Result<Rate, Box<dyn Error>> {
    run_client(plan, Engine { scenario: "stream".into(), name: name.into(), payload_bytes })
}

/// One process: the consumer (client), or its producer (server).
pub(crate) fn run_role(role: &Role, peers: &[OneWay]) -> Result<(), Box<dyn Error>> {
    let is_consumer = role.side == Side::Client;
    pin::to(if is_consumer { role.cores.0 } else { role.cores.1 })?;
    let name = role.engine.name.as_str();
    if let Some(way) = others::SYSTEM.iter().chain(peers).find(|way| way.name == name) {
        if let Some(rate) = way.run(role)? {
            println!("{}", serde_json::to_string(&rate)?);
        }
        return Ok(());
    }
    if !is_consumer {
        return match name {
            _ if floor::is_floor(name) => floor::produce(role),
            // A consumer that has measured long enough goes: that is the end, not a failure.
            _ => produce(role).or_else(|error| match error.downcast::<strait::stream::Error>() {
                Ok(error) if error.is_peer_gone() => Ok(()),
                Ok(error) => Err(error.into()),
                Err(error) => Err(error),
            }),
        };
    }
    let rate = match name {
        _ if floor::is_floor(name) => floor::consume(role),
        _ => consume(role),
    }?;
    println!("{}", serde_json::to_string(&rate)?);
    Ok(())
}

/// Takes messages with `next`, which says how many it took, while time lasts.
fn count(
    role: &Role,
    producer: &Peer,
    mut next: impl FnMut() -> Result<usize, Box<dyn Error>>,
) -> Result<Rate, Box<dyn Error>> {
    // Reading the clock costs as much as a small message.
    let looks = (64 << 10) / role.engine.payload_bytes.min(64 << 10);
    let mut during = |duration: Duration| -> Result<(f64, usize), Box<dyn Error>> {
        let begin = Instant::now();
        let mut taken = 0;
        while begin.elapsed() < duration {
            for _ in 0..looks {
                taken += next()?;
            }
        }
        Ok((taken as f64 / begin.elapsed().as_secs_f64(), taken))
    };
    let (_, before) = during(WARM_UP)?;
    let processes = producer.both();
    let meter = Meter::start(&processes)?;
    let (messages_per_s, taken) = during(Duration::from_millis(role.millis))?;
    Ok(Rate { messages_per_s, messages: (before + taken) as u64, cost: meter.cost(taken as u64)? })
}

/// Writes every byte of message `number`.
#[inline]
pub(crate) fn fill(number: u64, message: &mut [u8]) {
    for word in message.chunks_exact_mut(8) {
        word.copy_from_slice(&number.to_ne_bytes());
    }
}

/// Reads every byte of message `number`.
#[inline]
pub(crate) fn check(number: u64, message: &[u8], payload_bytes: usize) -> Result<(), Box<dyn Error>> {
    let words = message.as_chunks::<8>().0;
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
    let right = message.len() == payload_bytes && sum == number.wrapping_mul(words.len() as u64);
    if right { Ok(()) } else { Err(format!("message {number} is wrong").into()) }
}

/// The same for strait and for the floors: 256 KiB, or what four of the messages need.
fn ring_bytes(payload_bytes: usize) -> u64 {
    (4 * (payload_bytes as u64 + 64)).next_power_of_two().max(256 << 10)
}

/// Messages of a batch: 16, or fewer where they are large.
fn batch(role: &Role) -> usize {
    if !role.engine.name.contains("-batch") {
        return 1;
    }
    ((128 << 10) / role.engine.payload_bytes).clamp(2, 16)
}

pub(crate) fn config(role: &Role) -> Config {
    let name = &role.engine.name;
    let receive = if name.contains("-inplace") {
        #[allow(unsafe_code)]
        // SAFETY: both ends are this program.
        Receive::InPlace(unsafe { HonestPeer::assume() })
    } else {
        Receive::Copied
    };
    let options = Options {
        ring_bytes: ring_bytes(role.engine.payload_bytes),
        checksum: !name.contains("-nosum"),
        timestamp: !name.contains("-nosum"),
        receive,
        // As the floors, which never sleep.
        spin: Duration::from_millis(50),
        runtime_dir: Some(role.meet.clone().into()),
        ..Options::default()
    };
    Config { options, ..Config::default() }
}

fn produce(role: &Role) -> Result<(), Box<dyn Error>> {
    let mut producer = <Producer>::connect(SERVICE, &config(role))?;
    let payload_bytes = role.engine.payload_bytes;
    let mut messages = vec![vec![0u8; payload_bytes]; batch(role)];
    let in_place = role.engine.name.contains("-inplace");
    let mut number = 0;
    loop {
        if in_place {
            producer.send_with(payload_bytes, |span| {
                fill(number, span);
                payload_bytes
            })?;
            number += 1;
            continue;
        }
        for message in &mut messages {
            fill(number, message);
            number += 1;
        }
        match &messages[..] {
            [message] => drop(producer.send(message)?),
            batch => drop(producer.send_batch(batch.iter().map(|message| &message[..]))?),
        }
    }
}

fn consume(role: &Role) -> Result<Rate, Box<dyn Error>> {
    let binding = <Consumer>::bind(SERVICE, &config(role))?;
    let producer = Peer::start(role, role.meet.clone())?;
    let mut consumer = binding.accept_timeout(PATIENCE)?;
    let payload_bytes = role.engine.payload_bytes;
    let batch = batch(role);
    let rate = count(role, &producer, || {
        if batch == 1 {
            let message = consumer.recv()?.ok_or("the stream ended")?;
            check(message.sequence(), &message, payload_bytes)?;
            return Ok(1);
        }
        let mut checked = Ok(());
        let taken = consumer.recv_batch(batch, |message| {
            if checked.is_ok() {
                checked = check(message.sequence(), &message, payload_bytes);
            }
        })?;
        checked.map(|()| taken)
    })?;
    if consumer.transport() != TransportKind::Shared || consumer.stats().lost > 0 {
        return Err(format!("not what was to be measured: {:?}, {:?}", consumer.transport(), consumer.stats()).into());
    }
    Ok(rate)
}
