//! connections: what it takes to connect, and what a connection costs that does nothing.
//!
//! *Connect*: from the call that connects to the first answer, of 64 bytes that are compared; then, where memory follows, to the
//! first answer that came over it. *Idle*: [`IDLE`] connections that have each answered calls, left alone; processor time, memory and
//! descriptors of both processes together, for one of them. Memory is what the system counts (proportional set size: what two
//! processes share counts half for each), less that of the same processes with one connection.

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use strait::{TransportKind, rpc::blocking::Client};

use crate::{
    cost::cpu_nanos,
    engine::{Engine, Peer, Role, Side, run_client},
    progress::Progress,
    report::median,
    rows::JsonRow,
    rpc::{self, Echo, Meeting, RoundTrip, SERVICE, check, options, others, unless_gone},
    runner::Plan,
};

const NAMES: [&str; 4] = ["strait-socket-blocking", "strait-shm-blocking", "strait-shm-async", "strait-shm-small"];
const PAYLOAD_BYTES: usize = 64;

/// Connections of a client that does nothing with them.
const IDLE: usize = 16;

/// Calls until memory must have followed.
const MAX_CALLS: u64 = 10_000;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Costs {
    first_answer_us: f64,
    first_answer_p99_us: f64,
    upgraded_us: f64,
    idle_cpu_ms_per_10_s: f64,
    memory_kib: f64,
    descriptors: f64,
}

/// A metric, its unit, and where it is.
type Column = (&'static str, &'static str, fn(&Costs) -> f64);

const COLUMNS: [Column; 6] = [
    ("first_answer_p50", "us", |costs| costs.first_answer_us),
    ("first_answer_p99", "us", |costs| costs.first_answer_p99_us),
    ("upgraded_p50", "us", |costs| costs.upgraded_us),
    ("idle_cpu_per_10_s", "ms", |costs| costs.idle_cpu_ms_per_10_s),
    ("memory", "KiB", |costs| costs.memory_kib),
    ("descriptors", "", |costs| costs.descriptors),
];

/// Runs all engines in turn; whether that held.
pub(crate) fn run(plan: &Plan, peers: &[RoundTrip], json: bool) -> bool {
    let many = others(peers).filter(|way| way.max_clients >= IDLE).map(|way| way.name);
    let names: Vec<&str> = NAMES.into_iter().chain(many).filter(|name| plan.chooses(name, PAYLOAD_BYTES)).collect();
    let mut costs = vec![Vec::new(); names.len()];
    let mut progress = Progress::new("connections", names.len() * plan.runs as usize);
    for run in 1..=plan.runs {
        for (name, costs) in names.iter().zip(&mut costs) {
            progress.step(&format!("{name}, run {run} of {}", plan.runs));
            match measure(plan, name) {
                Ok(found) => {
                    for (metric, unit, of) in COLUMNS {
                        let (scenario, engine, value) = ("connections", *name, of(&found));
                        JsonRow { scenario, engine, payload_bytes: PAYLOAD_BYTES, metric, value, unit, run }.put();
                    }
                    costs.push(found);
                }
                Err(error) => eprintln!("failed: {name}: {error}"),
            }
        }
    }
    drop(progress);
    if !json {
        println!("\nconnections: connecting, and {IDLE} idle ones; median of {} runs\n", plan.runs);
        print!("{:<28}", "engine");
        COLUMNS.iter().for_each(|(metric, unit, _)| print!(" {:>20}", format!("{metric} {unit}")));
        println!();
        for (name, costs) in names.iter().zip(&costs) {
            print!("{name:<28}");
            for (_, _, of) in COLUMNS {
                match costs.is_empty() {
                    true => print!(" {:>20}", "failed"),
                    false => print!(" {:>20.1}", median(costs.iter().map(of).collect())),
                }
            }
            println!();
        }
    }
    costs.iter().all(|costs| costs.len() == plan.runs as usize)
}

fn measure(plan: &Plan, name: &str) -> Result<Costs, Box<dyn Error>> {
    run_client(plan, Engine { scenario: "connections".into(), name: name.into(), payload_bytes: PAYLOAD_BYTES })
}

/// One process: the client, or its server.
pub(crate) fn run_role(role: &Role, peers: &[RoundTrip]) -> Result<(), Box<dyn Error>> {
    let way = others(peers).find(|way| way.name == role.engine.name);
    if role.side == Side::Server {
        return match way {
            Some(way) => (way.serve)(&Meeting::of(role)).or_else(unless_gone),
            None if role.engine.name.contains("-async") => rpc::runtime()?.block_on(rpc::serve_async(role)),
            None => rpc::serve_blocking(role),
        };
    }
    let costs = match way {
        Some(way) => costs(role, || Ok(Box::new(answers(way.client(&Meeting::of(role))?)))),
        None => costs(role, || connect(role)),
    }?;
    println!("{}", serde_json::to_string(&costs)?);
    Ok(())
}

/// Makes one call; whether the connection runs over what it will run over.
type Turn = Box<dyn FnMut(u64) -> Result<bool, Box<dyn Error>>>;

fn answers(mut call: impl FnMut(u64) -> Result<(), Box<dyn Error>>) -> impl FnMut(u64) -> Result<bool, Box<dyn Error>> {
    move |turn| call(turn).map(|()| true)
}

fn connect(role: &Role) -> Result<Turn, Box<dyn Error>> {
    let client = Client::<Vec<u8>, Vec<u8>, Echo>::connect_with(SERVICE, &options(role))?;
    let expected = if role.engine.name.contains("-shm-") { TransportKind::Shared } else { TransportKind::Socket };
    let mut payload = vec![0u8; PAYLOAD_BYTES];
    Ok(Box::new(move |turn| {
        payload.fill(turn as u8);
        let reply = client.call(&payload)?;
        check(&reply, &payload)?;
        Ok(reply.transport() == expected)
    }))
}

fn costs(role: &Role, connect: impl Fn() -> Result<Turn, Box<dyn Error>>) -> Result<Costs, Box<dyn Error>> {
    let server = Peer::start(role, role.meet.clone())?;
    let patience = Instant::now() + Duration::from_secs(10);
    while let Err(error) = connect().and_then(|mut call| call(0)) {
        if Instant::now() > patience {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut first, mut upgraded) = (Vec::new(), Vec::new());
    let until = Instant::now() + Duration::from_millis(role.millis);
    while Instant::now() < until {
        let begin = Instant::now();
        let mut call = connect()?;
        let mut is_there = call(0)?;
        first.push(begin.elapsed().as_secs_f64() * 1e6);
        for turn in 1..MAX_CALLS {
            if is_there {
                break;
            }
            is_there = call(turn)?;
        }
        if !is_there {
            return Err("memory did not follow".into());
        }
        upgraded.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    first.sort_by(f64::total_cmp);
    let processes = [std::process::id(), server.id()];
    let mut held: Vec<Turn> = Vec::new();
    let mut hold = |count: usize| -> Result<[f64; 2], Box<dyn Error>> {
        while held.len() < count {
            let mut call = connect()?;
            let mut turn = 0;
            while !call(turn)? || turn < 20 {
                turn += 1;
            }
            held.push(call);
        }
        std::thread::sleep(Duration::from_millis(200)); // what goes, goes: sockets that were closed, spins
        Ok([sum(processes, memory_kib)?, sum(processes, descriptors)?])
    };
    let one = hold(1)?;
    let all = hold(IDLE)?;
    // This process last before the rest and first after it: reading takes time too.
    let cpu = |pid: u32| cpu_nanos(pid).map(|nanos| nanos as f64 / 1e6);
    let [own, its] = processes;
    let (its_before, own_before, begin) = (cpu(its)?, cpu(own)?, Instant::now());
    std::thread::sleep(Duration::from_millis(role.millis).max(Duration::from_secs(1)));
    let (seconds, own_after, its_after) = (begin.elapsed().as_secs_f64(), cpu(own)?, cpu(its)?);
    let idle = (own_after - own_before + its_after - its_before) / seconds;
    let each = |index: usize| (all[index] - one[index]) / (IDLE - 1) as f64;
    Ok(Costs {
        first_answer_p99_us: first[(first.len() - 1) * 99 / 100],
        first_answer_us: median(first),
        upgraded_us: median(upgraded),
        idle_cpu_ms_per_10_s: 10.0 * idle / IDLE as f64,
        memory_kib: each(0),
        descriptors: each(1),
    })
}

fn sum(processes: [u32; 2], of: impl Fn(u32) -> Result<f64, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    processes.into_iter().map(of).sum()
}

/// Proportional set size of a process. Source: proc_pid_smaps(5).
pub(crate) fn memory_kib(pid: u32) -> Result<f64, Box<dyn Error>> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn descriptors(pid: u32) -> Result<f64, Box<dyn Error>> {
    Ok(std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"))?.count() as f64)
}
