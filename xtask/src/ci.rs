//! `cargo xtask ci`: everything that a change has to pass, in one command.

use std::{io::IsTerminal, time::Instant};

use crate::{bench, crash, demo, failure::Failure, fuzz, hostile, loom, no_std, run, sanitize, test, tidy};

/// What a step runs.
type Run = fn() -> Result<(), Failure>;

/// The steps, in order: what is quick and often wrong first, the tests last.
const STEPS: &[(&str, Run)] = &[
    ("format", || run::must(&mut run::cargo(&["fmt", "--all", "--check"]))),
    ("tidy", tidy::run),
    ("clippy", || clippy(&["--workspace", "--all-targets", "--all-features"])),
    ("clippy without std", || {
        clippy(&[
            "-p",
            "strait-sync",
            "-p",
            "strait-spsc",
            "-p",
            "strait-mpmc",
            "-p",
            "strait-seqlock",
            "-p",
            "strait-frame",
            "--no-default-features",
        ])
    }),
    ("build without std", no_std::check),
    ("clippy without tokio", || {
        clippy(&["-p", "strait-transport", "-p", "strait-rpc", "-p", "strait-channel", "--no-default-features"])
    }),
    ("clippy by feature", || {
        ["spans", "opentelemetry", "metrics"]
            .iter()
            .try_for_each(|feature| clippy(&["-p", "strait", "--features", feature]))
    }),
    ("documentation", || {
        run::must(run::cargo(&["doc", "--workspace", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-Dwarnings"))
    }),
    ("loom", || loom::run(&loom::Args::default())),
    ("demo", || demo::run(&demo::Args::short())),
    ("bench", || bench::quick(&["floor", "rpc", "wake", "clients", "stream", "state", "queue", "primitives"])),
    ("crash", || crash::run(&crash::Args::short())),
    ("fuzz", || fuzz::run(&fuzz::Args::short())),
    ("hostile", || hostile::run(&hostile::Args::short())),
    ("sanitize", || sanitize::run(&sanitize::Args::short())),
    ("test", test::run),
];

/// Runs every step; the first that fails ends it, by name.
pub(crate) fn run() -> Result<(), Failure> {
    let start = Instant::now();
    let bold = std::io::stdout().is_terminal();
    for (number, (name, run)) in STEPS.iter().enumerate() {
        let heading =
            format!("== {}/{} {name} (after {:.0} s)", number + 1, STEPS.len(), start.elapsed().as_secs_f64());
        if bold {
            println!("\x1b[1m{heading}\x1b[0m")
        } else {
            println!("{heading}")
        }
        run().map_err(|failure| Failure::because(format!("step `{name}` failed"), failure))?;
    }
    Ok(())
}

fn clippy(what: &[&str]) -> Result<(), Failure> {
    run::must(run::cargo(&["clippy"]).args(what).args(["--", "-D", "warnings"]))
}
