//! How a service is: asked from outside, counted inside, and seen from one connection.

use strait::rpc::{
    Error, Request,
    blocking::{Client, Proxy, Server},
};

fn main() -> Result<(), Error> {
    let server = Server::bind("health-example")?;
    let handle = server.handle();
    let root = |n: Request<i64>| if *n < 0 { Err("negative") } else { Ok(n.to_native().isqrt()) };
    let thread = std::thread::spawn(move || server.serve(root));

    let client: Client<i64, i64> = Client::connect("health-example")?;
    let (server_before, client_before) = (handle.stats(), client.stats());
    for number in [1, 4, -9] {
        println!("{number}: {:?}", client.call(&number).map(|root| root.to_native()));
    }
    println!("the connection since then: {:#?}", client.stats().since(&client_before));
    println!("the server since then: {:#?}", handle.stats().since(&server_before));

    // Any service answers this, and who asks need not know its types.
    let monitor: Proxy = Proxy::connect("health-example")?;
    println!("from outside: {:#?}", monitor.health()?);

    handle.shutdown();
    thread.join().expect("the server does not panic")
}
