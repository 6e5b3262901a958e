//! Calls a server that crashes at every third call, and gets all its answers: `cargo run --example reconnect`.

use std::sync::atomic::{AtomicU64, Ordering};

use strait::{
    Options,
    rpc::{
        Error, Launch, Request,
        blocking::{Reconnecting, Server},
    },
};

const NAME: &str = "crashing-doubler";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return Ok(serve()?);
    }
    let launch = Launch::command(std::env::current_exe()?, ["serve"]);
    let mut client: Reconnecting<u64, u64> = Reconnecting::launching(NAME, &Options::default(), &launch);
    client.on_reconnect(|count| println!("(connection {} is up)", count + 1));
    for number in 1..=8 {
        // Doubling a number twice does no harm. What must not be done twice goes through `call`, which fails with `Error::Lost`.
        let reply = client.call_idempotent(&number)?;
        println!("{number} doubled is {}", reply.to_native());
    }
    // The last server ends at this call.
    println!("and without a second try: {}", client.call(&9).unwrap_err());
    Ok(())
}

fn serve() -> Result<(), Error> {
    let calls = AtomicU64::new(0);
    Server::bind(NAME)?.serve(move |number: Request<u64>| {
        // ORDERING: Relaxed; one counter, and nothing depends on it but itself.
        if calls.fetch_add(1, Ordering::Relaxed) == 2 {
            std::process::exit(1);
        }
        Ok::<u64, String>(number.to_native() * 2)
    })
}
