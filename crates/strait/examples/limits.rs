//! What one client may take of a server, and what the server counts.

use strait::rpc::{
    Code, Error, Policy, Request,
    blocking::{Client, Server},
};

fn main() -> Result<(), Error> {
    let policy = Policy { calls_per_second: Some(100), burst: 10, ..Policy::default() };
    let server = Server::bind("limits-example")?.with_policy(policy);
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve(|n: Request<u64>| Ok::<u64, String>(n.to_native())));

    let client: Client<u64, u64> = Client::connect("limits-example")?;
    let before = handle.stats();
    let (mut answered, mut busy) = (0, 0);
    for number in 0..1_000 {
        match client.call(&number) {
            Ok(_) => answered += 1,
            Err(Error::Call { code: Code::BUSY, .. }) => busy += 1, // at once, and not executed
            Err(other) => return Err(other),
        }
    }
    println!("client: {answered} answered, {busy} turned away");
    drop(client);
    handle.shutdown();
    let ended = thread.join().expect("the server does not panic");
    println!("server: {:#?}", handle.stats().since(&before));
    ended
}
