//! `strait pipe`: standard input of one process to standard output of another.
//!
//! The receiver listens, so that two senders never meet. Messages of the sender are the bytes as they come, none of
//! them empty; then an empty one, after which no more bytes come, and one of 8 bytes: how many there were. The receiver
//! checks that, and answers with how many it has written. Whoever ends without that has not sent, or got, the whole.

mod meet;
mod progress;
mod recv;
mod send;

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use strait::{
    Options,
    stream::{self, Backpressure},
};

use crate::{failure::Failure, output, service::Service};

/// Carry bytes from one process to another through shared memory.
///
/// Standard input of `send` becomes standard output of `recv`; either may start first. Both end with 0 only when all
/// bytes have been written at the other end: where one of the two dies or fails, the other says so and ends with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    strait pipe recv backup > copy.img             in one terminal\n  \
    strait pipe send backup < disk.img             in another: with size and remaining time, from a file\n  \
    tar c src | strait pipe send src               anything that writes bytes\n  \
    strait pipe recv src | tar x -C /tmp/src       anything that reads them")]
pub(crate) struct Pipe {
    #[command(subcommand)]
    end: End,
}

#[derive(Debug, Subcommand)]
enum End {
    /// Send standard input to whoever receives under this name.
    #[command(
        after_help = "Examples:\n  strait pipe send backup < disk.img\n  tar c src | strait pipe send src --json"
    )]
    Send {
        #[command(flatten)]
        common: Common,
        /// Ring that the bytes go through: a power of two from 4096 to 67108864. One that fits a processor's cache is
        /// fastest.
        #[arg(long, value_name = "BYTES", default_value_t = RING_BYTES)]
        ring_bytes: u64,
    },
    /// Write to standard output what somebody sends under this name.
    #[command(
        after_help = "Examples:\n  strait pipe recv backup > copy.img\n  strait pipe recv src | tar x -C /tmp/src"
    )]
    Recv {
        #[command(flatten)]
        common: Common,
    },
}

/// What both ends take.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    service: Service,
    /// How long to wait for the other end.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=86_400))]
    wait: u64,
    /// No progress, and no word while waiting; errors are said all the same.
    #[arg(long, short)]
    quiet: bool,
    /// What was carried, as one JSON object on standard error.
    #[arg(long)]
    json: bool,
}

impl Common {
    fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// Ring of a sender.
const RING_BYTES: u64 = 1 << 20;

type Duplex = stream::Duplex<[u8], stream::Raw>;

/// What was carried, to its end.
#[derive(Debug, Serialize)]
struct Carried {
    bytes: u64,
    seconds: f64,
    /// Over what the last of it went.
    transport: String,
}

pub(crate) fn run(pipe: &Pipe) -> Result<(), Failure> {
    let (common, carried) = match &pipe.end {
        End::Send { common, ring_bytes } => (common, send::run(common, *ring_bytes)?),
        End::Recv { common } => (common, recv::run(common)?),
    };
    if common.json {
        output::complain(serde_json::to_string(&carried).map_err(|error| Failure::because("no JSON", error))?);
    }
    Ok(())
}

/// How a stream of this command is made: bytes that the kernel's own pipe would not sum up either, and as long a wait
/// for room as the other end likes.
fn config(service: &Service, ring_bytes: u64) -> stream::Config {
    let options = Options {
        ring_bytes,
        checksum: false,
        timestamp: false,
        schema: strait::frame::fnv1a(b"strait pipe"),
        ..service.options()
    };
    stream::Config { options, backpressure: Backpressure::Block, send_timeout: None }
}

/// What became of the other end.
fn lost(other: &str, error: &stream::Error) -> Failure {
    let why = match error {
        stream::Error::Connection(strait::transport::Error::PeerGone) => "died",
        stream::Error::Connection(strait::transport::Error::Closed) => "gave up",
        error => return Failure::because(format!("the {other} failed, so that not all bytes have arrived"), error),
    };
    Failure::DidNotHold(format!("the {other} {why} before the end: not all bytes have arrived"))
}
