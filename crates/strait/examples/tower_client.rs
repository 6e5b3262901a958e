//! A client in tower's layers: `cargo run --example tower_client --features tower`.

use std::time::{Duration, Instant};

use strait::rpc::{Client, Request, Server, tower::CallService};
use tower::{Service, ServiceBuilder};

const NAME: &str = "sleeper";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let server = Server::bind(NAME)?;
    let handle = server.handle();
    let served = tokio::spawn(server.serve(|millis: Request<u64>| async move {
        let _nap = Nap(Instant::now());
        tokio::time::sleep(Duration::from_millis(millis.to_native())).await;
        Ok::<u64, String>(millis.to_native())
    }));

    let client: Client<u64, u64> = Client::connect(NAME).await?;
    let mut service = ServiceBuilder::new()
        .concurrency_limit(8)
        .timeout(Duration::from_millis(100))
        .service(CallService::new(client));
    for millis in [1, 50, 10_000] {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        match service.call(millis).await {
            Ok(reply) => println!("client: slept {} ms, over {}", *reply, reply.transport()),
            Err(error) => println!("client: {error}"),
        }
    }
    handle.shutdown();
    Ok(served.await??)
}

/// Tells that a handler has ended; one that is cut off ends early, because the timeout cancels its call.
struct Nap(Instant);

impl Drop for Nap {
    fn drop(&mut self) {
        println!("server: a handler ended after {} ms", self.0.elapsed().as_millis());
    }
}
