//! Deadlines and cancellation: a call carries the time it has left, and a caller that goes takes the work with it.

use std::time::Duration;

use strait::rpc::{Client, Error, Request, Server};

/// Says so when it is dropped before it is done.
struct Work {
    done: bool,
}

impl Drop for Work {
    fn drop(&mut self) {
        println!("server: {}", if self.done { "done" } else { "nobody waits any more: dropped" });
    }
}

async fn slowly(millis: Request<u64>) -> Result<u64, String> {
    println!("server: the caller waits for another {:?}", millis.remaining().unwrap_or(Duration::MAX));
    let mut work = Work { done: false };
    tokio::time::sleep(Duration::from_millis(millis.to_native())).await;
    work.done = true;
    Ok(millis.to_native())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = Server::bind("cancel-example")?;
    let handle = server.handle();
    let served = tokio::spawn(server.serve(slowly));
    let client: Client<u64, u64> = Client::connect("cancel-example").await?;

    client.call(&10).await?;

    // A deadline of its own: the client stops waiting, and the server stops working.
    let late = client.call_timeout(&60_000, Duration::from_millis(50)).await;
    assert!(matches!(late, Err(Error::Deadline)));

    // A future that is dropped is a call that is cancelled.
    let raced = tokio::time::timeout(Duration::from_millis(50), client.call(&60_000)).await;
    assert!(raced.is_err());

    client.call(&10).await?; // and the client goes on
    handle.shutdown();
    served.await.expect("the server does not panic")
}
