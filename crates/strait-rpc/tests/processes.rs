//! Clients and servers in processes of their own: upgrade, order, death, stopped servers, many clients, a soak.
#![cfg(not(strait_loom))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use process::{Process, options, role, say, until_told};
use rustix::process::Signal;
use strait_rpc::{Error, Options, Request, TransportKind, blocking::Client};
use strait_transport::Error as TransportError;
use support::{NAME, Scratch, serve, until, within};

/// By how much a call may miss its deadline.
const LATE: Duration = Duration::from_millis(100);

/// What is measured at 100 ms must not run beside the storms: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    match role().as_deref() {
        None => {}
        Some("server") => server(),
        #[cfg(feature = "tokio")]
        Some("async-server") => async_server(),
        Some("counter") => counter(),
        Some("client") => client(),
        Some("clients") => clients(),
        Some(other) => panic!("no role {other}"),
    }
}

/// Answers a number with its double, after as many milliseconds as its upper half says.
fn server() {
    let server = serve(&options(), |number: Request<u64>| {
        let number = number.to_native();
        std::thread::sleep(Duration::from_millis(number >> 32));
        Ok::<_, String>(number * 2)
    });
    say("ready");
    until_told();
    server.stop().unwrap();
}

#[cfg(feature = "tokio")]
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[cfg(feature = "tokio")]
fn async_server() {
    runtime().block_on(async {
        let server = strait_rpc::Server::bind_with(NAME, &options()).unwrap();
        let handle = server.handle();
        say("ready");
        tokio::task::spawn_blocking(move || {
            until_told();
            handle.shutdown();
        });
        let handler = |number: Request<u64>| async move {
            let number = number.to_native();
            if number >> 32 > 0 {
                tokio::time::sleep(Duration::from_millis(number >> 32)).await;
            }
            Ok::<_, String>(number * 2)
        };
        server.serve(handler).await.unwrap();
    });
}

/// Says whether each number came once and in order, by answering with how many came before it.
fn counter() {
    let next = AtomicU64::new(0);
    let server = serve(&options(), move |number: Request<u64>| {
        let before = next.fetch_add(1, Ordering::Relaxed);
        if before == number.to_native() {
            Ok(before)
        } else {
            Err(format!("expected {before}, got {}", number.to_native()))
        }
    });
    say("ready");
    until_told();
    server.stop().unwrap();
}

/// Calls until it is killed.
fn client() {
    let client: Client<u64, u64> = Client::connect_with(NAME, &options()).unwrap();
    client.call(&1).unwrap();
    say("calling");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..).find(|number| client.call(&(1 << 32 | number)).is_err()));
        }
    });
}

/// Eight clients, each with calls of its own, each reply checked.
fn clients() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let client: Client<u64, u64> = Client::connect_with(NAME, &options()).unwrap();
                let first = u64::from(std::process::id() % 1_000) << 8 | thread;
                for call in 0..200 {
                    let number = (first << 16 | call) & 0xffff_ffff;
                    let start = Instant::now();
                    assert_eq!(client.call(&number).unwrap().to_native(), number * 2);
                    assert!(start.elapsed() < Duration::from_secs(10));
                }
            });
        }
    });
    say("done");
}

fn start(role: &str, options: &Options) -> Process {
    let mut server = Process::start("child", role, options, &[]);
    server.hears("ready");
    server
}

fn connect(options: &Options) -> Client<u64, u64> {
    Client::connect_with(NAME, options).unwrap()
}

#[test]
fn calls_between_processes_move_to_shared_memory() {
    let _alone = alone();
    for role in SERVERS {
        let scratch = Scratch::new();
        let server = start(role, &scratch.options());
        let client = connect(&scratch.options());
        assert_eq!(client.transport(), TransportKind::Socket);
        until("the connection is in shared memory", || client.call(&2).unwrap().transport() == TransportKind::Shared);
        drop(client);
        server.ends_well();
    }
}

#[cfg(feature = "tokio")]
const SERVERS: &[&str] = &["server", "async-server"];
#[cfg(not(feature = "tokio"))]
const SERVERS: &[&str] = &["server"];

#[test]
fn a_server_without_shared_memory_is_served_over_the_socket() {
    let _alone = alone();
    let scratch = Scratch::new();
    let mut server = Process::start("child", "server", &scratch.options(), &[("STRAIT_DISABLE_SHM", "1")]);
    server.hears("ready");
    let client = connect(&scratch.options());
    for number in 0..100 {
        let reply = client.call(&number).unwrap();
        assert_eq!((reply.to_native(), reply.transport()), (number * 2, TransportKind::Socket));
    }
    assert!(client.fallback_reason().unwrap().contains("switched off by the peer"));
    drop(client);
    server.ends_well();
}

#[test]
fn calls_across_the_switch_are_each_executed_once_and_in_order() {
    let _alone = alone();
    for _ in 0..20 {
        let scratch = Scratch::new();
        let server = start("counter", &scratch.options());
        let client = connect(&scratch.options());
        // The lock orders the sending; the calls themselves overlap.
        let next = Mutex::new(0u64);
        let switched = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut next = next.lock().unwrap();
                    let reply = client.call(&next).unwrap();
                    assert_eq!(reply.to_native(), *next);
                    *next += 1;
                    if reply.transport() == TransportKind::Shared {
                        switched.store(true, Ordering::Relaxed);
                    }
                }
            });
        });
        assert!(switched.load(Ordering::Relaxed));
        drop(client);
        server.ends_well();
    }
}

#[cfg(feature = "tokio")]
#[test]
fn pipelined_calls_across_the_switch_are_each_executed_once_and_in_order() {
    let _alone = alone();
    runtime().block_on(async {
        for _ in 0..10 {
            let scratch = Scratch::new();
            let server = start("counter", &scratch.options());
            let client = strait_rpc::Client::<u64, u64>::connect_with(NAME, &scratch.options()).await.unwrap();
            let client = std::sync::Arc::new(client);
            // Tasks of one thread are first polled, and so sent, in the order in which they were spawned; and the window has
            // room for all of a burst.
            for burst in 0..20u64 {
                let calls: Vec<_> = (burst * 50..burst * 50 + 50)
                    .map(|number| {
                        let client = client.clone();
                        tokio::spawn(async move { client.call(&number).await.map(|reply| (number, reply.to_native())) })
                    })
                    .collect();
                for call in calls {
                    let (number, before) = call.await.unwrap().unwrap();
                    assert_eq!(number, before);
                }
            }
            assert_eq!(client.transport(), TransportKind::Shared);
            drop(client);
            server.ends_well();
        }
    });
}

/// A typed error, and one that says that the peer is gone.
#[track_caller]
fn assert_gone(error: &Error) {
    assert!(
        matches!(
            error,
            Error::Transport(TransportError::PeerGone | TransportError::Closed | TransportError::Io { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn every_call_ends_by_its_deadline_when_the_server_is_killed() {
    let _alone = alone();
    for role in SERVERS {
        for shared_memory in [true, false] {
            let scratch = Scratch::new();
            let options = Options { shared_memory, ..scratch.options() };
            let server = start(role, &options);
            let client = connect(&options);
            for number in 0..20 {
                client.call(&number).unwrap();
            }
            within(Duration::from_secs(30), move || {
                std::thread::scope(|scope| {
                    for thread in 0..4u64 {
                        let client = &client;
                        scope.spawn(move || {
                            let deadline = Duration::from_millis(500);
                            for number in 0.. {
                                let (start, request) = (Instant::now(), thread << 32 | number);
                                let outcome = client.call_timeout(&request, deadline);
                                assert!(start.elapsed() < deadline + LATE, "{:?}", start.elapsed());
                                match outcome {
                                    Ok(reply) => assert_eq!(reply.to_native(), request * 2),
                                    Err(error) => return assert_gone(&error),
                                }
                            }
                        });
                    }
                    std::thread::sleep(Duration::from_millis(100));
                    server.signal(Signal::KILL);
                });
                let start = Instant::now();
                assert_gone(&client.call(&1).unwrap_err());
                assert!(start.elapsed() < LATE);
            });
            // The next server takes the name that was left behind.
            let server = start(role, &options);
            assert_eq!(connect(&options).call(&4).unwrap().to_native(), 8);
            server.ends_well();
        }
    }
}

#[cfg(feature = "tokio")]
#[test]
fn every_async_call_ends_by_its_deadline_when_the_server_is_killed() {
    let _alone = alone();
    runtime().block_on(async {
        for shared_memory in [true, false] {
            let scratch = Scratch::new();
            let options = Options { shared_memory, ..scratch.options() };
            let server = start("async-server", &options);
            let client = strait_rpc::Client::<u64, u64>::connect_with(NAME, &options).await.unwrap();
            let client = std::sync::Arc::new(client);
            for number in 0..20 {
                client.call(&number).await.unwrap();
            }
            let calls: Vec<_> = (0..50u64)
                .map(|number| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        let deadline = Duration::from_millis(500);
                        loop {
                            let (start, request) = (Instant::now(), (number % 20) << 32 | number);
                            let outcome = client.call_timeout(&request, deadline).await;
                            assert!(start.elapsed() < deadline + LATE, "{:?}", start.elapsed());
                            match outcome {
                                Ok(reply) => assert_eq!(reply.to_native(), request * 2),
                                Err(error) => return assert_gone(&error),
                            }
                        }
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.signal(Signal::KILL);
            for call in calls {
                tokio::time::timeout(Duration::from_secs(5), call).await.expect("it ends").unwrap();
            }
        }
    });
}

#[test]
fn a_client_that_is_killed_harms_nobody_and_leaves_no_descriptor() {
    let _alone = alone();
    for role in SERVERS {
        let scratch = Scratch::new();
        let server = start(role, &scratch.options());
        let stays = connect(&scratch.options());
        for number in 0..20 {
            stays.call(&number).unwrap();
        }
        let before = server.descriptors();
        for round in 0..10 {
            let mut client = Process::start("child", "client", &scratch.options(), &[]);
            client.hears("calling");
            std::thread::sleep(Duration::from_millis(round));
            client.signal(Signal::KILL);
            let start = Instant::now();
            assert_eq!(stays.call(&round).unwrap().to_native(), round * 2);
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        }
        until("the server has let go of the dead", || server.descriptors() <= before);
        drop(stays);
        server.ends_well();
    }
}

#[test]
fn sixty_four_clients_in_eight_processes_each_get_their_replies() {
    let _alone = alone();
    for role in SERVERS {
        let scratch = Scratch::new();
        let server = start(role, &scratch.options());
        let mut processes: Vec<_> =
            (0..8).map(|_| Process::start("child", "clients", &scratch.options(), &[])).collect();
        for process in &mut processes {
            process.hears("done");
        }
        for process in processes {
            process.ends_well();
        }
        server.ends_well();
    }
}

#[test]
fn a_stopped_server_is_not_taken_for_dead() {
    let _alone = alone();
    for role in SERVERS {
        for shared_memory in [true, false] {
            let scratch = Scratch::new();
            let options = Options { shared_memory, max_in_flight: 8, ..scratch.options() };
            let server = start(role, &options);
            let client = connect(&options);
            for number in 0..20 {
                client.call(&number).unwrap();
            }
            server.stop();
            let deadline = Duration::from_millis(100);
            std::thread::scope(|scope| {
                for _ in 0..12 {
                    scope.spawn(|| {
                        let start = Instant::now();
                        let outcome = client.call_timeout(&1, deadline);
                        assert!(matches!(outcome, Err(Error::Deadline)), "{outcome:?}");
                        assert!(start.elapsed() < deadline + LATE, "{:?}", start.elapsed());
                    });
                }
            });
            server.signal(Signal::CONT);
            for number in 0..100 {
                assert_eq!(client.call(&number).unwrap().to_native(), number * 2);
            }
            assert_eq!(client.late_replies(), 8, "the window was full of calls that nobody waited for");
            drop(client);
            server.ends_well();
        }
    }
}

/// A hundred thousand calls; every reply is checked.
fn soak(role: &str) {
    let scratch = Scratch::new();
    let server = start(role, &scratch.options());
    let client = connect(&scratch.options());
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let client = &client;
            scope.spawn(move || {
                for call in 0..50_000 {
                    let number = thread << 24 | call;
                    assert_eq!(client.call(&number).unwrap().to_native(), number * 2);
                }
            });
        }
    });
    let stats = client.stats();
    assert_eq!((stats.sent_messages, stats.received_messages), (100_000, 100_000));
    drop(client);
    server.ends_well();
}

#[test]
fn a_hundred_thousand_calls_each_get_their_reply_from_a_blocking_server() {
    let _alone = alone();
    soak("server");
}

#[cfg(feature = "tokio")]
#[test]
fn a_hundred_thousand_calls_each_get_their_reply_from_an_async_server() {
    let _alone = alone();
    soak("async-server");
}
