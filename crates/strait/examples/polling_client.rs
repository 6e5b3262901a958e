//! Doubles a number from a thread that polls for its answer and never sleeps. Its server: `cargo run --example polling`.
//!
//! `cargo run --release --example polling_client 21 2` keeps the thread on processor 2.

use strait::rpc::{
    Error,
    blocking::{Client, ClientPolling},
};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let number = arguments.next().map_or(21, |number| number.parse().expect("a number to double"));
    let cpu = arguments.next().map(|cpu| cpu.parse().expect("the number of a processor"));

    let mut client: Client<u64, u64> = Client::connect("doubler")?;
    client.set_polling(&ClientPolling { cpu, idle: None })?;
    let doubled = client.call(&number)?;
    println!("{}", doubled.to_native());
    Ok(())
}
