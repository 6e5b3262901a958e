//! `cargo xtask bench`: the benchmarks of the workspace's `benches` package.

mod report;

use std::process::Command;

use clap::builder::PossibleValuesParser;

use crate::{failure::Failure, run};

/// The scenarios, and the seconds that one run of each takes with other libraries beside; of those that run less often, a fifth of
/// five.
const SCENARIOS: [(&str, f64); 12] = [
    ("floor", 0.7),
    ("rpc", 60.0),
    ("stream", 33.0),
    ("slow", 3.0),
    ("state", 16.0),
    ("queue", 12.0),
    ("primitives", 46.0),
    ("clients", 43.0),
    ("connections", 14.0),
    ("wake", 12.0),
    ("syscalls", 17.0),
    ("instructions", 1.5),
];

/// Run the benchmarks.
///
/// Scenarios run between separate processes, those of `primitives` between threads, all pinned, and each answer is checked.
/// The floors, scenario `floor`, are what the machine itself allows; the other numbers are to be read beside them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask bench                       every scenario there is\n  \
                        cargo xtask bench floor rpc --compare   two scenarios, with other libraries beside\n  \
                        cargo xtask bench rpc --quick --json    short, one JSON object per line\n  \
                        cargo xtask bench --compare --report    everything, into the documentation\n  \
                        cargo xtask bench primitives --compare  rings, queues and snapshots beside other crates")]
pub(crate) struct Args {
    /// The scenarios to run; all, where none is given
    #[arg(value_name = "SCENARIO", value_parser = PossibleValuesParser::new(SCENARIOS.map(|(name, _)| name)))]
    scenarios: Vec<String>,
    /// Also measure other libraries; builds them, apart from everything else
    #[arg(long)]
    compare: bool,
    /// Measure briefly: enough to see that it works, too short for numbers to rely on
    #[arg(long)]
    quick: bool,
    /// Print one JSON object per measurement
    #[arg(long)]
    json: bool,
    /// Also keep the rows under docs/results, draw docs/plots and put the tables into docs/BENCHMARKS.md, between their markers
    #[arg(long, conflicts_with_all = ["json", "quick"])]
    report: bool,
    /// Of `instructions`: what is counted now is the baseline from now on
    #[arg(long)]
    keep_baseline: bool,
    /// How often each engine is measured, in turn with the others
    #[arg(long, value_name = "N")]
    runs: Option<u32>,
    /// The two cores that the first two sides are pinned to
    #[arg(long, value_name = "A,B", value_parser = two_cores)]
    cores: Option<String>,
}

/// Runs the scenarios that were asked for.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let benches = if args.compare { with_peers } else { benches };
    let runs = args.runs.unwrap_or(if args.quick { 1 } else { RUNS });
    if !args.quick {
        let less = if args.compare { "" } else { "; without other libraries less" };
        eprintln!("about {:.0} min once built, as timed on two cores{less}", minutes(&args.scenarios, runs).ceil());
    }
    if args.report {
        return report::run(args, benches);
    }
    let mut command = benches();
    command.args(&args.scenarios);
    add_options(args, &mut command);
    run::must(&mut command)
}

/// Hands on what the benches understand too.
fn add_options(args: &Args, command: &mut Command) {
    let flags = [(args.quick, "--quick"), (args.json, "--json"), (args.keep_baseline, "--keep-baseline")];
    for (given, flag) in flags {
        if given {
            command.arg(flag);
        }
    }
    for (value, option) in [(args.runs.map(|runs| runs.to_string()), "--runs"), (args.cores.clone(), "--cores")] {
        if let Some(value) = value {
            command.args([option, &value]);
        }
    }
}

/// How often each engine is measured, where nobody says it.
const RUNS: u32 = 5;

/// How long it takes with other libraries beside, about.
fn minutes(scenarios: &[String], runs: u32) -> f64 {
    let asked = |name: &str| scenarios.is_empty() || scenarios.iter().any(|scenario| scenario == name);
    let of_run = SCENARIOS.iter().filter(|(name, _)| asked(name));
    of_run.map(|(_, seconds)| seconds).sum::<f64>() * f64::from(runs) / 60.0
}

/// Runs `scenarios` briefly.
pub(crate) fn quick(scenarios: &[&str]) -> Result<(), Failure> {
    run::must(benches().args(scenarios).arg("--quick"))
}

/// Lets only what the benches understand through, so that anything else is wrong usage here.
fn two_cores(text: &str) -> Result<String, String> {
    let number = |core: &str| core.trim().parse::<usize>().is_ok();
    match text.split_once(',') {
        Some((first, second)) if number(first) && number(second) => Ok(text.to_owned()),
        _ => Err("expected two core numbers, like 1,0".to_owned()),
    }
}

fn benches() -> Command {
    run::cargo(&["run", "--release", "-p", "strait-benches", "--"])
}

/// The same with other libraries, which are no part of the workspace.
fn with_peers() -> Command {
    let mut command = run::cargo(&["run", "--release", "--manifest-path", "benches/peers/Cargo.toml", "--"]);
    command.env("CARGO_TARGET_DIR", run::target_dir().join("peers"));
    command
}
