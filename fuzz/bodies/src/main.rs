//! Runs fuzz targets with the mutator: `cargo xtask fuzz` where there is no cargo-fuzz.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use strait_fuzz_bodies::{Target, corpus, mutator::Mutator, target};

/// Run one fuzz target with inputs made from its kept corpus. Exits with 1 where it finds something.
#[derive(Debug, Parser)]
struct Args {
    /// The target
    target: String,
    /// Seconds to run
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where to begin; the same seed makes the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write an input that breaks a promise
    #[arg(long, default_value = ".")]
    artifacts: PathBuf,
    /// Instead: run this input once
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seconds", "seed"])]
    input: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let Some(target) = target(&args.target) else {
        let known: Vec<_> = strait_fuzz_bodies::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("error: no target `{}`; there are: {}", args.target, known.join(", "));
        return ExitCode::from(2);
    };
    let outcome = match &args.input {
        Some(path) => std::fs::read(path).map(|input| (target.body)(&input)),
        None => run(target, &args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(target: &Target, args: &Args) -> std::io::Result<()> {
    let corpus = corpus(target)?;
    let mut mutator = Mutator::new(&corpus, args.seed);
    let (start, mut runs, mut longest) = (Instant::now(), 0u64, Duration::ZERO);
    let end = start + Duration::from_secs(args.seconds);
    let mut now = start;
    while now < end {
        let input = mutator.next_input();
        let broken = catch_unwind(AssertUnwindSafe(|| (target.body)(input))).is_err();
        if broken {
            let path = args.artifacts.join(format!("{}-seed{}-run{runs}", target.name, args.seed));
            std::fs::create_dir_all(&args.artifacts)?;
            std::fs::write(&path, input)?;
            let path = path.display();
            return Err(std::io::Error::other(format!("input {runs} of seed {} breaks a promise: {path}", args.seed)));
        }
        let next = Instant::now();
        (runs, longest, now) = (runs + 1, longest.max(next - now), next);
    }
    println!(
        "{:<16} {runs} inputs from {} kept ones, seed {}, slowest {:.1} ms: nothing found",
        target.name,
        corpus.len(),
        args.seed,
        longest.as_secs_f64() * 1e3
    );
    Ok(())
}
