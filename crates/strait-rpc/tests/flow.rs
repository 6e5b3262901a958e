//! Batches, deadlines that the server sees, policies, and what a server counts.
#![cfg(all(feature = "tokio", not(strait_loom)))]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use strait_rpc::{Client, Code, Error, Options, Policy, Request, Server, ServerHandle, blocking};
use support::{NAME, Scratch, serve};
use tokio::task::JoinHandle;

type Served = JoinHandle<Result<(), Error>>;

/// Answers with the number after as many milliseconds.
fn sleeper(options: &Options, policy: Policy) -> (ServerHandle, Served) {
    let server = Server::bind_with(NAME, options).unwrap().with_policy(policy);
    let handle = server.handle();
    let handler = |millis: Request<u64>| async move {
        tokio::time::sleep(Duration::from_millis(millis.to_native())).await;
        Ok::<u64, String>(millis.to_native())
    };
    (handle, tokio::spawn(server.serve(handler)))
}

async fn ends(handle: ServerHandle, served: Served) {
    handle.shutdown();
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("the server ends").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_in_its_order_be_it_larger_than_window_and_ring() {
    for shared_memory in [true, false] {
        let scratch = Scratch::new();
        let options = Options { shared_memory, max_in_flight: 8, ring_bytes: 4096, ..scratch.options() };
        let server = Server::bind_with(NAME, &options).unwrap();
        let handle = server.handle();
        let echo = |bytes: Request<Vec<u8>>| async move { Ok::<Vec<u8>, String>(bytes.to_vec()) };
        let served = tokio::spawn(server.serve(echo));
        let client: Client<Vec<u8>, Vec<u8>> = Client::connect_with(NAME, &options).await.unwrap();
        let requests: Vec<Vec<u8>> = (0..300usize).map(|number| vec![number as u8; number % 600]).collect();
        let replies = client.call_batch(&requests).await;
        assert_eq!(replies.len(), requests.len());
        for (reply, request) in replies.into_iter().zip(&requests) {
            assert_eq!(&*reply.unwrap(), request.as_slice());
        }
        assert!(client.call_batch(&[]).await.is_empty());
        ends(handle, served).await;
    }
}

#[test]
fn a_batch_from_a_thread_sleeps_and_wakes_less_than_calls_one_by_one() {
    let scratch = Scratch::new();
    let options = Options { max_in_flight: 64, ..scratch.options() };
    let server = serve(&options, |number: Request<u64>| Ok::<u64, String>(number.to_native() + 1));
    let client: blocking::Client<u64, u64> = blocking::Client::connect_with(NAME, &options).unwrap();
    let requests: Vec<u64> = (0..1000).collect();
    for _ in 0..3 {
        for (number, reply) in client.call_batch(&requests).into_iter().enumerate() {
            assert_eq!(reply.unwrap().to_native(), number as u64 + 1);
        }
    }
    let rings = client.stats().data_rings;
    assert!(rings <= 600, "{rings} wake-ups for 3,000 calls");
    server.stop().unwrap();
}

#[test]
fn what_one_call_of_a_batch_comes_to_is_not_the_others() {
    let scratch = Scratch::new();
    let server = serve(&scratch.options(), |number: Request<u64>| match number.to_native() {
        3 => Err("not three"),
        number => Ok(number),
    });
    let client: blocking::Client<u64, u64> = blocking::Client::connect_with(NAME, &scratch.options()).unwrap();
    for (number, reply) in client.call_batch(&[1, 2, 3, 4]).into_iter().enumerate() {
        match (number, reply) {
            (2, Err(Error::Call { code: Code::HANDLER, message })) => assert_eq!(&*message, "not three"),
            (number, Ok(reply)) => assert_eq!(reply.to_native(), number as u64 + 1),
            (number, other) => panic!("{number}: {other:?}"),
        }
    }
    server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_deadline_passes_keeps_what_was_answered() {
    let scratch = Scratch::new();
    let (handle, served) = sleeper(&scratch.options(), Policy::default());
    let mut client: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).await.unwrap();
    client.set_deadline(Some(Duration::from_millis(150)));
    let start = Instant::now();
    let replies = client.call_batch(&[0, 60_000, 1]).await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(replies[0].is_ok() && replies[2].is_ok());
    // Whichever end's clock is first.
    let late = matches!(replies[1], Err(Error::Deadline | Error::Call { code: Code::CANCELLED, .. }));
    assert!(late, "{:?}", replies[1]);
    ends(handle, served).await;
}

/// A handler that never ends, and tells when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_server_stops_work_whose_caller_has_given_up_though_no_cancel_comes() {
    // A client that is stopped sends no cancel: played by hand, with a deadline that only the server can keep.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = dropped.clone();
    let scratch = Scratch::new();
    let options = scratch.options();
    let (handle, served) = runtime.block_on(async {
        let server = Server::bind_with(NAME, &options).unwrap();
        let handle = server.handle();
        let handler = move |_: Request<u64>| {
            let dropped = Dropped(seen.clone());
            async move {
                let _dropped = dropped;
                std::future::pending::<Result<u64, String>>().await
            }
        };
        (handle, tokio::spawn(server.serve(handler)))
    });
    let options =
        Options { service: 1, codec: 1, schema: strait_rpc::schema::<strait_rpc::Rkyv, u64, u64>(), ..options };
    let mut connection = strait_transport::Connection::connect(NAME, &options).unwrap();
    let mut request = support::frame(support::REQUEST, 1, &7u64.to_le_bytes());
    request[8..16].copy_from_slice(&(50_000_000u64).to_le_bytes()); // 50 ms
    support::send(&mut connection, &request).unwrap();
    let answer = support::receive(&mut connection).unwrap();
    assert_eq!(u16::from_le_bytes([answer[16], answer[17]]), Code::CANCELLED.0);
    assert!(dropped.load(Ordering::SeqCst), "the handler is gone");
    drop(connection);
    runtime.block_on(ends(handle, served));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_the_policy_is_busy_at_once_and_not_executed() {
    let scratch = Scratch::new();
    let started = Arc::new(AtomicUsize::new(0));
    let count = started.clone();
    let policy = Policy { max_calls: Some(2), ..Policy::default() };
    let server = Server::bind_with(NAME, &scratch.options()).unwrap().with_policy(policy);
    let handle = server.handle();
    let served = tokio::spawn(server.serve(move |forever: Request<bool>| {
        count.fetch_add(1, Ordering::SeqCst);
        let forever = *forever;
        async move { if forever { std::future::pending().await } else { Ok::<u64, String>(1) } }
    }));
    let one: Arc<Client<bool, u64>> = Arc::new(Client::connect_with(NAME, &scratch.options()).await.unwrap());
    let other: Client<bool, u64> = Client::connect_with(NAME, &scratch.options()).await.unwrap();
    let held: Vec<_> = (0..2)
        .map(|_| {
            let one = one.clone();
            tokio::spawn(async move { one.call(&true).await.map(drop) })
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(10);
    while started.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < until, "the calls do not get to the server");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    match other.call(&false).await.unwrap_err() {
        Error::Call { code: Code::BUSY, message } => assert!(message.contains("from all clients"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(started.load(Ordering::SeqCst), 2, "it was not executed");
    let stats = handle.stats();
    assert_eq!((stats.errors, stats.last_error.unwrap().code), (1, Code::BUSY));
    // Cancelled, they give their places back.
    held.iter().for_each(JoinHandle::abort);
    while let Err(error) = other.call(&false).await {
        assert!(matches!(error, Error::Call { code: Code::BUSY, .. }), "{error:?}");
        assert!(Instant::now() < until, "busy for ever");
    }
    ends(handle, served).await;
}

#[test]
fn one_client_that_calls_too_often_is_held_to_its_rate_and_others_are_not() {
    let scratch = Scratch::new();
    let executed = Arc::new(AtomicUsize::new(0));
    let count = executed.clone();
    let policy = Policy { calls_per_second: Some(20), burst: 5, ..Policy::default() };
    let server = blocking::Server::bind_with(NAME, &scratch.options()).unwrap().with_policy(policy);
    let handle = server.handle();
    let thread = std::thread::spawn(move || {
        server.serve(move |number: Request<u64>| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<u64, String>(number.to_native())
        })
    });
    let greedy: blocking::Client<u64, u64> = blocking::Client::connect_with(NAME, &scratch.options()).unwrap();
    let modest: blocking::Client<u64, u64> = blocking::Client::connect_with(NAME, &scratch.options()).unwrap();
    let start = Instant::now();
    let outcomes: Vec<bool> = (0..200).map(|number| greedy.call(&number).is_ok()).collect();
    let allowed = 5 + (start.elapsed().as_secs_f64() * 20.0).ceil() as usize;
    let taken = outcomes.iter().filter(|taken| **taken).count();
    assert!(taken >= 5 && taken <= allowed, "{taken} of 200, at most {allowed}");
    assert_eq!(executed.load(Ordering::SeqCst), taken);
    assert!(modest.call(&1).is_ok());
    drop((greedy, modest));
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_counts_its_clients_and_calls() {
    let scratch = Scratch::new();
    let (handle, served) = sleeper(&scratch.options(), Policy::default());
    let shared: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).await.unwrap();
    let on_socket = Options { shared_memory: false, ..scratch.options() };
    let socket: Client<u64, u64> = Client::connect_with(NAME, &on_socket).await.unwrap();
    let before = handle.stats();
    for _ in 0..10 {
        shared.call(&0).await.unwrap();
        socket.call(&0).await.unwrap();
    }
    let other_types: Result<Client<u64, String>, _> = Client::connect_with(NAME, &scratch.options()).await;
    assert!(other_types.is_err());
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let stats = handle.stats();
        if (stats.active_in_memory, stats.active_on_socket, stats.fallbacks, stats.refused) == (1, 1, 1, 1)
            && stats.since(&before).calls == 20
        {
            break;
        }
        assert!(Instant::now() < until, "{stats:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop((shared, socket));
    while handle.stats().active_in_memory + handle.stats().active_on_socket > 0 {
        assert!(Instant::now() < until, "clients that left are still counted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ends(handle, served).await;
}

#[test]
fn batches_larger_than_the_rings_end_beside_many_others() {
    support::within(Duration::from_secs(60), || {
        let scratch = Scratch::new();
        let server = serve(&scratch.options(), |bytes: Request<Vec<u8>>| Ok::<Vec<u8>, String>(bytes.to_vec()));
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let options = scratch.options();
                std::thread::spawn(move || {
                    let mut client: blocking::Client<Vec<u8>, Vec<u8>> =
                        blocking::Client::connect_with(NAME, &options).unwrap();
                    client.set_deadline(Some(Duration::from_secs(20)));
                    let requests = vec![vec![7u8; 20_000]; 16];
                    for round in 0..20 {
                        for (number, reply) in client.call_batch(&requests).into_iter().enumerate() {
                            let reply = reply.unwrap_or_else(|error| panic!("round {round}, call {number}: {error}"));
                            assert_eq!(reply.len(), 20_000);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        server.stop().unwrap();
    });
}
