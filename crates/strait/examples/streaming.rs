//! One request, a stream of answers: it flows as fast as its reader takes it, and ends with it.

use std::time::Duration;

use futures_util::stream;
use strait::rpc::{Error, Methods, Proxy, Request, Server};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let methods = Methods::new().stream("squares", |below: Request<u64>| {
        let numbers = (0..below.to_native()).map(|number| {
            println!("server: {number}");
            Ok::<u64, String>(number * number)
        });
        stream::iter(numbers)
    });
    let server = Server::bind("streaming-example")?;
    let handle = server.handle();
    let served = tokio::spawn(server.serve_methods(methods));

    let service: Proxy = Proxy::connect("streaming-example").await?;
    let mut squares = service.stream::<u64, u64>("squares", &1_000_000).await?;
    for _ in 0..50 {
        let square = squares.next().await.expect("a million of them")?;
        println!("client: {}", square.to_native());
        tokio::time::sleep(Duration::from_millis(1)).await; // the server waits, 32 items ahead at most
    }
    drop(squares); // and now it stops

    handle.shutdown();
    served.await.expect("the server does not panic")
}
