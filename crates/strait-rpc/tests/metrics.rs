//! Calls and connections in the `metrics` facade, as Prometheus would read them.
#![cfg(all(feature = "metrics", not(strait_loom)))]

mod support;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use strait_rpc::{
    Options, Request, TransportKind,
    blocking::{Client, Methods, Proxy, Server},
};
use support::{Scratch, until};

/// The recorder of this process, installed before the first connection.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// The value of a series; `None` where there is none.
fn value(name: &str, labels: &str) -> Option<f64> {
    let rendered = recorder().render();
    let series = format!("{name}{{{labels}}} ");
    rendered.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse().unwrap())
}

#[track_caller]
fn becomes(name: &str, labels: &str, expected: f64) {
    until(&format!("{name} {labels} is {expected}, not {:?}", value(name, labels)), || {
        value(name, labels) == Some(expected)
    });
}

#[test]
fn calls_are_counted_timed_and_weighed_at_both_ends() {
    recorder();
    let scratch = Scratch::new();
    let methods = Methods::new()
        .call("double", |number: Request<u64>| number.to_native().checked_mul(2).ok_or("too large"))
        .call("never", |_: Request<u64>| Ok::<u64, String>(0))
        .stream("count", |to: Request<u64>| (0..to.to_native()).map(Ok::<u64, String>));
    let server = Server::bind_with("counted", &scratch.options()).unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_methods(methods));
    let client: Proxy = Proxy::connect_with("counted", &scratch.options()).unwrap();
    for number in 0..10 {
        client.call::<u64, u64>("double", &number).unwrap();
    }
    client.call::<u64, u64>("double", &u64::MAX).unwrap_err();
    assert_eq!(client.stream::<u64, u64>("count", &40).unwrap().count(), 40);

    for side in ["client", "server"] {
        let of = |method: &str| format!("service=\"counted\",method=\"{method}\",side=\"{side}\"");
        let double = of("double");
        becomes("strait_rpc_calls_total", &double, 11.0);
        becomes("strait_rpc_call_seconds_count", &double, 11.0);
        let seconds = value("strait_rpc_call_seconds_sum", &double).unwrap();
        assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
        becomes("strait_rpc_request_bytes_total", &double, 11.0 * 8.0);
        becomes("strait_rpc_calls_in_flight", &double, 0.0);
        becomes("strait_rpc_errors_total", &format!("{double},error=\"handler\""), 1.0);
        becomes("strait_rpc_calls_total", &of("count"), 1.0);
        becomes("strait_rpc_reply_bytes_total", &of("count"), 40.0 * 8.0);
    }
    assert_eq!(
        value("strait_rpc_reply_bytes_total", "service=\"counted\",method=\"double\",side=\"client\""),
        Some(80.0)
    );
    let never = "service=\"counted\",method=\"never\",side=\"server\"";
    assert_eq!(value("strait_rpc_calls_total", never), Some(0.0), "a server shows what it has before it is called");
    drop(client);
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_call_is_in_flight_until_its_answer_and_a_method_that_there_is_not_has_no_series_of_its_own() {
    recorder();
    let scratch = Scratch::new();
    let (enter, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let (enter, left) = (std::sync::Mutex::new(enter), std::sync::Mutex::new(left));
    let server = Server::bind_with("held", &scratch.options()).unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || {
        server.serve(move |number: Request<u64>| {
            enter.lock().unwrap().send(()).unwrap();
            let _ = left.lock().unwrap().recv();
            Ok::<u64, String>(number.to_native())
        })
    });
    let client: Client<u64, u64> = Client::connect_with("held", &scratch.options()).unwrap();
    let flight =
        |side: &str| value("strait_rpc_calls_in_flight", &format!("service=\"held\",method=\"\",side=\"{side}\""));
    std::thread::scope(|threads| {
        let call = threads.spawn(|| client.call(&1).map(|reply| reply.to_native()));
        entered.recv().unwrap();
        assert_eq!((flight("client"), flight("server")), (Some(1.0), Some(1.0)));
        leave.send(()).unwrap();
        assert_eq!(call.join().unwrap().unwrap(), 1);
    });
    until("nothing is in flight", || (flight("client"), flight("server")) == (Some(0.0), Some(0.0)));

    let mut liar = {
        let schema = strait_rpc::schema::<strait_rpc::Rkyv, u64, u64>();
        let options = Options { service: 1, codec: 1, schema, ..scratch.options() };
        strait_transport::Connection::connect("held", &options).unwrap()
    };
    for method in [7u16, 8, 0xFF07] {
        let mut request = support::frame(support::REQUEST, 0, &1u64.to_le_bytes());
        request[2..4].copy_from_slice(&method.to_le_bytes());
        support::send(&mut liar, &request).unwrap();
        assert_eq!(support::receive(&mut liar).unwrap()[0], support::ERROR);
    }
    let unknown = "service=\"held\",method=\"_unknown\",side=\"server\"";
    becomes("strait_rpc_calls_total", unknown, 3.0);
    becomes("strait_rpc_errors_total", &format!("{unknown},error=\"unknown_method\""), 3.0);
    drop((client, liar));
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
fn connections_are_counted_with_what_became_of_them() {
    recorder();
    let scratch = Scratch::new();
    let server = Server::bind_with("connected", &scratch.options()).unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve(|number: Request<u64>| Ok::<u64, String>(number.to_native())));
    let call = |options: &Options| {
        let client: Client<u64, u64> = Client::connect_with("connected", options).unwrap();
        client.call(&1).unwrap();
        client
    };
    let upgraded = call(&scratch.options());
    until("the upgrade", || {
        upgraded.call(&1).unwrap();
        upgraded.transport() == TransportKind::Shared
    });
    let stays = call(&Options { shared_memory: false, ..scratch.options() });
    let client = |rest: &str| format!("service=\"connected\",side=\"client\"{rest}");
    let server = |rest: &str| format!("service=\"connected\",side=\"server\"{rest}");
    for labels in [client(""), server("")] {
        becomes("strait_connections_total", &labels, 2.0);
        becomes("strait_connections", &labels, 2.0);
        becomes("strait_upgrades_total", &labels, 1.0);
    }
    becomes("strait_fallbacks_total", &client(",reason=\"off_here\""), 1.0);
    becomes("strait_fallbacks_total", &server(",reason=\"off_at_peer\""), 1.0);
    drop((upgraded, stays));
    for labels in [client(""), server("")] {
        becomes("strait_disconnects_total", &labels, 2.0);
        becomes("strait_connections", &labels, 0.0);
    }
    handle.shutdown();
    thread.join().unwrap().unwrap();
}
