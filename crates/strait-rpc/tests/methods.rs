//! Services of several methods: by name, each typed; JSON; streams; notifications both ways; what a service says of itself.
#![cfg(all(feature = "tokio", not(strait_loom)))]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use serde_json::json;
use strait_rpc::{
    Client, ClientHandle, Code, Error, MethodKind, Methods, Options, Proxy, Request, Server, ServerHandle,
    TransportKind, blocking,
};
use strait_transport::Error as TransportError;
use support::{NAME, Scratch};
use tokio::task::JoinHandle;

type Served = JoinHandle<Result<(), Error>>;

/// What the service's handlers leave behind.
#[derive(Default)]
struct Seen {
    notified: AtomicU64,
    streamed: AtomicUsize,
    clients: std::sync::Mutex<Vec<ClientHandle>>,
}

/// Yields the numbers below `count`, and tells when it is dropped.
fn counting(count: u64, seen: Arc<Seen>) -> impl Stream<Item = Result<u64, String>> {
    stream::iter(0..count).map_with(seen)
}

trait MapWith: Stream<Item = u64> + Sized {
    fn map_with(self, seen: Arc<Seen>) -> impl Stream<Item = Result<u64, String>> {
        futures_util::StreamExt::map(self, move |number| {
            seen.streamed.fetch_add(1, Ordering::SeqCst);
            if number == 1_000_000 { Err("enough".to_owned()) } else { Ok(number) }
        })
    }
}

impl<S: Stream<Item = u64>> MapWith for S {}

fn methods(seen: &Arc<Seen>) -> Methods {
    let (notified, streamed, clients) = (seen.clone(), seen.clone(), seen.clone());
    Methods::new()
        .call_json("double", |number: Request<u64>| async move { Ok::<u64, String>(number.to_native() * 2) })
        .call("length", |text: Request<String>| async move { Ok::<u64, String>(text.len() as u64) })
        .call("fail", |_: Request<u64>| async move { Err::<u64, _>("on purpose") })
        .call("panic", |number: Request<u64>| async move {
            assert!(number.to_native() > 1_000, "on purpose");
            Ok::<u64, String>(0)
        })
        .stream("count", move |count: Request<u64>| counting(count.to_native(), streamed.clone()))
        .notification("add", move |number: Request<u64>| {
            notified.notified.fetch_add(number.to_native(), Ordering::SeqCst);
        })
        .call("subscribe", move |request: Request<u64>| {
            clients.clients.lock().unwrap().push(request.client().unwrap().clone());
            async move { Ok::<u64, String>(0) }
        })
        .event::<u64>("tick")
        .document("Numbers, and what can be done with them.")
}

fn start(options: &Options) -> (ServerHandle, Served, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let server = Server::bind_with(NAME, options).unwrap();
    let handle = server.handle();
    (handle, tokio::spawn(server.serve_methods(methods(&seen))), seen)
}

async fn ends(handle: ServerHandle, served: Served) {
    handle.shutdown();
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("the server ends").unwrap().unwrap();
}

/// Looks until it is so, for ten seconds at most.
async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_are_called_by_name_each_with_its_types() {
    for shared_memory in [true, false] {
        let scratch = Scratch::new();
        let options = Options { shared_memory, ..scratch.options() };
        let (handle, served, _) = start(&options);
        let proxy: Proxy = Proxy::connect_with(NAME, &options).await.unwrap();
        for number in 0..50 {
            assert_eq!(proxy.call::<u64, u64>("double", &number).await.unwrap().to_native(), number * 2);
            let text = "x".repeat(number as usize);
            assert_eq!(proxy.call::<String, u64>("length", &text).await.unwrap().to_native(), number);
        }
        assert_eq!(proxy.transport() == TransportKind::Shared, shared_memory);
        match proxy.call::<u64, u64>("fail", &1).await.unwrap_err() {
            Error::Call { code: Code::HANDLER, message } => assert_eq!(&*message, "on purpose"),
            other => panic!("{other:?}"),
        }
        match proxy.call::<u64, u64>("panic", &1).await.unwrap_err() {
            Error::Call { code: Code::PANICKED, .. } => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(proxy.call::<u64, u64>("double", &4).await.unwrap().to_native(), 8, "the server goes on");
        ends(handle, served).await;
    }
}

#[tokio::test]
async fn what_a_service_does_not_have_is_found_before_anything_is_sent() {
    let scratch = Scratch::new();
    let (handle, served, _) = start(&scratch.options());
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    proxy.describe().await.unwrap();
    let sent = proxy.stats().sent_messages;
    let words = |error: Error| match error {
        Error::Method { what, .. } => what.to_string(),
        other => panic!("{other:?}"),
    };
    let absent = words(proxy.call::<u64, u64>("triple", &1).await.unwrap_err());
    assert!(absent.contains("no such method") && absent.contains("double, length"), "{absent}");
    assert!(words(proxy.call::<u64, String>("double", &1).await.unwrap_err()).contains("its types are others"));
    assert!(words(proxy.call::<u64, u64>("count", &1).await.unwrap_err()).contains("a Stream"));
    assert!(words(proxy.stream::<u64, u64>("double", &1).await.unwrap_err()).contains("used as a Stream"));
    assert!(words(proxy.notify::<u64>("double", &1).await.unwrap_err()).contains("used as a Notification"));
    assert!(words(proxy.call_json("length", &json!("abc")).await.unwrap_err()).contains("takes no JSON"));
    assert_eq!(proxy.stats().sent_messages, sent);
    ends(handle, served).await;
}

#[tokio::test]
async fn a_tool_that_knows_no_types_calls_with_json() {
    let scratch = Scratch::new();
    let (handle, served, _) = start(&scratch.options());
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    assert_eq!(proxy.call_json("double", &json!(21)).await.unwrap(), json!(42));
    match proxy.call_json("double", &json!("twenty-one")).await.unwrap_err() {
        Error::Call { code: Code::BAD_REQUEST, message } => assert!(message.contains("invalid type"), "{message}"),
        other => panic!("{other:?}"),
    }
    ends(handle, served).await;
}

#[tokio::test]
async fn a_service_describes_itself_and_tells_how_it_is() {
    let scratch = Scratch::new();
    let (handle, served, _) = start(&scratch.options());
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    let description = proxy.describe().await.unwrap();
    assert_eq!(description.document.as_deref(), Some("Numbers, and what can be done with them."));
    let kinds: Vec<_> = description.methods.iter().map(|method| (method.name.as_str(), method.kind)).collect();
    assert!(kinds.contains(&("count", MethodKind::Stream)) && kinds.contains(&("tick", MethodKind::Event)));
    let other: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    let health = other.health().await.unwrap();
    assert!(health.serving);
    assert_eq!(health.clients, 2);
    ends(handle, served).await;
}

#[tokio::test]
async fn a_service_of_one_method_describes_itself_too_and_refuses_typed_clients_of_others() {
    let scratch = Scratch::new();
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let served =
        tokio::spawn(server.serve(|number: Request<u64>| async move { Ok::<u64, String>(number.to_native()) }));
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    assert_eq!(proxy.describe().await.unwrap().methods.len(), 1);
    assert_eq!(proxy.call::<u64, u64>("", &7).await.unwrap().to_native(), 7);
    assert!(proxy.health().await.unwrap().serving);
    ends(handle, served).await;

    let (handle, served, _) = start(&scratch.options());
    let refused = Client::<u64, u64>::connect_with(NAME, &scratch.options()).await.unwrap_err();
    assert!(matches!(refused, Error::Transport(TransportError::Refused(_))), "{refused:?}");
    ends(handle, served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_comes_in_order_and_ends() {
    for shared_memory in [true, false] {
        let scratch = Scratch::new();
        let options = Options { shared_memory, ..scratch.options() };
        let (handle, served, _) = start(&options);
        let proxy: Proxy = Proxy::connect_with(NAME, &options).await.unwrap();
        for count in [0, 1, 31, 32, 33, 1000] {
            let mut items = proxy.stream::<u64, u64>("count", &count).await.unwrap();
            for expected in 0..count {
                assert_eq!(items.next().await.unwrap().unwrap().to_native(), expected);
            }
            assert!(items.next().await.is_none());
            assert!(items.next().await.is_none(), "it stays at its end");
        }
        ends(handle, served).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_rests_with_its_reader_and_others_go_on() {
    let scratch = Scratch::new();
    let (handle, served, seen) = start(&scratch.options());
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    let mut items = proxy.stream::<u64, u64>("count", &100_000).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap().to_native(), 0);
    for number in 0..200 {
        assert_eq!(proxy.call::<u64, u64>("double", &number).await.unwrap().to_native(), number * 2);
    }
    let ahead = seen.streamed.load(Ordering::SeqCst);
    assert!(ahead <= 2 * 32, "{ahead} items were made for a reader that took one");
    for expected in 1..100 {
        assert_eq!(items.next().await.unwrap().unwrap().to_native(), expected);
    }
    drop(items);
    // Its slot comes back, and the server stops.
    proxy.call::<u64, u64>("double", &1).await.unwrap();
    let stopped = seen.streamed.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(seen.streamed.load(Ordering::SeqCst), stopped);
    ends(handle, served).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_first_error() {
    let scratch = Scratch::new();
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let methods = Methods::new().stream("two", |_: Request<u64>| stream::iter([Ok(1u64), Ok(2), Err("broken"), Ok(3)]));
    let served = tokio::spawn(server.serve_methods(methods));
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    let mut items = proxy.stream::<u64, u64>("two", &0).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap().to_native(), 1);
    assert_eq!(items.next().await.unwrap().unwrap().to_native(), 2);
    match items.next().await.unwrap().unwrap_err() {
        Error::Call { code: Code::HANDLER, message } => assert_eq!(&*message, "broken"),
        other => panic!("{other:?}"),
    }
    assert!(items.next().await.is_none());
    ends(handle, served).await;
}

#[tokio::test]
async fn an_item_that_does_not_come_in_time_ends_the_stream() {
    let scratch = Scratch::new();
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let methods = Methods::new().stream("never", |_: Request<u64>| stream::pending::<Result<u64, String>>());
    let served = tokio::spawn(server.serve_methods(methods));
    let mut proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    proxy.set_deadline(Some(Duration::from_millis(50)));
    let mut items = proxy.stream::<u64, u64>("never", &0).await.unwrap();
    let start = Instant::now();
    assert!(matches!(items.next().await, Some(Err(Error::Deadline))));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(items.next().await.is_none());
    ends(handle, served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_come_to_threads_too() {
    let scratch = Scratch::new();
    let options = scratch.options();
    let (handle, served, _) = start(&options);
    let done = tokio::task::spawn_blocking(move || {
        let proxy: blocking::Proxy = blocking::Proxy::connect_with(NAME, &options).unwrap();
        let items = proxy.stream::<u64, u64>("count", &500).unwrap();
        let numbers: Vec<u64> = items.map(|item| item.unwrap().to_native()).collect();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
        let mut cut_short = proxy.stream::<u64, u64>("count", &500).unwrap();
        assert_eq!(cut_short.next().unwrap().unwrap().to_native(), 0);
        drop(cut_short);
        assert_eq!(proxy.call::<u64, u64>("double", &3).unwrap().to_native(), 6);
    });
    done.await.unwrap();
    ends(handle, served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_arrive_and_are_not_answered() {
    let scratch = Scratch::new();
    let (handle, served, seen) = start(&scratch.options());
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    for number in 1..=1000 {
        proxy.notify::<u64>("add", &number).await.unwrap();
    }
    // A call comes after all of them.
    proxy.call::<u64, u64>("double", &1).await.unwrap();
    assert_eq!(seen.notified.load(Ordering::SeqCst), 500_500);
    ends(handle, served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_sends_by_itself_to_those_who_asked_for_it() {
    for shared_memory in [true, false] {
        let scratch = Scratch::new();
        let options = Options { shared_memory, ..scratch.options() };
        let (handle, served, seen) = start(&options);
        let proxy: Proxy = Proxy::connect_with(NAME, &options).await.unwrap();
        proxy.call::<u64, u64>("subscribe", &0).await.unwrap();
        let client = seen.clients.lock().unwrap().pop().unwrap();
        let sender = tokio::task::spawn_blocking(move || {
            for number in 0..500u64 {
                client.notify::<strait_rpc::Rkyv, u64>("tick", &number).unwrap();
                if number % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(1)); // so that the reader sleeps now and then
                }
            }
            client
        });
        for expected in 0..500 {
            let event = tokio::time::timeout(Duration::from_secs(10), proxy.next_event()).await.unwrap().unwrap();
            assert_eq!(event.name(), "tick");
            assert_eq!(event.read::<strait_rpc::Rkyv, u64>().unwrap().to_native(), expected);
        }
        assert_eq!(proxy.dropped_events(), 0);
        let client = sender.await.unwrap();
        assert!(matches!(client.notify::<strait_rpc::Rkyv, u64>("tock", &1), Err(Error::Method { .. })));
        drop(proxy);
        eventually("the handle learns that its client is gone", || client.is_gone()).await;
        let gone = client.notify::<strait_rpc::Rkyv, u64>("tick", &1).unwrap_err();
        assert!(matches!(gone, Error::Transport(TransportError::PeerGone)), "{gone:?}");
        ends(handle, served).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_nobody_takes_make_room_and_are_counted() {
    let scratch = Scratch::new();
    let (handle, served, seen) = start(&scratch.options());
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    proxy.call::<u64, u64>("subscribe", &0).await.unwrap();
    let client = seen.clients.lock().unwrap().pop().unwrap();
    for number in 0..1500u64 {
        // The calls between them take the events in; nobody takes them out.
        client.notify::<strait_rpc::Rkyv, u64>("tick", &number).unwrap();
        if number % 100 == 0 {
            proxy.call::<u64, u64>("double", &1).await.unwrap();
        }
    }
    let mut last = None;
    let mut count = 0;
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(200), proxy.next_event()).await {
        last = Some(event.unwrap().read::<strait_rpc::Rkyv, u64>().unwrap().to_native());
        count += 1;
    }
    assert_eq!(last, Some(1499), "the newest is kept");
    assert_eq!(count + proxy.dropped_events(), 1500, "and what is not, is counted");
    ends(handle, served).await;
}

#[test]
fn a_blocking_server_has_methods_too() {
    let scratch = Scratch::new();
    let server = blocking::Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let sum = Arc::new(AtomicU64::new(0));
    let added = sum.clone();
    let methods = blocking::Methods::new()
        .call_json("double", |number: Request<u64>| Ok::<u64, String>(number.to_native() * 2))
        .call("length", |text: Request<String>| Ok::<u64, String>(text.len() as u64))
        .notification("add", move |number: Request<u64>| {
            added.fetch_add(number.to_native(), Ordering::SeqCst);
        });
    let thread = std::thread::spawn(move || server.serve_methods(methods));

    let proxy: blocking::Proxy = blocking::Proxy::connect_with(NAME, &scratch.options()).unwrap();
    assert_eq!(proxy.call::<u64, u64>("double", &21).unwrap().to_native(), 42);
    assert_eq!(proxy.call::<String, u64>("length", &"four".to_owned()).unwrap().to_native(), 4);
    assert_eq!(proxy.call_json("double", &json!(5)).unwrap(), json!(10));
    for number in 1..=100 {
        proxy.notify::<u64>("add", &number).unwrap();
    }
    assert!(proxy.health().unwrap().serving);
    assert_eq!(sum.load(Ordering::SeqCst), 5050);
    assert_eq!(handle.stats().accepted, 1);
    drop(proxy);
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
#[should_panic(expected = "there is a method \"double\" already")]
fn two_methods_of_one_name_are_a_mistake_of_the_program() {
    let double = |number: Request<u64>| Ok::<u64, String>(number.to_native() * 2);
    drop(blocking::Methods::new().call("double", double).call("double", double));
}

/// A client that grants much credit and reads nothing: the stream rests, nothing piles up, and its other calls are no crime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_grants_credit_and_reads_nothing_gets_no_more_than_it_has_room_for() {
    let scratch = Scratch::new();
    let options = Options { ring_bytes: 4096, max_in_flight: 8, ..scratch.options() };
    let (handle, served, seen) = start(&options);
    let mut lazy = tokio::task::spawn_blocking({
        let options = Options { service: 1, codec: strait_transport::CODEC_ANY, ..options.clone() };
        move || {
            let mut connection = strait_transport::Connection::connect(NAME, &options).unwrap();
            let mut request = support::frame(support::REQUEST, 1, &100_000u64.to_le_bytes());
            (request[1], request[2]) = (2, 4); // the stream "count"
            support::send(&mut connection, &request).unwrap();
            let mut credit = support::frame(support::CREDIT, 1, b"");
            (credit[2], credit[3]) = (0xFF, 0xFF);
            for _ in 0..16 {
                support::send(&mut connection, &credit).unwrap();
            }
            connection
        }
    })
    .await
    .unwrap();
    eventually("the ring is full", || seen.streamed.load(Ordering::SeqCst) > 50).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let made = seen.streamed.load(Ordering::SeqCst);
    assert!(made < 50_000, "{made} items were made for a reader that takes none");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(seen.streamed.load(Ordering::SeqCst), made, "it goes on");
    // The rest of its window: answered when it reads.
    let rest = tokio::task::spawn_blocking(move || {
        for call in 2..9 {
            let mut request = support::frame(support::REQUEST, call, &7u64.to_le_bytes());
            request[2] = 0; // "double"
            support::send(&mut lazy, &request).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
        let mut answered = std::collections::HashSet::new();
        while answered.len() < 7 {
            let message = support::receive(&mut lazy).unwrap();
            if message[0] == support::REPLY {
                answered.insert(support::call_of(&message));
            }
        }
        answered
    });
    assert_eq!(rest.await.unwrap(), (2..9u32).collect::<std::collections::HashSet<u32>>());
    ends(handle, served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_s_end_cuts_streams_short_and_waits_for_no_reader() {
    let scratch = Scratch::new();
    let (handle, served, _) = start(&scratch.options());
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    let mut items = proxy.stream::<u64, u64>("count", &u64::MAX).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap().to_native(), 0);
    let start = Instant::now();
    ends(handle, served).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let end = loop {
        if let Err(end) = items.next().await.unwrap() {
            break end;
        }
    };
    assert!(matches!(end, Error::Call { code: Code::SHUTTING_DOWN, .. } | Error::Transport(_)), "{end:?}");
}

#[tokio::test]
async fn an_item_that_cannot_be_sent_ends_its_stream_and_not_the_connection() {
    let scratch = Scratch::new();
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let texts = |_: Request<u64>| {
        let long = "b".repeat(200_000);
        stream::iter(["a".to_owned(), long, "c".to_owned()].map(Ok::<String, String>))
    };
    let served = tokio::spawn(server.serve_methods(Methods::new().stream("texts", texts)));
    let proxy: Proxy = Proxy::connect_with(NAME, &scratch.options()).await.unwrap();
    for _ in 0..3 {
        let mut texts = proxy.stream::<u64, String>("texts", &0).await.unwrap();
        assert_eq!(&**texts.next().await.unwrap().unwrap(), "a");
        let end = texts.next().await.unwrap().unwrap_err();
        assert!(matches!(end, Error::Call { code: Code::BAD_REPLY, .. }), "{end:?}");
        assert!(texts.next().await.is_none());
    }
    assert!(proxy.health().await.unwrap().serving);
    ends(handle, served).await;
}
