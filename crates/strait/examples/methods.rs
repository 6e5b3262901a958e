//! Several methods in one service, each with types of its own, called by name.

use rkyv::{Archive, Serialize};
use strait::rkyv;
use strait::rpc::{
    Error, Request,
    blocking::{Methods, Proxy, Server},
};

#[derive(Archive, Serialize)]
struct Greeting {
    name: String,
    times: u32,
}

fn main() -> Result<(), Error> {
    let methods = Methods::new()
        .call("double", |number: Request<u64>| Ok::<u64, String>(number.to_native() * 2))
        .call("greet", |greeting: Request<Greeting>| match greeting.times.to_native() {
            0 => Err("greet at least once".to_owned()),
            times => Ok(format!("hello {}! ", greeting.name).repeat(times as usize)),
        })
        .document("Doubles numbers and greets people.");
    let server = Server::bind("methods-example")?;
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_methods(methods));

    let service: Proxy = Proxy::connect("methods-example")?;
    println!("{}", service.call::<u64, u64>("double", &21)?.to_native());
    let greeting = Greeting { name: "strait".to_owned(), times: 2 };
    println!("{}", *service.call::<Greeting, String>("greet", &greeting)?);

    // What does not fit is found before anything is sent.
    println!("{}", service.call::<u64, u64>("triple", &1).unwrap_err());
    println!("{}", service.call::<u64, String>("double", &1).unwrap_err());

    handle.shutdown();
    thread.join().expect("the server does not panic")
}
