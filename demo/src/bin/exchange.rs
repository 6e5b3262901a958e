//! The exchange: a server that matches limit orders and echoes bytes.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use serde_json::json;
use strait::rpc::{Request, blocking::Server};
use strait_demo::{connection::ConnectionArgs, exchange::Exchange, log_to_stderr, messages::ExchangeRequest, stop};

/// Match limit orders and echo bytes, for any number of traders, until Ctrl-C.
///
/// Orders meet in one book, best price first and at one price the longest waiting first; what is not filled rests. Each
/// connection begins on a Unix socket and upgrades itself to shared memory. At the end a summary is printed.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
        cargo run --release --bin exchange\n  \
        cargo run --release --bin exchange -- --in-place --ring-bytes 1048576\n  \
        RUST_LOG=strait=debug cargo run --release --bin exchange      see how connections come about\n\n\
        In another terminal: cargo run --release --bin trader 16 bytes 20000"
)]
struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Print JSON objects, one per line
    #[arg(long)]
    json: bool,
    /// Stop when standard input ends, for a program that starts this one and wants it gone whatever happens to itself
    #[arg(long)]
    stop_with_input: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    let name = &cli.connection.service;
    let server = Server::bind_with(name, &cli.connection.options())?;
    let handle = server.handle();
    stop::on_signal({
        let handle = handle.clone();
        move || handle.shutdown()
    })?;
    if cli.stop_with_input {
        stop::on_end_of_input(move || handle.shutdown())?;
    }
    if cli.json {
        println!("{}", json!({"event": "listening", "service": name}));
    } else {
        println!("exchange: service {name:?} is open; Ctrl-C ends it");
    }
    let exchange = Arc::new(Exchange::new(cli.connection.pin));
    let answering = Arc::clone(&exchange);
    server.serve(move |request: Request<ExchangeRequest>| answering.answer(&request))?;
    let summary = exchange.summary();
    if cli.json {
        println!(
            "{}",
            json!({
                "event": "summary",
                "connections": summary.connections,
                "requests": summary.requests,
                "received_bytes": summary.received_bytes,
                "sent_bytes": summary.sent_bytes,
                "orders": summary.book.orders,
                "fills": summary.book.fills,
                "traded": summary.book.traded,
                "resting_orders": summary.book.resting_orders,
            })
        );
    } else {
        println!("exchange: closed in good order; {summary}");
    }
    Ok(())
}
