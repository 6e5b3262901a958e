//! A warm call allocates nothing, in neither process.
#![cfg(not(strait_loom))]

#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU64, Ordering},
};

use process::{Process, options, role, say, until_told};
use strait_rpc::{Request, TransportKind, blocking::Client};
use support::{NAME, Scratch, serve};

/// Counts what is allocated, in all threads.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: usize = 1_000;
const CALLS: usize = 10_000;

/// The first byte of a request asks for the number of allocations so far; the first eight of its reply are that.
const REPORT: u8 = 1;

fn answer<const N: usize>(request: &[u8; N]) -> [u8; N] {
    let mut reply = *request;
    if request[0] == REPORT {
        reply[..8].copy_from_slice(&ALLOCATIONS.load(Ordering::Relaxed).to_le_bytes());
    }
    reply
}

fn reported<const N: usize>(reply: &[u8; N]) -> u64 {
    u64::from_le_bytes(reply[..8].try_into().unwrap())
}

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    match role().as_deref() {
        None => {}
        Some("blocking-64") => blocking_server::<64>(),
        Some("blocking-4096") => blocking_server::<4096>(),
        #[cfg(feature = "tokio")]
        Some("async-64") => tasks::server::<64>(),
        #[cfg(feature = "tokio")]
        Some("async-4096") => tasks::server::<4096>(),
        Some(other) => panic!("no role {other}"),
    }
}

/// What a message of `N` bytes must be; rkyv's arrays are.
macro_rules! sized {
    ($name:ident<$n:ident>($($argument:ident: $type:ty),*) $body:block) => {
        fn $name<const $n: usize>($($argument: $type),*)
        where
            strait_rpc::Rkyv: strait_rpc::Codec<[u8; $n], View = [u8; $n]>,
        $body
    };
}

sized!(blocking_server<N>() {
    let server = serve(&options(), |request: Request<[u8; N]>| Ok::<[u8; N], String>(answer(&request)));
    say("ready");
    until_told();
    server.stop().unwrap();
});

fn start(kind: &str, bytes: usize, scratch: &Scratch) -> Process {
    let mut server = Process::start("child", &format!("{kind}-{bytes}"), &scratch.options(), &[]);
    server.hears("ready");
    server
}

sized!(blocking_calls<N>(kind: &str) {
    let scratch = Scratch::new();
    let server = start(kind, N, &scratch);
    let client: Client<[u8; N], [u8; N]> = Client::connect_with(NAME, &scratch.options()).unwrap();
    let (mut ask, mut request) = ([0; N], [0; N]);
    ask[0] = REPORT;
    let mut call = |number: usize| {
        request[1] = number as u8;
        let reply = client.call(&request).unwrap();
        assert_eq!(reply[1], number as u8);
    };
    (0..WARM_UP).for_each(&mut call);
    assert_eq!(client.transport(), TransportKind::Shared);
    let theirs = reported(client.call(&ask).unwrap().get());
    let ours = ALLOCATIONS.load(Ordering::Relaxed);
    (0..CALLS).for_each(&mut call);
    let ours = ALLOCATIONS.load(Ordering::Relaxed) - ours;
    let theirs = reported(client.call(&ask).unwrap().get()) - theirs;
    assert_eq!((ours, theirs), (0, 0), "(ours, theirs) in {CALLS} calls of {N} bytes, {kind} server");
    drop(client);
    server.ends_well();
});

/// One test, so that no other allocates meanwhile.
#[test]
fn a_warm_call_allocates_nothing() {
    if role().is_some() {
        return;
    }
    blocking_calls::<64>("blocking");
    blocking_calls::<4096>("blocking");
    #[cfg(feature = "tokio")]
    {
        blocking_calls::<64>("async");
        tasks::calls::<64>("async");
        tasks::calls::<4096>("async");
        tasks::calls::<64>("blocking");
    }
}

#[cfg(feature = "tokio")]
mod tasks {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    pub(super) fn server<const N: usize>()
    where
        strait_rpc::Rkyv: strait_rpc::Codec<[u8; N], View = [u8; N]>,
    {
        runtime().block_on(async {
            let server = strait_rpc::Server::bind_with(NAME, &options()).unwrap();
            let handle = server.handle();
            say("ready");
            std::thread::spawn(move || {
                until_told();
                handle.shutdown();
            });
            let handler = |request: Request<[u8; N]>| {
                let reply = answer(&request);
                async move { Ok::<[u8; N], String>(reply) }
            };
            server.serve(handler).await.unwrap();
        });
    }

    pub(super) fn calls<const N: usize>(kind: &str)
    where
        strait_rpc::Rkyv: strait_rpc::Codec<[u8; N], View = [u8; N]>,
    {
        let scratch = Scratch::new();
        let server = start(kind, N, &scratch);
        runtime().block_on(async {
            let client: strait_rpc::Client<[u8; N], [u8; N]> =
                strait_rpc::Client::connect_with(NAME, &scratch.options()).await.unwrap();
            let (mut ask, mut request) = ([0; N], [0; N]);
            ask[0] = REPORT;
            let mut counts = [(0, 0); 2];
            for (count, calls) in counts.iter_mut().zip([WARM_UP, CALLS]) {
                for number in 0..calls {
                    request[1] = number as u8;
                    let reply = client.call(&request).await.unwrap();
                    assert_eq!(reply[1], number as u8);
                }
                let ours = ALLOCATIONS.load(Ordering::Relaxed);
                *count = (ours, reported(client.call(&ask).await.unwrap().get()));
            }
            assert_eq!(client.transport(), TransportKind::Shared);
            let [before, after] = counts;
            let (ours, theirs) = (after.0 - before.0, after.1 - before.1);
            assert_eq!((ours, theirs), (0, 0), "(ours, theirs) in {CALLS} async calls of {N} bytes, {kind} server");
        });
        server.ends_well();
    }
}
