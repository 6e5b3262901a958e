//! A connection on which nothing happens costs no processor, whoever waits at its ends and however.
#![cfg(all(feature = "tokio", not(strait_loom)))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::time::Duration;

use process::{Process, options, role, say, until_told};
use strait_rpc::{
    Client, Options, Request, Server, TransportKind,
    blocking::{self, ClientPolling, Poller, Polling},
};
use support::{NAME, Scratch, until};

/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(3);
/// What a process may run meanwhile.
const MAX_CPU: Duration = Duration::from_millis(50);

/// Ends in processes of their own: what serves, and what has called and calls no more.
const PAIRS: [(&str, &str); 7] = [
    ("blocking-server", "blocking-client"),
    ("async-server", "async-client"),
    ("polling-server", "polling-client"),
    ("blocking-server", "client-with-poller"),
    // Somebody waits: for an event that never comes, and for the answer of a server that takes its time.
    ("blocking-server", "listening-client"),
    ("async-server", "waiting-clients"),
    ("blocking-server", TIRELESS),
];
/// The one that is told never to rest: it shows that a process which does not is seen.
const TIRELESS: &str = "tireless-client";

fn wait(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    let Some(role) = role() else { return };
    match role.as_str() {
        "blocking-server" | "polling-server" => {
            let server = blocking::Server::bind_with(NAME, &options()).unwrap();
            let handle = server.handle();
            let is_polling = role == "polling-server";
            let dream = |millis: Request<u64>| {
                std::thread::sleep(wait(millis.to_native()));
                Ok::<u64, String>(millis.to_native())
            };
            let thread = std::thread::spawn(move || match is_polling {
                true => server.serve_polling(dream, &Polling::default()),
                false => server.serve(dream),
            });
            say("ready");
            until_told();
            handle.shutdown();
            thread.join().unwrap().unwrap();
        }
        "async-server" => in_runtime(async {
            let server = Server::bind_with(NAME, &options()).unwrap();
            let handle = server.handle();
            let served = tokio::spawn(server.serve(|millis: Request<u64>| async move {
                let millis = millis.to_native();
                tokio::time::sleep(wait(millis)).await;
                Ok::<u64, String>(millis)
            }));
            say("ready");
            tokio::task::spawn_blocking(until_told).await.unwrap();
            handle.shutdown();
            served.await.unwrap().unwrap();
        }),
        "async-client" => in_runtime(async {
            let client: Client<u64, u64> = Client::connect_with(NAME, &options()).await.unwrap();
            while client.transport() != TransportKind::Shared {
                client.call(&0).await.unwrap();
            }
            say("ready");
            tokio::task::spawn_blocking(until_told).await.unwrap();
        }),
        "blocking-client" => {
            let _client = connect(|_| ());
            say("ready");
            until_told();
        }
        "polling-client" => {
            let _client = connect(|client| client.set_polling(&ClientPolling::default()).unwrap());
            say("ready");
            until_told();
        }
        "client-with-poller" => {
            let poller = Poller::start(&ClientPolling::default()).unwrap();
            let _client = connect(|client| client.set_poller(&poller));
            say("ready");
            until_told();
        }
        TIRELESS => {
            let poller = Poller::start(&ClientPolling { cpu: None, idle: None }).unwrap();
            let _client = connect(|client| client.set_poller(&poller));
            say("ready");
            until_told();
        }
        "listening-client" => {
            let service: blocking::Proxy = blocking::Proxy::connect_with(NAME, &options()).unwrap();
            until("the proxy is in memory", || {
                service.health().unwrap();
                service.transport() == TransportKind::Shared
            });
            std::thread::spawn(move || service.next_event(None));
            say("ready");
            until_told();
        }
        "waiting-clients" => {
            let poller = Poller::start(&ClientPolling::default()).unwrap();
            let clients = [
                connect(|_| ()),
                connect(|client| client.set_polling(&ClientPolling::default()).unwrap()),
                connect(|client| client.set_poller(&poller)),
            ];
            for client in clients {
                std::thread::spawn(move || client.call(&30_000).map(drop));
            }
            std::thread::sleep(wait(50));
            say("ready");
            until_told();
        }
        other => panic!("no role {other}"),
    }
}

fn in_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work);
}

/// A client in memory.
fn connect(prepare: impl FnOnce(&mut blocking::Client<u64, u64>)) -> blocking::Client<u64, u64> {
    let mut client = blocking::Client::connect_with(NAME, &options()).unwrap();
    prepare(&mut client);
    until("the client is in memory", || {
        client.call(&0).unwrap();
        client.transport() == TransportKind::Shared
    });
    client.call(&0).unwrap(); // all of it in memory, so that whoever polls has begun
    client
}

/// How long all threads of a process have run.
fn used(process: &Process) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap();
    let nanos = |task: std::path::PathBuf| {
        let times = std::fs::read_to_string(task.join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| nanos(task.unwrap().path())).sum())
}

#[test]
fn connections_on_which_nothing_happens_cost_no_processor() {
    let pairs = PAIRS.map(|(server, client)| {
        let scratch = Scratch::new();
        let options: Options = scratch.options();
        let start = |role: &str| {
            let mut process = Process::start("child", role, &options, &[]);
            process.hears("ready");
            process
        };
        let ends = [server, client].map(|role| (role, start(role)));
        (scratch, ends)
    });
    std::thread::sleep(wait(100)); // whoever polls goes to sleep
    let all = || pairs.iter().flat_map(|(_, ends)| ends);
    let before: Vec<Duration> = all().map(|(_, process)| used(process)).collect();
    std::thread::sleep(QUIET);
    for ((role, process), before) in all().zip(before) {
        let used = used(process) - before;
        println!("{role}: {used:?} in {QUIET:?}");
        if *role == TIRELESS {
            // On a busy machine not much: it yields to all others.
            assert!(used > MAX_CPU / 5, "{role} ran for {used:?} in {QUIET:?}");
            continue;
        }
        assert!(used < MAX_CPU, "{role} ran for {used:?} in {QUIET:?} without anything to do");
    }
}
