//! The client of the page "Start here": has a name greeted, three times.

use strait::rpc::{Error, blocking::Client};

fn main() -> Result<(), Error> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let client: Client<String, String> = Client::connect("greeter")?;
    for _ in 0..3 {
        match client.call(&name) {
            Ok(reply) => println!("{} ({})", &*reply, reply.transport()),
            Err(Error::Call { message, .. }) => println!("the server says: {message}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
