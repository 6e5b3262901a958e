//! instructions: how many instructions an operation takes, counted by callgrind: a gauge without noise.
//!
//! Each program runs twice, with some turns and with three times as many; what the longer run has more of, divided by the turns it
//! has more of, is what one takes, so that what starting up takes is not in it. Both ends of a ring, a queue or a stream run in turn on
//! one thread, so that nobody waits. A call needs two processes: client and server share one core and never spin, so that what
//! is counted is the whole path with both asleep, less what waiting would take.
//!
//! The counts that were kept are in `benches/instructions.json`. Another compiler or other features of the processor give other counts.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    hint::black_box,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use strait::{
    TransportKind,
    rpc::blocking::Client,
    stream::{self, Config, Raw},
};
use strait_mpmc::Queue;
use strait_seqlock::{
    SeqLock,
    snapshot::{Geometry, channel_with},
};
use strait_spsc::{
    records::{self, Meta},
    slots,
};

use crate::{
    engine::{Engine, Role, Side},
    pin,
    progress::Progress,
    rows::JsonRow,
    rpc::{Echo, SERVICE, check, options, serve_blocking},
    runner::Plan,
};

const CALL: &str = "strait-rpc-call";
const PAYLOAD_BYTES: usize = 64;
const TURNS: u64 = 2_000;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// How much a count may grow. A call depends on when the system lets which process run.
const TOLERANCE: f64 = 0.02;
const TOLERANCE_OF_CALLS: f64 = 0.05;

/// Takes so many turns.
type Program = fn(u64);

/// What both ends do on one thread.
const PROGRAMS: [(&str, Program); 6] = [
    ("strait-slots-push-pop", slots),
    ("strait-records-send-receive", records),
    ("strait-queue-push-pop", queue),
    ("strait-seqlock-write-read", seqlock),
    ("strait-snapshot-write-read", snapshot),
    ("strait-stream-send-receive", stream),
];

fn slots(turns: u64) {
    let (mut producer, mut consumer) = slots::channel(1024).expect("a power of two");
    for turn in 0..turns {
        producer.try_push(black_box([turn; 8])).expect("room");
        black_box(consumer.try_pop().expect("just pushed"));
    }
}

fn records(turns: u64) {
    let (mut producer, mut consumer) = records::channel(64 << 10).expect("a power of two");
    let mut value = [0u64; PAYLOAD_BYTES / 8];
    for turn in 0..turns {
        let mut grant = producer.try_claim(PAYLOAD_BYTES).expect("room");
        grant.as_mut_slice().fill(black_box(turn as u8));
        grant.commit(PAYLOAD_BYTES, Meta::default());
        consumer.next().expect("an honest producer").expect("just sent").copy_to(&mut value);
        black_box(&value);
    }
}

fn queue(turns: u64) {
    let queue = Queue::new(1024).expect("a power of two");
    for turn in 0..turns {
        queue.try_push(black_box([turn; 8])).expect("room");
        black_box(queue.try_pop().expect("just pushed"));
    }
}

fn seqlock(turns: u64) {
    let lock = SeqLock::new([7u64; 8]);
    let mut writer = lock.writer().expect("the only one");
    for turn in 0..turns {
        writer.write(black_box([turn; 8]));
        black_box(lock.read());
    }
}

fn snapshot(turns: u64) {
    let geometry = Geometry::new(PAYLOAD_BYTES).expect("small enough");
    let (mut writer, mut reader) = channel_with(geometry).expect("small enough");
    let (value, mut buffer) = ([7; PAYLOAD_BYTES], [0; PAYLOAD_BYTES]);
    for _ in 0..turns {
        writer.write(black_box(&value)).expect("not too long");
        black_box(reader.read_into(&mut buffer).expect("written above"));
    }
}

fn stream(turns: u64) {
    let (mut producer, mut consumer) = stream::local::<[u8], Raw>(&Config::default()).expect("valid options");
    let mut value = [0; PAYLOAD_BYTES];
    for turn in 0..turns {
        value.fill(black_box(turn as u8));
        producer.send(&value).expect("room");
        black_box(&*consumer.recv().expect("no failure").expect("just sent"));
    }
}

/// Counts all of it, and compares it with what was kept; whether nothing has grown.
pub(crate) fn run(plan: &Plan, json: bool, keep: bool) -> bool {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        if !json {
            println!("\ninstructions: skipped: valgrind, which counts them, is not installed");
        }
        return true;
    }
    let kept = match baseline() {
        Ok(kept) => kept,
        Err(error) => {
            eprintln!("error: {BASELINE}: {error}");
            return false;
        }
    };
    let names = PROGRAMS.iter().map(|(name, _)| *name).chain([CALL]).filter(|name| plan.chooses(name, PAYLOAD_BYTES));
    let names: Vec<&str> = names.collect();
    let mut progress = Progress::new("instructions", names.len());
    let (mut held, mut counts) = (true, Vec::new());
    for name in names {
        progress.step(name);
        match per_turn(plan, name) {
            Ok(of_name) => counts.extend(of_name),
            Err(error) => {
                eprintln!("failed: {name}: {error}");
                held = false;
            }
        }
    }
    drop(progress);
    if !json {
        println!("\ninstructions: per turn with {PAYLOAD_BYTES} B, counted by callgrind\n");
        println!("{:<32} {:>12} {:>12} {:>9}", "engine", "now", "kept", "grew by");
    }
    for (engine, value) in &counts {
        let (scenario, metric) = ("instructions", "instructions_per_turn");
        JsonRow { scenario, engine, payload_bytes: PAYLOAD_BYTES, metric, value: *value, unit: "", run: 1 }.put();
        let before = kept.get(engine).copied();
        let growth = before.map(|before| value / before - 1.0);
        let tolerance = if engine.starts_with(CALL) { TOLERANCE_OF_CALLS } else { TOLERANCE };
        if let (false, Some(growth)) = (keep, growth.filter(|growth| *growth > tolerance)) {
            let (growth, tolerance) = (100.0 * growth, 100.0 * tolerance);
            eprintln!(
                "grew: {engine}: by {growth:.1} %, more than {tolerance:.0} %; where that is meant, --keep-baseline"
            );
            held = false;
        }
        if !json {
            let before = before.map_or_else(|| "-".into(), |before| format!("{before:.1}"));
            let growth = growth.map_or_else(String::new, |growth| format!("{:+.1} %", 100.0 * growth));
            println!("{engine:<32} {value:>12.1} {before:>12} {growth:>9}");
        }
    }
    if keep {
        let all: BTreeMap<String, f64> =
            kept.into_iter().chain(counts.into_iter().map(|(name, count)| (name, count.round()))).collect();
        let text = serde_json::to_string_pretty(&all).unwrap_or_default() + "\n";
        if let Err(error) = fs::write(BASELINE, text) {
            eprintln!("error: {BASELINE}: {error}");
            return false;
        }
    }
    held
}

/// What was kept; nothing, where there is no file yet.
fn baseline() -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    match fs::read_to_string(BASELINE) {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

/// Instructions of one turn, of each process that takes part.
fn per_turn(plan: &Plan, name: &str) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let few = count(plan, name, TURNS)?;
    let many = count(plan, name, 3 * TURNS)?;
    let each = few.iter().zip(&many).map(|((name, few), (_, many))| (name.clone(), (many - few) / (2 * TURNS) as f64));
    Ok(each.collect())
}

/// All instructions of each process, with so many turns.
fn count(plan: &Plan, name: &str, turns: u64) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("strait-bench-instructions-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let counted = count_at(plan, name, turns, &dir);
    let _ = fs::remove_dir_all(&dir);
    counted
}

fn count_at(plan: &Plan, name: &str, turns: u64, dir: &Path) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let role = |side| Role {
        engine: Engine { scenario: "instructions".into(), name: name.into(), payload_bytes: PAYLOAD_BYTES },
        side,
        cores: plan.cores,
        // What this scenario counts in.
        millis: turns,
        meet: dir.to_string_lossy().into_owned(),
    };
    let (client, server) = (dir.join("client.out"), dir.join("server.out"));
    if name != CALL {
        wait(start(&role(Side::Client), &client)?)?;
        return Ok(vec![(name.into(), total(&client)?)]);
    }
    let mut serving = start(&role(Side::Server), &server)?;
    let called = start(&role(Side::Client), &client).and_then(wait);
    // It writes its count down when it is asked to end, and not when it is killed.
    let asked = rustix::process::Pid::from_raw(serving.id() as i32).ok_or("no process")?;
    rustix::process::kill_process(asked, rustix::process::Signal::TERM)?;
    let patience = Instant::now() + Duration::from_secs(20);
    while serving.try_wait()?.is_none() {
        if Instant::now() > patience {
            serving.kill()?;
            serving.wait()?;
            return Err("its server did not end".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    called?;
    Ok(vec![(format!("{CALL}-client"), total(&client)?), (format!("{CALL}-server"), total(&server)?)])
}

fn start(role: &Role, out: &Path) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(std::env::current_exe()?).args(["--role", &serde_json::to_string(role)?]);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
}

fn wait(mut child: Child) -> Result<(), Box<dyn Error>> {
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
}

/// What callgrind counted in all.
fn total(out: &Path) -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string(out)?;
    let totals = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    Ok(totals.ok_or("callgrind wrote no totals")?.trim().parse()?)
}

/// One process under callgrind.
pub(crate) fn run_role(role: &Role) -> Result<(), Box<dyn Error>> {
    pin::to(role.cores.0)?;
    if let Some((_, program)) = PROGRAMS.iter().find(|(name, _)| *name == role.engine.name) {
        program(role.millis);
        return Ok(());
    }
    if role.side == Side::Server {
        return serve_blocking(role);
    }
    let patience = Instant::now() + Duration::from_secs(20);
    let client = loop {
        match Client::<Vec<u8>, Vec<u8>, Echo>::connect_with(SERVICE, &options(role)) {
            Ok(client) => break client,
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut payload = vec![0; PAYLOAD_BYTES];
    for turn in 0..role.millis {
        payload.fill(turn as u8);
        check(&client.call(&payload)?, &payload)?;
    }
    if client.transport() == TransportKind::Shared { Ok(()) } else { Err("memory did not follow".into()) }
}
