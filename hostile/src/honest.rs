//! The honest clients: one of each kind, each checking every answer, each with a deadline.

use std::{
    io::BufRead,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use strait::{
    frame::Raw,
    queue,
    rkyv::rancor,
    rpc::blocking::Client,
    state::blocking::Shell,
    stream::{self, Endpoint},
};

use crate::types::{self, ArchivedOrder, BARE, CALLS, Order, QUEUE, STATE, STREAM};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What each call has.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);
/// By how much a call may miss its deadline.
pub(crate) const LATE: Duration = Duration::from_millis(100);
/// How long a queue's client waits for its own item before it pushes it again.
const AGAIN: Duration = Duration::from_millis(100);
/// Between two calls, so that the attacker gets a processor.
const PAUSE: Duration = Duration::from_micros(300);

type Latencies = Arc<Mutex<Histogram<u64>>>;

/// Calls for ever; for each line of standard input, prints what was measured since the last one.
pub(crate) fn run(directory: &Path) -> Result<(), Failure> {
    let mut all = Vec::new();
    for (name, work) in [
        (CALLS, calls as fn(&Path, &Latencies) -> Result<(), Failure>),
        (BARE, bare),
        (STATE, state),
        (QUEUE, queue),
        (STREAM, stream),
    ] {
        let latencies: Latencies = Arc::new(Mutex::new(Histogram::new_with_bounds(1, 60_000_000_000, 3)?));
        all.push((name, latencies.clone()));
        let directory = directory.to_owned();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(error) = work(&directory, &latencies) {
                eprintln!("FAILED {name}: {error}");
                std::process::exit(1);
            }
        })?;
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line?;
        let rows: serde_json::Map<_, _> = all
            .iter()
            .map(|(name, latencies)| {
                let mut latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
                let at = |quantile| latencies.value_at_quantile(quantile);
                let row = serde_json::json!({"count": latencies.len(), "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": latencies.max()});
                latencies.reset();
                ((*name).to_owned(), row)
            })
            .collect();
        println!("{}", serde_json::Value::Object(rows));
    }
    std::process::exit(0)
}

/// Does something again and again; each time within its deadline.
fn measured(latencies: &Latencies, mut once: impl FnMut(u64) -> Result<(), Failure>) -> Result<(), Failure> {
    for number in 1.. {
        let start = Instant::now();
        once(number)?;
        let took = start.elapsed();
        if took > DEADLINE + LATE {
            return Err(format!("call {number} took {took:?}, its deadline is {DEADLINE:?}").into());
        }
        latencies.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took.as_nanos() as u64);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn calls(directory: &Path, latencies: &Latencies) -> Result<(), Failure> {
    call(CALLS, &types::options(directory), latencies)
}

fn bare(directory: &Path, latencies: &Latencies) -> Result<(), Failure> {
    call(BARE, &types::bare_options(directory), latencies)
}

fn call(name: &str, options: &strait::Options, latencies: &Latencies) -> Result<(), Failure> {
    let client: Client<Order, u64> = Client::connect_with(name, options)?;
    measured(latencies, |number| {
        let order = Order::new(number);
        let bytes = strait::rkyv::to_bytes::<rancor::Error>(&order)?;
        let expected = types::sum(strait::rkyv::access::<ArchivedOrder, rancor::Error>(&bytes)?);
        let answer = client.call_timeout(&order, DEADLINE)?.to_native();
        if answer == expected { Ok(()) } else { Err(format!("{answer} is not {expected}").into()) }
    })
}

fn state(directory: &Path, latencies: &Latencies) -> Result<(), Failure> {
    let mut shell = Shell::<[u8], Raw>::connect_with(STATE, &types::options(directory))?;
    let mut seen = 0;
    measured(latencies, |_| {
        let value = shell.read(Instant::now() + DEADLINE)?;
        let (number, rest) = value.split_first_chunk::<8>().ok_or("a value without its number")?;
        let number = u64::from_le_bytes(*number);
        if number < seen || rest.iter().any(|&byte| byte != number as u8) {
            return Err(format!("value {number} after {seen} is old or torn").into());
        }
        seen = number;
        Ok(())
    })
}

fn queue(directory: &Path, latencies: &Latencies) -> Result<(), Failure> {
    let options = types::options(directory);
    let mut producer = queue::blocking::Producer::<[u8], Raw>::connect_with(QUEUE, &options)?;
    let mut worker = queue::blocking::Worker::<[u8], Raw>::connect_with(QUEUE, 4, &options)?;
    measured(latencies, |number| {
        let item = [&b"honest"[..], &number.to_le_bytes()].concat();
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            // Again, where it does not come back: a worker may keep what it was handed, or say that it is done with it.
            producer.push(&item, DEADLINE)?;
            if comes_back(&mut worker, deadline.min(Instant::now() + AGAIN))? {
                return Ok(());
            }
        }
        Err(format!("item {number} did not come back in {DEADLINE:?}, however often it was pushed").into())
    })
}

/// Does what there is to do until an item of its own is among it, or until `deadline`. Items of others are in the queue as well; a worker
/// that is honest does them too.
fn comes_back(worker: &mut queue::blocking::Worker<[u8], Raw>, deadline: Instant) -> Result<bool, Failure> {
    while let Some(item) = worker.pop(deadline.saturating_duration_since(Instant::now()))? {
        let ours = item.get().starts_with(b"honest");
        worker.ack(item)?;
        if ours {
            return Ok(true);
        }
    }
    Ok(false)
}

fn stream(directory: &Path, latencies: &Latencies) -> Result<(), Failure> {
    let config = stream::Config { options: types::options(directory), ..stream::Config::default() };
    let mut producer = <stream::Producer>::connect(STREAM, &config)?;
    measured(latencies, |number| Ok(producer.send_timeout(&[number as u8; 200], DEADLINE)?))
}
