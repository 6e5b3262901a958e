//! Doubles numbers from one thread that polls: the shortest way for a call. Its client: `cargo run --example doubler_client`.
//!
//! `cargo run --release --example polling 3` keeps the thread on processor 3, where it never sleeps while it has clients.

use strait::rpc::{
    Error, Request,
    blocking::{Polling, Server},
};

fn main() -> Result<(), Error> {
    let cpu = std::env::args().nth(1).map(|cpu| cpu.parse().expect("the number of a processor"));
    let mut polling = Polling::default();
    if let Some(cpu) = cpu {
        polling = Polling { cpus: vec![cpu], idle: None, ..polling };
    }
    let server = Server::bind("doubler")?;
    println!("serving at {}", server.path().display());
    let double = |number: Request<u64>| number.to_native().checked_mul(2).ok_or("too large to double");
    server.serve_polling(double, &polling)
}
