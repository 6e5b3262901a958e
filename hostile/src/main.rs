//! `cargo xtask hostile`: a victim, its honest clients, and an attacker, each a process of its own.

mod attacker;
mod broker;
mod honest;
mod supervisor;
mod types;
mod victim;
mod watch;

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Let a peer that lies loose on servers, and see that nobody else notices.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// All of it: starts the others and judges
    Run(supervisor::Args),
    /// The servers (started by `run`)
    #[command(hide = true)]
    Victim { directory: PathBuf },
    /// The honest clients (started by `run`)
    #[command(hide = true)]
    Honest { directory: PathBuf },
    /// The attacker (started by `run`, with a socket as standard input on which it gets connections)
    #[command(hide = true)]
    Attacker { seconds: u64, seed: u64 },
}

fn main() -> ExitCode {
    let outcome = match Args::parse().role {
        Role::Run(args) => supervisor::run(&args),
        Role::Victim { directory } => victim::run(&directory),
        Role::Honest { directory } => honest::run(&directory),
        Role::Attacker { seconds, seed } => attacker::run(seconds, seed),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The kind of an error: its name without what it says.
fn kind_of(error: &impl fmt::Debug) -> String {
    let text = format!("{error:?}");
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.starts_with(char::is_uppercase));
    words.take(2).collect::<Vec<_>>().join(" ")
}
