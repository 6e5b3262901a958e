//! A daemon that publishes this machine's load, and shells that show it: in a terminal, as JSON, as a live page.
#![forbid(unsafe_code)]

mod sample;
mod terminal;
mod web;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use sample::{Sample, Sampler};
use strait::{
    Options,
    frame::Postcard,
    state::{self, Config, Daemon},
};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Shell = state::blocking::Shell<Sample, Postcard>;

/// Publishes this machine's load, and shows it.
#[derive(Parser)]
struct Arguments {
    /// The name under which the state is published.
    #[arg(long, default_value = "monitor")]
    name: String,
    /// Where sockets lie, instead of the usual directory.
    #[arg(long)]
    runtime_dir: Option<PathBuf>,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Publishes the load until it is killed.
    Daemon {
        /// Time between two samples.
        #[arg(long, default_value_t = 500)]
        every_ms: u64,
    },
    /// Draws the load in this terminal.
    Shell {
        /// Print one sample as text and end.
        #[arg(long)]
        once: bool,
        /// Print one sample as JSON and end.
        #[arg(long)]
        json: bool,
    },
    /// Serves the load as a live page.
    Web {
        /// The address to listen at.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: String,
    },
}

/// Where the state is published.
#[derive(Clone)]
struct Monitor {
    name: String,
    options: Options,
}

impl Monitor {
    fn connect(&self) -> Result<Shell, Error> {
        Ok(Shell::connect_with(&self.name, &self.options)?)
    }

    /// The first sample there is, within five seconds.
    fn first(shell: &mut Shell) -> Result<Sample, Error> {
        let deadline = Instant::now() + Duration::from_secs(5);
        match shell.read(deadline) {
            Err(state::Error::Empty) => shell.changed(deadline).map(drop)?,
            read => return Ok((*read?).clone()),
        }
        Ok((*shell.read(deadline)?).clone())
    }

    fn publish(&self, every: Duration) -> Result<(), Error> {
        let config = Config { max_value_bytes: 4096, options: self.options.clone(), ..Config::default() };
        let mut daemon = Daemon::<Sample, Postcard>::create(&self.name, &config)?;
        let mut sampler = Sampler::new()?;
        println!("publishing at {}", daemon.path().display());
        loop {
            std::thread::sleep(every);
            daemon.publish(&sampler.sample()?)?;
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Error> {
    let options = Options { runtime_dir: arguments.runtime_dir, ..Config::default().options };
    let monitor = Monitor { name: arguments.name, options };
    match arguments.role {
        Role::Daemon { every_ms } => monitor.publish(Duration::from_millis(every_ms)),
        Role::Shell { once, json } if once || json => terminal::once(&mut monitor.connect()?, json),
        Role::Shell { .. } => terminal::run(&mut monitor.connect()?),
        Role::Web { listen } => web::run(&monitor, &listen),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
