//! Doubles numbers, until it is killed. Its client: `cargo run --example doubler_client`.

use strait::rpc::{Error, Request, blocking::Server};

fn main() -> Result<(), Error> {
    let server = Server::bind("doubler")?;
    println!("serving at {}", server.path().display());
    server.serve(|number: Request<u64>| number.to_native().checked_mul(2).ok_or("too large to double"))
}
