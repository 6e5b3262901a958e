//! Doubles numbers in four threads over two connections, for which one thread looks for the answers. Their server: `cargo run --example polling`.
//!
//! `cargo run --release --example poller 2` keeps that thread on processor 2.

use strait::rpc::{
    Error,
    blocking::{Client, ClientPolling, Poller},
};

fn main() -> Result<(), Error> {
    let cpu = std::env::args().nth(1).map(|cpu| cpu.parse().expect("the number of a processor"));
    let poller = Poller::start(&ClientPolling { cpu, ..ClientPolling::default() })?;

    let mut clients: [Client<u64, u64>; 2] = [Client::connect("doubler")?, Client::connect("doubler")?];
    clients.iter_mut().for_each(|client| client.set_poller(&poller));
    std::thread::scope(|threads| {
        let callers = [1, 2, 3, 4].map(|number| {
            let client = &clients[number as usize % 2];
            threads.spawn(move || client.call(&number).map(|doubled| (number, doubled.to_native())))
        });
        for caller in callers {
            let (number, doubled) = caller.join().expect("a call does not panic")?;
            println!("{number} doubled is {doubled}");
        }
        Ok(())
    })
}
