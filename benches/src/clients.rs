//! clients: many client processes at once, each with one connection, calling as fast as they are answered.
//!
//! What is counted is answers, and the processor time that they cost all processes together. Every payload is filled anew, and
//! every answer compared in full. Nothing is pinned: there are more processes than cores, and the system's scheduler is part of
//! what is measured.

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use strait::rpc::{
    self,
    blocking::{self, ClientPolling, Poller},
};

use crate::{
    cost::cpu_nanos,
    engine::{Engine, Peer, Role, Side, spawn},
    progress::Progress,
    report::median,
    rows::JsonRow,
    rpc::{
        Answer, Echo, Meeting, RoundTrip, SERVICE, SHORT, archives, check, options, others, runtime, serve_async,
        serve_blocking, unless_gone,
    },
    runner::Plan,
};

/// The engines: how the server serves and how the clients call.
const NAMES: [&str; 9] = [
    "strait-socket-blocking",
    "strait-shm-blocking",
    "strait-shm-async",
    "strait-shm-polling",
    // One that serves by a thread per client, and clients with a polling thread each beside the one that calls.
    "strait-shm-poller",
    "strait-shm-blocking-inplace",
    "strait-shm-blocking-batch16",
    // Archives instead of raw bytes, to be compared with each other.
    "strait-shm-rkyv-inplace",
    "strait-shm-rkyv-unvalidated",
];

/// The engine that others are compared with.
const REFERENCE: &str = "strait-shm-blocking";

/// Those of the engines that stand beside others with the most clients.
const WITH_MANY: [&str; 4] =
    ["strait-socket-blocking", "strait-shm-blocking", "strait-shm-async", "strait-shm-polling"];

/// Clients at a time.
const CLIENTS: [usize; 3] = [1, 16, 64];

/// Calls of one batch.
const BATCH: usize = 16;

/// What one client process did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Work {
    requests: u64,
    cpu_micros: u64,
}

/// What all of them did in one run.
#[derive(Clone, Copy, Debug)]
struct Sum {
    requests_per_s: f64,
    cpu_us_per_request: f64,
}

/// Runs all engines with all numbers of clients, those with as many clients and the same payload in turn; whether that held.
pub(crate) fn run(plan: &Plan, peers: &[RoundTrip], json: bool) -> bool {
    if !json {
        println!("\nclients: processes with one connection each; not pinned; median of {} runs", plan.runs);
        println!(
            "-short: answered with the sum of the payload's words; x: as a multiple of {REFERENCE} in the same run\n"
        );
        println!(
            "{:<36} {:>9} {:>12} {:>20} {:>16} {:>10} {:>10}",
            "engine-clients", "payload B", "requests/s", "range of requests/s", "CPU µs/request", "x requests", "x CPU"
        );
    }
    let mut held = true;
    for (payload_bytes, suffix) in [(64, ""), (20_000, ""), (20_000, SHORT)] {
        for clients in CLIENTS {
            if plan.quick && (clients != 16 || payload_bytes == 64) {
                continue;
            }
            let ours = NAMES.into_iter().filter(|name| suffix.is_empty() || !name.contains(archives::PART));
            let ours = ours.filter(|name| clients < 64 || WITH_MANY.contains(name));
            let others = others(peers).filter(|way| way.max_clients >= clients).map(|way| way.name);
            let names = ours.chain(others).map(|name| format!("{name}{suffix}"));
            let names: Vec<String> =
                names.filter(|name| plan.chooses(&format!("{name}-{clients}"), payload_bytes)).collect();
            held &= run_in_turn(plan, &names, payload_bytes, clients, suffix, json);
        }
    }
    held
}

/// Runs engines in turn, so that each has its share of the machine's moods.
fn run_in_turn(plan: &Plan, names: &[String], payload_bytes: usize, clients: usize, suffix: &str, json: bool) -> bool {
    let mut sums: Vec<Vec<Option<Sum>>> = vec![Vec::new(); names.len()];
    let mut progress = Progress::new("clients", names.len() * plan.runs as usize);
    for run in 1..=plan.runs {
        for (name, sums) in names.iter().zip(&mut sums) {
            let label = format!("{name}-{clients}");
            progress.step(&format!("{label} {payload_bytes} B, run {run} of {}", plan.runs));
            let engine = Engine { scenario: "clients".into(), name: name.clone(), payload_bytes };
            let sum = measure(plan, engine, clients).inspect_err(|error| {
                eprintln!("failed: {label} {payload_bytes} B: {error}");
            });
            if let Ok(sum) = &sum {
                put(&label, payload_bytes, *sum, run);
            }
            sums.push(sum.ok());
        }
    }
    drop(progress);
    if !json {
        let reference = names.iter().position(|name| *name == format!("{REFERENCE}{suffix}"));
        let reference = reference.map_or_else(Vec::new, |index| sums[index].clone());
        for (name, sums) in names.iter().zip(&sums) {
            print_row(&format!("{name}-{clients}"), payload_bytes, sums, &reference);
        }
    }
    sums.iter().flatten().all(Option::is_some)
}

fn print_row(label: &str, payload_bytes: usize, sums: &[Option<Sum>], reference: &[Option<Sum>]) {
    let median_of = |of: fn(&Sum) -> f64| median(sums.iter().flatten().map(of).collect());
    if sums.iter().all(Option::is_none) {
        println!("{label:<36} {payload_bytes:>9} failed");
        return;
    }
    let beside = |of: fn(&Sum) -> f64| {
        let pairs = sums.iter().zip(reference).filter_map(|(sum, base)| Some(of(sum.as_ref()?) / of(base.as_ref()?)));
        let ratios: Vec<f64> = pairs.collect();
        if ratios.is_empty() { String::new() } else { format!("{:.2}", median(ratios)) }
    };
    let rates = || sums.iter().flatten().map(|sum| sum.requests_per_s);
    let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    println!(
        "{label:<36} {payload_bytes:>9} {:>12.0} {:>20} {:>16.2} {:>10} {:>10}",
        median_of(|sum| sum.requests_per_s),
        format!("{low:.0}..{high:.0}"),
        median_of(|sum| sum.cpu_us_per_request),
        beside(|sum| sum.requests_per_s),
        beside(|sum| sum.cpu_us_per_request),
    );
}

fn put(engine: &str, payload_bytes: usize, sum: Sum, run: u32) {
    let values = [("requests_per_s", sum.requests_per_s, "1/s"), ("cpu_us_per_request", sum.cpu_us_per_request, "us")];
    for (metric, value, unit) in values {
        JsonRow { scenario: "clients", engine, payload_bytes, metric, value, unit, run }.put();
    }
}

/// One run: a server and `clients` client processes, which start together.
fn measure(plan: &Plan, engine: Engine, clients: usize) -> Result<Sum, Box<dyn Error>> {
    let meet = std::env::temp_dir().join(format!("strait-bench-clients-{}", std::process::id()));
    let role = Role {
        engine,
        side: Side::Client,
        cores: plan.cores,
        millis: plan.millis,
        meet: meet.to_string_lossy().into_owned(),
    };
    let outcome = measure_at(&role, clients);
    let _ = std::fs::remove_dir_all(&meet);
    outcome
}

fn measure_at(role: &Role, clients: usize) -> Result<Sum, Box<dyn Error>> {
    let server = Peer::start(role, role.meet.clone())?;
    let mut workers: Vec<Child> = Vec::new();
    for _ in 0..clients {
        workers.push(spawn(role, Stdio::piped(), Stdio::piped())?);
    }
    let mut outputs: Vec<_> =
        workers.iter_mut().filter_map(|worker| worker.stdout.take().map(BufReader::new)).collect();
    // Each says a line when it is warm, and begins when it is told a line.
    let mut line = String::new();
    for output in &mut outputs {
        line.clear();
        output.read_line(&mut line)?;
        if line.trim() != "ready" {
            return Err("a client ended before it was ready".into());
        }
    }
    let server_before = cpu_nanos(server.id())? / 1000;
    let begin = Instant::now();
    for worker in &mut workers {
        worker.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
    }
    let mut all = Work::default();
    for output in &mut outputs {
        line.clear();
        output.read_line(&mut line)?;
        let work: Work = serde_json::from_str(&line)?;
        all.requests += work.requests;
        all.cpu_micros += work.cpu_micros;
    }
    let elapsed = begin.elapsed().as_secs_f64();
    let cpu = all.cpu_micros + (cpu_nanos(server.id())? / 1000).saturating_sub(server_before);
    for mut worker in workers {
        if !worker.wait()?.success() {
            return Err("a client failed".into());
        }
    }
    let requests = all.requests.max(1) as f64;
    Ok(Sum { requests_per_s: requests / elapsed, cpu_us_per_request: cpu as f64 / requests })
}

/// One process: the server, or one of its clients.
pub(crate) fn run_role(role: &Role, peers: &[RoundTrip]) -> Result<(), Box<dyn Error>> {
    if let Some(way) = others(peers).find(|way| way.name == role.engine.name.trim_end_matches(SHORT)) {
        std::fs::create_dir_all(&role.meet)?;
        let meeting = Meeting::of(role);
        return match role.side {
            Side::Server => (way.serve)(&meeting).or_else(unless_gone),
            Side::Client => work(role, 1, way.client(&meeting)?),
        };
    }
    if role.engine.name.contains(archives::PART) {
        return match role.side {
            Side::Server => archives::serve(role),
            Side::Client => work_archives(role),
        };
    }
    let is_async = role.engine.name.contains("-async");
    match (role.side, is_async) {
        (Side::Server, false) => serve_blocking(role),
        (Side::Server, true) => runtime()?.block_on(serve_async(role)),
        (Side::Client, false) => work_blocking(role),
        (Side::Client, true) => runtime()?.block_on(work_async(role)),
    }
}

/// Tells that this client is warm, and waits until all are.
fn ready() -> std::io::Result<()> {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(())
}

fn done(requests: u64, before: u64) -> Result<(), Box<dyn Error>> {
    let work = Work { requests, cpu_micros: (cpu_nanos(std::process::id())? / 1000).saturating_sub(before) };
    println!("{}", serde_json::to_string(&work)?);
    Ok(())
}

/// Calls before the measurement: the first go over the socket.
const WARM_UP: u64 = 50;

fn work_blocking(role: &Role) -> Result<(), Box<dyn Error>> {
    let mut client = connect::<blocking::Client<Vec<u8>, Vec<u8>, Echo>>(|| {
        blocking::Client::connect_with(SERVICE, &options(role))
    })?;
    let poller = role.engine.name.contains("-poller").then(|| Poller::start(&ClientPolling::default())).transpose()?;
    if let Some(poller) = &poller {
        client.set_poller(poller);
    }
    let batch = if role.engine.name.contains("-batch") { BATCH } else { 1 };
    let mut payloads = vec![vec![0u8; role.engine.payload_bytes]; batch];
    let answer = Answer::of(role);
    work(role, batch as u64, |number| {
        for (index, payload) in payloads.iter_mut().enumerate() {
            payload.fill((number + index as u64) as u8);
        }
        match &payloads[..] {
            [payload] => check(&client.call(payload)?, answer.to(payload, &mut [0; 8]))?,
            _ => {
                for (reply, payload) in client.call_batch(&payloads).into_iter().zip(&payloads) {
                    check(&reply?, answer.to(payload, &mut [0; 8]))?;
                }
            }
        }
        Ok(())
    })
}

fn work_archives(role: &Role) -> Result<(), Box<dyn Error>> {
    let client = connect(|| archives::connect(role))?;
    let mut orders = archives::orders(role.engine.payload_bytes);
    work(role, 1, |number| {
        let sum = archives::fill(&mut orders, number);
        archives::check(client.call(&orders)?.to_native(), sum)
    })
}

/// Tries until the server is there: all clients of a run may come at once.
fn connect<C>(connect: impl Fn() -> Result<C, rpc::Error>) -> Result<C, Box<dyn Error>> {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        match connect() {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Warms up, then takes turns of so many calls each while time lasts.
fn work(
    role: &Role,
    calls_per_turn: u64,
    mut turn: impl FnMut(u64) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    (0..WARM_UP).try_for_each(&mut turn)?;
    ready()?;
    let before = cpu_nanos(std::process::id())? / 1000;
    let until = Instant::now() + Duration::from_millis(role.millis);
    let mut turns = 0;
    while Instant::now() < until {
        turn(turns)?;
        turns += 1;
    }
    done(turns * calls_per_turn, before)
}

async fn work_async(role: &Role) -> Result<(), Box<dyn Error>> {
    let options = options(role);
    let patience = Instant::now() + Duration::from_secs(20);
    let client = loop {
        match rpc::Client::<Vec<u8>, Vec<u8>, Echo>::connect_with(SERVICE, &options).await {
            Ok(client) => break client,
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let mut payload = vec![0u8; role.engine.payload_bytes];
    for number in 0..WARM_UP {
        payload.fill(number as u8);
        check(&client.call(&payload).await?, Answer::of(role).to(&payload, &mut [0; 8]))?;
    }
    ready()?;
    let before = cpu_nanos(std::process::id())? / 1000;
    let until = Instant::now() + Duration::from_millis(role.millis);
    let mut turns = 0u64;
    while Instant::now() < until {
        payload.fill(turns as u8);
        check(&client.call(&payload).await?, Answer::of(role).to(&payload, &mut [0; 8]))?;
        turns += 1;
    }
    done(turns, before)
}
