//! Clients whose threads poll: they do not sleep, but end by their deadlines, notice deaths, and share.
#![cfg(not(strait_loom))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use process::{Process, options, role, say, until_told};
use rustix::{process::Signal, thread::sched_getaffinity};
use strait_rpc::{
    Error, Options, Request, TransportKind,
    blocking::{Client, ClientPolling, Methods, PinError, Proxy, Reconnecting, Server},
};
use strait_transport::Error as TransportError;
use support::{NAME, Running, Scratch, serve, until};

type Numbers = Client<u64, u64>;

const TIRELESS: ClientPolling = ClientPolling { cpu: None, idle: None };

/// Each test keeps processors busy: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Returns a number after as many milliseconds.
fn dream(millis: Request<u64>) -> Result<u64, String> {
    std::thread::sleep(Duration::from_millis(millis.to_native()));
    Ok(millis.to_native())
}

fn dreamer(options: &Options) -> Running {
    serve(options, dream)
}

/// A client in memory that polls.
fn connect(options: &Options, polling: &ClientPolling) -> Numbers {
    let mut client = Numbers::connect_with(NAME, options).unwrap();
    client.set_polling(polling).unwrap();
    until("the client is in memory", || {
        client.call(&0).unwrap();
        client.transport() == TransportKind::Shared
    });
    client
}

/// How often the calling thread has gone to sleep.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

/// How often the calling thread sleeps in ten calls that take longer than a busy machine keeps it from its processor.
fn sleeps_in_ten_calls(client: &Numbers) -> u64 {
    let before = sleeps();
    for _ in 0..10 {
        assert_eq!(client.call(&30).unwrap().to_native(), 30);
    }
    sleeps() - before
}

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    match role().as_deref() {
        None => {}
        Some("server") => {
            let server = dreamer(&options());
            say("ready");
            until_told();
            server.stop().unwrap();
        }
        Some(other) => panic!("no role {other}"),
    }
}

#[test]
fn a_thread_that_polls_does_not_sleep_and_one_that_does_not_or_is_idle_does() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = dreamer(&scratch.options());
    let tireless = connect(&scratch.options(), &TIRELESS);
    let slept = sleeps_in_ten_calls(&tireless);
    assert!(slept < 5, "slept {slept} times in ten calls");
    let idle = connect(&scratch.options(), &ClientPolling { cpu: None, idle: Some(Duration::from_millis(1)) });
    assert!(sleeps_in_ten_calls(&idle) >= 5);
    let plain = Numbers::connect_with(NAME, &scratch.options()).unwrap();
    assert!(sleeps_in_ten_calls(&plain) >= 5);
}

#[test]
fn a_thread_that_polls_gives_up_at_its_deadline_and_calls_again() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = dreamer(&scratch.options());
    let client = connect(&scratch.options(), &TIRELESS);
    let start = Instant::now();
    let outcome = client.call_timeout(&400, Duration::from_millis(100));
    let took = start.elapsed();
    assert!(matches!(outcome, Err(Error::Deadline)), "{outcome:?}");
    assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(200), "{took:?}");
    assert_eq!(client.call(&1).unwrap().to_native(), 1);
    assert_eq!(client.late_replies(), 1);
}

#[test]
fn a_thread_that_polls_finds_out_that_its_server_was_killed_or_has_ended() {
    let _alone = alone();
    for signal in [Some(Signal::KILL), None] {
        let scratch = Scratch::new();
        let mut server = Process::start("child", "server", &scratch.options(), &[]);
        server.hears("ready");
        let client = connect(&scratch.options(), &TIRELESS);
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let start = Instant::now();
                (client.call(&500), start.elapsed())
            });
            std::thread::sleep(Duration::from_millis(50));
            match signal {
                Some(signal) => server.signal(signal),
                // What is in flight is finished first.
                None => server.ends_well(),
            }
            let (outcome, took) = caller.join().unwrap();
            match (signal, outcome) {
                (Some(_), Err(Error::Transport(TransportError::PeerGone))) => {}
                (None, Ok(reply)) => assert_eq!(reply.to_native(), 500),
                (_, other) => panic!("{signal:?}: {other:?}"),
            }
            assert!(took < Duration::from_secs(2), "{took:?}");
        });
        assert!(client.call(&1).is_err());
    }
}

#[test]
fn threads_share_a_client_that_polls() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = dreamer(&scratch.options());
    let client = connect(&scratch.options(), &TIRELESS);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..500u64 {
                    let millis = u64::from(number % 100 == 0);
                    assert_eq!(client.call(&millis).unwrap().to_native(), millis);
                }
            });
        }
    });
}

#[test]
fn a_proxy_polls_too_for_calls_streams_and_events() {
    let _alone = alone();
    let scratch = Scratch::new();
    let methods = Methods::new()
        .call("dream", dream)
        .stream("count", |below: Request<u64>| (0..below.to_native()).map(Ok::<u64, String>))
        .event::<u64>("tick")
        .call("tick after", |millis: Request<u64>| {
            let (client, millis) = (millis.client().cloned().ok_or("no events here")?, millis.to_native());
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(millis));
                let _ = client.notify::<strait_rpc::Rkyv, u64>("tick", &millis);
            });
            Ok::<u64, String>(millis)
        });
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_methods(methods));
    let mut service: Proxy = Proxy::connect_with(NAME, &scratch.options()).unwrap();
    service.set_polling(&TIRELESS).unwrap();
    until("the proxy is in memory", || {
        service.call::<u64, u64>("dream", &0).unwrap();
        service.transport() == TransportKind::Shared
    });
    let before = sleeps();
    assert_eq!(service.call::<u64, u64>("dream", &20).unwrap().to_native(), 20);
    let items = service.stream::<u64, u64>("count", &1000).unwrap();
    assert_eq!(items.map(|item| item.unwrap().to_native()).sum::<u64>(), 499_500);
    service.call::<u64, u64>("tick after", &20).unwrap();
    let event = service.next_event(Some(Duration::from_secs(5))).unwrap().unwrap();
    assert_eq!(event.read::<strait_rpc::Rkyv, u64>().unwrap().to_native(), 20);
    let start = Instant::now();
    assert!(service.next_event(Some(Duration::from_millis(50))).unwrap().is_none());
    assert!(start.elapsed() < Duration::from_millis(150));
    let slept = sleeps() - before;
    assert!(slept < 5, "slept {slept} times");
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
fn the_calling_thread_is_kept_on_its_processor_and_a_wrong_one_is_an_error_that_names_the_right_ones() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = dreamer(&scratch.options());
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            let mut client = connect(&scratch.options(), &ClientPolling::default());
            let before = sched_getaffinity(None).unwrap();
            let wrong = client.set_polling(&ClientPolling { cpu: Some(1_000_000), idle: None }).unwrap_err();
            let Error::Pin(PinError::NoSuchCpu { cpu: 1_000_000, usable }) = wrong else { panic!("{wrong}") };
            assert_eq!(sched_getaffinity(None).unwrap(), before);
            assert!(sleeps_in_ten_calls(&client) >= 5, "nothing has changed");
            let cpu = usable[usable.len() - 1];
            client.set_polling(&ClientPolling { cpu: Some(cpu), idle: None }).unwrap();
            let now = sched_getaffinity(None).unwrap();
            assert!(now.is_set(cpu) && now.count() == 1);
            assert!(sleeps_in_ten_calls(&client) < 5);
        });
        pinned.join().unwrap();
    });
}

#[test]
fn a_client_that_connects_again_goes_on_polling() {
    let _alone = alone();
    let scratch = Scratch::new();
    let mut client: Reconnecting<u64, u64> = Reconnecting::new(NAME, &scratch.options());
    let wrong = client.set_polling(&ClientPolling { cpu: Some(1_000_000), idle: None }).unwrap_err();
    assert!(matches!(wrong, Error::Pin(_)), "{wrong}");
    let sleeps_in_ten_calls = |client: &Reconnecting<u64, u64>| {
        // The first calls may go over the socket, where a thread sleeps as ever.
        for _ in 0..100 {
            client.call_idempotent(&0).unwrap();
        }
        let before = sleeps();
        for _ in 0..10 {
            assert_eq!(client.call(&30).unwrap().to_native(), 30);
        }
        sleeps() - before
    };
    let mut first = Process::start("child", "server", &scratch.options(), &[]);
    first.hears("ready");
    assert!(sleeps_in_ten_calls(&client) >= 5, "it does not poll yet");
    client.set_polling(&TIRELESS).unwrap();
    assert!(sleeps_in_ten_calls(&client) < 5, "the connection that there was");
    for reconnects in 1..=2 {
        first.signal(Signal::KILL);
        drop(first);
        first = Process::start("child", "server", &scratch.options(), &[]);
        first.hears("ready");
        assert!(sleeps_in_ten_calls(&client) < 5, "connection {reconnects} after the first");
        assert_eq!(client.reconnects(), reconnects);
    }
}
