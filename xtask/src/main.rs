//! The commands of this repository. `cargo xtask --help` lists them; each module is one of them.

mod bench;
mod ci;
mod crash;
mod demo;
mod failure;
mod fuzz;
mod hostile;
mod loom;
mod nightly;
mod no_std;
mod run;
mod sanitize;
mod screen;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of this repository.
///
/// Each works on a fresh clone with the toolchain alone, prints plain text when its output is not a terminal, and exits
/// with 0 when what it checks held, 1 when it did not, 2 when it was used wrongly.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Examples:\n  \
        cargo xtask demo                  see a service upgrade itself to shared memory, with numbers\n  \
        cargo xtask test                  run the tests\n  \
        cargo xtask loom strait-spsc      model check one crate\n  \
        cargo xtask bench rpc --quick     one scenario of the benchmarks, briefly\n  \
        cargo xtask crash                 end a process at each step of each protocol, and check what is left\n  \
        cargo xtask hostile               peers that lie, against servers with honest clients\n  \
        cargo xtask fuzz --seconds 10     every fuzz target, briefly\n  \
        cargo xtask ci                    everything that a change has to pass"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    /// Run the tests (`cargo test --workspace`); cargo's own summary closes the output.
    Test,
    /// Check a whole change: format, lints, documentation, tidy, models, a short demo and bench, and the tests last.
    Ci,
    Loom(loom::Args),
    Bench(bench::Args),
    Crash(crash::Args),
    Fuzz(fuzz::Args),
    Hostile(hostile::Args),
    Sanitize(sanitize::Args),
    /// Check the rules of the house that no compiler checks.
    ///
    /// Every crate has a README, no unfinished code, every `unsafe` says why it is sound, every atomic ordering says why
    /// it is enough, no file is longer than 700 lines, the crates that forbid unsafe code still do, a primitive
    /// brings no other crate of the workspace along but strait-sync, every licence asks for no more than its text. In
    /// Markdown files every relative link and anchor leads somewhere, addresses look like addresses, commands name what there
    /// is; every page of the book is listed, its headings differ, and its samples are compiled.
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test => test::run(),
        Command::Ci => ci::run(),
        Command::Loom(args) => loom::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Crash(args) => crash::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Hostile(args) => hostile::run(&args),
        Command::Sanitize(args) => sanitize::run(&args),
        Command::Tidy => tidy::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}
