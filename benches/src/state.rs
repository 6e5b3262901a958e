//! state: a daemon process that publishes, and shell processes that read, wait for changes and send commands.
//!
//! Every value that is read is a copy of its own, whose first and last word are compared with its version; or, in the engines
//! with `pin`, read in place, those two words alone. No process is pinned: there may be more of them than cores. `share_of_memcpy` is the median, over interleaved pairs in one shell, of what a plain
//! copy of as many bytes takes and what a read takes.

mod others;

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use strait::{
    HonestPeer,
    state::{Config, Daemon, blocking::Shell},
};

use crate::{
    engine::{Engine, Peer, Role, Side, spawn},
    progress::Progress,
    report::median,
    rows::JsonRow,
    rpc,
    runner::Plan,
};

pub use self::others::{Latest, Look, Publish};

const SERVICE: &str = "bench-state";
const PATIENCE: Duration = Duration::from_secs(20);
/// Commands are short, and the state has memory of its own.
fn options(role: &Role) -> strait::Options {
    #[allow(unsafe_code)]
    // SAFETY: the daemon is this program.
    let state_pin = reads_in_place(role).then(|| unsafe { HonestPeer::assume() });
    strait::Options { ring_bytes: 64 << 10, state_pin, ..rpc::options(role) }
}

fn reads_in_place(role: &Role) -> bool {
    role.engine.name.contains("-pin-")
}

const SHELLS: [usize; 4] = [1, 2, 4, 8];
/// Operations between two looks at the clock, in the paired measurement.
const BATCH: u32 = 16;

/// What one shell did, or the daemon: values by metric.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Work {
    operations_per_s: f64,
    p50_ns: f64,
    share_of_memcpy: Option<f64>,
    memcpy_bytes_per_s: Option<f64>,
}

/// A row of the table: all shells of one run together.
struct Sum {
    engine: String,
    payload_bytes: usize,
    values: Vec<(&'static str, f64, &'static str)>,
}

/// Runs all engines; whether that held.
pub(crate) fn run(plan: &Plan, peers: &[Latest], json: bool) -> bool {
    let mut kinds = kinds(peers);
    kinds.retain(|kind| {
        let left_out = plan.quick && (kind.shells >= 4 || kind.payload_bytes == 4096);
        plan.chooses(&kind.name, kind.payload_bytes) && !left_out
    });
    let mut held = true;
    let mut progress = Progress::new("state", kinds.len() * plan.runs as usize);
    let mut table: Vec<Vec<Sum>> = kinds.iter().map(|_| Vec::new()).collect();
    for run in 1..=plan.runs {
        for (kind, sums) in kinds.iter().zip(&mut table) {
            let Kind { ref name, payload_bytes, shells } = *kind;
            progress.step(&format!("{name} {payload_bytes} B, run {run} of {}", plan.runs));
            let engine = Engine { scenario: "state".into(), name: name.clone(), payload_bytes };
            // In memory, as ours is, where another library keeps its values in files.
            let base = if of(peers, name).is_some() { "/dev/shm".into() } else { std::env::temp_dir() };
            match measure(plan, engine, shells, &base) {
                Ok(found) => {
                    found.iter().for_each(|sum| put(sum, run));
                    sums.extend(found);
                }
                Err(error) => {
                    eprintln!("failed: {name} {payload_bytes} B: {error}");
                    // A peer that is wrong is a result; one of ours is a failure.
                    held &= of(peers, name).is_some();
                }
            }
        }
    }
    drop(progress);
    if !json {
        println!("\nstate: one daemon, shells in processes of their own; not pinned; median of {} runs", plan.runs);
        println!("-read-: a copy of one's own; -pin-: the first and the last word, where the value lies\n");
        for (kind, sums) in kinds.iter().zip(&table) {
            print_row(kind, sums, plan.runs);
        }
    }
    held
}

/// An engine with as many shells as its name says.
struct Kind {
    name: String,
    payload_bytes: usize,
    shells: usize,
}

/// Ours, and those of the peers, which read where a value lies.
fn kinds(peers: &[Latest]) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let mut add = |name: &str, payload_bytes, numbers: &[usize]| {
        kinds.extend(numbers.iter().map(|&shells| Kind { name: format!("{name}-{shells}"), payload_bytes, shells }));
    };
    for payload_bytes in [64, 4096, 256 << 10] {
        for writer in ["idle", "busy"] {
            add(&format!("strait-shm-read-{writer}"), payload_bytes, &SHELLS);
        }
    }
    for writer in ["idle", "busy"] {
        for library in ["strait-shm"].into_iter().chain(peers.iter().map(|peer| peer.name)) {
            add(&format!("{library}-pin-{writer}"), 256 << 10, &SHELLS);
        }
    }
    add("strait-shm-seen-spin", 64, &[1]);
    add("strait-shm-seen-changed", 64, &[1]);
    add("strait-shm-command", 64, &SHELLS);
    kinds
}

/// The peer that an engine is of.
fn of<'a>(peers: &'a [Latest], name: &str) -> Option<&'a Latest> {
    peers.iter().find(|peer| name.starts_with(peer.name))
}

fn put(sum: &Sum, run: u32) {
    for &(metric, value, unit) in &sum.values {
        let (engine, payload_bytes) = (&*sum.engine, sum.payload_bytes);
        JsonRow { scenario: "state", engine, payload_bytes, metric, value, unit, run }.put();
    }
}

/// Medians of the runs that did not fail.
fn print_row(kind: &Kind, runs: &[Sum], wanted: u32) {
    let failed = wanted as usize - runs.iter().filter(|sum| sum.engine == kind.name).count();
    if failed > 0 {
        println!("{:<28} {:>7} B  failed in {failed} runs of {wanted}", kind.name, kind.payload_bytes);
    }
    let mut names: Vec<&str> = runs.iter().map(|sum| &*sum.engine).collect();
    names.dedup();
    names.truncate(2);
    for name in names {
        let of_name: Vec<&Sum> = runs.iter().filter(|sum| sum.engine == name).collect();
        let Some(first) = of_name.first() else { continue };
        print!("{name:<28} {:>7} B", first.payload_bytes);
        for (index, (metric, _, unit)) in first.values.iter().enumerate() {
            let value = median(of_name.iter().filter_map(|sum| sum.values.get(index)).map(|value| value.1).collect());
            print!("  {metric} {value:.3} {unit}");
        }
        println!();
    }
}

/// One run: a daemon and `shells` shell processes, which start together.
fn measure(plan: &Plan, engine: Engine, shells: usize, base: &Path) -> Result<Vec<Sum>, Box<dyn Error>> {
    let meet = base.join(format!("strait-bench-state-{}", std::process::id()));
    let role = Role {
        engine,
        side: Side::Client,
        cores: plan.cores,
        millis: plan.millis,
        meet: meet.to_string_lossy().into_owned(),
    };
    let outcome = measure_at(&role, shells);
    let _ = std::fs::remove_dir_all(&meet);
    outcome
}

fn measure_at(role: &Role, shells: usize) -> Result<Vec<Sum>, Box<dyn Error>> {
    let _daemon = Peer::start(role, role.meet.clone())?;
    let mut workers: Vec<Child> = Vec::new();
    for _ in 0..shells {
        workers.push(spawn(role, Stdio::piped(), Stdio::piped())?);
    }
    let mut outputs: Vec<_> =
        workers.iter_mut().filter_map(|worker| worker.stdout.take().map(BufReader::new)).collect();
    let mut line = String::new();
    for output in &mut outputs {
        line.clear();
        output.read_line(&mut line)?;
        if line.trim() != "ready" {
            return Err("a shell ended before it was ready".into());
        }
    }
    for worker in &mut workers {
        worker.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
    }
    let mut all: Vec<Work> = Vec::new();
    for output in &mut outputs {
        line.clear();
        output.read_line(&mut line)?;
        all.push(serde_json::from_str(&line)?);
    }
    for mut worker in workers {
        if !worker.wait()?.success() {
            return Err("a shell failed".into());
        }
    }
    Ok(summed_up(role, &all))
}

fn summed_up(role: &Role, all: &[Work]) -> Vec<Sum> {
    let Engine { ref name, payload_bytes, .. } = role.engine;
    let per_s: f64 = all.iter().map(|work| work.operations_per_s).sum();
    let p50 = median(all.iter().map(|work| work.p50_ns).collect());
    let bytes = payload_bytes as f64;
    let mut values = match () {
        () if name.contains("-read-") => {
            vec![("reads_per_s", per_s, "1/s"), ("bytes_per_s", per_s * bytes, "B/s"), ("read_p50", p50, "ns")]
        }
        () if name.contains("-pin-") => vec![("reads_per_s", per_s, "1/s"), ("read_p50", p50, "ns")],
        () if name.contains("-seen-") => vec![("writes_per_s", per_s, "1/s"), ("seen_p50", p50, "ns")],
        () => vec![("requests_per_s", per_s, "1/s"), ("rtt_p50", p50, "ns")],
    };
    let mut sums = Vec::new();
    if let [Work { share_of_memcpy: Some(share), memcpy_bytes_per_s: Some(floor), .. }] = *all {
        values.push(("share_of_memcpy", share, ""));
        sums.push(Sum { engine: "floor-memcpy".into(), payload_bytes, values: vec![("bytes_per_s", floor, "B/s")] });
    }
    sums.push(Sum { engine: name.clone(), payload_bytes, values });
    sums
}

/// One process: the daemon, or one of its shells.
pub(crate) fn run_role(role: &Role, peers: &[Latest]) -> Result<(), Box<dyn Error>> {
    if let Some(peer) = of(peers, &role.engine.name) {
        return peer.run(role);
    }
    match role.side {
        Side::Server => publish(role),
        Side::Client if role.engine.name.contains("-command-") => command(role),
        Side::Client if role.engine.name.contains("-seen-") => seen(role),
        Side::Client => read(role),
    }
}

/// The time of all processes of this machine.
fn now_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Writes `number` to both ends of a value.
fn stamp(value: &mut [u8], number: u64) {
    let (first, last) = (number.to_le_bytes(), value.len() - 8);
    value[..8].copy_from_slice(&first);
    value[last..].copy_from_slice(&first);
}

fn number(value: &[u8]) -> Result<u64, Box<dyn Error>> {
    let word = |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_le_bytes(*bytes)).ok_or("a short value");
    let (first, last) = (word(value.first_chunk())?, word(value.last_chunk())?);
    if first != last { Err("a torn value".into()) } else { Ok(first) }
}

/// The daemon, until it is killed.
fn publish(role: &Role) -> Result<(), Box<dyn Error>> {
    let max_pins = if reads_in_place(role) { SHELLS[SHELLS.len() - 1] } else { 0 };
    let config = Config { max_pins, options: options(role), ..Config::default() };
    let mut daemon = Daemon::<[u8]>::create(SERVICE, &config)?;
    let mut value = vec![7u8; role.engine.payload_bytes];
    stamp(&mut value, 1);
    daemon.publish_bytes(&value)?;
    let name = &role.engine.name;
    loop {
        if name.contains("-busy-") {
            value.fill(daemon.version() as u8);
            stamp(&mut value, daemon.version() + 1);
            daemon.publish_bytes(&value)?;
        } else if name.contains("-seen-") {
            // Often enough for many samples, seldom enough that each waiter sleeps or spins before the next.
            let until = Instant::now() + Duration::from_micros(200);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            stamp(&mut value, now_nanos());
            daemon.publish_bytes(&value)?;
        } else if let Some(command) = daemon.command(Instant::now() + Duration::from_millis(100)) {
            let answer = command.to_vec();
            command.reply(&answer);
        }
    }
}

/// Connects, with patience for a daemon that is still starting, and waits for its first value.
fn connect(role: &Role) -> Result<Shell<[u8]>, Box<dyn Error>> {
    let patience = Instant::now() + PATIENCE;
    let mut shell = loop {
        match Shell::connect_with(SERVICE, &options(role)) {
            Ok(shell) if reads_in_place(role) && shell.no_pin().is_some() => {
                return Err(format!("not in place: {:?}", shell.no_pin()).into());
            }
            Ok(shell) if shell.is_mapped() => break shell,
            Ok(shell) => return Err(format!("not mapped: {:?}", shell.fallback_reason()).into()),
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    shell.changed(patience)?;
    Ok(shell)
}

/// Tells that this shell is warm, and waits until all are; then until when to go on.
fn begin(role: &Role) -> Result<Instant, Box<dyn Error>> {
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(Instant::now() + Duration::from_millis(role.millis))
}

fn done(work: &Work) -> Result<(), Box<dyn Error>> {
    println!("{}", serde_json::to_string(work)?);
    Ok(())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// A look in place that is tried again where it was overtaken.
fn look_once(shell: &mut Shell<[u8]>, len: usize) -> Result<u64, Box<dyn Error>> {
    loop {
        match shell.pin() {
            Ok(value) if value.len() == len => return number(&value),
            Ok(value) => return Err(format!("a value of {} bytes", value.len()).into()),
            Err(strait::state::Error::Transport(strait::transport::Error::Overtaken { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A read that is tried again where it was overtaken.
fn read_once(shell: &mut Shell<[u8]>, len: usize, deadline: Instant) -> Result<u64, Box<dyn Error>> {
    loop {
        match shell.read(deadline) {
            Ok(value) if value.len() == len => return number(&value),
            Ok(value) => return Err(format!("a value of {} bytes", value.len()).into()),
            Err(strait::state::Error::Transport(strait::transport::Error::Overtaken { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn read(role: &Role) -> Result<(), Box<dyn Error>> {
    let mut shell = connect(role)?;
    let (len, in_place) = (role.engine.payload_bytes, reads_in_place(role));
    let once = |shell: &mut Shell<[u8]>, deadline| {
        if in_place { look_once(shell, len) } else { read_once(shell, len, deadline) }
    };
    let mut work = reads(role, |deadline| once(&mut shell, deadline).map(drop))?;
    if role.engine.name.ends_with("-read-idle-1") {
        paired(&mut shell, role, &mut work)?;
    }
    done(&work)
}

/// Reads while time lasts, once all readers are warm.
fn reads(role: &Role, mut once: impl FnMut(Instant) -> Result<(), Box<dyn Error>>) -> Result<Work, Box<dyn Error>> {
    for _ in 0..100 {
        once(soon())?;
    }
    let until = begin(role)?;
    let start = Instant::now();
    let mut times = Vec::new();
    let mut reads = 0u64;
    // Each sample is the mean of a batch: the clock costs as much as a small read.
    loop {
        let before = Instant::now();
        for _ in 0..BATCH {
            once(until)?;
        }
        reads += u64::from(BATCH);
        let after = Instant::now();
        times.push((after - before).as_nanos() as f64 / f64::from(BATCH));
        if after >= until {
            break;
        }
    }
    let operations_per_s = reads as f64 / start.elapsed().as_secs_f64();
    Ok(Work { operations_per_s, p50_ns: median(times), ..Work::default() })
}

/// Plain copies and reads in turn.
fn paired(shell: &mut Shell<[u8]>, role: &Role, work: &mut Work) -> Result<(), Box<dyn Error>> {
    let len = role.engine.payload_bytes;
    let (source, mut target) = (vec![7u8; len], vec![0u8; len]);
    let (mut shares, mut floors) = (Vec::new(), Vec::new());
    let until = Instant::now() + Duration::from_millis(role.millis);
    while Instant::now() < until {
        let before = Instant::now();
        for _ in 0..BATCH {
            target.copy_from_slice(std::hint::black_box(&source));
            std::hint::black_box(&mut target);
        }
        let between = Instant::now();
        for _ in 0..BATCH {
            std::hint::black_box(&*shell.read(until)?);
        }
        let (copy, read) = ((between - before).as_nanos() as f64, between.elapsed().as_nanos() as f64);
        shares.push(copy / read);
        floors.push(f64::from(BATCH) * len as f64 / copy * 1e9);
    }
    (work.share_of_memcpy, work.memcpy_bytes_per_s) = (Some(median(shares)), Some(median(floors)));
    Ok(())
}

/// From just before a value is published until it was read.
fn seen(role: &Role) -> Result<(), Box<dyn Error>> {
    let mut shell = connect(role)?;
    let len = role.engine.payload_bytes;
    let spins = role.engine.name.contains("-spin");
    read_once(&mut shell, len, soon())?;
    let until = begin(role)?;
    let start = Instant::now();
    let mut times = Vec::new();
    let mut last = shell.version()?;
    while Instant::now() < until {
        if spins {
            while shell.version()? == last {
                std::hint::spin_loop();
            }
        } else {
            shell.changed(soon())?;
        }
        let published = read_once(&mut shell, len, soon())?;
        times.push(now_nanos().saturating_sub(published) as f64);
        last = shell.version()?;
    }
    let operations_per_s = times.len() as f64 / start.elapsed().as_secs_f64();
    done(&Work { operations_per_s, p50_ns: median(times), ..Work::default() })
}

fn command(role: &Role) -> Result<(), Box<dyn Error>> {
    let mut shell = connect(role)?;
    let mut payload = vec![0u8; role.engine.payload_bytes];
    for _ in 0..50 {
        shell.command(&payload, soon())?;
    }
    let until = begin(role)?;
    let start = Instant::now();
    let mut times = Vec::new();
    while Instant::now() < until {
        payload.fill(times.len() as u8);
        let before = Instant::now();
        if *shell.command(&payload, soon())? != *payload {
            return Err("another answer".into());
        }
        times.push(before.elapsed().as_nanos() as f64);
    }
    let operations_per_s = times.len() as f64 / start.elapsed().as_secs_f64();
    done(&Work { operations_per_s, p50_ns: median(times), ..Work::default() })
}
