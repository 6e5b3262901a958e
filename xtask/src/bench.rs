//! `cargo xtask bench`: the benchmarks of the workspace's `benches` package.

use crate::{failure::Failure, run};

/// Every scenario that this repository will have. Which of them exist now, the benches package says.
const SCENARIOS: [&str; 9] =
    ["floor", "rpc", "stream", "state", "queue", "primitives", "clients", "wake", "instructions"];

/// Run the benchmarks.
///
/// Scenarios run between separate processes, and each answer is checked before anything is timed. The floors, scenario
/// `floor`, are what the machine itself allows; the other numbers are to be read beside them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask bench                       every scenario there is\n  \
                        cargo xtask bench floor rpc --compare   two scenarios, with other libraries beside\n  \
                        cargo xtask bench rpc --quick --json    short, one JSON object per line")]
pub(crate) struct Args {
    /// The scenarios to run; all, where none is given
    #[arg(value_name = "SCENARIO", value_parser = SCENARIOS)]
    scenarios: Vec<String>,
    /// Also measure other libraries
    #[arg(long)]
    compare: bool,
    /// Measure briefly: enough to see that it works, too short for numbers to rely on
    #[arg(long)]
    quick: bool,
    /// Print one JSON object per measurement
    #[arg(long)]
    json: bool,
}

/// Runs the scenarios that were asked for.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    check(&args.scenarios, &available()?)?;
    let mut command = benches();
    command.args(&args.scenarios);
    for (given, flag) in [(args.compare, "--compare"), (args.quick, "--quick"), (args.json, "--json")] {
        if given {
            command.arg(flag);
        }
    }
    run::must(&mut command)
}

/// Runs those of `scenarios` that exist, briefly; returns which ones they were.
pub(crate) fn quick(scenarios: &[&str]) -> Result<Vec<String>, Failure> {
    let available = available()?;
    let scenarios: Vec<String> =
        scenarios.iter().filter(|name| available.iter().any(|there| there == *name)).map(ToString::to_string).collect();
    if !scenarios.is_empty() {
        run::must(benches().args(&scenarios).arg("--quick"))?;
    }
    Ok(scenarios)
}

fn benches() -> std::process::Command {
    run::cargo(&["run", "--release", "-p", "strait-benches", "--"])
}

/// The scenarios that exist: one name per line of `strait-benches --list`.
fn available() -> Result<Vec<String>, Failure> {
    Ok(run::output(benches().arg("--list"))?.split_whitespace().map(str::to_owned).collect())
}

fn check(asked: &[String], available: &[String]) -> Result<(), Failure> {
    let there = || if available.is_empty() { "none".to_owned() } else { available.join(", ") };
    if available.is_empty() && asked.is_empty() {
        return Err(Failure::Usage("there is no scenario yet: they come with later issues".to_owned()));
    }
    match asked.iter().find(|name| !available.contains(name)) {
        Some(name) => {
            Err(Failure::Usage(format!("scenario {name} comes with a later issue; those there now: {}", there())))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_is_not_there_yet_is_wrong_usage() {
        let available = ["rpc".to_owned(), "floor".to_owned()];
        assert!(check(&["rpc".to_owned()], &available).is_ok());
        assert!(check(&[], &available).is_ok());
        let failure = check(&["rpc".to_owned(), "state".to_owned()], &available).unwrap_err();
        assert!(matches!(&failure, Failure::Usage(_)));
        assert_eq!(failure.to_string(), "scenario state comes with a later issue; those there now: rpc, floor");
        assert!(matches!(check(&[], &[]), Err(Failure::Usage(_))));
    }
}
