//! Events on threads: what a server sends by itself, to a client that asked for it once.

use std::time::Duration;

use strait::rpc::{
    Error, Request, Rkyv,
    blocking::{Methods, Proxy, Server},
};

fn main() -> Result<(), Error> {
    let methods = Methods::new().event::<u64>("tick").call("subscribe", |period_ms: Request<u64>| {
        let client = period_ms.client().cloned().ok_or("this server sends no events")?;
        let period = Duration::from_millis(period_ms.to_native());
        std::thread::spawn(move || {
            let mut tick = 0;
            while client.notify::<Rkyv, u64>("tick", &tick).is_ok() {
                tick += 1;
                std::thread::sleep(period);
            }
            println!("server: that client is gone");
        });
        Ok::<bool, &str>(true)
    });
    let server = Server::bind("blocking-events-example")?;
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_methods(methods));

    let service: Proxy = Proxy::connect("blocking-events-example")?;
    service.call::<u64, bool>("subscribe", &10)?;
    let mut ticks = 0;
    while ticks < 5 {
        match service.next_event(Some(Duration::from_secs(1)))? {
            Some(event) => println!("client: {} {}", event.name().to_owned(), *event.read::<Rkyv, u64>()?),
            None => println!("client: nothing came for a second"),
        }
        ticks += 1;
    }

    drop(service);
    std::thread::sleep(Duration::from_millis(50));
    handle.shutdown();
    thread.join().expect("the server does not panic")
}
