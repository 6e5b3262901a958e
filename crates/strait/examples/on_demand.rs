//! Starts its server if none is running: `cargo run --example on_demand`. Run it again within ten seconds, and it finds that one.

use std::{thread, time::Duration};

use strait::{
    Options,
    rpc::{
        Error, Launch, Request,
        blocking::{Client, Server},
    },
};

const NAME: &str = "on-demand";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return Ok(serve()?);
    }
    let launch = Launch::command(std::env::current_exe()?, ["serve"]);
    let client: Client<u64, u64> = Client::connect_or_launch(NAME, &Options::default(), &launch)?;
    let server = client.call(&0)?.to_native();
    println!("this is process {}, its server is process {server}", std::process::id());
    Ok(())
}

/// Tells its process id for ten seconds.
fn serve() -> Result<(), Error> {
    let server = Server::bind(NAME)?;
    let handle = server.handle();
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(10));
        handle.shutdown();
    });
    server.serve(|_: Request<u64>| Ok::<u64, String>(std::process::id().into()))
}
