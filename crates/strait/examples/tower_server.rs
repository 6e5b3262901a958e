//! A server whose handler is a stack of tower's layers: `cargo run --example tower_server --features tower`.

use std::time::Duration;

use strait::rpc::{Client, Request, Server};
use tower::{ServiceBuilder, service_fn};

const NAME: &str = "layered-sleeper";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let sleep = service_fn(|millis: Request<u64>| async move {
        tokio::time::sleep(Duration::from_millis(millis.to_native())).await;
        Ok::<u64, tower::BoxError>(millis.to_native())
    });
    // What takes longer is an error of its call, whatever deadline the caller has.
    let service = ServiceBuilder::new().timeout(Duration::from_millis(100)).service(sleep);

    let server = Server::bind(NAME)?;
    let handle = server.handle();
    let served = tokio::spawn(server.serve_service(service));
    let client: Client<u64, u64> = Client::connect(NAME).await?;
    for millis in [1, 10_000] {
        match client.call(&millis).await {
            Ok(reply) => println!("slept {} ms", reply.to_native()),
            Err(error) => println!("{error}"),
        }
    }
    handle.shutdown();
    Ok(served.await??)
}
