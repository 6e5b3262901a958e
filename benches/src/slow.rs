//! slow: a consumer that takes one message where its producer offers ten. What becomes of the nine?
//!
//! The producer offers a message every [`PACE`], or as soon as the one before is off its hands; the consumer takes one every ten
//! times that. Memory is the proportional set size of both processes: what the kernel holds in a socket or a pipe is not in it.

use std::{
    error::Error,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use strait::stream::{Backpressure, Config, Consumer, Endpoint, Error as StreamError, Producer, Sent};

use crate::{
    connections::memory_kib,
    engine::{Engine, Peer, Role, Side, run_client},
    pin,
    progress::Progress,
    report::median,
    rows::JsonRow,
    rpc::{Meeting, Outcome},
    runner::Plan,
    stream::{OneWay, PATIENCE, SERVICE, SYSTEM, check, config, fill},
};

const BLOCK: &str = "strait-stream-block";
const FAIL: &str = "strait-stream-fail";
const DROP: &str = "strait-stream-drop-newest";
const PAYLOAD_BYTES: usize = 1024;
/// One offer each; the consumer takes one in ten times that.
const PACE: Duration = Duration::from_micros(20);

/// What both ends saw.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seen {
    offers: Offers,
    taken_per_s: f64,
    /// Of what was offered until the last message that was taken: what is missing there.
    missing_share: f64,
    memory_growth_kib: f64,
}

/// What the producer saw.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Offers {
    per_s: f64,
    refused_share: f64,
    dropped_share: f64,
    send_p50_ns: f64,
    send_max_ns: f64,
}

/// A metric, its unit, and where it is.
type Column = (&'static str, &'static str, fn(&Seen) -> f64);

const COLUMNS: [Column; 8] = [
    ("offers_per_s", "1/s", |seen| seen.offers.per_s),
    ("taken_per_s", "1/s", |seen| seen.taken_per_s),
    ("refused_share", "", |seen| seen.offers.refused_share),
    ("dropped_share", "", |seen| seen.offers.dropped_share),
    ("missing_share", "", |seen| seen.missing_share),
    ("send_p50", "ns", |seen| seen.offers.send_p50_ns),
    ("send_max", "ns", |seen| seen.offers.send_max_ns),
    ("memory_growth", "KiB", |seen| seen.memory_growth_kib),
];

/// Ways that gather messages in buffers of their own show the buffer, not the way.
fn others(peers: &[OneWay]) -> impl Iterator<Item = &OneWay> {
    SYSTEM.iter().filter(|way| !way.name.ends_with("-buffered")).chain(peers)
}

/// Runs all engines in turn; whether that held.
pub(crate) fn run(plan: &Plan, peers: &[OneWay], json: bool) -> bool {
    let names = [BLOCK, FAIL, DROP].into_iter().chain(others(peers).map(|way| way.name));
    let names: Vec<&str> = names.filter(|name| plan.chooses(name, PAYLOAD_BYTES)).collect();
    let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); names.len()];
    let mut progress = Progress::new("slow", names.len() * plan.runs as usize);
    for run in 1..=plan.runs {
        for (name, seen) in names.iter().zip(&mut seen) {
            progress.step(&format!("{name}, run {run} of {}", plan.runs));
            let engine = Engine { scenario: "slow".into(), name: (*name).into(), payload_bytes: PAYLOAD_BYTES };
            match run_client::<Seen>(plan, engine) {
                Ok(found) => {
                    for (metric, unit, of) in COLUMNS {
                        let (scenario, engine, value) = ("slow", *name, of(&found));
                        JsonRow { scenario, engine, payload_bytes: PAYLOAD_BYTES, metric, value, unit, run }.put();
                    }
                    seen.push(found);
                }
                Err(error) => eprintln!("failed: {name}: {error}"),
            }
        }
    }
    drop(progress);
    if !json {
        print(plan, &names, &seen);
    }
    seen.iter().all(|seen| seen.len() == plan.runs as usize)
}

fn print(plan: &Plan, names: &[&str], seen: &[Vec<Seen>]) {
    println!(
        "\nslow: {PAYLOAD_BYTES} B offered every {} us, taken every {} us; median of {} runs\n",
        PACE.as_micros(),
        10 * PACE.as_micros(),
        plan.runs
    );
    print!("{:<28}", "engine");
    COLUMNS.iter().for_each(|(metric, unit, _)| print!(" {:>17}", format!("{metric} {unit}")));
    println!("  what it does");
    for (name, seen) in names.iter().zip(seen) {
        print!("{name:<28}");
        if seen.is_empty() {
            println!(" {:>17}", "failed");
            continue;
        }
        let of = |of: fn(&Seen) -> f64| median(seen.iter().map(of).collect());
        for (_, _, value) in COLUMNS {
            let value = of(value);
            print!(" {:>17}", if value.abs() < 10.0 { format!("{value:.3}") } else { format!("{value:.0}") });
        }
        let does = match () {
            () if of(|seen| seen.offers.refused_share) > 0.0 => "refuses",
            () if of(|seen| seen.offers.dropped_share) > 0.0 => "drops the newest",
            () if of(|seen| seen.missing_share) > 0.0 => "drops, unseen by the producer",
            () if of(|seen| seen.offers.per_s) < 0.5 / PACE.as_secs_f64() => "waits",
            () => "buffers",
        };
        println!("  {does}");
    }
}

/// What became of an offer.
enum Offered {
    Sent,
    Refused,
    Dropped,
}

/// One process: the consumer (client), or its producer (server).
pub(crate) fn run_role(role: &Role, peers: &[OneWay]) -> Outcome<()> {
    let way = others(peers).find(|way| way.name == role.engine.name);
    if role.side == Side::Server {
        pin::to(role.cores.1)?;
        return match way {
            Some(way) => {
                let mut send = patiently(|| (way.produce)(&Meeting::of(role)))?;
                offer(role, |message| send(message).map(|()| Offered::Sent))
            }
            None => {
                let mut producer = patiently(|| Ok(<Producer>::connect(SERVICE, &ours(role))?))?;
                offer(role, |message| match producer.send(message) {
                    Ok(Sent::Queued) => Ok(Offered::Sent),
                    Ok(Sent::Dropped) => Ok(Offered::Dropped),
                    Err(StreamError::Full) => Ok(Offered::Refused),
                    Err(error) => Err(error.into()),
                })
            }
        };
    }
    pin::to(role.cores.0)?;
    let seen = match way {
        Some(way) => {
            let producer = Peer::start(role, role.meet.clone())?;
            let mut take = (way.consume)(&Meeting::of(role))?;
            consume(role, &producer, |look| take(look))
        }
        None => {
            let binding = <Consumer>::bind(SERVICE, &ours(role))?;
            let producer = Peer::start(role, role.meet.clone())?;
            let mut consumer = binding.accept_timeout(PATIENCE)?;
            consume(role, &producer, |look| {
                look(&consumer.recv()?.ok_or("the stream ended")?);
                Ok(())
            })
        }
    }?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

fn ours(role: &Role) -> Config {
    let backpressure = match role.engine.name.as_str() {
        FAIL => Backpressure::Fail,
        DROP => Backpressure::DropNewest,
        _ => Backpressure::Block,
    };
    Config { backpressure, ..config(role) }
}

fn patiently<T>(mut connect: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let patience = Instant::now() + PATIENCE;
    loop {
        match connect() {
            Ok(end) => return Ok(end),
            Err(error) if Instant::now() > patience => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Where the producer leaves what it saw.
fn left_at(role: &Role) -> PathBuf {
    PathBuf::from(&role.meet).join("offers.json")
}

fn offer(role: &Role, mut send: impl FnMut(&[u8]) -> Outcome<Offered>) -> Outcome<()> {
    let (mut message, mut nanos) = (vec![0; PAYLOAD_BYTES], Vec::new());
    let (mut refused, mut dropped) = (0u64, 0u64);
    let start = Instant::now();
    let until = start + Duration::from_millis(role.millis);
    for number in 0.. {
        let begin = Instant::now();
        if begin > until {
            break;
        }
        fill(number, &mut message);
        match send(&message)? {
            Offered::Sent => {}
            Offered::Refused => refused += 1,
            Offered::Dropped => dropped += 1,
        }
        nanos.push(begin.elapsed().as_nanos() as f64);
        while begin.elapsed() < PACE {
            std::hint::spin_loop();
        }
    }
    let count = nanos.len() as f64;
    let offers = Offers {
        per_s: count / start.elapsed().as_secs_f64(),
        refused_share: refused as f64 / count,
        dropped_share: dropped as f64 / count,
        send_max_ns: nanos.iter().copied().fold(0.0, f64::max),
        send_p50_ns: median(nanos),
    };
    // Complete as soon as it is there.
    let unfinished = PathBuf::from(&role.meet).join("offers.new");
    fs::write(&unfinished, serde_json::to_string(&offers)?)?;
    fs::rename(unfinished, left_at(role))?;
    // What it has sent may still lie in its memory; its consumer ends it.
    std::thread::sleep(PATIENCE);
    Ok(())
}

fn consume(
    role: &Role,
    producer: &Peer,
    mut take: impl FnMut(&mut dyn FnMut(&[u8])) -> Outcome<()>,
) -> Result<Seen, Box<dyn Error>> {
    let (mut first, mut last, mut taken) = (None, None, 0u64);
    let mut once = || -> Outcome<()> {
        let mut right = Err("no message".into());
        take(&mut |message| right = check_later(&mut last, message))?;
        first = first.or(last);
        taken += 1;
        right
    };
    once()?;
    let memory = || -> Outcome<f64> { producer.both().into_iter().map(memory_kib).sum() };
    let before = memory()?;
    let start = Instant::now();
    let patience = start + Duration::from_millis(role.millis) + PATIENCE;
    let left_at = left_at(role);
    // The consumer looks for the end between messages, so that it never waits for one that will not come.
    while !left_at.exists() {
        if Instant::now() > patience {
            return Err("its producer did not come to an end".into());
        }
        let begin = Instant::now();
        once()?;
        std::thread::sleep((10 * PACE).saturating_sub(begin.elapsed()));
    }
    let taken_per_s = taken as f64 / start.elapsed().as_secs_f64();
    let until_last = last.zip(first).map_or(1, |(last, first): (u64, u64)| last - first + 1);
    let missing_share = 1.0 - taken as f64 / until_last as f64;
    let memory_growth_kib = memory()? - before;
    Ok(Seen {
        offers: serde_json::from_str(&fs::read_to_string(left_at)?)?,
        taken_per_s,
        missing_share,
        memory_growth_kib,
    })
}

/// A message that is whole, and later than the one before.
fn check_later(last: &mut Option<u64>, message: &[u8]) -> Outcome<()> {
    let number = u64::from_ne_bytes(*message.first_chunk().ok_or("a short message")?);
    check(number, message, PAYLOAD_BYTES)?;
    if last.is_some_and(|last| number <= last) {
        return Err(format!("message {number} came after {last:?}").into());
    }
    *last = Some(number);
    Ok(())
}
