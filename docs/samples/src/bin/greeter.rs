//! The server of the page "Start here": greets whoever calls, until it is stopped.

use strait::rpc::{Error, Request, blocking::Server};

fn main() -> Result<(), Error> {
    let server = Server::bind("greeter")?;
    println!("serving at {}", server.path().display());
    server.serve(|name: Request<String>| match name.trim() {
        "" => Err("whom shall I greet?"),
        name => Ok(format!("hello, {name}")),
    })
}
