//! Spans of calls, and trace contexts on their way from client to server.
#![cfg(all(feature = "spans", not(strait_loom)))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    io::Write,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use process::{Process, options, role, say, until_told};
use strait_rpc::{
    Error, Options, Raw, Request, TraceContext,
    blocking::{Client, Methods, Proxy, Server},
    schema,
};
use strait_transport::{Connection, Error as TransportError, Listener};
use support::{NAME, REPLY, REQUEST, Scratch, call_of, frame, receive, send, serve, until, within};
use tracing_subscriber::fmt::format::FmtSpan;

/// All that this process has logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

fn log() -> MutexGuard<'static, Vec<u8>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        log().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Logs each span once it is over, with all its fields.
fn log_spans() {
    static ONCE: Once = Once::new();
    let events = FmtSpan::CLOSE;
    ONCE.call_once(|| tracing_subscriber::fmt().with_span_events(events).with_ansi(false).with_writer(|| Log).init());
}

/// The ends of spans `name` of a service, in order.
fn ends(name: &str, service: &str) -> Vec<String> {
    let text = String::from_utf8(log().clone()).unwrap();
    ends_in(&text, name, service)
}

fn ends_in(text: &str, name: &str, service: &str) -> Vec<String> {
    let opening = format!("{name}{{service=\"{service}\"");
    let is_end = |line: &&str| line.contains("strait::call: close");
    // The span that has ended is the innermost, and the last on its line.
    let of_span = |line: &str| line.rsplit_once(&opening).map(|(_, fields)| fields.to_owned());
    text.lines().filter(is_end).filter_map(of_span).filter(|fields| !fields.contains("{service=")).collect()
}

/// Waits for the end of a number of such spans.
#[track_caller]
fn wait_for_ends(count: usize, name: &str, service: &str) -> Vec<String> {
    until("the spans end", || ends(name, service).len() >= count);
    ends(name, service)
}

/// A field's value in what was logged of a span; the last, where it was recorded twice.
#[track_caller]
fn field<'a>(fields: &'a str, name: &str) -> &'a str {
    let (_, rest) = fields.rsplit_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {fields}"));
    rest.split([' ', '}']).next().unwrap().trim_matches('"')
}

/// A server of one doubling method under a name of its own.
fn doubler(options: &Options, name: &str) -> strait_rpc::blocking::ServerHandle {
    let server = Server::bind_with(name, options).unwrap();
    let handle = server.handle();
    std::thread::spawn(move || {
        server.serve(|number: Request<u64>| match number.to_native() {
            0 => Err("zero".to_owned()),
            number => Ok::<u64, String>(number * 2),
        })
    });
    handle
}

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    match role().as_deref() {
        None => {}
        Some("server") => {
            log_spans();
            let server = serve(&options(), |number: Request<u64>| {
                tracing::info!("doubles");
                Ok::<_, String>(number.to_native() * 2)
            });
            say("ready");
            until_told();
            server.stop().unwrap();
        }
        Some("client") => {
            log_spans();
            let client: Client<u64, u64> = Client::connect_with(NAME, &options()).unwrap();
            assert_eq!(client.call(&21).unwrap().to_native(), 42);
        }
        Some(other) => panic!("no role {other}"),
    }
    if role().is_some() {
        std::fs::write(std::env::var_os("STRAIT_TEST_LOG").unwrap(), &*log()).unwrap();
    }
}

#[test]
fn the_logs_of_two_processes_name_the_same_trace() {
    within(Duration::from_secs(60), || {
        let scratch = Scratch::new();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let start = |role| Process::start("child", role, &scratch.options(), &[("STRAIT_TEST_LOG", &path(role))]);
        let mut server = start("server");
        server.hears("ready");
        start("client").ends_well();
        server.ends_well();
        let read = |name| std::fs::read_to_string(path(name)).unwrap();
        let (client, server) = (read("client"), read("server"));

        let (call, serve) = (ends_in(&client, "call", NAME), ends_in(&server, "serve", NAME));
        let ([call], [serve]) = (&call[..], &serve[..]) else { panic!("one span each: {client}\n{server}") };
        let trace = field(call, "trace_id");
        assert_eq!((trace.len(), trace), (32, field(serve, "trace_id")));
        assert_eq!(field(call, "span_id"), field(serve, "parent_span_id"));
        assert_ne!(field(call, "span_id"), field(serve, "span_id"));
        for (name, value) in [("request_bytes", "8"), ("reply_bytes", "8"), ("outcome", "ok")] {
            assert_eq!((field(call, name), field(serve, name)), (value, value), "{name}");
        }
        assert_eq!(field(call, "call"), field(serve, "call"));
        let said = server.lines().find(|line| line.ends_with("doubles")).unwrap();
        assert!(said.contains(trace), "what a handler logs is in the server's span: {said}");
    });
}

#[test]
fn a_call_that_a_handler_makes_belongs_to_the_trace_of_its_own() {
    log_spans();
    let scratch = Scratch::new();
    let options = scratch.options();
    let inner = doubler(&options, "nested-inner");
    let client: Client<u64, u64> = Client::connect_with("nested-inner", &options).unwrap();
    let outer = Server::bind_with("nested-outer", &options).unwrap();
    let handle = outer.handle();
    let thread = std::thread::spawn(move || {
        outer.serve(move |number: Request<u64>| client.call(&number.to_native()).map(|reply| reply.to_native()))
    });
    let client: Client<u64, u64> = Client::connect_with("nested-outer", &options).unwrap();
    assert_eq!(client.call(&21).unwrap().to_native(), 42);
    assert_eq!(TraceContext::current(), None);

    let ends =
        [("call", "nested-outer"), ("serve", "nested-outer"), ("call", "nested-inner"), ("serve", "nested-inner")];
    let ends = ends.map(|(name, service)| wait_for_ends(1, name, service).remove(0));
    let traces = ends.each_ref().map(|end| field(end, "trace_id"));
    assert_eq!(traces, [traces[0]; 4]);
    assert_eq!(field(&ends[3], "parent_span_id"), field(&ends[2], "span_id"));
    drop(client);
    handle.shutdown();
    thread.join().unwrap().unwrap();
    inner.shutdown();
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_that_an_async_handler_makes_or_spawns_in_its_scope() {
    log_spans();
    let scratch = Scratch::new();
    let options = scratch.options();
    let inner = doubler(&options, "async-inner");
    let client = strait_rpc::Client::<u64, u64>::connect_with("async-inner", &options).await.unwrap();
    let client = std::sync::Arc::new(client);
    let outer = strait_rpc::Server::bind_with("async-outer", &options).unwrap();
    let handle = outer.handle();
    let served = tokio::spawn(outer.serve(move |number: Request<u64>| {
        let client = client.clone();
        async move {
            tokio::task::yield_now().await;
            let number = client.call(&number.to_native()).await?.to_native();
            let again = async move { client.call(&number).await };
            let spawned = tokio::spawn(TraceContext::current().unwrap().scope(again)).await.unwrap();
            Ok::<u64, Error>(spawned?.to_native())
        }
    }));
    let client = strait_rpc::Client::<u64, u64>::connect_with("async-outer", &options).await.unwrap();
    assert_eq!(client.call(&21).await.unwrap().to_native(), 84);
    drop(client);
    handle.shutdown();
    served.await.unwrap().unwrap();
    inner.shutdown();
    let outer = wait_for_ends(1, "serve", "async-outer").remove(0);
    let inner = wait_for_ends(2, "serve", "async-inner");
    assert_eq!([&inner[0], &inner[1]].map(|end| field(end, "trace_id")), [field(&outer, "trace_id"); 2]);
}

#[test]
fn an_outcome_is_what_the_call_ended_in() {
    log_spans();
    let scratch = Scratch::new();
    let options = scratch.options();
    let methods = Methods::new()
        .call("double", |number: Request<u64>| number.to_native().checked_mul(2).ok_or("too large"))
        .call("panic", |_: Request<u64>| -> Result<u64, String> { panic!("on purpose") })
        .stream("count", |to: Request<u64>| (0..to.to_native()).map(Ok::<u64, String>));
    let server = Server::bind_with("outcomes", &options).unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_methods(methods));
    let client: Proxy = Proxy::connect_with("outcomes", &options).unwrap();
    assert_eq!(client.call::<u64, u64>("double", &4).unwrap().to_native(), 8);
    client.call::<u64, u64>("double", &u64::MAX).unwrap_err();
    client.call::<u64, u64>("panic", &1).unwrap_err();
    assert_eq!(client.stream::<u64, u64>("count", &40).unwrap().count(), 40);
    let mut dropped = client.stream::<u64, u64>("count", &1_000_000).unwrap();
    dropped.next().unwrap().unwrap();
    drop(dropped);
    let expected = [
        ("_describe", "ok", None),
        ("double", "ok", Some("8")),
        ("double", "handler", None),
        ("panic", "panicked", None),
        ("count", "ok", Some("320")),
        ("count", "cancelled", None),
    ];
    for name in ["call", "serve"] {
        let ends = wait_for_ends(expected.len(), name, "outcomes");
        let found = ends.iter().map(|end| (field(end, "method"), field(end, "outcome")));
        assert!(found.eq(expected.map(|(method, outcome, _)| (method, outcome))), "{ends:#?}");
        for (end, (_, _, reply_bytes)) in ends.iter().zip(expected) {
            assert!(reply_bytes.is_none_or(|bytes| bytes == field(end, "reply_bytes")), "{end}");
        }
    }
    drop(client);
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
fn calls_of_a_batch_have_a_span_each_and_one_trace_each() {
    log_spans();
    let scratch = Scratch::new();
    let options = Options { max_in_flight: 4, ..scratch.options() };
    let server = doubler(&options, "batch");
    let client: Client<u64, u64> = Client::connect_with("batch", &options).unwrap();
    let answers = client.call_batch(&(0..20).collect::<Vec<u64>>());
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 19);
    let (calls, serves) = (wait_for_ends(20, "call", "batch"), wait_for_ends(20, "serve", "batch"));
    let mut traces: Vec<_> = calls.iter().map(|end| field(end, "trace_id")).collect();
    traces.sort_unstable();
    let mut served: Vec<_> = serves.iter().map(|end| field(end, "trace_id")).collect();
    served.sort_unstable();
    assert_eq!((calls.len(), &traces), (20, &served));
    traces.dedup();
    assert_eq!(traces.len(), 20);
    let failed = calls.iter().filter(|end| field(end, "outcome") == "handler").count();
    assert_eq!(failed, 1);
    server.shutdown();
}

#[test]
fn a_context_passes_through_a_process_that_records_nothing() {
    log_spans();
    let scratch = Scratch::new();
    let options = scratch.options();
    let server = doubler(&options, "through");
    let client: Client<u64, u64> = Client::connect_with("through", &options).unwrap();
    let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".parse().unwrap();
    let nobody = tracing::subscriber::NoSubscriber::default();
    tracing::subscriber::with_default(nobody, || {
        client.call(&1).unwrap(); // part of no trace
        context.in_scope(|| client.call(&1)).unwrap();
    });
    let serves = wait_for_ends(2, "serve", "through");
    assert!(!serves[0].contains("parent_span_id="), "{}", serves[0]);
    assert_eq!(field(&serves[1], "trace_id"), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(field(&serves[1], "parent_span_id"), "b7ad6b7169203331");
    server.shutdown();
}

/// As an rpc client of [`doubler`]'s types, with or without trace contexts.
fn dial(options: &Options, name: &str, trace_context: bool) -> Connection {
    let schema = schema::<strait_rpc::Rkyv, u64, u64>();
    let options = Options { service: 1, codec: 1, schema, trace_context, ..options.clone() };
    Connection::connect(name, &options).unwrap()
}

#[test]
fn a_client_that_knows_no_contexts_is_served_as_ever() {
    log_spans();
    let scratch = Scratch::new();
    let server = doubler(&scratch.options(), "old-client");
    let connection = dial(&scratch.options(), "old-client", false);
    assert!(!connection.trace_context());
    let client: Client<u64, u64> = Client::over(connection);
    assert_eq!(client.call(&21).unwrap().to_native(), 42);
    assert_eq!(client.call_batch(&[1, 2]).len(), 2);
    let serves = wait_for_ends(3, "serve", "old-client");
    assert!(serves.iter().all(|end| !end.contains("parent_span_id=") && field(end, "outcome") == "ok"), "{serves:?}");
    server.shutdown();
}

#[test]
fn a_server_that_knows_no_contexts_gets_the_bytes_that_it_ever_did() {
    log_spans();
    let scratch = Scratch::new();
    let options = scratch.options();
    let bytes_with = |trace_context: bool| {
        let schema = schema::<Raw, Vec<u8>, Vec<u8>>();
        let speaks = Options { service: 1, codec: 0, schema, trace_context, ..options.clone() };
        let listener = Listener::bind("old-server", &speaks, None).unwrap();
        let server = std::thread::spawn(move || {
            let mut connection = listener.accept().unwrap().unwrap().handshake().unwrap();
            let request = receive(&mut connection).unwrap();
            send(&mut connection, &frame(REPLY, call_of(&request), b"reply")).unwrap();
            let _ = receive(&mut connection);
            request.to_vec()
        });
        let client: Client<Vec<u8>, Vec<u8>, Raw> = Client::connect_with("old-server", &options).unwrap();
        assert_eq!(&*client.call(&b"request".to_vec()).unwrap(), b"reply");
        drop(client);
        server.join().unwrap()
    };
    let (without, with) = (bytes_with(false), bytes_with(true));
    assert_eq!((without.len(), without[1], &without[16..]), (16 + 7, 0, &b"request"[..]));
    assert_eq!((with.len(), with[1], &with[48..]), (16 + 32 + 7, 4, &b"request"[..]));
    assert!(with[16..32].iter().any(|&byte| byte != 0) && with[41..48] == [0; 7]);
}

#[test]
fn a_request_that_has_room_only_without_its_context_goes_without() {
    log_spans();
    let scratch = Scratch::new();
    let options = Options { ring_bytes: 4096, ..scratch.options() };
    let server = support::serve_as::<Raw, Vec<u8>, Vec<u8>, _>(&options, |bytes: Request<Vec<u8>, Raw>| {
        Ok::<_, String>(bytes.len().to_le_bytes().to_vec())
    });
    let client: Client<Vec<u8>, Vec<u8>, Raw> = Client::connect_with(NAME, &options).unwrap();
    let largest = options.max_message_bytes() - 16;
    for len in [largest - 32, largest - 31, largest] {
        let reply = client.call(&vec![7; len]).unwrap();
        assert_eq!(usize::from_le_bytes((*reply).try_into().unwrap()), len);
    }
    let error = client.call(&vec![7; largest + 1]).unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::TooLarge { .. })), "{error}");
    drop(client);
    server.stop().unwrap();
}

#[test]
fn a_context_that_is_none_or_that_was_not_agreed_on_ends_the_connection() {
    log_spans();
    let scratch = Scratch::new();
    let server = doubler(&scratch.options(), "liars");
    let with = |kind: u8, context: &[u8]| {
        let mut bytes = frame(kind, 0, context);
        bytes[1] = 4;
        bytes
    };
    let mut good = [7; 32];
    good[24..].fill(0);
    let (mut no_trace, mut no_span, mut flags, mut reserved) = (good, good, good, good);
    no_trace[..16].fill(0);
    no_span[16..24].fill(0);
    flags[24] = 2;
    reserved[31] = 1;
    let body = 21u64.to_le_bytes();
    let lies = [
        (false, with(REQUEST, &[&good[..], &body].concat())),
        (true, with(REQUEST, &good[..31])),
        (true, with(REQUEST, b"")),
        (true, with(REQUEST, &[&no_trace[..], &body].concat())),
        (true, with(REQUEST, &[&no_span[..], &body].concat())),
        (true, with(REQUEST, &[&flags[..], &body].concat())),
        (true, with(REQUEST, &[&reserved[..], &body].concat())),
        (true, with(6, &[&good[..], &body].concat())),
    ];
    for (agreed, lie) in lies {
        let mut connection = dial(&scratch.options(), "liars", agreed);
        send(&mut connection, &lie).unwrap();
        let error = receive(&mut connection).map(|answer| answer.to_vec()).unwrap_err();
        assert!(matches!(error, TransportError::PeerGone | TransportError::Closed), "{error}");
    }
    // The truth, and the server has lived through all of it.
    let mut connection = dial(&scratch.options(), "liars", true);
    send(&mut connection, &with(REQUEST, &[&good[..], &body].concat())).unwrap();
    assert_eq!(receive(&mut connection).unwrap()[16..], 42u64.to_le_bytes());
    let serve = wait_for_ends(1, "serve", "liars").remove(0);
    assert_eq!(field(&serve, "parent_span_id"), "07".repeat(8));
    server.shutdown();
}
