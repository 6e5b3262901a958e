//! The `strait` command. Each module is one of its commands, but for `failure` and `output`, which all share.
#![forbid(unsafe_code)]

mod bench;
mod call;
mod channels;
mod cpus;
mod doctor;
mod failure;
mod find;
mod ls;
mod output;
mod partner;
mod pipe;
mod service;
mod shell;
mod size;
mod top;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Shared memory between processes: checks this machine, reckons memory, calls methods, carries bytes, measures.
///
/// Exit codes: 0 when what was asked for held, 1 when it did not, 2 when the command was used wrongly. Output that is
/// no terminal gets no colours; --json prints one object per line.
#[derive(Debug, Parser)]
#[command(name = "strait", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Doctor(doctor::Doctor),
    Size(size::Size),
    Call(call::Call),
    Pipe(pipe::Pipe),
    Bench(bench::Bench),
    Top(top::Top),
    Ls(ls::Ls),
    Completions(shell::Completions),
    Man(shell::Man),
    #[command(hide = true)]
    Partner(partner::Partner),
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Bench(args) => bench::run(&args),
            Self::Call(args) => call::run(&args),
            Self::Top(args) => top::run(args),
            Self::Ls(args) => ls::run(args),
            Self::Completions(args) => shell::completions(&args),
            Self::Man(args) => shell::man(&args),
            Self::Doctor(args) => doctor::run(&args),
            Self::Partner(args) => partner::run(&args),
            Self::Size(args) => size::run(&args),
            Self::Pipe(args) => pipe::run(&args),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(format_args!("error: {failure}"));
            failure.exit_code()
        }
    }
}
