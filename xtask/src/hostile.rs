//! `cargo xtask hostile`: peers that lie, against servers that have honest clients.

use std::process::Command;

use crate::{failure::Failure, run};

/// Let a peer that lies loose on servers, and see that nobody else notices.
///
/// As separate processes: a victim that serves calls, a state, a queue and a stream; an honest client of each; and an attacker
/// that speaks the protocol up to a step and then lies, as another user where this runs as root. Handshakes that stall, flood and
/// come with the wrong descriptors; memory without seals, too short, sparse, foreign; envelopes and archives that are wrong
/// in each position; every word of its segment rewritten while it is read; doorbells without end.
///
/// It exits with 1 where the victim panicked, hung or kept what it should have let go, or where the honest client got an
/// error or waited beyond its deadline. The seed of the run is shown; with it the attacker makes the same choices again.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask hostile\n  cargo xtask hostile --seconds 600 --seed 7\n  cargo xtask hostile --json"
)]
pub(crate) struct Args {
    /// Seconds of attacks
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Where the attacker's choices begin; new each time where it is not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print only JSON, one object per line: the results
    #[arg(long)]
    json: bool,
}

impl Args {
    /// A short run, for `cargo xtask ci`.
    pub(crate) fn short() -> Self {
        Self { seconds: 15, seed: None, json: false }
    }
}

/// Builds the programs and runs them.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    const PACKAGE: &str = "strait-hostile";
    run::must(&mut run::cargo(&["build", "--quiet", "--package", PACKAGE]))?;
    let mut command = Command::new(run::target_dir().join("debug").join(PACKAGE));
    command.args(["run", "--seconds", &args.seconds.to_string()]);
    if let Some(seed) = args.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if args.json {
        command.arg("--json");
    }
    run::must(&mut command)
}
