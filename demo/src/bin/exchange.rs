//! The exchange: a server that matches limit orders and echoes bytes.

use std::{process::ExitCode, sync::Arc, thread};

use clap::Parser;
use serde_json::json;
use strait::rpc::{
    Request,
    blocking::{Polling, Server, ServerHandle},
};
use strait_demo::{
    connection::ConnectionArgs, desk, exchange::Exchange, log_to_stderr, messages::ExchangeRequest, pin, stop,
};

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
        cargo run --release --bin exchange -- --polling 1 --pin\n  \
        RUST_LOG=strait=debug cargo run --release --bin exchange      see how connections come about\n\n\
        In another terminal: cargo run --release --bin trader 16 bytes 20000"
)]
struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Serve from this many threads that look at their connections in turn and sleep only after a millisecond without a
    /// call, instead of one thread per connection. With --pin, thread i is kept on core 2i + 1
    #[arg(long, value_name = "THREADS", value_parser = clap::value_parser!(u16).range(1..=64))]
    polling: Option<u16>,
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
    let desk = Server::bind_with(&desk::name(name), &cli.connection.options())?;
    let handle = server.handle();
    let stop = {
        let handles = [handle.clone(), desk.handle()];
        move || handles.iter().for_each(ServerHandle::shutdown)
    };
    stop::on_signal(stop.clone())?;
    if cli.stop_with_input {
        stop::on_end_of_input(stop.clone())?;
    }
    if cli.json {
        println!("{}", json!({"event": "listening", "service": name}));
    } else {
        println!("exchange: service {name:?} is open; Ctrl-C ends it");
    }
    // Polling threads are kept on their cores by the library.
    let exchange = Arc::new(Exchange::new(cli.connection.pin && cli.polling.is_none()));
    let methods = desk::methods(&exchange);
    let desk = thread::Builder::new().name("desk".to_owned()).spawn(move || desk.serve_methods(methods))?;
    let answering = Arc::clone(&exchange);
    let answer = move |request: Request<ExchangeRequest>| answering.answer(&request);
    let served = match cli.polling {
        None => server.serve(answer),
        Some(threads) => server.serve_polling(answer, &polling(threads.into(), cli.connection.pin)?),
    };
    stop();
    desk.join().map_err(|_| "the desk panicked")??;
    served?;
    let summary = exchange.summary(handle.stats().accepted);
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

fn polling(threads: usize, pin: bool) -> std::io::Result<Polling> {
    let pinned = if pin { threads } else { 0 };
    let cpus = (0..pinned).map(|thread| pin::core(2 * thread + 1)).collect::<Result<_, _>>()?;
    Ok(Polling { threads, cpus, ..Polling::default() })
}
