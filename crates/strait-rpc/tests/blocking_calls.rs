//! Blocking client and server in one process: what calls return.
#![cfg(not(strait_loom))]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rkyv::{Archive, Serialize};
use strait_rpc::{Code, Error, Options, Postcard, Raw, Request, Rkyv, blocking::Client};
use strait_transport::{Error as TransportError, Refusal};
use support::{NAME, Scratch, serve, serve_as, within};

const LONG: Duration = Duration::from_secs(60);

#[derive(Archive, Serialize)]
struct Order {
    id: u64,
    note: String,
}

#[test]
fn rkyv_replies_are_right() {
    let scratch = Scratch::new();
    let _server = serve(&scratch.options(), |order: Request<Order>| {
        Ok::<_, String>(Order { id: order.id.to_native() + 1, note: order.note.repeat(2) })
    });
    let client: Client<Order, Order> = Client::connect_with(NAME, &scratch.options()).unwrap();
    for id in 0..200 {
        let note = "x".repeat(id as usize * 7);
        let reply = client.call(&Order { id, note: note.clone() }).unwrap();
        assert_eq!((reply.id.to_native(), reply.note.as_str()), (id + 1, note.repeat(2).as_str()));
    }
}

#[test]
fn postcard_replies_are_right() {
    let scratch = Scratch::new();
    let _server = serve_as::<Postcard, (u32, String), (String, u32), String>(&scratch.options(), |request| {
        Ok((request.1.to_uppercase(), request.0))
    });
    let client: Client<(u32, String), (String, u32), Postcard> =
        Client::connect_with(NAME, &scratch.options()).unwrap();
    let reply = client.call(&(7, "seven".to_owned())).unwrap();
    assert_eq!(*reply, ("SEVEN".to_owned(), 7));
}

#[test]
fn raw_replies_are_right_and_may_be_empty() {
    let scratch = Scratch::new();
    let _server = serve_as::<Raw, Vec<u8>, Vec<u8>, String>(&scratch.options(), |request| {
        Ok(request.iter().rev().copied().collect())
    });
    let client: Client<Vec<u8>, Vec<u8>, Raw> = Client::connect_with(NAME, &scratch.options()).unwrap();
    assert_eq!(*client.call(&vec![1, 2, 3]).unwrap(), [3, 2, 1]);
    assert!(client.call(&Vec::new()).unwrap().is_empty());
}

/// Doubles a number in `threads` threads at once and checks every reply; each call must end long before its deadline.
fn storm(options: Options, threads: u64, calls: u64) {
    let scratch = Scratch::new();
    let options = &Options { runtime_dir: scratch.options().runtime_dir, ..options };
    let _server = serve(options, |number: Request<u64>| Ok::<_, String>(number.to_native() * 2));
    let mut client: Client<u64, u64> = Client::connect_with(NAME, options).unwrap();
    client.set_deadline(Some(Duration::from_secs(10)));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let client = &client;
            scope.spawn(move || {
                for call in 0..calls {
                    let number = thread << 32 | call;
                    let start = Instant::now();
                    assert_eq!(client.call(&number).unwrap().to_native(), number * 2);
                    assert!(start.elapsed() < Duration::from_secs(5), "call {call} of thread {thread} was forgotten");
                }
            });
        }
    });
}

#[test]
fn many_threads_share_one_client() {
    within(LONG, || storm(Options::default(), 8, 1_000));
}

#[test]
fn many_threads_share_one_client_on_a_socket() {
    let options = Options { shared_memory: false, ..Options::default() };
    within(LONG, || storm(options, 8, 500));
}

#[test]
fn threads_that_never_spin_share_one_client() {
    let options = Options { spin: Duration::ZERO, ..Options::default() };
    within(LONG, || storm(options, 4, 1_000));
}

#[test]
fn callers_wait_where_the_window_is_full() {
    for max_in_flight in [1, 2] {
        let options = Options { max_in_flight, ..Options::default() };
        within(LONG, || storm(options, 6, 500));
        let options = Options { max_in_flight, spin: Duration::ZERO, ..Options::default() };
        within(LONG, || storm(options, 6, 500));
    }
}

#[test]
fn callers_wait_where_the_window_is_full_on_a_socket() {
    let options = Options { max_in_flight: 1, shared_memory: false, ..Options::default() };
    within(LONG, || storm(options, 6, 300));
}

#[test]
fn a_caller_that_waits_for_a_slot_is_woken_when_a_thread_takes_its_answer_late() {
    within(LONG, || {
        let scratch = Scratch::new();
        // A spin of nothing: whoever drives sleeps on the connection at once.
        let options = Options { max_in_flight: 1, spin: Duration::ZERO, ..scratch.options() };
        let _server = serve(&options, |number: Request<u64>| {
            std::thread::sleep(Duration::from_millis(5));
            Ok::<_, String>(number.to_native())
        });
        let client: Client<u64, u64> = Client::connect_with(NAME, &options).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for number in 0..50 {
                        let reply = client.call_timeout(&number, Duration::from_secs(3));
                        assert_eq!(reply.unwrap().to_native(), number);
                    }
                });
            }
        });
    });
}

#[test]
fn a_handlers_error_and_panic_are_answered_and_the_server_goes_on() {
    let scratch = Scratch::new();
    let _server = serve(&scratch.options(), |number: Request<u64>| match number.to_native() {
        1 => Err("one is\nnot welcome"),
        2 => panic!("two is worse"),
        number => Ok(number),
    });
    let client: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
    for _ in 0..3 {
        assert_call(client.call(&1), Code::HANDLER, "one is not welcome");
        assert_call(client.call(&2), Code::PANICKED, "see the server's log");
        assert_eq!(client.call(&3).unwrap().to_native(), 3);
    }
}

#[track_caller]
fn assert_call<T: std::fmt::Debug>(outcome: Result<T, Error>, code: Code, message: &str) {
    match outcome {
        Err(Error::Call { code: found, message: text }) => assert_eq!((found, &*text), (code, message)),
        other => panic!("expected {code:?}, got {other:?}"),
    }
}

#[test]
fn a_call_ends_by_its_deadline_and_its_late_reply_reaches_nobody() {
    let scratch = Scratch::new();
    let _server = serve(&scratch.options(), |millis: Request<u64>| {
        std::thread::sleep(Duration::from_millis(millis.to_native()));
        Ok::<_, String>(millis.to_native())
    });
    let client: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
    client.call(&0).unwrap();
    let start = Instant::now();
    let outcome = client.call_timeout(&300, Duration::from_millis(50));
    let took = start.elapsed();
    assert!(matches!(outcome, Err(Error::Deadline)), "{outcome:?}");
    assert!(took >= Duration::from_millis(50) && took < Duration::from_millis(150), "{took:?}");
    assert_eq!(client.late_replies(), 0);
    assert_eq!(client.call(&1).unwrap().to_native(), 1);
    assert_eq!(client.late_replies(), 1);
}

#[test]
fn a_deadline_that_has_passed_or_never_will_is_no_panic() {
    let scratch = Scratch::new();
    let _server = serve(&scratch.options(), |number: Request<u64>| Ok::<_, String>(number.to_native()));
    let mut client: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
    assert!(matches!(client.call_timeout(&1, Duration::ZERO), Err(Error::Deadline)));
    assert_eq!(client.call_timeout(&1, Duration::MAX).unwrap().to_native(), 1);
    client.set_deadline(None);
    assert_eq!(client.call(&1).unwrap().to_native(), 1);
    client.set_deadline(Some(Duration::MAX));
    assert_eq!(client.call(&1).unwrap().to_native(), 1);
}

#[test]
fn a_request_or_a_reply_that_is_too_large_is_a_typed_error_and_the_connection_goes_on() {
    let scratch = Scratch::new();
    let options = Options { ring_bytes: 4096, ..scratch.options() };
    let _server = serve_as::<Raw, Vec<u8>, Vec<u8>, String>(&options, |size| {
        Ok(vec![7; u32::from_le_bytes(size[..4].try_into().unwrap()) as usize])
    });
    let client: Client<Vec<u8>, Vec<u8>, Raw> = Client::connect_with(NAME, &options).unwrap();
    let ask = |size: u32| client.call(&size.to_le_bytes().to_vec());
    for _ in 0..3 {
        let outcome = client.call(&vec![0; 993]);
        assert!(
            matches!(outcome, Err(Error::Transport(TransportError::TooLarge { need: 1009, max: 1008 }))),
            "{outcome:?}"
        );
        match ask(993) {
            Err(Error::Call { code: Code::BAD_REPLY, message }) => assert!(message.contains("1008"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(ask(992).unwrap().len(), 992);
        assert_eq!(client.call(&vec![0; 992]).unwrap().len(), 0);
    }
}

#[test]
fn ends_with_other_types_or_codecs_do_not_connect() {
    let scratch = Scratch::new();
    let _server = serve(&scratch.options(), |number: Request<u64>| Ok::<_, String>(number.to_native()));
    let other: Result<Client<u32, u64>, _> = Client::connect_with(NAME, &scratch.options());
    assert!(matches!(other, Err(Error::Transport(TransportError::Refused(Refusal::Schema { .. })))), "{other:?}");
    let other: Result<Client<u64, u32>, _> = Client::connect_with(NAME, &scratch.options());
    assert!(matches!(other, Err(Error::Transport(TransportError::Refused(Refusal::Schema { .. })))), "{other:?}");
    let other: Result<Client<u64, u64, Postcard>, _> = Client::connect_with(NAME, &scratch.options());
    assert!(matches!(other, Err(Error::Transport(TransportError::Refused(Refusal::Codec { .. })))), "{other:?}");
    let nobody: Result<Client<u64, u64>, _> = Client::connect_with("nobody", &scratch.options());
    assert!(matches!(nobody, Err(Error::Transport(TransportError::NoServer { .. }))), "{nobody:?}");
}

#[test]
fn a_schema_of_ones_own_replaces_the_types_names() {
    let scratch = Scratch::new();
    let options = Options { schema: 42, ..scratch.options() };
    let _server = serve(&options, |number: Request<u64>| Ok::<_, String>(number.to_native()));
    let client: Client<i64, i64> = Client::connect_with(NAME, &options).unwrap();
    assert_eq!(client.call(&5).unwrap().to_native(), 5);
}

#[test]
fn clients_come_and_go_and_a_client_that_goes_during_calls_harms_nobody() {
    let scratch = Scratch::new();
    let served = Arc::new(AtomicU32::new(0));
    let counter = served.clone();
    let _server = serve(&scratch.options(), move |number: Request<u64>| {
        counter.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
        Ok::<_, String>(number.to_native())
    });
    let stays: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
    for round in 0..20 {
        let goes: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
        let _ = goes.call_timeout(&1, Duration::from_micros(200));
        drop(goes);
        assert_eq!(stays.call(&round).unwrap().to_native(), round);
    }
    assert!(served.load(Ordering::Relaxed) >= 20);
}

/// A codec whose encoder panics for odd numbers, and miscounts 6. Its hint panics for 8.
enum Fragile {}

impl strait_rpc::Codec<u64> for Fragile {
    const ID: u8 = 1;
    type View = <Rkyv as strait_rpc::Codec<u64>>::View;
    type Held<B: strait_frame::StableBytes> = <Rkyv as strait_rpc::Codec<u64>>::Held<B>;

    fn encode(value: &u64, sink: &mut strait_frame::Sink<'_>) -> Result<(), strait_frame::EncodeError> {
        assert!(value.is_multiple_of(2), "odd");
        if *value == 6 {
            sink.write(&[0; 2_000])?;
        }
        Rkyv::encode(value, sink)
    }

    fn open<B: strait_frame::StableBytes>(bytes: B) -> Result<Self::Held<B>, strait_frame::DecodeError> {
        <Rkyv as strait_rpc::Codec<u64>>::open(bytes)
    }

    fn schema() -> u64 {
        <Rkyv as strait_rpc::Codec<u64>>::schema()
    }

    fn size_hint(value: &u64) -> usize {
        assert!(*value != 8, "no hint");
        0
    }

    fn encoded_len(value: &u64) -> Result<usize, strait_frame::EncodeError> {
        <Rkyv as strait_rpc::Codec<u64>>::encoded_len(value)
    }
}

#[test]
fn an_encoder_that_panics_or_miscounts_takes_no_slot_and_holds_up_nobody() {
    within(LONG, || {
        let scratch = Scratch::new();
        let options = Options { max_in_flight: 2, ..scratch.options() };
        let _server = serve_as::<Fragile, u64, u64, String>(&options, |number| Ok(number.to_native() + 2));
        let client: Client<u64, u64, Fragile> = Client::connect_with(NAME, &options).unwrap();
        for _ in 0..5 {
            let panicked = client.call(&1);
            assert!(matches!(panicked, Err(Error::Transport(TransportError::Encode(_)))), "{panicked:?}");
            let unguessed = client.call(&8);
            assert!(matches!(unguessed, Err(Error::Transport(TransportError::Encode(_)))), "{unguessed:?}");
            let miscounted = client.call(&6);
            assert!(matches!(miscounted, Err(Error::Transport(TransportError::Encode(_)))), "{miscounted:?}");
            match client.call(&4) {
                Err(Error::Call { code: Code::BAD_REPLY, .. }) => {}
                other => panic!("the reply 6 is miscounted: {other:?}"),
            }
            assert_eq!(client.call(&2).unwrap().to_native(), 4);
        }
    });
}

#[test]
fn an_encoder_that_panics_for_a_reply_is_answered_with_an_error() {
    let scratch = Scratch::new();
    let _server = serve_as::<Fragile, u64, u64, String>(&scratch.options(), |number| Ok(number.to_native() + 1));
    let client: Client<u64, u64, Fragile> = Client::connect_with(NAME, &scratch.options()).unwrap();
    for _ in 0..3 {
        let text = "the message cannot be encoded: the value can't be encoded: its encoder panicked";
        assert_call(client.call(&2), Code::BAD_REPLY, text);
    }
}
