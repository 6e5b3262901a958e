//! Messages that nobody answers: from the client, and from the server to a client that asked for them.

use std::time::Duration;

use strait::rpc::{Error, Methods, Proxy, Request, Rkyv, Server};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let methods = Methods::new()
        .notification("log", |line: Request<String>| println!("server: {}", *line))
        .event::<u64>("tick")
        .call("subscribe", |period_ms: Request<u64>| {
            let (client, period) = (period_ms.client().cloned(), Duration::from_millis(period_ms.to_native()));
            async move {
                let client = client.ok_or("this server sends no events")?;
                tokio::spawn(async move {
                    let mut tick = 0;
                    while client.notify::<Rkyv, u64>("tick", &tick).is_ok() {
                        tick += 1;
                        tokio::time::sleep(period).await;
                    }
                    println!("server: that client is gone");
                });
                Ok::<bool, &str>(true)
            }
        });
    let server = Server::bind("notifications-example")?;
    let handle = server.handle();
    let served = tokio::spawn(server.serve_methods(methods));

    let service: Proxy = Proxy::connect("notifications-example").await?;
    service.notify("log", &"nobody answers this".to_owned()).await?;
    service.call::<u64, bool>("subscribe", &10).await?;
    for _ in 0..5 {
        let event = service.next_event().await?;
        println!("client: {} {}", event.name().to_owned(), *event.read::<Rkyv, u64>()?);
    }

    drop(service);
    tokio::time::sleep(Duration::from_millis(50)).await;
    handle.shutdown();
    served.await.expect("the server does not panic")
}
