//! Many calls at once: one publication and at most one wake-up of the server for all that there is room for.

use std::time::Instant;

use strait::rpc::{
    Error, Request,
    blocking::{Client, Server},
};

fn main() -> Result<(), Error> {
    let server = Server::bind("batch-example")?;
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve(|n: Request<u64>| Ok::<u64, String>(n.to_native() + 1)));
    let client: Client<u64, u64> = Client::connect("batch-example")?;
    client.call(&0)?;

    let numbers: Vec<u64> = (0..10_000).collect();
    let start = Instant::now();
    for (number, reply) in numbers.iter().zip(client.call_batch(&numbers)) {
        assert_eq!(reply?.to_native(), number + 1);
    }
    println!("{} calls in batches: {:?}", numbers.len(), start.elapsed());

    let start = Instant::now();
    for number in &numbers {
        assert_eq!(client.call(number)?.to_native(), number + 1);
    }
    println!("{} calls one by one: {:?}", numbers.len(), start.elapsed());

    handle.shutdown();
    thread.join().expect("the server does not panic")
}
