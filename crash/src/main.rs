//! Processes that end at the fail points of strait, and survivors that check what is left.
//!
//! `cargo xtask crash` builds this with `--cfg strait_fail` and runs it once for each case: a *conductor* starts a *victim* that is to die or
//! to be stopped at one point, talks to it as any peer would, and checks what it sees, in time, until a successor of the victim has
//! done the same work to its end. The roles are in [`scenario`], what every survivor checks is in [`case`].

mod case;
mod journal;
mod leaks;
mod metronome;
mod pattern;
mod place;
mod plan;
mod region;
mod scenario;
mod victim;

use std::process::ExitCode;

use place::Place;
use plan::Plan;

const USAGE: &str = "usage: strait-crash roles\n\
                     \x20      strait-crash case SCENARIO ROLE PLAN LATE_MS\n\
                     \x20      strait-crash play SCENARIO ROLE DIR\n\
                     `cargo xtask crash` runs it. PLAN is `trace`, `POINT:kill|stop:PASS`, or `after:kill|stop:MICROSECONDS`.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["roles"] => {
            scenario::all().for_each(|(scenario, role)| println!("{scenario} {}", role.name));
            return ExitCode::SUCCESS;
        }
        ["case", scenario, role, plan, late_ms] => run_case(scenario, role, plan, late_ms),
        ["play", scenario, role, dir] => match scenario::play(scenario, role) {
            Some(play) => play(&Place::at(dir.into())),
            None => Err(format!("no role {role} in {scenario}")),
        },
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Some lines at once, and not among those of another process.
            eprintln!("{}: {why}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run_case(scenario: &str, role: &str, plan: &str, late_ms: &str) -> Result<(), String> {
    let found = scenario::find(scenario, role).ok_or_else(|| format!("no role {role} in {scenario}"))?;
    let plan = Plan::parse(plan).ok_or_else(|| format!("{plan} is no plan\n{USAGE}"))?;
    let late_ms = late_ms.parse().map_err(|error| format!("{late_ms} milliseconds: {error}"))?;
    let report = case::run((scenario, role), found, plan, std::time::Duration::from_millis(late_ms))?;
    println!("{report}");
    Ok(())
}
