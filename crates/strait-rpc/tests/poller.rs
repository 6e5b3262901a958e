//! A thread of its own that polls for several clients: it works while their threads sleep, rests, and may go.
#![cfg(not(strait_loom))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use process::{Process, options, role, say, until_told};
use rustix::process::Signal;
use strait_rpc::{
    Error, Options, Raw, Request, TransportKind,
    blocking::{Client, ClientPolling, Methods, PinError, Poller, Proxy, Reconnecting, Server},
};
use strait_transport::Error as TransportError;
use support::{NAME, Running, Scratch, serve, serve_as, until};

type Numbers = Client<u64, u64>;

/// What a thread that looks without rest runs at least in some hundred milliseconds, however busy the machine is: it yields to
/// all others. One that sleeps does not run at all.
const LITTLE: Duration = Duration::from_millis(1);

const TIRELESS: ClientPolling = ClientPolling { cpu: None, idle: None };

/// Each test keeps processors busy, and counts what threads of this process do: one at a time.
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

/// A server in a process of its own.
fn server(options: &Options) -> Process {
    let mut server = Process::start("child", "server", options, &[]);
    server.hears("ready");
    server
}

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    if role().is_some() {
        let server = dreamer(&options());
        say("ready");
        until_told();
        server.stop().unwrap();
    }
}

/// A client in memory.
fn connect(options: &Options, poller: &Poller) -> Numbers {
    let mut client = Numbers::connect_with(NAME, options).unwrap();
    client.set_poller(poller);
    until("the client is in memory", || {
        client.call(&0).unwrap();
        client.transport() == TransportKind::Shared
    });
    client
}

/// The polling thread of this process, as the system lists it.
fn polling_thread() -> PathBuf {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_poller =
        |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "strait-poller");
    tasks.into_iter().find(is_poller).expect("a polling thread")
}

/// How long a thread has run.
fn used(thread: &str) -> Duration {
    let times = std::fs::read_to_string(format!("{thread}/schedstat")).unwrap();
    Duration::from_nanos(times.split_whitespace().next().unwrap().parse().unwrap())
}

/// How long the polling thread runs during `work`.
fn used_by_poller(work: impl FnOnce()) -> Duration {
    let thread = polling_thread();
    let thread = thread.to_str().unwrap();
    let before = used(thread);
    work();
    used(thread) - before
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn one_thread_polls_for_several_clients_whose_threads_sleep() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = server(&scratch.options());
    let poller = Poller::start(&TIRELESS).unwrap();
    let clients: Vec<Numbers> = (0..4).map(|_| connect(&scratch.options(), &poller)).collect();
    std::thread::scope(|scope| {
        for client in clients.iter().chain(&clients) {
            scope.spawn(move || {
                for number in 0..500u64 {
                    let millis = u64::from(number % 100 == 0);
                    assert_eq!(client.call(&millis).unwrap().to_native(), millis);
                }
            });
        }
    });
    let mut own = Duration::ZERO;
    let polled = used_by_poller(|| {
        let before = used("/proc/thread-self");
        assert_eq!(clients[0].call(&400).unwrap().to_native(), 400);
        own = used("/proc/thread-self") - before;
    });
    assert!(own < Duration::from_millis(40), "the calling thread ran for {own:?}");
    assert!(polled > LITTLE, "the polling thread ran for {polled:?}");
}

#[test]
fn an_idle_poller_sleeps_be_there_calls_in_flight_or_not_and_the_next_call_wakes_it() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = server(&scratch.options());
    let poller = Poller::start(&ClientPolling::default()).unwrap();
    let client = connect(&scratch.options(), &poller);
    for _ in 0..3 {
        let idle = used_by_poller(|| std::thread::sleep(Duration::from_millis(300)));
        assert!(idle < Duration::from_millis(30), "{idle:?} with nothing to do");
        let waits = used_by_poller(|| assert_eq!(client.call(&300).unwrap().to_native(), 300));
        assert!(waits < Duration::from_millis(30), "{waits:?} with a slow server");
        assert!(!waits.is_zero(), "{waits:?}: the call did not wake it");
    }
}

#[test]
fn a_call_ends_by_its_deadline_and_the_next_one_has_its_answer() {
    let _alone = alone();
    for polling in [TIRELESS, ClientPolling::default()] {
        let scratch = Scratch::new();
        let _server = dreamer(&scratch.options());
        let poller = Poller::start(&polling).unwrap();
        let client = connect(&scratch.options(), &poller);
        let start = Instant::now();
        let outcome = client.call_timeout(&400, Duration::from_millis(100));
        let took = start.elapsed();
        assert!(matches!(outcome, Err(Error::Deadline)), "{outcome:?}");
        assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(200), "{took:?}");
        assert_eq!(client.call(&1).unwrap().to_native(), 1);
        assert_eq!(client.late_replies(), 1);
    }
}

#[test]
fn a_server_that_is_killed_is_found_out_and_the_clients_of_another_notice_nothing() {
    let _alone = alone();
    for polling in [TIRELESS, ClientPolling::default()] {
        let (scratch, other) = (Scratch::new(), Scratch::new());
        let (first, _second) = (server(&scratch.options()), server(&other.options()));
        let poller = Poller::start(&polling).unwrap();
        let (lost, lasting) = (connect(&scratch.options(), &poller), connect(&other.options(), &poller));
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let start = Instant::now();
                (lost.call(&10_000).map(drop), start.elapsed())
            });
            let slow = scope.spawn(|| lasting.call(&300).map(|reply| reply.to_native()));
            std::thread::sleep(Duration::from_millis(50));
            first.signal(Signal::KILL);
            let (outcome, took) = caller.join().unwrap();
            assert!(matches!(outcome, Err(Error::Transport(TransportError::PeerGone))), "{outcome:?}");
            assert!(took < Duration::from_secs(2), "{took:?}");
            assert_eq!(slow.join().unwrap().unwrap(), 300);
        });
        assert!(lost.call(&1).is_err());
        assert_eq!(lasting.call(&1).unwrap().to_native(), 1);
    }
}

#[test]
fn clients_go_on_when_their_poller_is_dropped_or_another_takes_its_place() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = dreamer(&scratch.options());
    for _ in 0..20 {
        let poller = Poller::start(&TIRELESS).unwrap();
        let client = connect(&scratch.options(), &poller);
        std::thread::scope(|scope| {
            let callers = [(); 3].map(|()| scope.spawn(|| client.call(&10).unwrap().to_native()));
            std::thread::sleep(Duration::from_millis(3));
            drop(poller);
            callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap(), 10));
        });
        assert_eq!(client.call(&1).unwrap().to_native(), 1);
    }
    let (first, second) = (Poller::start(&TIRELESS).unwrap(), Poller::start(&ClientPolling::default()).unwrap());
    let mut client = connect(&scratch.options(), &first);
    client.set_poller(&second);
    drop(first);
    assert_eq!(client.call(&5).unwrap().to_native(), 5);
}

#[test]
fn nothing_is_left_of_clients_that_were_dropped_while_their_poller_slept_or_did_not() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = server(&scratch.options());
    for polling in [TIRELESS, ClientPolling::default()] {
        let poller = Poller::start(&polling).unwrap();
        drop(connect(&scratch.options(), &poller));
        until("the first is gone", || {
            used_by_poller(|| std::thread::sleep(Duration::from_millis(20))).as_millis() < 10
        });
        let before = descriptors();
        for _ in 0..10 {
            let clients = [(); 4].map(|()| connect(&scratch.options(), &poller));
            std::thread::sleep(Duration::from_millis(3));
            drop(clients);
        }
        until("all descriptors are closed", || descriptors() <= before);
    }
}

#[test]
fn a_proxy_has_a_poller_too_for_calls_streams_and_events() {
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
    for polling in [TIRELESS, ClientPolling::default()] {
        let poller = Poller::start(&polling).unwrap();
        let mut service: Proxy = Proxy::connect_with(NAME, &scratch.options()).unwrap();
        // A stream that has begun has a driver already, be it in another thread.
        let early = service.stream::<u64, u64>("count", &1000).unwrap();
        service.set_poller(&poller);
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(early.map(|item| item.unwrap().to_native()).sum::<u64>(), 499_500));
            until("the proxy is in memory", || {
                service.call::<u64, u64>("dream", &0).unwrap();
                service.transport() == TransportKind::Shared
            });
        });
        let items = service.stream::<u64, u64>("count", &1000).unwrap();
        assert_eq!(items.map(|item| item.unwrap().to_native()).sum::<u64>(), 499_500);
        service.call::<u64, u64>("tick after", &20).unwrap();
        let event = service.next_event(Some(Duration::from_secs(5))).unwrap().unwrap();
        assert_eq!(event.read::<strait_rpc::Rkyv, u64>().unwrap().to_native(), 20);
        let start = Instant::now();
        assert!(service.next_event(Some(Duration::from_millis(50))).unwrap().is_none());
        assert!(start.elapsed() < Duration::from_millis(150));
    }
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
fn full_rings_and_windows_and_connections_on_their_sockets_end_all_calls() {
    let _alone = alone();
    for (shared_memory, polling) in
        [(true, TIRELESS), (true, ClientPolling::default()), (false, ClientPolling::default())]
    {
        let scratch = Scratch::new();
        let options = Options { ring_bytes: 4096, max_in_flight: 4, shared_memory, ..scratch.options() };
        let _server =
            serve_as::<Raw, _, _, _>(&options, |bytes: Request<Vec<u8>, Raw>| Ok::<_, String>(bytes.to_vec()));
        let poller = Poller::start(&polling).unwrap();
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let mut client: Client<Vec<u8>, Vec<u8>, Raw> = Client::connect_with(NAME, &options).unwrap();
                client.set_poller(&poller);
                client.set_deadline(Some(Duration::from_secs(20)));
                client
            })
            .collect();
        std::thread::scope(|scope| {
            for thread in 0..8usize {
                let client = &clients[thread % 2];
                scope.spawn(move || {
                    for at in 0..100usize {
                        let bytes = vec![thread as u8; (at * 97 + thread) % 900];
                        assert_eq!(*client.call(&bytes).unwrap(), *bytes);
                    }
                    let batch: Vec<Vec<u8>> = (0..50).map(|at| vec![at; 300]).collect();
                    for (reply, request) in client.call_batch(&batch).into_iter().zip(&batch) {
                        assert_eq!(*reply.unwrap(), **request);
                    }
                });
            }
        });
    }
}

#[test]
fn a_client_that_connects_again_keeps_its_poller() {
    let _alone = alone();
    let scratch = Scratch::new();
    let poller = Poller::start(&TIRELESS).unwrap();
    let mut client: Reconnecting<u64, u64> = Reconnecting::new(NAME, &scratch.options());
    client.set_poller(&poller);
    for reconnects in 0..3 {
        let server = server(&scratch.options());
        for _ in 0..100 {
            client.call_idempotent(&0).unwrap();
        }
        assert_eq!(client.reconnects(), reconnects);
        let polled = used_by_poller(|| assert_eq!(client.call(&200).unwrap().to_native(), 200));
        assert!(polled > LITTLE, "{polled:?} on connection {reconnects}");
        server.signal(Signal::KILL);
    }
    drop(poller);
    let _server = server(&scratch.options());
    assert_eq!(client.call_idempotent(&7).unwrap().to_native(), 7);
}

#[test]
fn the_thread_is_kept_on_its_processor_and_a_wrong_one_is_an_error_that_names_the_right_ones() {
    let _alone = alone();
    let wrong = Poller::start(&ClientPolling { cpu: Some(1_000_000), idle: None }).unwrap_err();
    let Error::Pin(PinError::NoSuchCpu { cpu: 1_000_000, usable }) = wrong else { panic!("{wrong}") };
    let cpu = usable[usable.len() - 1];
    let _poller = Poller::start(&ClientPolling { cpu: Some(cpu), idle: None }).unwrap();
    let status = std::fs::read_to_string(polling_thread().join("status")).unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    assert_eq!(allowed.trim(), cpu.to_string());
}

#[test]
fn a_forked_child_lets_go_of_a_polled_client_whatever_its_thread_was_doing() {
    let _alone = alone();
    let scratch = Scratch::new();
    let _server = server(&scratch.options());
    let poller = Poller::start(&TIRELESS).unwrap();
    let client = connect(&scratch.options(), &poller);
    // The thread has the lock half the time, and in the child nobody gives it back.
    for round in 0..200 {
        assert_eq!(client.call(&0).unwrap().to_native(), 0); // in memory: now the thread is awake
        #[allow(unsafe_code)]
        // SAFETY: the child only drops the client, which touches nothing of other threads, and leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = client.call(&0);
            let forked = matches!(refused, Err(Error::Transport(TransportError::Forked)));
            drop((client, poller));
            #[allow(unsafe_code)]
            // SAFETY: ends the process, without what a test does at its end.
            unsafe {
                libc::_exit(i32::from(!forked))
            }
        }
        let child = rustix::process::Pid::from_raw(child).expect("forked");
        let patience = Instant::now() + Duration::from_secs(10);
        let status = loop {
            match rustix::process::waitpid(Some(child), rustix::process::WaitOptions::NOHANG).unwrap() {
                Some((_, status)) => break status.exit_status(),
                None if Instant::now() > patience => {
                    rustix::process::kill_process(child, Signal::KILL).unwrap();
                    panic!("child {round} hangs");
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        assert_eq!(status, Some(0), "child {round}: its call was not refused as forked");
    }
    assert_eq!(client.call(&0).unwrap().to_native(), 0);
}
