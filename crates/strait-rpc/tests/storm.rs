//! Ten thousand calls in flight, some cancelled, some out of time, while their server is killed and started again.
#![cfg(all(feature = "tokio", not(strait_loom)))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use process::{Process, options, role, say, until_told};
use rustix::process::Signal;
use strait_rpc::{Client, Code, Error, Options, Request, Server};
use support::{NAME, Scratch};
use tokio::sync::RwLock;

const CLIENTS: usize = 16;
const WINDOW: u32 = 1024;
/// In flight at a time, of all clients together.
const IN_FLIGHT: usize = 10_000;
/// Servers that are killed.
const KILLS: usize = 4;
/// By how much a call may miss its deadline in a storm.
const LATE: Duration = Duration::from_secs(2);

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    if role().is_some() {
        server();
    }
}

/// Answers a number with itself, after as many milliseconds as its upper half says.
fn server() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::bind_with(NAME, &with_window(options())).unwrap();
        let handle = server.handle();
        let served = tokio::spawn(server.serve(|number: Request<u64>| async move {
            let number = number.to_native();
            tokio::time::sleep(Duration::from_millis(number >> 32)).await;
            Ok::<u64, String>(number)
        }));
        say("ready");
        tokio::task::spawn_blocking(until_told).await.unwrap();
        handle.shutdown();
        served.await.unwrap().unwrap();
    });
}

fn with_window(options: Options) -> Options {
    Options { max_in_flight: WINDOW, ring_bytes: 1 << 20, ..options }
}

/// A small generator of numbers that look random; the seed is told where a test fails.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A client, and how often it was made anew.
type Shared = Arc<RwLock<(u64, Option<Arc<Client<u64, u64>>>)>>;

/// What the calls came to.
#[derive(Default)]
struct Tally {
    begun: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    late_micros: AtomicU64,
}

/// Makes calls until it is told to stop: each ends once, in its own answer, in a typed error or cancelled.
async fn caller(client: Shared, options: Options, tally: Arc<Tally>, stop: Arc<AtomicBool>, mut dice: Dice) {
    while !stop.load(Ordering::Relaxed) {
        let (generation, connected) = client.read().await.clone();
        let Some(connected) = connected else {
            reconnect(&client, &options, generation).await;
            continue;
        };
        let number = dice.roll(200) << 32 | dice.roll(1 << 30);
        let timeout = Duration::from_millis(20 + dice.roll(300));
        let patience = Duration::from_millis(if dice.roll(4) == 0 { dice.roll(100) } else { 3_600_000 });
        tally.begun.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let outcome = tokio::select! {
            outcome = connected.call_timeout(&number, timeout) => outcome,
            () = tokio::time::sleep(patience) => {
                tally.cancelled.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        };
        let late = start.elapsed().saturating_sub(timeout);
        tally.late_micros.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
        match outcome {
            Ok(reply) => {
                assert_eq!(reply.to_native(), number, "another call's answer");
                tally.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                match error {
                    Error::Deadline | Error::Call { code: Code::CANCELLED | Code::DEADLINE, .. } => {}
                    Error::Transport(error) if !matches!(error, strait_transport::Error::Corrupt { .. }) => {
                        reconnect(&client, &options, generation).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

async fn reconnect(client: &Shared, options: &Options, seen: u64) {
    let mut shared = client.write().await;
    if shared.0 != seen {
        return; // somebody else has
    }
    shared.1 = Client::connect_with(NAME, options).await.ok().map(Arc::new);
    if shared.1.is_some() {
        shared.0 += 1;
    } else {
        drop(shared);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn ten_thousand_calls_in_flight_end_once_each_while_servers_are_killed() {
    let scratch = Scratch::new();
    let options = with_window(scratch.options());
    let before = descriptors();
    let tally = Arc::new(Tally::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut server = Process::start("child", "server", &options, &[]);
    server.hears("ready");
    let callers: Vec<_> = (0..IN_FLIGHT)
        .scan(Vec::new(), |clients: &mut Vec<Shared>, index| {
            if clients.len() < CLIENTS {
                clients.push(Shared::default());
            }
            Some((clients[index % CLIENTS.min(clients.len())].clone(), index))
        })
        .map(|(client, index)| {
            let dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (index as u64 + 1) << 20);
            runtime.spawn(caller(client, options.clone(), tally.clone(), stop.clone(), dice))
        })
        .collect();
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(700));
        server.signal(Signal::KILL);
        drop(server);
        server = Process::start("child", "server", &options, &[]);
        server.hears("ready");
    }
    std::thread::sleep(Duration::from_millis(700));
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for caller in callers {
            let ended = tokio::time::timeout(Duration::from_secs(30), caller).await;
            ended.expect("a call that never ends").expect("an outcome that cannot be");
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    server.ends_well();

    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (begun, answered) = (get(&tally.begun), get(&tally.answered));
    let (failed, cancelled, late) = (get(&tally.failed), get(&tally.cancelled), get(&tally.late_micros));
    println!("{begun} calls: {answered} answered, {failed} failed, {cancelled} cancelled; at most {late} µs late");
    assert_eq!(begun, answered + failed + cancelled, "each call ends once");
    assert!(answered > 1_000 && failed > 100 && cancelled > 100, "{answered} {failed} {cancelled}");
    assert!(Duration::from_micros(late) < LATE, "{late} µs late");
    assert!(descriptors() <= before, "{} descriptors left, {before} before", descriptors());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_of_one_client_does_not_delay_another() {
    let scratch = Scratch::new();
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let served = tokio::spawn(server.serve(|number: Request<u64>| async move {
        let number = number.to_native();
        tokio::time::sleep(Duration::from_millis(number >> 32)).await;
        Ok::<u64, String>(number)
    }));
    let slow: Arc<Client<u64, u64>> = Arc::new(Client::connect_with(NAME, &scratch.options()).await.unwrap());
    let quick: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).await.unwrap();
    let waiting: Vec<_> = (0..32u64)
        .map(|number| {
            let slow = slow.clone();
            tokio::spawn(async move { slow.call(&(60_000 << 32 | number)).await.map(drop) })
        })
        .collect();
    for number in 0..1_000 {
        let call = quick.call_timeout(&number, Duration::from_secs(5));
        assert_eq!(call.await.unwrap().to_native(), number);
    }
    assert!(waiting.iter().all(|call| !call.is_finished()));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    drop(slow);
    handle.shutdown();
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("the server ends").unwrap().unwrap();
}
