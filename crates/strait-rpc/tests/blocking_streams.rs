//! Servers of threads that stream and send events: one thread per connection, and polling.
#![cfg(not(strait_loom))]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use strait_rpc::{
    ClientHandle, Code, Error, Options, Request, Rkyv,
    blocking::{Methods, Polling, Proxy, Server, ServerHandle},
};
use strait_transport::{CODEC_ANY, Connection, Error as TransportError};
use support::{
    CANCEL, CREDIT, ERROR, ITEM, NAME, REPLY, REQUEST, Scratch, call_of, frame, receive, send, until, within,
};

/// How a server is served.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    ThreadPerConnection,
    Polling,
}

const KINDS: [Kind; 2] = [Kind::ThreadPerConnection, Kind::Polling];

#[derive(Default)]
struct Seen {
    made: AtomicUsize,
    called: AtomicUsize,
    clients: Mutex<Vec<ClientHandle>>,
}

struct Running {
    handle: ServerHandle,
    thread: Option<JoinHandle<Result<(), Error>>>,
    seen: Arc<Seen>,
}

impl Running {
    fn stop(mut self) {
        self.handle.shutdown();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Method numbers, for those who speak by hand.
const SLEEP: u16 = 0;
const COUNT: u16 = 1;

fn start(kind: Kind, options: &Options) -> Running {
    let seen = Arc::new(Seen::default());
    let (called, counted, clients) = (seen.clone(), seen.clone(), seen.clone());
    let methods = Methods::new()
        .call("sleep", move |millis: Request<u64>| {
            called.called.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(millis.to_native()));
            Ok::<u64, String>(millis.to_native())
        })
        .stream("count", move |below: Request<u64>| {
            let seen = counted.clone();
            (0..below.to_native()).map(move |number| {
                seen.made.fetch_add(1, Ordering::SeqCst);
                Ok::<u64, String>(number)
            })
        })
        .stream("two", |_: Request<u64>| [Ok(1u64), Ok(2), Err("broken"), Ok(3)])
        .stream("panic", |_: Request<u64>| {
            (0..3u64).inspect(|&at| assert!(at < 1, "on purpose")).map(Ok::<u64, String>)
        })
        .stream("texts", |_: Request<u64>| {
            ["a", &"b".repeat(200_000), "c"].map(|text| Ok::<String, String>(text.to_owned()))
        })
        .call("subscribe", move |request: Request<u64>| {
            clients.clients.lock().unwrap().push(request.client().unwrap().clone());
            Ok::<u64, String>(0)
        })
        .event::<u64>("tick");
    let server = Server::bind_with(NAME, options).unwrap();
    let handle = server.handle();
    let thread = Some(std::thread::spawn(move || match kind {
        Kind::ThreadPerConnection => server.serve_methods(methods),
        Kind::Polling => server.serve_methods_polling(methods, &Polling::default()),
    }));
    Running { handle, thread, seen }
}

/// Runs `test` with each kind of server, over shared memory and over the socket.
fn each(test: impl Fn(Kind, &Options) + Send + Sync + 'static) {
    within(Duration::from_secs(60), move || {
        for kind in KINDS {
            for shared_memory in [true, false] {
                let scratch = Scratch::new();
                test(kind, &Options { shared_memory, ..scratch.options() });
            }
        }
    });
}

fn connect(options: &Options) -> Proxy {
    Proxy::connect_with(NAME, options).unwrap()
}

/// A connection that speaks by hand.
fn raw(options: &Options) -> Connection {
    Connection::connect(NAME, &Options { service: 1, codec: CODEC_ANY, ..options.clone() }).unwrap()
}

fn request(method: u16, call: u32, number: u64) -> Vec<u8> {
    let mut bytes = frame(REQUEST, call, &number.to_le_bytes());
    bytes[2..4].copy_from_slice(&method.to_le_bytes());
    bytes[1] = if method == COUNT { 2 } else { 0 };
    bytes
}

#[test]
fn a_stream_comes_in_order_and_ends() {
    each(|kind, options| {
        let server = start(kind, options);
        let proxy = connect(options);
        for count in [0, 1, 31, 32, 33, 1000] {
            let items = proxy.stream::<u64, u64>("count", &count).unwrap();
            let numbers: Vec<u64> = items.map(|item| item.unwrap().to_native()).collect();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{kind:?}");
        }
        server.stop();
    });
}

#[test]
fn a_stream_rests_with_its_reader_and_others_go_on() {
    each(|kind, options| {
        let server = start(kind, options);
        let proxy = connect(options);
        let mut first = proxy.stream::<u64, u64>("count", &100_000).unwrap();
        let mut second = proxy.stream::<u64, u64>("count", &100_000).unwrap();
        assert_eq!(first.next().unwrap().unwrap().to_native(), 0);
        (0..50).for_each(|_| drop(proxy.call::<u64, u64>("sleep", &0).unwrap()));
        let ahead = server.seen.made.load(Ordering::SeqCst);
        assert!(ahead <= 4 * 32, "{ahead} items were made for readers that took one");
        for expected in 1..100 {
            assert_eq!(first.next().unwrap().unwrap().to_native(), expected);
            assert_eq!(second.next().unwrap().unwrap().to_native(), expected - 1);
        }
        drop((first, second));
        proxy.call::<u64, u64>("sleep", &0).unwrap();
        let stopped = server.seen.made.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(server.seen.made.load(Ordering::SeqCst), stopped);
        server.stop();
    });
}

#[test]
fn a_stream_ends_with_its_first_error_a_panic_or_what_cannot_be_sent_and_the_connection_goes_on() {
    each(|kind, options| {
        let server = start(kind, options);
        let proxy = connect(options);
        for (name, items, code) in [("two", 2, Code::HANDLER), ("panic", 1, Code::PANICKED)] {
            let mut stream = proxy.stream::<u64, u64>(name, &0).unwrap();
            (0..items).for_each(|_| drop(stream.next().unwrap().unwrap()));
            let end = stream.next().unwrap().unwrap_err();
            assert!(matches!(end, Error::Call { code: found, .. } if found == code), "{end:?}");
            assert!(stream.next().is_none());
        }
        let mut texts = proxy.stream::<u64, String>("texts", &0).unwrap();
        assert_eq!(&**texts.next().unwrap().unwrap(), "a");
        let end = texts.next().unwrap().unwrap_err();
        assert!(matches!(end, Error::Call { code: Code::BAD_REPLY, .. }), "{end:?}");
        assert!(texts.next().is_none());
        proxy.call::<u64, u64>("sleep", &0).unwrap();
        server.stop();
    });
}

#[test]
fn the_server_s_end_cuts_streams_short_and_waits_for_no_reader() {
    each(|kind, options| {
        let server = start(kind, options);
        let proxy = connect(options);
        let mut items = proxy.stream::<u64, u64>("count", &u64::MAX).unwrap();
        assert_eq!(items.next().unwrap().unwrap().to_native(), 0);
        let start = Instant::now();
        server.stop();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        let end = items.find_map(Result::err).unwrap();
        assert!(matches!(end, Error::Call { code: Code::SHUTTING_DOWN, .. } | Error::Transport(_)), "{end:?}");
    });
}

#[test]
fn events_wake_a_thread_that_sleeps_and_its_handle_learns_of_the_client_s_end() {
    each(|kind, options| {
        let server = start(kind, options);
        let proxy = connect(options);
        proxy.call::<u64, u64>("subscribe", &0).unwrap();
        let client = server.seen.clients.lock().unwrap().pop().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..300u64 {
                    client.notify::<Rkyv, u64>("tick", &number).unwrap();
                    if number % 30 == 0 {
                        std::thread::sleep(Duration::from_millis(5)); // so that all sleep now and then
                    }
                }
            });
            for expected in 0..300 {
                let event = proxy.next_event(Some(Duration::from_secs(5))).unwrap().expect("it is not forgotten");
                assert_eq!(event.name(), "tick");
                assert_eq!(event.read::<Rkyv, u64>().unwrap().to_native(), expected);
            }
        });
        drop(proxy);
        until("the handle learns it", || client.is_gone());
        let gone = client.notify::<Rkyv, u64>("tick", &1).unwrap_err();
        assert!(matches!(gone, Error::Transport(TransportError::PeerGone)), "{gone:?}");
        server.stop();
    });
}

#[test]
fn a_client_that_sends_more_than_its_window_loses_its_connection() {
    within(Duration::from_secs(30), || {
        for kind in KINDS {
            let scratch = Scratch::new();
            let options = Options { max_in_flight: 4, ..scratch.options() };
            let server = start(kind, &options);
            let mut greedy = raw(&options);
            until("it is in shared memory", || {
                send(&mut greedy, &request(SLEEP, 0, 0)).unwrap();
                receive(&mut greedy).unwrap();
                greedy.transport() == strait_rpc::TransportKind::Shared
            });
            send(&mut greedy, &request(SLEEP, 1, 100)).unwrap();
            std::thread::sleep(Duration::from_millis(30));
            (2..9).for_each(|call| send(&mut greedy, &request(SLEEP, call, 0)).unwrap());
            let mut answers = 0;
            let end = loop {
                match receive(&mut greedy) {
                    Ok(_) => answers += 1,
                    Err(error) => break error,
                }
            };
            assert!(answers <= 1, "{kind:?} answered {answers}");
            assert!(matches!(end, TransportError::Closed | TransportError::PeerGone), "{end:?}");
            connect(&options).call::<u64, u64>("sleep", &0).unwrap();
            server.stop();
        }
    });
}

#[test]
fn a_call_that_is_cancelled_before_its_turn_is_not_executed() {
    within(Duration::from_secs(30), || {
        for kind in KINDS {
            let scratch = Scratch::new();
            let options = scratch.options();
            let server = start(kind, &options);
            let mut client = raw(&options);
            until("it is in shared memory", || {
                send(&mut client, &request(SLEEP, 0, 0)).unwrap();
                receive(&mut client).unwrap();
                client.transport() == strait_rpc::TransportKind::Shared
            });
            let before = server.seen.called.load(Ordering::SeqCst);
            send(&mut client, &request(SLEEP, 1, 100)).unwrap();
            std::thread::sleep(Duration::from_millis(30));
            (2..4).for_each(|call| send(&mut client, &request(SLEEP, call, 0)).unwrap());
            send(&mut client, &frame(CANCEL, 3, b"")).unwrap();
            let answers = [(); 3].map(|()| {
                let answer = receive(&mut client).unwrap();
                (answer[0], call_of(&answer))
            });
            assert_eq!(answers, [(REPLY, 1), (ERROR, 3), (REPLY, 2)]);
            assert_eq!(server.seen.called.load(Ordering::SeqCst) - before, 2);
            server.stop();
        }
    });
}

#[test]
fn a_client_that_grants_credit_and_reads_nothing_gets_no_more_than_it_has_room_for() {
    within(Duration::from_secs(30), || {
        for kind in KINDS {
            let scratch = Scratch::new();
            let options = Options { ring_bytes: 4096, ..scratch.options() };
            let server = start(kind, &options);
            let mut lazy = raw(&options);
            send(&mut lazy, &request(COUNT, 1, 1_000_000)).unwrap();
            let mut credit = frame(CREDIT, 1, b"");
            (credit[2], credit[3]) = (0xFF, 0xFF);
            (0..16).for_each(|_| send(&mut lazy, &credit).unwrap());
            until("there is no room any more", || {
                let made = server.seen.made.load(Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(50));
                made > 20 && server.seen.made.load(Ordering::SeqCst) == made
            });
            assert!(server.seen.made.load(Ordering::SeqCst) < 50_000);
            // Somebody else is served meanwhile.
            connect(&options).call::<u64, u64>("sleep", &0).unwrap();
            assert_eq!(receive(&mut lazy).unwrap()[0], ITEM);
            drop(lazy);
            server.stop();
        }
    });
}
