//! Ten thousand calls in flight, some cancelled, some out of time, while their server is killed and started again.
#![cfg(all(feature = "tokio", not(strait_loom)))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
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
/// In flight at a time on each client: 10,000 in all.
const PER_CLIENT: usize = 625;
/// Servers that are killed.
const KILLS: usize = 4;
/// By how much a call may miss its deadline, the storm notwithstanding.
const LATE: Duration = Duration::from_millis(100);
/// The same without optimisation, where ten thousand tasks are more than two processors have time for.
const LATE_UNOPTIMISED: Duration = Duration::from_secs(2);

/// Counts the bytes that are allocated and not freed, in all threads.
struct Counting;

static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_add(size as i64 - layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    late_micros: AtomicU64,
    late_calls: AtomicU64,
}

/// Makes calls until it is told to stop: each ends once, in its own answer, in a typed error or cancelled. The first one is answered too late
/// for anybody: it is in flight until its server is killed.
async fn caller(client: Shared, options: Options, tally: Arc<Tally>, stop: Arc<AtomicBool>, mut dice: Dice) {
    let mut is_first = true;
    while !stop.load(Ordering::Relaxed) {
        let (generation, connected) = client.read().await.clone();
        let Some(connected) = connected else {
            reconnect(&client, &options, generation).await;
            continue;
        };
        let mut delay_ms = dice.roll(200);
        let mut timeout = Duration::from_millis(20 + dice.roll(300));
        let mut patience = Duration::from_millis(if dice.roll(4) == 0 { dice.roll(100) } else { 3_600_000 });
        if std::mem::take(&mut is_first) {
            delay_ms = 3_600_000;
            (timeout, patience) = (Duration::from_millis(delay_ms), Duration::from_millis(delay_ms));
        }
        let number = delay_ms << 32 | dice.roll(1 << 30);
        tally.begun.fetch_add(1, Ordering::Relaxed);
        let in_flight = tally.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        tally.most_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        let start = Instant::now();
        let outcome = tokio::select! {
            outcome = connected.call_timeout(&number, timeout) => Some(outcome),
            () = tokio::time::sleep(patience) => None,
        };
        let late = start.elapsed().saturating_sub(timeout);
        tally.in_flight.fetch_sub(1, Ordering::Relaxed);
        let Some(outcome) = outcome else {
            tally.cancelled.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        tally.late_micros.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
        tally.late_calls.fetch_add(u64::from(late > LATE), Ordering::Relaxed);
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

/// Segments of shared memory that are mapped.
fn segments() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("memfd:")).count()
}

/// So many servers are killed, one after the other, while all clients call; what the calls came to.
fn storm(options: &Options, kills: usize) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut server = Process::start("child", "server", options, &[]);
    server.hears("ready");
    let clients: Vec<Shared> = (0..CLIENTS).map(|_| Shared::default()).collect();
    let callers: Vec<_> = (0..CLIENTS * PER_CLIENT)
        .map(|index| {
            let dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (index as u64 + 1) << 20);
            let client = clients[index % CLIENTS].clone();
            runtime.spawn(caller(client, options.clone(), tally.clone(), stop.clone(), dice))
        })
        .collect();
    let all = (CLIENTS * PER_CLIENT) as u64;
    support::until("all calls are in flight", || tally.in_flight.load(Ordering::Relaxed) == all);
    let mut unused = 0;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(700));
        server.signal(Signal::KILL);
        drop(server);
        server = Process::start("child", "server", options, &[]);
        server.hears("ready");
        unused = server.descriptors();
    }
    std::thread::sleep(Duration::from_millis(700));
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for caller in callers {
            let ended = tokio::time::timeout(Duration::from_secs(30), caller).await;
            ended.expect("a call that never ends").expect("an outcome that cannot be");
        }
    });
    drop(clients);
    runtime.shutdown_timeout(Duration::from_secs(10));
    // Its clients may have come before it was asked, so it may have fewer descriptors now.
    support::until("the server keeps nothing of its clients", || server.descriptors() <= unused);
    server.ends_well();
    tally
}

#[test]
fn ten_thousand_calls_in_flight_end_once_each_while_servers_are_killed() {
    let scratch = Scratch::new();
    let options = with_window(scratch.options());
    let before = (descriptors(), segments());
    // What is made once per process is made here.
    storm(&options, 1);
    let live_bytes = LIVE_BYTES.load(Ordering::Relaxed);
    let tally = storm(&options, KILLS);
    let leaked_bytes = LIVE_BYTES.load(Ordering::Relaxed) - live_bytes;

    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (begun, answered) = (get(&tally.begun), get(&tally.answered));
    let (failed, cancelled, late) = (get(&tally.failed), get(&tally.cancelled), get(&tally.late_micros));
    let most = get(&tally.most_in_flight);
    println!("{begun} calls, {most} at once: {answered} answered, {failed} failed, {cancelled} cancelled");
    let late_calls = get(&tally.late_calls);
    println!(
        "at most {late} µs late, {late_calls} more than {LATE:?}; {leaked_bytes} bytes more than after a storm before"
    );
    assert_eq!(begun, answered + failed + cancelled, "each call ends once");
    assert_eq!(get(&tally.in_flight), 0);
    assert_eq!(most, (CLIENTS * PER_CLIENT) as u64, "calls in flight at once");
    assert!(answered > 1_000 && failed > 100 && cancelled > 100, "{answered} {failed} {cancelled}");
    let max_late = if cfg!(debug_assertions) { LATE_UNOPTIMISED } else { LATE };
    assert!(Duration::from_micros(late) < max_late, "{late} µs late");
    assert!(leaked_bytes < 64 << 10, "{leaked_bytes} bytes were not freed");
    assert!((descriptors(), segments()) <= before, "{:?} left, {before:?} before", (descriptors(), segments()));
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
