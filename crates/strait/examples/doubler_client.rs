//! Has numbers doubled. Its server, to be started first: `cargo run --example doubler_server`.

use strait::rpc::{Error, blocking::Client};

fn main() -> Result<(), Error> {
    let client: Client<u64, u64> = Client::connect("doubler")?;
    for number in [1, 21, u64::MAX] {
        match client.call(&number) {
            Ok(reply) => println!("{number} doubled is {}, over {}", *reply, reply.transport()),
            Err(Error::Call { message, .. }) => println!("{number}: {message}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
