//! `cargo xtask demo`: the exchange and its traders, over the socket first and then with shared memory.

mod child;
mod phase;
mod programs;
mod progress;
mod table;
mod tally;

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{failure::Failure, screen::Screen};
use phase::Phase;
use programs::Programs;

/// See a service upgrade itself to shared memory, with numbers.
///
/// Builds and runs, as separate processes, one `exchange` and its `trader` clients, twice: first with the upgrade switched
/// off (STRAIT_DISABLE_SHM=1), so that every call goes over the Unix socket, then with it. Every trader fills each payload
/// anew and compares each echo in full. While it runs, one line per client says which transport it is on, requests/s,
/// MiB/s to the exchange, from it and in sum, and the median and 99th percentile of the round trip. At the end one table
/// compares the two.
///
/// It exits with 1 when a client failed, when nothing was measured, or when not every client reached shared memory.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --clients 1 --pin\n  \
                        cargo xtask demo --clients 8 --polling 1\n  \
                        cargo xtask demo --payload-bytes 64 --seconds 2\n  cargo xtask demo --json")]
pub(crate) struct Args {
    /// Traders, each a process of its own with one client
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    clients: u16,
    /// Seconds of each of the two phases
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Bytes of each request and of each reply
    #[arg(long, value_name = "B", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    payload_bytes: u32,
    /// Keep threads on cores, round-robin
    #[arg(long)]
    pin: bool,
    /// Let the exchange serve from N threads that look at their connections in turn, instead of one thread per connection
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    polling: Option<u16>,
    /// Read messages in the ring, without copying them first
    #[arg(long)]
    in_place: bool,
    /// Print only JSON, one object per line: the results
    #[arg(long)]
    json: bool,
}

impl Args {
    /// A short run, for `cargo xtask ci`.
    pub(crate) fn short() -> Self {
        Self { clients: 2, seconds: 1, payload_bytes: 20_000, pin: false, polling: None, in_place: false, json: false }
    }

    /// The ring that takes a payload: a message may be a quarter of it, less a little for headers.
    fn ring_bytes(&self) -> u64 {
        (4 * (u64::from(self.payload_bytes) + 128)).next_power_of_two().max(256 * 1024)
    }
}

/// Runs both phases and compares them.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let programs = Programs::build()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // The second signal ends this process at once; its children see their input end and go, too.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::because("cannot watch for Ctrl-C", error))?;
    }
    let mut screen = Screen::new(!args.json, std::io::stdout().is_terminal());
    screen.line(&format!(
        "{} clients, {} s per phase, payloads of {} bytes: filled anew for each call, echoed, compared in full",
        args.clients, args.seconds, args.payload_bytes
    ));
    let socket = Phase { name: "socket", shared: false, args, programs: &programs }.run(&mut screen, &stop)?;
    let shared = Phase { name: "shared memory", shared: true, args, programs: &programs }.run(&mut screen, &stop)?;
    if args.json {
        let server = if args.polling.is_some() { "polling" } else { "blocking" };
        table::json(args, &socket, &format!("strait-socket-{server}"));
        table::json(args, &shared, &format!("strait-shm-{server}"));
    } else {
        for line in table::compare(&socket, &shared) {
            screen.line(&line);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_takes_the_payload() {
        let ring = |payload_bytes| Args { payload_bytes, ..Args::short() }.ring_bytes();
        assert_eq!(ring(1), 256 * 1024);
        assert_eq!(ring(65_000), 256 * 1024);
        assert_eq!(ring(65_500), 512 * 1024);
        assert_eq!(ring(16_000_000), 64 << 20);
    }
}
