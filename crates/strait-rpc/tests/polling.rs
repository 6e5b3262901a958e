//! Servers whose threads poll: turns, full rings, sleep and wake, deaths, ends.
#![cfg(not(strait_loom))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    sync::{Mutex, MutexGuard, mpsc},
    time::{Duration, Instant},
};

use process::{Process, options, role, say, until_told};
use rustix::process::Signal;
use strait_rpc::{
    Code, Error, Options, Policy, Raw, Request, Rkyv, TransportKind,
    blocking::{Client, Methods, PinError, Polling, Proxy, Server, ServerHandle},
    schema,
};
use strait_transport::{Connection, Error as TransportError, Interest, Transport, Wake};
use support::{GO_AWAY, NAME, REPLY, REQUEST, Scratch, call_of, frame, receive, send, until, within};

type Numbers = Client<u64, u64>;

/// Each test keeps processors busy: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A server in a thread; shuts down when dropped.
struct Running(ServerHandle, Option<std::thread::JoinHandle<Result<(), Error>>>);

impl Running {
    fn start<C>(server: Server<C>, serve: impl FnOnce(Server<C>) -> Result<(), Error> + Send + 'static) -> Self
    where
        C: 'static,
    {
        let handle = server.handle();
        Self(handle, Some(std::thread::spawn(move || serve(server))))
    }

    fn stop(mut self) -> Result<(), Error> {
        self.0.shutdown();
        self.1.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shutdown();
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}

fn threads(threads: usize) -> Polling {
    Polling { threads, idle: Some(Duration::from_millis(1)), ..Polling::default() }
}

/// Doubles the lower half of a number after as many milliseconds as its upper half says.
fn double(number: Request<u64>) -> Result<u64, String> {
    let number = number.to_native();
    std::thread::sleep(Duration::from_millis(number >> 32));
    Ok((number & u64::from(u32::MAX)) * 2)
}

fn doubler(options: &Options, polling: Polling) -> Running {
    Running::start(Server::bind_with(NAME, options).unwrap(), move |server| server.serve_polling(double, &polling))
}

fn connect(options: &Options) -> Numbers {
    Client::connect_with(NAME, options).unwrap()
}

/// A connection that speaks by hand, to a service of bytes.
fn raw(options: &Options) -> Connection {
    let schema = schema::<Raw, Vec<u8>, Vec<u8>>();
    Connection::connect(NAME, &Options { service: 1, codec: 0, schema, ..options.clone() }).unwrap()
}

/// Calls until the connection runs over what it stays on.
fn settle(connection: &mut Connection, shared_memory: bool) {
    until("it is where it stays", || {
        send(connection, &frame(REQUEST, 0, b"")).unwrap();
        receive(connection).unwrap();
        !shared_memory || connection.transport() == TransportKind::Shared
    });
}

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    match role().as_deref() {
        None => {}
        Some("server") => server(),
        Some("client") => client(),
        Some(other) => panic!("no role {other}"),
    }
}

/// Doubles from two threads that sleep soon.
fn server() {
    let server = doubler(&options(), threads(2));
    say("ready");
    until_told();
    server.stop().unwrap();
}

/// Calls until it is killed.
fn client() {
    let client = connect(&options());
    client.call(&1).unwrap();
    say("calling");
    for number in 0.. {
        client.call(&(number % 1000)).unwrap();
    }
}

#[test]
fn many_clients_over_few_threads_get_their_own_answers() {
    let _alone = alone();
    within(Duration::from_secs(60), || {
        for shared_memory in [true, false] {
            let scratch = Scratch::new();
            let mut options = Options { shared_memory, ..scratch.options() };
            options.limits.max_pending_handshakes = 64;
            let server = doubler(&options, threads(2));
            std::thread::scope(|scope| {
                for client in 0..24u64 {
                    let options = &options;
                    scope.spawn(move || {
                        let calls = connect(options);
                        for call in 0..200 {
                            let number = client << 16 | call;
                            assert_eq!(calls.call(&number).unwrap().to_native(), number * 2);
                        }
                        let expected = if shared_memory { TransportKind::Shared } else { TransportKind::Socket };
                        assert_eq!(calls.transport(), expected);
                    });
                }
            });
            until("all clients have left", || {
                let stats = server.0.stats();
                stats.active_in_memory + stats.active_on_socket == 0
            });
            let stats = server.0.stats();
            assert_eq!((stats.calls, stats.accepted, stats.errors), (24 * 200, 24, 0));
            server.stop().unwrap();
        }
    });
}

#[test]
fn a_client_that_reads_nothing_holds_up_none_of_its_thread() {
    let _alone = alone();
    within(Duration::from_secs(60), || {
        for shared_memory in [true, false] {
            let scratch = Scratch::new();
            let options = Options { ring_bytes: 4096, shared_memory, ..scratch.options() };
            let server = Running::start(Server::<Raw>::bind_as(NAME, &options).unwrap(), |server| {
                server.serve_polling(|_: Request<Vec<u8>, Raw>| Ok::<_, String>(vec![7; 900]), &threads(1))
            });
            let mut lazy = raw(&options);
            settle(&mut lazy, shared_memory);
            // As many as it may: the server stops executing where its answers find no room.
            let mut sent = 0;
            while lazy.wait_ready(Interest::SPACE, Some(Instant::now() + Duration::from_millis(200))).unwrap()
                == Wake::Ready
                && sent < options.max_in_flight
            {
                sent += u32::from(lazy.send(&frame(REQUEST, 1 + sent, b"")).is_ok());
            }
            let calls: Client<Vec<u8>, Vec<u8>, Raw> = Client::connect_with(NAME, &options).unwrap();
            for _ in 0..200 {
                let start = Instant::now();
                assert_eq!(*calls.call(&vec![]).unwrap(), [7; 900]);
                assert!(start.elapsed() < Duration::from_secs(1));
            }
            // And once it reads, it gets all its answers, in order.
            for call in 0..sent {
                let reply = receive(&mut lazy).unwrap();
                assert_eq!((reply[0], call_of(&reply)), (REPLY, 1 + call));
            }
            server.stop().unwrap();
        }
    });
}

#[test]
fn a_client_that_never_rests_leaves_the_others_their_turns() {
    let _alone = alone();
    within(Duration::from_secs(60), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let server = doubler(&options, Polling { max_batch: 4, ..threads(1) });
        let (greedy, modest) = (connect(&options), connect(&options));
        // 64 ms of work at a time, in its window.
        let requests = [1u64 << 32 | 1; 64];
        std::thread::scope(|scope| {
            let batch = scope.spawn(|| {
                assert!(greedy.call_batch(&requests).iter().all(Result::is_ok));
                Instant::now()
            });
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(modest.call(&4).unwrap().to_native(), 8);
            let answered = Instant::now();
            assert!(answered < batch.join().unwrap(), "it waited for all of them");
        });
        server.stop().unwrap();
    });
}

#[test]
fn a_slow_handler_delays_the_clients_of_its_own_thread_alone() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let server = doubler(&options, threads(2));
        // In the order in which they connect: one thread has the first and the third.
        let clients = [(); 3].map(|()| {
            let client = connect(&options);
            client.call(&1).unwrap();
            client
        });
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| clients[0].call(&(500 << 32 | 1)).unwrap().to_native());
            std::thread::sleep(Duration::from_millis(50));
            let start = Instant::now();
            clients[1].call(&2).unwrap();
            assert!(start.elapsed() < Duration::from_millis(300), "the other thread is free");
            clients[2].call(&2).unwrap();
            assert!(start.elapsed() >= Duration::from_millis(350), "its own is not");
            assert_eq!(slow.join().unwrap(), 2);
        });
        server.stop().unwrap();
    });
}

/// What the polling threads of a process have used of processors, by thread.
fn used(server: &Process) -> Vec<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let used = |task: std::path::PathBuf| {
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let nanos = std::fs::read_to_string(task.join("schedstat")).ok()?;
        let nanos = nanos.split_whitespace().next()?.parse().ok()?;
        name.starts_with("strait-poll-").then(|| Duration::from_nanos(nanos))
    };
    tasks.filter_map(|task| used(task.unwrap().path())).collect()
}

#[test]
fn idle_threads_sleep_and_a_call_wakes_them() {
    let _alone = alone();
    within(Duration::from_secs(60), || {
        for shared_memory in [true, false] {
            let scratch = Scratch::new();
            let options = scratch.options();
            let mut server = Process::start("child", "server", &options, &[]);
            server.hears("ready");
            let clients = [(); 5].map(|()| connect(&Options { shared_memory, ..options.clone() }));
            for round in 0..3 {
                for (number, client) in (0u64..).zip(&clients) {
                    assert_eq!(client.call(&number).unwrap().to_native(), 2 * number, "round {round}");
                }
                // Longer than it takes to go to sleep.
                std::thread::sleep(Duration::from_millis(100));
                let before = used(&server);
                assert_eq!(before.len(), 2);
                std::thread::sleep(Duration::from_millis(300));
                for (before, after) in before.iter().zip(used(&server)) {
                    assert!(after - *before < Duration::from_millis(30), "{:?} in 300 ms of sleep", after - *before);
                }
            }
            // Calls that come while it is about to fall asleep are not forgotten.
            for call in 0..200u64 {
                std::thread::sleep(Duration::from_micros(800 + 2 * call));
                let start = Instant::now();
                clients[call as usize % 5].call(&call).unwrap();
                assert!(start.elapsed() < Duration::from_secs(2), "call {call} was forgotten");
            }
            server.ends_well();
        }
    });
}

#[test]
fn a_thread_that_never_rests_finds_out_who_is_dead_and_keeps_nothing_of_them() {
    let _alone = alone();
    within(Duration::from_secs(60), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        for idle in [None, Some(Duration::ZERO)] {
            let server = doubler(&options, Polling { idle, ..threads(1) });
            let survivor = connect(&options);
            survivor.call(&1).unwrap();
            for _ in 0..3 {
                let mut client = Process::start("child", "client", &options, &[]);
                client.hears("calling");
                client.signal(Signal::KILL);
                until("the dead are counted out", || {
                    let stats = server.0.stats();
                    stats.active_in_memory + stats.active_on_socket == 1
                });
                assert_eq!(survivor.call(&21).unwrap().to_native(), 42);
            }
            server.stop().unwrap();
        }
    });
}

#[test]
fn descriptors_of_clients_that_left_or_died_are_closed() {
    let _alone = alone();
    within(Duration::from_secs(60), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let mut server = Process::start("child", "server", &options, &[]);
        server.hears("ready");
        connect(&options).call(&1).unwrap();
        let mut before = 0;
        until("the first is gone", || {
            std::thread::sleep(Duration::from_millis(20));
            std::mem::replace(&mut before, server.descriptors()) == before
        });
        for shared_memory in [true, false] {
            let options = Options { shared_memory, ..options.clone() };
            (0..20).for_each(|number| drop(connect(&options).call(&number).unwrap()));
        }
        for _ in 0..4 {
            let mut client = Process::start("child", "client", &options, &[]);
            client.hears("calling");
            client.signal(Signal::KILL);
        }
        until("no descriptor is left", || server.descriptors() <= before);
        server.ends_well();
    });
}

#[test]
fn a_dead_client_whose_answers_found_no_room_is_let_go() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = Options { ring_bytes: 4096, ..scratch.options() };
        let server = Running::start(Server::<Raw>::bind_as(NAME, &options).unwrap(), |server| {
            let polling = Polling { idle: None, ..threads(1) };
            server.serve_polling(|_: Request<Vec<u8>, Raw>| Ok::<_, String>(vec![7; 900]), &polling)
        });
        let mut lazy = raw(&options);
        settle(&mut lazy, true);
        (0..20).for_each(|call| send(&mut lazy, &frame(REQUEST, call, b"")).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        drop(lazy);
        until("it is counted out", || {
            let stats = server.0.stats();
            stats.active_in_memory + stats.active_on_socket == 0
        });
        server.stop().unwrap();
    });
}

#[test]
fn a_client_that_lies_loses_its_connection_and_the_others_notice_nothing() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let server = Running::start(Server::<Raw>::bind_as(NAME, &options).unwrap(), |server| {
            server.serve_polling(|bytes: Request<Vec<u8>, Raw>| Ok::<_, String>(bytes.to_vec()), &threads(1))
        });
        let honest: Client<Vec<u8>, Vec<u8>, Raw> = Client::connect_with(NAME, &options).unwrap();
        for lie in [frame(REPLY, 1, b""), frame(99, 1, b""), vec![1, 2, 3]] {
            let mut liar = raw(&options);
            send(&mut liar, &lie).unwrap();
            assert!(receive(&mut liar).is_err());
            assert_eq!(*honest.call(&b"still".to_vec()).unwrap(), *b"still");
        }
        server.stop().unwrap();
    });
}

#[test]
fn what_is_in_flight_is_finished_at_the_end_and_serve_returns() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let (started, starts) = mpsc::channel();
        let server = Running::start(Server::bind_with(NAME, &options).unwrap(), move |server| {
            let answer = move |number: Request<u64>| {
                started.send(()).unwrap();
                double(number)
            };
            server.serve_polling(answer, &threads(2))
        });
        let path = strait_transport::socket_path(NAME, options.runtime_dir.as_deref()).unwrap();
        let (client, idle) = (connect(&options), connect(&options));
        client.call(&0).unwrap();
        starts.recv().unwrap();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| client.call(&(200 << 32 | 1)).map(|reply| reply.to_native()));
            starts.recv().unwrap();
            let queued = scope.spawn(|| client.call(&(100 << 32 | 2)).map(|reply| reply.to_native()));
            std::thread::sleep(Duration::from_millis(50));
            let start = Instant::now();
            server.stop().unwrap();
            assert!(start.elapsed() >= Duration::from_millis(100) && start.elapsed() < Duration::from_secs(2));
            assert_eq!((running.join().unwrap().unwrap(), queued.join().unwrap().unwrap()), (2, 4));
        });
        assert!(!path.exists());
        for client in [client, idle] {
            let after = client.call(&1).unwrap_err();
            assert!(matches!(after, Error::ShuttingDown | Error::Transport(_)), "{after:?}");
        }
    });
}

#[test]
fn a_client_that_is_slow_to_read_gets_its_last_replies_and_one_that_reads_nothing_a_second() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        for (shared_memory, reads) in [(true, true), (false, true), (true, false), (false, false)] {
            let scratch = Scratch::new();
            let options = Options { ring_bytes: 4096, shared_memory, max_in_flight: 1024, ..scratch.options() };
            let server = Running::start(Server::<Raw>::bind_as(NAME, &options).unwrap(), |server| {
                server.serve_polling(|_: Request<Vec<u8>, Raw>| Ok::<_, String>(vec![7; 900]), &threads(1))
            });
            let mut slow = raw(&options);
            settle(&mut slow, shared_memory);
            // More than there is room for in the ring, which takes four replies.
            let calls = if shared_memory { 10 } else { 160 };
            for call in 0..calls {
                send(&mut slow, &frame(REQUEST, call, b"")).unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
            let start = Instant::now();
            let ends = std::thread::spawn(move || server.stop());
            if reads {
                std::thread::sleep(Duration::from_millis(200));
                for call in 0..calls {
                    assert_eq!(*receive(&mut slow).unwrap(), *frame(REPLY, call, &[7; 900]));
                }
                assert_eq!(receive(&mut slow).unwrap()[0], GO_AWAY);
                assert!(matches!(receive(&mut slow), Err(TransportError::Closed | TransportError::PeerGone)));
            }
            ends.join().unwrap().unwrap();
            assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        }
    });
}

#[test]
fn clients_that_call_all_the_time_learn_of_the_end() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let server = doubler(&options, threads(2));
        std::thread::scope(|scope| {
            for client in [(); 4].map(|()| connect(&options)) {
                scope.spawn(move || {
                    let end = (0..).find_map(|number| client.call(&(number % 1000)).err()).unwrap();
                    let told = match &end {
                        Error::ShuttingDown | Error::Call { code: Code::SHUTTING_DOWN, .. } => true,
                        Error::Transport(error) => matches!(error, TransportError::Closed | TransportError::PeerGone),
                        _ => false,
                    };
                    assert!(told, "{end:?}");
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            server.stop().unwrap();
        });
    });
}

/// A reply that can be sent, but not be dropped.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Bomb(u64);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(self.0 < 100, "on purpose");
    }
}

#[test]
fn a_panic_outside_a_handler_ends_one_connection_and_no_other_of_its_thread() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let server = Running::start(Server::bind_with(NAME, &options).unwrap(), |server| {
            server.serve_polling(|number: Request<u64>| Ok::<_, String>(Bomb(number.to_native())), &threads(1))
        });
        let connect = || Client::<u64, Bomb>::connect_with(NAME, &options).unwrap();
        let (unlucky, other) = (connect(), connect());
        assert_eq!(other.call(&1).unwrap().get().0, 1);
        let _ = unlucky.call(&100);
        assert!(matches!(unlucky.call(&1), Err(Error::Transport(_))));
        for number in 0..50 {
            assert_eq!(other.call(&number).unwrap().get().0, number);
        }
        assert_eq!(connect().call(&2).unwrap().get().0, 2, "and new ones are served");
        server.stop().unwrap();
    });
}

#[test]
fn a_client_that_is_slow_with_its_handshake_holds_up_no_other() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let server = doubler(&options, threads(1));
        let path = strait_transport::socket_path(NAME, options.runtime_dir.as_deref()).unwrap();
        let _silent = [(); 3].map(|()| std::os::unix::net::UnixStream::connect(&path).unwrap());
        let start = Instant::now();
        assert_eq!(connect(&options).call(&1).unwrap().to_native(), 2);
        assert!(start.elapsed() < Duration::from_secs(1));
        server.stop().unwrap();
        assert!(start.elapsed() < Duration::from_secs(2), "the server's end waits for no handshake");
    });
}

#[test]
fn policies_panics_and_methods_are_as_with_one_thread_per_connection() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let policy = Policy { calls_per_second: Some(1), burst: 5, ..Policy::default() };
        let server = Server::bind_with(NAME, &options).unwrap().with_policy(policy);
        let server = Running::start(server, |server| {
            let methods = Methods::new()
                .call("double", double)
                .call("panic", |_: Request<u64>| -> Result<u64, String> { panic!("as the test asked") })
                .call_json("length", |text: Request<String>| Ok::<u64, String>(text.len() as u64));
            server.serve_methods_polling(methods, &threads(1))
        });
        let proxy = Proxy::<Rkyv>::connect_with(NAME, &options).unwrap();
        assert_eq!(proxy.call::<u64, u64>("double", &4).unwrap().to_native(), 8);
        let panicked = proxy.call::<u64, u64>("panic", &4).unwrap_err();
        assert!(matches!(panicked, Error::Call { code: Code::PANICKED, .. }), "{panicked:?}");
        let busy = (0..10).find_map(|_| proxy.call::<u64, u64>("double", &4).err()).unwrap();
        assert!(matches!(busy, Error::Call { code: Code::BUSY, .. }), "{busy:?}");
        assert_eq!(server.0.stats().last_error.unwrap().code, Code::BUSY);
        server.stop().unwrap();
    });
}

#[test]
fn all_clients_of_all_threads_share_what_the_server_takes() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let policy = Policy { max_calls: Some(1), ..Policy::default() };
        let server = Server::bind_with(NAME, &options).unwrap().with_policy(policy);
        let server = Running::start(server, |server| server.serve_polling(double, &threads(2)));
        let clients = [(); 2].map(|()| connect(&options));
        clients.iter().for_each(|client| drop(client.call(&1).unwrap()));
        std::thread::scope(|scope| {
            let long = scope.spawn(|| clients[0].call(&(300 << 32 | 1)).unwrap().to_native());
            std::thread::sleep(Duration::from_millis(100));
            let busy = clients[1].call(&1).unwrap_err();
            assert!(matches!(busy, Error::Call { code: Code::BUSY, .. }), "{busy:?}");
            assert_eq!(long.join().unwrap(), 2);
        });
        assert_eq!(clients[1].call(&1).unwrap().to_native(), 2);
        server.stop().unwrap();
    });
}

#[test]
fn threads_are_kept_on_their_processors_and_a_wrong_one_is_an_error_that_names_the_right_ones() {
    let _alone = alone();
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let serve = |polling: Polling| Server::bind_with(NAME, &options).unwrap().serve_polling(double, &polling);
        let wrong = serve(Polling { threads: 2, cpus: vec![0, 100_000], ..threads(2) }).unwrap_err();
        let text = wrong.to_string();
        let Error::Pin(PinError::NoSuchCpu { cpu: 100_000, usable }) = wrong else { panic!("{wrong:?}") };
        assert!(!usable.is_empty() && text.contains(&usable[0].to_string()), "{text}");
        for polling in [threads(0), Polling { cpus: vec![0], ..threads(2) }, Polling { max_batch: 0, ..threads(1) }] {
            let error = serve(polling).unwrap_err();
            assert!(matches!(error, Error::Transport(TransportError::Option { .. })), "{error:?}");
        }
        let server = doubler(&options, Polling { cpus: vec![usable[0]], ..threads(1) });
        assert_eq!(connect(&options).call(&2).unwrap().to_native(), 4);
        let pinned = std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
            let task = task.unwrap().path();
            let read = |file| std::fs::read_to_string(task.join(file)).unwrap_or_default();
            let one = format!("Cpus_allowed_list:\t{}\n", usable[0]);
            read("comm").starts_with("strait-poll-0") && read("status").contains(&one)
        });
        assert!(pinned);
        server.stop().unwrap();
    });
}
