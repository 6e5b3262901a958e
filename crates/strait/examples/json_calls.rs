//! Calls with JSON: a tool that knows no types asks a service what it has, and calls it.

use serde_json::json;
use strait::rpc::{
    Error, Request,
    blocking::{Methods, Proxy, Server},
};

fn main() -> Result<(), Error> {
    let methods = Methods::new()
        .call_json("sum", |numbers: Request<Vec<u64>>| {
            Ok::<u64, String>(numbers.iter().map(|number| number.to_native()).sum())
        })
        .document("sum: a list of numbers to their sum");
    let server = Server::bind("json-example")?;
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_methods(methods));

    let service: Proxy = Proxy::connect("json-example")?;
    let description = service.describe()?;
    println!("{}", description.document.as_deref().unwrap_or("says nothing of itself"));
    for method in &description.methods {
        println!("- {} ({:?}, json: {})", method.name, method.kind, method.json);
    }
    println!("{}", service.call_json("sum", &json!([1, 2, 39]))?);
    println!("{}", service.call_json("sum", &json!("no list")).unwrap_err());
    println!("{:?}", service.health()?);

    handle.shutdown();
    thread.join().expect("the server does not panic")
}
