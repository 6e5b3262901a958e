//! The trader: clients that load the exchange and check every answer.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::{Parser, Subcommand};
use strait_demo::{
    connection::ConnectionArgs,
    log_to_stderr, stop,
    trader::{self, Load, Plan},
};

/// Load the exchange from 1 to 64 clients, check every answer, and print once per second how it goes.
///
/// Each client has a connection and a thread of its own in this process, and one call in flight. MiB/s counts payload bytes:
/// out is to the exchange, in is from it, then both in sum. A round trip (p50, p99) is the call alone; filling the request
/// and checking the reply are in the rate.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
        cargo run --release --bin trader 16 bytes 20000                    echo 20,000 bytes until Ctrl-C\n  \
        cargo run --release --bin trader 4 orders 100000                   100,000 orders from each client\n  \
        cargo run --release --bin trader -- 1 bytes 64 --pin --seconds 5   flags come after `--`\n  \
        cargo run --release --bin trader -- 1 bytes 64 --polling --pin     a thread that never sleeps, on its core\n  \
        cargo run --release --bin trader -- 1 bytes 60000 --reply-bytes 8  large requests, small answers\n  \
        STRAIT_DISABLE_SHM=1 cargo run --release --bin trader 16 bytes 20000   without shared memory"
)]
struct Cli {
    /// Number of clients
    #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    clients: u8,
    #[command(subcommand)]
    load: LoadArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Look for answers without ever sleeping, once they come through shared memory: each client polls from its thread
    #[arg(long, global = true)]
    polling: bool,
    /// Stop after so many seconds, such as 5 or 0.5
    #[arg(long, value_name = "S", value_parser = seconds, global = true)]
    seconds: Option<Duration>,
    /// Print JSON objects, one per line: each client's seconds, changes of transport and totals
    #[arg(long, global = true)]
    json: bool,
    /// With --json: add every round trip and how often it occurred, so that percentiles of several traders can be made
    #[arg(long, requires = "json", global = true)]
    counts: bool,
    /// Number of the first client; several traders with different ones send different orders and bytes
    #[arg(long, value_name = "I", default_value_t = 0, global = true)]
    first_client: u16,
    /// Stop when standard input ends, for a program that starts this one and wants it gone whatever happens to itself
    #[arg(long, global = true)]
    stop_with_input: bool,
}

#[derive(Debug, Subcommand)]
enum LoadArgs {
    /// Send limit orders, and check what became of each
    Orders {
        /// Orders of each client
        #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
        count: u64,
    },
    /// Send bytes, and compare what comes back with every byte sent
    Bytes {
        /// Bytes of each request
        #[arg(value_name = "SIZE", value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
        size: u32,
        /// Bytes of each reply: as many as were sent (where this is not given), or 8, a digest of them
        #[arg(long, value_name = "BYTES", value_parser = ["8"])]
        reply_bytes: Option<String>,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "expected a number of seconds above 0, such as 5 or 0.5".to_owned())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = || {
        let stop = Arc::clone(&stop);
        move || stop.store(true, Relaxed)
    };
    let watched = stop::on_signal(stopper())
        .and_then(|()| if cli.stop_with_input { stop::on_end_of_input(stopper()) } else { Ok(()) });
    if let Err(error) = watched {
        eprintln!("error: cannot watch for the end of the run: {error}");
        return ExitCode::FAILURE;
    }
    let plan = Plan {
        clients: cli.clients.into(),
        first_client: cli.first_client.into(),
        load: match cli.load {
            LoadArgs::Orders { count } => Load::Orders(count),
            LoadArgs::Bytes { size, reply_bytes } => Load::Bytes { size: size as usize, digest: reply_bytes.is_some() },
        },
        duration: cli.seconds,
        polling: cli.polling,
        connection: cli.connection,
        json: cli.json,
        counts: cli.counts,
    };
    let failed = trader::run(&plan, &stop);
    for error in &failed {
        eprintln!("error: {error}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
