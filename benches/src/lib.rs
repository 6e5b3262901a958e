//! Benchmarks: floors of this machine and strait's engines, side by side in one run.
//!
//! Whatever talks between processes runs in two processes of its own, pinned to two cores; [`primitives`] are measured
//! between pinned threads. Runs are interleaved (A B C A B C …), answers are checked, payloads are written and read in full.
//!
//! The package `strait-bench-peers` beside this one runs the same with other libraries added: it is not in the workspace,
//! so that none of them enters anybody's dependency tree.

mod aims;
mod bare_ring;
mod clients;
mod connections;
mod cost;
mod engine;
mod floors;
mod instructions;
mod pin;
mod plots;
pub mod primitives;
mod progress;
mod queue;
mod report;
mod rows;
mod rpc;
mod runner;
mod slow;
mod state;
mod stream;
mod syscalls;
mod wake;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

pub use rpc::{Answer, Call, Meeting, Outcome, RoundTrip};
pub use state::{Latest, Look, Publish};
pub use stream::{OneWay, Send, Take};

/// Runs scenarios and prints a table, or with --json one object per line.
///
/// Examples:
///   cargo xtask bench rpc floor
///   cargo xtask bench rpc --quick --json
///   cargo xtask bench primitives --compare
#[derive(Debug, Parser)]
#[command(name = "strait-benches", verbatim_doc_comment)]
struct Arguments {
    /// What to measure: `floor`, `rpc`, `wake`, `clients`, `connections`, `stream`, `slow`, `state`, `queue`, `primitives`, `syscalls`, `instructions`; without any, all of them.
    scenarios: Vec<String>,
    /// Of `instructions`: what is counted now is the baseline from now on.
    #[arg(long)]
    keep_baseline: bool,
    /// Fewer and shorter runs: a check that everything works, not a measurement.
    #[arg(long)]
    quick: bool,
    /// One JSON object per measured value, nothing else.
    #[arg(long)]
    json: bool,
    /// Print the scenarios there are, one per line.
    #[arg(long)]
    list: bool,
    /// Only engines whose name contains this.
    #[arg(long, value_name = "PART")]
    engine: Option<String>,
    /// Only payloads of this many bytes.
    #[arg(long, value_name = "BYTES")]
    payload: Option<usize>,
    /// Runs of each engine (default 5, quick 1).
    #[arg(long)]
    runs: Option<u32>,
    /// Also append every measured value to this file, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// Measure nothing: draw the rows of this file, into the directory that --into names.
    #[arg(long, value_name = "FILE", requires = "into")]
    plot: Option<PathBuf>,
    /// Measure nothing: print the aims beside what the rows of these files say of them.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    aims: Vec<PathBuf>,
    /// Where plots go.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// The two cores, as CLIENT,SERVER; of primitives, those of the first two threads.
    #[arg(long, default_value = "1,0", value_parser = pin::parse_cores)]
    cores: (usize, usize),
    /// Runs one side of one engine; used by this program itself.
    #[arg(long, hide = true, value_name = "JSON")]
    role: Option<String>,
}

/// Other libraries, to run beside ours.
#[derive(Default)]
pub struct Peers {
    /// Of the primitives.
    pub primitives: Vec<primitives::Bench>,
    /// Of calls between processes.
    pub round_trips: Vec<RoundTrip>,
    /// Of streams from one process to another.
    pub one_way: Vec<OneWay>,
    /// Of published values.
    pub latest: Vec<Latest>,
    /// Of streams that may lose messages where the consumer is slow.
    pub lossy: Vec<OneWay>,
}

/// Does what the command line says; `peers` run beside ours.
pub fn main(peers: Peers) -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(role) = &arguments.role {
        return engine::run_role(role, &peers);
    }
    if arguments.list {
        runner::SCENARIOS.iter().for_each(|scenario| println!("{scenario}"));
        return ExitCode::SUCCESS;
    }
    if let (Some(rows), Some(into)) = (&arguments.plot, &arguments.into) {
        return match plots::draw(rows, into) {
            Ok(written) => {
                written.iter().for_each(|file| println!("{file}"));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: --plot: {error}; expected rows as --rows keeps them");
                ExitCode::FAILURE
            }
        };
    }
    if !arguments.aims.is_empty() {
        return match aims::print(&arguments.aims) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: --aims: {error}; expected rows as --rows keeps them");
                ExitCode::FAILURE
            }
        };
    }
    if let Some(unknown) = arguments.scenarios.iter().find(|name| !runner::SCENARIOS.contains(&name.as_str())) {
        eprintln!("error: no scenario {unknown:?}; there are: {}", runner::SCENARIOS.join(", "));
        return ExitCode::from(2);
    }
    // Before anything is started: a side that cannot pin itself ends, and the other one waits for it.
    let cores = match pin::Cores::starting_with(arguments.cores) {
        Ok(cores) => cores,
        Err(error) => {
            eprintln!("error: --cores: {error}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = rows::open(arguments.json, arguments.rows.as_deref()) {
        eprintln!("error: --rows: {error}");
        return ExitCode::from(2);
    }
    let plan = runner::Plan {
        scenarios: arguments.scenarios,
        runs: arguments.runs.unwrap_or(if arguments.quick { 1 } else { 5 }),
        millis: if arguments.quick { 20 } else { 300 },
        quick: arguments.quick,
        engine: arguments.engine,
        payload: arguments.payload,
        cores: arguments.cores,
    };
    let rows = runner::run(&plan, &peers.round_trips);
    if !arguments.json && !rows.is_empty() {
        report::print(&rows, &plan);
    }
    let mut held = rows.iter().all(|row| row.failed.is_none());
    if plan.wants("clients") {
        held &= clients::run(&plan, &peers.round_trips, arguments.json);
    }
    if plan.wants("connections") {
        held &= connections::run(&plan, &peers.round_trips, arguments.json);
    }
    if plan.wants("queue") {
        held &= queue::run(&plan, arguments.json);
    }
    if plan.wants("state") {
        held &= state::run(&plan, &peers.latest, arguments.json);
    }
    if plan.wants("stream") {
        held &= stream::run(&plan, &peers.one_way, arguments.json);
    }
    if plan.wants("slow") {
        held &= slow::run(&plan, &engine::lossy_too(&peers), arguments.json);
    }
    if plan.wants("syscalls") {
        let mut engines = rpc::engines(&peers.round_trips);
        engines.extend(stream::engines(&peers.one_way, 64));
        held &= syscalls::run(&plan, &engines, arguments.json);
    }
    if plan.wants("instructions") {
        held &= instructions::run(&plan, arguments.json, arguments.keep_baseline);
    }
    if plan.wants("primitives") {
        held &= primitives::run(peers.primitives, &plan, cores, arguments.quick, arguments.json);
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
