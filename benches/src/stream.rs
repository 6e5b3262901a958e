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

pub use self::others::{OneWay, Send, Take};
use crate::{
    engine::{Engine, Peer, Role, Side, run_client},
    pin,
    report::median,
    runner::{JsonRow, Plan},
};

const NAMES: [&str; 8] = [
    floor::IN_PLACE,
    floor::COPIED,
    "strait-stream",
    "strait-stream-nosum",
    "strait-stream-batch",
    "strait-stream-batch-nosum",
    "strait-stream-inplace",
    "strait-stream-inplace-nosum",
];
const PAYLOADS: [usize; 5] = [64, 1024, 20_000, 256 << 10, 1 << 20];

const SERVICE: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(10);
/// Before what is measured: the first messages go over the socket, and memory is touched for the first time.
const WARM_UP: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rate {
    messages_per_s: f64,
}

/// Runs all engines with all payloads; whether that held.
pub(crate) fn run(plan: &Plan, peers: &[OneWay], json: bool) -> bool {
    let mut held = true;
    let others = others::SYSTEM.iter().chain(peers).map(|way| way.name);
    let all: Vec<&str> = NAMES.into_iter().chain(others).collect();
    if !json {
        println!("\nstream: two pinned processes, every byte written and read; median of {} runs\n", plan.runs);
        println!("{:<28} {:>9} {:>13} {:>9} {:>14}", "engine", "payload B", "messages/s", "GB/s", "of ring-copy");
    }
    for payload_bytes in PAYLOADS {
        let names: Vec<&str> = all.iter().copied().filter(|name| plan.chooses(name, payload_bytes)).collect();
        let mut rates = vec![Vec::new(); names.len()];
        for run in 1..=plan.runs {
            for (name, rates) in names.iter().zip(&mut rates) {
                match measure(plan, name, payload_bytes) {
                    Ok(Rate { messages_per_s }) => {
                        if json {
                            print(name, payload_bytes, messages_per_s, run);
                        }
                        rates.push(messages_per_s);
                    }
                    Err(error) => {
                        eprintln!("failed: {name} {payload_bytes} B: {error}");
                        held = false;
                    }
                }
            }
        }
        if json {
            continue;
        }
        let medians: Vec<_> = rates.into_iter().map(|rates| (!rates.is_empty()).then(|| median(rates))).collect();
        let floor = names.iter().position(|name| *name == floor::COPIED).and_then(|index| medians[index]);
        for (name, rate) in names.iter().zip(medians) {
            let Some(rate) = rate else { continue };
            let share = floor.map_or_else(String::new, |floor| format!("{:.1} %", 100.0 * rate / floor));
            let gigabytes = rate * payload_bytes as f64 / 1e9;
            println!("{name:<28} {payload_bytes:>9} {rate:>13.0} {gigabytes:>9.3} {share:>14}");
        }
    }
    held
}

fn print(engine: &str, payload_bytes: usize, messages_per_s: f64, run: u32) {
    let values =
        [("messages_per_s", messages_per_s, "1/s"), ("bytes_per_s", messages_per_s * payload_bytes as f64, "B/s")];
    for (metric, value, unit) in values {
        JsonRow { scenario: "stream", engine, payload_bytes, metric, value, unit, run }.print();
    }
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
            floor::IN_PLACE | floor::COPIED => floor::produce(role),
            // A consumer that has measured long enough goes: that is the end, not a failure.
            _ => produce(role).or_else(|error| match error.downcast::<strait::stream::Error>() {
                Ok(error) if error.is_peer_gone() => Ok(()),
                Ok(error) => Err(error.into()),
                Err(error) => Err(error),
            }),
        };
    }
    let rate = match name {
        floor::IN_PLACE | floor::COPIED => floor::consume(role),
        _ => consume(role),
    }?;
    println!("{}", serde_json::to_string(&rate)?);
    Ok(())
}

/// Takes messages with `next`, which says how many it took, while time lasts.
fn count(role: &Role, mut next: impl FnMut() -> Result<usize, Box<dyn Error>>) -> Result<Rate, Box<dyn Error>> {
    // Reading the clock costs as much as a small message.
    let looks = (64 << 10) / role.engine.payload_bytes.min(64 << 10);
    let mut during = |duration: Duration| -> Result<f64, Box<dyn Error>> {
        let begin = Instant::now();
        let mut taken = 0;
        while begin.elapsed() < duration {
            for _ in 0..looks {
                taken += next()?;
            }
        }
        Ok(taken as f64 / begin.elapsed().as_secs_f64())
    };
    during(WARM_UP)?;
    Ok(Rate { messages_per_s: during(Duration::from_millis(role.millis))? })
}

/// Writes every byte of message `number`.
#[inline]
fn fill(number: u64, message: &mut [u8]) {
    for word in message.chunks_exact_mut(8) {
        word.copy_from_slice(&number.to_ne_bytes());
    }
}

/// Reads every byte of message `number`.
#[inline]
fn check(number: u64, message: &[u8], payload_bytes: usize) -> Result<(), Box<dyn Error>> {
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

fn config(role: &Role) -> Config {
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
    let _producer = Peer::start(role, role.meet.clone())?;
    let mut consumer = binding.accept_timeout(PATIENCE)?;
    let payload_bytes = role.engine.payload_bytes;
    let batch = batch(role);
    let rate = count(role, || {
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
