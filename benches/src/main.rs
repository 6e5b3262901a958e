//! Benchmarks: floors of this machine and strait's engines, side by side in one run.
//!
//! Every engine runs in two processes of its own, pinned to two cores; runs are interleaved (A B C A B C …), answers are
//! checked, payloads are written and read in full.

mod engine;
mod floors;
mod pin;
mod report;
mod rpc;
mod runner;

use std::process::ExitCode;

use clap::Parser;

/// Runs scenarios and prints a table, or with --json one object per line.
///
/// Examples:
///   cargo xtask bench rpc floor
///   cargo xtask bench rpc --quick --json
#[derive(Debug, Parser)]
#[command(name = "strait-benches", verbatim_doc_comment)]
struct Arguments {
    /// What to measure: `floor`, `rpc`; without any, all of them.
    scenarios: Vec<String>,
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
    /// The two cores, as CLIENT,SERVER.
    #[arg(long, default_value = "1,0", value_parser = pin::parse_cores)]
    cores: (usize, usize),
    /// Runs one side of one engine; used by this program itself.
    #[arg(long, hide = true, value_name = "JSON")]
    role: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(role) = &arguments.role {
        return engine::run_role(role);
    }
    if arguments.list {
        runner::SCENARIOS.iter().for_each(|scenario| println!("{scenario}"));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.scenarios.iter().find(|name| !runner::SCENARIOS.contains(&name.as_str())) {
        eprintln!("error: no scenario {unknown:?}; there are: {}", runner::SCENARIOS.join(", "));
        return ExitCode::from(2);
    }
    let plan = runner::Plan {
        scenarios: arguments.scenarios,
        runs: arguments.runs.unwrap_or(if arguments.quick { 1 } else { 5 }),
        millis: if arguments.quick { 50 } else { 400 },
        engine: arguments.engine,
        payload: arguments.payload,
        cores: arguments.cores,
    };
    let rows = runner::run(&plan, arguments.json);
    if rows.is_empty() {
        eprintln!("error: nothing was measured");
        return ExitCode::FAILURE;
    }
    if !arguments.json {
        report::print(&rows, &plan);
    }
    if rows.iter().any(|row| row.failed.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
