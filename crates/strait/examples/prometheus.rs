//! A server whose numbers Prometheus reads, under the traffic of two client processes. Ends when its input does (Ctrl-D).
//!
//! cargo run -p strait --features metrics --example prometheus -- 127.0.0.1:9898
//! curl http://127.0.0.1:9898/metrics

use std::{
    error::Error,
    net::SocketAddr,
    process::{Command, ExitCode},
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use strait::rpc::{
    Request,
    blocking::{Methods, Proxy, Server},
};

const SERVICE: &str = "arithmetic";
/// Upper ends of the buckets of a call's time, in seconds.
const BUCKETS: [f64; 8] = [1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 1e-3, 1e-2, 1e-1];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["client"] => client()?,
        [address] if address.parse::<SocketAddr>().is_ok() => server(address.parse()?)?,
        _ => {
            eprintln!("error: expected where to serve /metrics, such as 127.0.0.1:9898");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn server(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    // Before the first server or client: what they count goes to the recorder that they find.
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(Matcher::Full("strait_rpc_call_seconds".into()), &BUCKETS)?
        .install()?;
    let server = Server::bind(SERVICE)?;
    let handle = server.handle();
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Command::new(std::env::current_exe()?).arg("client").spawn()?);
    }
    println!("metrics: http://{address}/metrics");
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        handle.shutdown();
    });
    let methods = Methods::new()
        .call("double", |number: Request<u64>| number.to_native().checked_mul(2).ok_or("too large"))
        .stream("count", |to: Request<u64>| (0..to.to_native()).map(Ok::<u64, String>));
    let served = server.serve_methods(methods);
    for mut client in clients {
        client.wait()?; // it ends with its connection
    }
    Ok(served?)
}

/// Calls until the server goes.
fn client() -> Result<(), Box<dyn Error>> {
    let service: Proxy = Proxy::connect(SERVICE)?;
    for number in 0.. {
        // One in a hundred is too large to be doubled.
        let number = if number % 100 == 99 { u64::MAX } else { number };
        match service.call::<u64, u64>("double", &number) {
            Ok(_) | Err(strait::rpc::Error::Call { code: strait::rpc::Code::HANDLER, .. }) => {}
            Err(_gone) => break,
        }
        if number % 50 == 0
            && let Ok(items) = service.stream::<u64, u64>("count", &20)
        {
            items.for_each(drop);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
