//! Peers that lie: each is a typed error on its own connection, by the deadline, and nobody else notices.
#![cfg(not(strait_loom))]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use strait_rpc::{
    Error, Options, Raw, Request,
    blocking::{Client, Proxy},
    schema,
};
use strait_transport::{Connection, Error as TransportError, Listener, local};
use support::{
    CANCEL, CREDIT, ERROR, GO_AWAY, ITEM, NAME, REPLY, REQUEST, Scratch, call_of, frame, receive, send, serve, within,
};

type Calls = Client<Vec<u8>, Vec<u8>, Raw>;

/// One call to a server that answers with what `lie` makes of the call's id.
fn lied_to(lie: impl FnOnce(&mut Connection, u32) + Send + 'static) -> (Calls, Error) {
    within(Duration::from_secs(20), || {
        let (ours, mut theirs) = local::pair(&Options::default()).unwrap();
        let client: Calls = Client::over(ours);
        let server = std::thread::spawn(move || {
            let call = call_of(&receive(&mut theirs).unwrap());
            lie(&mut theirs, call);
            theirs
        });
        let outcome = client.call_timeout(&vec![1], Duration::from_secs(5)).unwrap_err();
        drop(server.join());
        (client, outcome)
    })
}

#[track_caller]
fn assert_corrupt(error: &Error, words: &str) {
    match error {
        Error::Transport(TransportError::Corrupt { what }) => assert!(what.contains(words), "{what}"),
        other => panic!("expected corrupt input with {words:?}, got {other:?}"),
    }
}

#[test]
fn what_no_server_would_send_ends_the_connection_as_corrupt() {
    type Lie = fn(u32) -> Vec<u8>;
    let lies: &[(&str, Lie)] = &[
        ("shorter than its header", |_| vec![REPLY, 0, 0]),
        ("shorter than its header", |_| Vec::new()),
        ("unknown kind 0", |call| frame(0, call, b"")),
        ("unknown kind 9", |call| frame(9, call, b"")),
        ("an item for call", |call| frame(ITEM, call, b"")),
        ("unknown flags", |call| {
            let mut bytes = frame(REPLY, call, b"");
            bytes[1] = 0x80;
            bytes
        }),
        ("a request from the server", |call| frame(REQUEST, call, b"")),
        ("a request from the server", |call| frame(CANCEL, call, b"")),
        ("a request from the server", |call| frame(CREDIT, call, b"")),
        ("not in flight", |call| frame(REPLY, call ^ 1, b"")),
        ("not in flight", |call| frame(REPLY, call + (1 << 12), b"")),
        ("not in flight", |_| frame(REPLY, u32::MAX, b"")),
        ("not in flight", |_| frame(ERROR, 4095, &[1, 0])),
        ("without its code", |call| frame(ERROR, call, &[1])),
    ];
    for (words, lie) in lies {
        let lie = *lie;
        let (client, error) = lied_to(move |connection, call| send(connection, &lie(call)).unwrap());
        assert_corrupt(&error, words);
        assert_corrupt(&client.call(&vec![1]).unwrap_err(), words);
    }
}

#[test]
fn a_second_answer_to_one_call_ends_the_connection_as_corrupt() {
    within(Duration::from_secs(20), || {
        let (ours, mut theirs) = local::pair(&Options::default()).unwrap();
        let client: Calls = Client::over(ours);
        let server = std::thread::spawn(move || {
            let call = call_of(&receive(&mut theirs).unwrap());
            let _ = send(&mut theirs, &frame(REPLY, call, b"one"));
            let _ = send(&mut theirs, &frame(REPLY, call, b"two"));
            let _ = receive(&mut theirs);
        });
        let first = client.call_timeout(&vec![1], Duration::from_secs(5));
        assert!(first.is_ok_and(|reply| *reply == *b"one"));
        assert_corrupt(&client.call_timeout(&vec![1], Duration::from_secs(5)).unwrap_err(), "not in flight");
        drop(client);
        server.join().unwrap();
    });
}

#[test]
fn a_server_that_says_farewell_for_ever_holds_nobody_up() {
    let (_client, error) = lied_to(|connection, _call| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) {
            let _ = connection.send(&frame(GO_AWAY, 0, b""));
        }
    });
    assert_corrupt(&error, "farewell");
}

#[test]
fn an_unknown_error_code_is_handed_on_with_its_control_characters_spelled_out() {
    let (client, error) = lied_to(|connection, call| {
        send(connection, &frame(ERROR, call, &[&[0x39, 0x30][..], b"a\x1b[2Jb\xff"].concat())).unwrap();
    });
    match error {
        Error::Call { code, message } => {
            assert_eq!(code.0, 12345);
            assert_eq!(&*message, "a\\u{1b}[2Jb\u{fffd}");
        }
        other => panic!("{other:?}"),
    }
    drop(client);
}

/// A call of a method that a service of this description does not have.
fn described_as(description: String) -> Error {
    within(Duration::from_secs(20), || {
        let (ours, mut theirs) = local::pair(&Options::default()).unwrap();
        let service: Proxy = Proxy::over(ours);
        let server = std::thread::spawn(move || {
            let call = call_of(&receive(&mut theirs).unwrap());
            send(&mut theirs, &frame(REPLY, call, description.as_bytes())).unwrap();
            theirs
        });
        let outcome = service.call::<u64, u64>("double", &21).unwrap_err();
        drop(server.join());
        outcome
    })
}

#[test]
fn what_a_server_calls_its_methods_is_cut_and_spelled_out_in_errors() {
    let method =
        |name: &str, kind: &str| format!(r#"{{"name":"{name}","id":0,"kind":"{kind}","schema":0,"json":false}}"#);
    let description = |methods: &[String]| format!(r#"{{"methods":[{}],"document":null}}"#, methods.join(","));

    let odd = described_as(description(&[method(r"\u001b]0;owned\u0007\u202e\n", "call")]));
    assert!(matches!(odd, Error::Method { .. }), "{odd:?}");
    assert!(odd.to_string().ends_with(r"it has: \u{1b}]0;owned\u{7}\u{202e} "), "{odd}");

    let many: Vec<String> = (0..200).map(|at| method(&format!("{at}{}", "x".repeat(100)), "call")).collect();
    let many = described_as(description(&many)).to_string();
    assert!(many.len() < 2_000 && many.contains("0xxxx") && many.ends_with("and 184 more"), "{many}");

    let no_kind = described_as(description(&[method("double", r"\u001b[2J")]));
    assert!(matches!(no_kind, Error::Json { .. }), "{no_kind:?}");
    assert!(!no_kind.to_string().contains('\x1b'), "{no_kind}");
    let long = described_as(format!(r#"{{"methods":"{}"}}"#, "y".repeat(20_000)));
    assert!(matches!(long, Error::Json { .. }) && long.to_string().len() < 1_000, "{long}");
}

#[test]
fn a_reply_that_cannot_be_read_is_an_error_of_its_call_alone() {
    within(Duration::from_secs(20), || {
        let (ours, mut theirs) = local::pair(&Options::default()).unwrap();
        let client: Client<u64, u64> = Client::over(ours);
        let server = std::thread::spawn(move || {
            for body in [&b"short"[..], &[7, 0, 0, 0, 0, 0, 0, 0]] {
                let call = call_of(&receive(&mut theirs).unwrap());
                send(&mut theirs, &frame(REPLY, call, body)).unwrap();
            }
            let _ = receive(&mut theirs);
        });
        assert!(matches!(client.call(&1), Err(Error::Decode(_))));
        assert_eq!(client.call(&1).unwrap().to_native(), 7);
        drop(client);
        server.join().unwrap();
    });
}

#[test]
fn a_server_that_never_answers_costs_each_call_its_deadline_and_no_more() {
    within(Duration::from_secs(20), || {
        let (ours, _theirs) = local::pair(&Options { max_in_flight: 2, ..Options::default() }).unwrap();
        let client: Calls = Client::over(ours);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    for _ in 0..3 {
                        let start = Instant::now();
                        let outcome = client.call_timeout(&vec![1], Duration::from_millis(50));
                        assert!(matches!(outcome, Err(Error::Deadline)), "{outcome:?}");
                        assert!(start.elapsed() < Duration::from_millis(150), "{:?}", start.elapsed());
                    }
                });
            }
        });
    });
}

#[test]
fn a_server_that_goes_ends_all_calls_at_once() {
    within(Duration::from_secs(20), || {
        let (ours, mut theirs) = local::pair(&Options::default()).unwrap();
        let client: Calls = Client::over(ours);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    let outcome = client.call(&vec![1]);
                    let gone = Err::<(), _>(outcome.unwrap_err());
                    assert!(
                        matches!(gone, Err(Error::Transport(TransportError::Closed | TransportError::PeerGone))),
                        "{gone:?}"
                    );
                });
            }
            for _ in 0..5 {
                receive(&mut theirs).unwrap();
            }
            drop(theirs);
        });
    });
}

#[test]
fn a_server_that_lies_over_a_socket_is_found_out_too() {
    within(Duration::from_secs(20), || {
        let scratch = Scratch::new();
        let mut listener = Listener::bind(NAME, &scratch.options(), None).unwrap();
        listener.identify(1, 0, schema::<Raw, Vec<u8>, Vec<u8>>());
        let server = std::thread::spawn(move || {
            let mut connection = listener.accept().unwrap().unwrap().handshake().unwrap();
            let call = call_of(&receive(&mut connection).unwrap());
            send(&mut connection, &frame(REPLY, call ^ 1, b"")).unwrap();
            let _ = receive(&mut connection);
        });
        let client: Calls = Client::connect_with(NAME, &scratch.options()).unwrap();
        assert_corrupt(&client.call(&vec![1]).unwrap_err(), "not in flight");
        drop(client);
        server.join().unwrap();
    });
}

/// A connection that speaks the service's types and nothing else of the protocol.
fn raw_client(scratch: &Scratch) -> Connection {
    let options = Options { service: 1, codec: 1, schema: schema::<strait_rpc::Rkyv, u64, u64>(), ..scratch.options() };
    Connection::connect(NAME, &options).unwrap()
}

fn bad_client_frames() -> Vec<Vec<u8>> {
    let mut flags = frame(REQUEST, 1, &[0; 8]);
    flags[1] = 0x80;
    vec![
        vec![1, 2, 3],
        Vec::new(),
        frame(0, 1, &[0; 8]),
        frame(77, 1, &[0; 8]),
        frame(REPLY, 1, &[0; 8]),
        frame(ERROR, 1, &[1, 0]),
        frame(GO_AWAY, 1, b""),
        flags,
    ]
}

/// A client that sends `bytes` loses its connection; `good` goes on.
fn assert_thrown_out(scratch: &Scratch, good: &Client<u64, u64>, bytes: &[u8]) {
    let mut liar = raw_client(scratch);
    send(&mut liar, &frame(REQUEST, 9, &3u64.to_le_bytes())).unwrap();
    assert_eq!(call_of(&receive(&mut liar).unwrap()), 9);
    send(&mut liar, bytes).unwrap();
    let end = loop {
        match receive(&mut liar) {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert!(matches!(end, TransportError::Closed | TransportError::PeerGone), "{bytes:?}: {end:?}");
    assert_eq!(good.call(&5).unwrap().to_native(), 5);
}

#[test]
fn a_client_that_lies_to_a_blocking_server_is_thrown_out_alone() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let _server = serve(&scratch.options(), |number: Request<u64>| Ok::<_, String>(number.to_native()));
        let good: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
        for bytes in bad_client_frames() {
            assert_thrown_out(&scratch, &good, &bytes);
        }
    });
}

/// What a server answers to one request that is odd, but no lie.
fn answer_to(scratch: &Scratch, request: &[u8]) -> Vec<u8> {
    let mut client = raw_client(scratch);
    send(&mut client, request).unwrap();
    receive(&mut client).unwrap().to_vec()
}

fn assert_odd_requests_are_answered(scratch: &Scratch) {
    let body = 3u64.to_le_bytes();
    let mut expired = frame(REQUEST, 1, &body);
    expired[8..16].fill(0);
    assert_eq!(answer_to(scratch, &expired)[..18], frame(ERROR, 1, &[5, 0])[..], "DEADLINE");
    let mut method = frame(REQUEST, 2, &body);
    method[2] = 1;
    assert_eq!(answer_to(scratch, &method)[..18], frame(ERROR, 2, &[4, 0])[..], "UNKNOWN_METHOD");
    assert_eq!(answer_to(scratch, &frame(REQUEST, 3, b"no"))[..18], frame(ERROR, 3, &[6, 0])[..], "BAD_REQUEST");
    let mut client = raw_client(scratch);
    send(&mut client, &frame(CANCEL, 77, b"")).unwrap();
    send(&mut client, &frame(REQUEST, u32::MAX, &body)).unwrap();
    assert_eq!(*receive(&mut client).unwrap(), *frame(REPLY, u32::MAX, &body), "a cancel of nothing is no lie");
}

#[test]
fn odd_requests_to_a_blocking_server_are_answered_with_their_code() {
    let scratch = Scratch::new();
    let _server = serve(&scratch.options(), |number: Request<u64>| Ok::<_, String>(number.to_native()));
    assert_odd_requests_are_answered(&scratch);
}

#[test]
fn a_client_that_never_reads_its_replies_holds_up_no_other_of_a_blocking_server() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let server = serve(&scratch.options(), |number: Request<u64>| Ok::<_, String>(number.to_native()));
        let mut deaf = raw_client(&scratch);
        let flood = std::thread::spawn(move || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(300) {
                let _ = deaf.send(&frame(REQUEST, 1, &[0; 8]));
            }
            deaf
        });
        let good: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
        for number in 0..2_000 {
            assert_eq!(good.call_timeout(&number, Duration::from_secs(5)).unwrap().to_native(), number);
        }
        let deaf = flood.join().unwrap();
        // Nor does it keep the server from ending.
        let start = Instant::now();
        server.stop().unwrap();
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        drop(deaf);
    });
}

#[test]
fn a_client_that_never_stops_sending_does_not_keep_a_blocking_server_from_ending() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let server = serve(&scratch.options(), |number: Request<u64>| Ok::<_, String>(number.to_native()));
        let (mut eager, ended) = (raw_client(&scratch), Arc::new(AtomicBool::new(false)));
        let flood = std::thread::spawn({
            let ended = ended.clone();
            move || {
                while !ended.load(Ordering::Relaxed) {
                    let _ = eager.send(&frame(REQUEST, 1, &[0; 8]));
                    while let Ok(Some(_)) = strait_transport::Transport::try_recv(&mut eager) {}
                }
            }
        });
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        server.stop().unwrap();
        let took = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        flood.join().unwrap();
        assert!(took < Duration::from_secs(3), "{took:?}");
    });
}

#[cfg(feature = "tokio")]
mod tokio_server {
    use super::*;

    /// An async server on a runtime of one thread, of its own.
    struct Served(strait_rpc::ServerHandle, Option<std::thread::JoinHandle<()>>);

    impl Served {
        fn new(options: &Options) -> Self {
            let (give, take) = std::sync::mpsc::channel();
            let options = options.clone();
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let server = strait_rpc::Server::bind_with(NAME, &options).unwrap();
                    give.send(server.handle()).unwrap();
                    let handler = |number: Request<u64>| async move {
                        if number.to_native() == 99 {
                            std::future::pending::<()>().await;
                        }
                        Ok::<u64, String>(number.to_native())
                    };
                    server.serve(handler).await.unwrap();
                });
            });
            Self(take.recv().unwrap(), Some(thread))
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.0.shutdown();
            let _ = self.1.take().unwrap().join();
        }
    }

    #[test]
    fn a_client_that_lies_to_an_async_server_is_thrown_out_alone() {
        within(Duration::from_secs(30), || {
            let scratch = Scratch::new();
            let _server = Served::new(&scratch.options());
            let good: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
            for bytes in bad_client_frames() {
                assert_thrown_out(&scratch, &good, &bytes);
            }
        });
    }

    #[test]
    fn odd_requests_to_an_async_server_are_answered_with_their_code() {
        let scratch = Scratch::new();
        let _server = Served::new(&scratch.options());
        assert_odd_requests_are_answered(&scratch);
    }

    #[test]
    fn a_client_with_more_calls_than_its_window_is_thrown_out_alone() {
        within(Duration::from_secs(30), || {
            let scratch = Scratch::new();
            let options = Options { max_in_flight: 4, ..scratch.options() };
            let _server = Served::new(&options);
            let good: Client<u64, u64> = Client::connect_with(NAME, &options).unwrap();
            let mut liar = raw_client(&scratch);
            for call in 0..5 {
                send(&mut liar, &frame(REQUEST, call, &99u64.to_le_bytes())).unwrap();
            }
            let end = receive(&mut liar).unwrap_err();
            assert!(matches!(end, TransportError::Closed | TransportError::PeerGone), "{end:?}");
            assert_eq!(good.call(&5).unwrap().to_native(), 5);
        });
    }

    #[test]
    fn a_client_that_never_reads_its_replies_holds_up_no_other_of_an_async_server() {
        within(Duration::from_secs(30), || {
            let scratch = Scratch::new();
            let options = Options { max_in_flight: 4096, ring_bytes: 4096, ..scratch.options() };
            let server = Served::new(&options);
            let options =
                Options { service: 1, codec: 1, schema: schema::<strait_rpc::Rkyv, u64, u64>(), ..options.clone() };
            let mut deaf = Connection::connect(NAME, &options).unwrap();
            // The switch to shared memory needs one reply.
            send(&mut deaf, &frame(REQUEST, 0, &1u64.to_le_bytes())).unwrap();
            receive(&mut deaf).unwrap();
            for call in 1..1_000 {
                if deaf.send(&frame(REQUEST, call, &1u64.to_le_bytes())).is_err() {
                    break;
                }
            }
            let good: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
            for number in 100..2_100 {
                assert_eq!(good.call_timeout(&number, Duration::from_secs(5)).unwrap().to_native(), number);
            }
            let start = Instant::now();
            drop(server);
            assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
            drop(deaf);
        });
    }
}
