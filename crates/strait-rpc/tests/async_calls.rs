//! Async client and server in one process: what calls return, in any order, cancelled or not.
#![cfg(all(feature = "tokio", not(strait_loom)))]

mod support;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use strait_rpc::{Client, Code, Error, Options, Postcard, Raw, Request, Server, ServerHandle, TransportKind};
use strait_transport::Error as TransportError;
use support::{NAME, Scratch};
use tokio::{task::JoinHandle, time::sleep};

type Served = JoinHandle<Result<(), Error>>;

/// A server of numbers: answers with the number, after as many milliseconds as its upper half says.
fn numbers(options: &Options) -> (ServerHandle, Served) {
    let server = Server::bind_with(NAME, options).unwrap();
    let handle = server.handle();
    let handler = |number: Request<u64>| async move {
        let number = number.to_native();
        if number >> 32 > 0 {
            sleep(Duration::from_millis(number >> 32)).await;
        }
        Ok::<u64, String>(number)
    };
    (handle, tokio::spawn(server.serve(handler)))
}

fn after(millis: u64, number: u64) -> u64 {
    millis << 32 | number
}

async fn connect(options: &Options) -> Arc<Client<u64, u64>> {
    Arc::new(Client::connect_with(NAME, options).await.unwrap())
}

async fn ends(handle: ServerHandle, served: Served) {
    handle.shutdown();
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("the server ends").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_come_in_any_order_and_each_to_its_call() {
    for shared_memory in [true, false] {
        let scratch = Scratch::new();
        let options = Options { shared_memory, ..scratch.options() };
        let (handle, served) = numbers(&options);
        let client = connect(&options).await;
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let calls: Vec<_> = (0..20u64)
            .map(|number| {
                let (client, order) = (client.clone(), order.clone());
                tokio::spawn(async move {
                    let request = after(10 * (21 - number), number);
                    assert_eq!(client.call(&request).await.unwrap().to_native(), request);
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        let order = order.lock().unwrap().clone();
        assert!(order[0] > 9 && order[19] < 10, "those that were sent last finish first: {order:?}");
        drop(client);
        ends(handle, served).await;
    }
}

async fn storm(options: &Options, tasks: u64, calls: u64) {
    let (handle, served) = numbers(options);
    let client = connect(options).await;
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for call in 0..calls {
                    let number = task * 100_000 + call;
                    let start = Instant::now();
                    assert_eq!(client.call(&number).await.unwrap().to_native(), number);
                    assert!(start.elapsed() < Duration::from_secs(5), "call {call} of task {task} was forgotten");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(client);
    ends(handle, served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_one_client() {
    storm(&Scratch::new().keep(), 100, 50).await;
}

#[tokio::test]
async fn many_tasks_share_one_client_on_one_thread() {
    storm(&Scratch::new().keep(), 100, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_wait_where_the_window_is_full() {
    for max_in_flight in [1, 3] {
        storm(&Options { max_in_flight, ..Scratch::new().keep() }, 50, 20).await;
        storm(&Options { max_in_flight, shared_memory: false, ..Scratch::new().keep() }, 50, 20).await;
    }
}

#[tokio::test]
async fn postcard_and_raw_replies_are_right() {
    let scratch = Scratch::new();
    let server = Server::<Postcard>::bind_as(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let served = tokio::spawn(server.serve(|request: Request<(u8, String), Postcard>| async move {
        Ok::<String, String>(request.1.repeat(request.0.into()))
    }));
    let client: Client<(u8, String), String, Postcard> = Client::connect_with(NAME, &scratch.options()).await.unwrap();
    assert_eq!(*client.call(&(3, "ab".into())).await.unwrap(), "ababab");
    ends(handle, served).await;

    let server = Server::<Raw>::bind_as(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let served =
        tokio::spawn(server.serve(|request: Request<Vec<u8>, Raw>| async move { Ok::<_, String>(request.to_vec()) }));
    let client: Client<Vec<u8>, Vec<u8>, Raw> = Client::connect_with(NAME, &scratch.options()).await.unwrap();
    assert_eq!(*client.call(&b"bytes".to_vec()).await.unwrap(), *b"bytes");
    ends(handle, served).await;
}

#[tokio::test]
async fn errors_and_panics_before_and_after_the_first_await_are_answered_and_the_server_goes_on() {
    let scratch = Scratch::new();
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let served = tokio::spawn(server.serve(|number: Request<u64>| {
        assert!(number.to_native() != 1, "before there is a future");
        async move {
            assert!(number.to_native() != 2, "in the first poll");
            sleep(Duration::from_millis(1)).await;
            assert!(number.to_native() != 3, "in a later poll");
            if number.to_native() == 4 { Err("an error") } else { Ok(number.to_native()) }
        }
    }));
    let client = connect(&scratch.options()).await;
    for _ in 0..3 {
        for number in [1, 2, 3] {
            let outcome = client.call(&number).await;
            assert!(matches!(outcome, Err(Error::Call { code: Code::PANICKED, .. })), "{number}: {outcome:?}");
        }
        match client.call(&4).await {
            Err(Error::Call { code: Code::HANDLER, message }) => assert_eq!(&*message, "an error"),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.call(&5).await.unwrap().to_native(), 5);
    }
    ends(handle, served).await;
}

#[tokio::test]
async fn a_call_ends_by_its_deadline() {
    let scratch = Scratch::new();
    let (handle, served) = numbers(&scratch.options());
    let client = connect(&scratch.options()).await;
    client.call(&0).await.unwrap();
    let start = Instant::now();
    let outcome = client.call_timeout(&after(400, 1), Duration::from_millis(50)).await;
    let took = start.elapsed();
    assert!(matches!(outcome, Err(Error::Deadline)), "{outcome:?}");
    assert!(took >= Duration::from_millis(50) && took < Duration::from_millis(150), "{took:?}");
    assert!(matches!(client.call_timeout(&1, Duration::ZERO).await, Err(Error::Deadline)));
    assert_eq!(client.call_timeout(&1, Duration::MAX).await.unwrap().to_native(), 1);
    ends(handle, served).await;
}

/// Counts how many of its kind live.
struct Alive(Arc<AtomicU32>);

impl Alive {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn dropping_a_call_drops_its_handler_and_the_window_recovers() {
    let scratch = Scratch::new();
    let options = Options { max_in_flight: 4, ..scratch.options() };
    let alive = Arc::new(AtomicU32::new(0));
    let server = Server::bind_with(NAME, &options).unwrap();
    let (handle, count) = (server.handle(), alive.clone());
    let served = tokio::spawn(server.serve(move |number: Request<u64>| {
        let alive = Alive::new(&count);
        async move {
            if number.to_native() == 0 {
                std::future::pending::<()>().await;
            }
            drop(alive);
            Ok::<u64, String>(number.to_native())
        }
    }));
    let client = connect(&options).await;
    for round in 1..=5u64 {
        let calls: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.call(&0).await.map(drop) })
            })
            .collect();
        eventually("all four run", || alive.load(Ordering::Relaxed) == 4).await;
        // The window is full: this one waits for a slot, and gets one once the others are dropped.
        let fifth = tokio::spawn({
            let client = client.clone();
            async move { client.call(&7).await.map(|reply| reply.to_native()) }
        });
        sleep(Duration::from_millis(5)).await;
        assert!(!fifth.is_finished());
        calls.iter().for_each(JoinHandle::abort);
        assert_eq!(fifth.await.unwrap().unwrap(), 7);
        eventually("all are dropped", || alive.load(Ordering::Relaxed) == 0).await;
        eventually("each cancel is answered", || {
            // Somebody has to read.
            let mut call = pin!(client.call(&1));
            let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            client.late_replies() >= 4 * round
        })
        .await;
    }
    ends(handle, served).await;
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_leaves_a_late_reply_that_reaches_nobody() {
    let scratch = Scratch::new();
    let options = Options { max_in_flight: 1, ..scratch.options() };
    let (handle, served) = numbers(&options);
    let client = connect(&options).await;
    client.call(&0).await.unwrap();
    for number in 1..50u64 {
        {
            let request = number * 1_000;
            let mut call = pin!(client.call(&request));
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if number % 2 == 0 {
                tokio::task::yield_now().await; // the server may answer first
            }
            drop(polled);
        }
        assert_eq!(client.call(&number).await.unwrap().to_native(), number);
    }
    assert!(client.late_replies() > 0);
    ends(handle, served).await;
}

struct CountsWakes(AtomicU32);

impl Wake for CountsWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_future_that_is_woken_and_never_polled_starves_nobody() {
    for max_in_flight in [64, 2] {
        let scratch = Scratch::new();
        let options = Options { max_in_flight, ..scratch.options() };
        let (handle, served) = numbers(&options);
        let client = connect(&options).await;
        let wakes = Arc::new(CountsWakes(AtomicU32::new(0)));
        let waker = Waker::from(wakes.clone());
        let request = after(5, 1);
        let mut lazy = pin!(client.call(&request));
        assert!(lazy.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        for number in 0..200 {
            let reply = tokio::time::timeout(Duration::from_secs(2), client.call(&number)).await;
            assert_eq!(reply.expect("nobody starves").unwrap().to_native(), number);
        }
        eventually("it was woken", || wakes.0.load(Ordering::Relaxed) > 0).await;
        assert_eq!(lazy.await.unwrap().to_native(), after(5, 1));
        ends(handle, served).await;
    }
}

#[tokio::test]
async fn a_future_that_waits_for_a_slot_and_is_never_polled_again_starves_nobody() {
    let scratch = Scratch::new();
    let options = Options { max_in_flight: 1, ..scratch.options() };
    let (handle, served) = numbers(&options);
    let client = connect(&options).await;
    let request = after(20, 1);
    let mut holds = pin!(client.call(&request));
    assert!(holds.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut lazy = pin!(client.call(&2));
    assert!(lazy.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let other = tokio::spawn({
        let client = client.clone();
        async move { client.call(&3).await.map(|reply| reply.to_native()) }
    });
    assert_eq!(holds.await.unwrap().to_native(), after(20, 1));
    let other = tokio::time::timeout(Duration::from_secs(2), other).await.expect("nobody starves");
    assert_eq!(other.unwrap().unwrap(), 3);
    assert_eq!(lazy.await.unwrap().to_native(), 2);
    ends(handle, served).await;
}

#[tokio::test]
async fn a_client_dropped_while_calls_run_takes_its_handlers_with_it() {
    let scratch = Scratch::new();
    let alive = Arc::new(AtomicU32::new(0));
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let (handle, count) = (server.handle(), alive.clone());
    let served = tokio::spawn(server.serve(move |number: Request<u64>| {
        let alive = Alive::new(&count);
        async move {
            if number.to_native() == 0 {
                std::future::pending::<()>().await;
            }
            drop(alive);
            Ok::<u64, String>(number.to_native())
        }
    }));
    let stays = connect(&scratch.options()).await;
    let goes = connect(&scratch.options()).await;
    let call = tokio::spawn(async move { goes.call(&0).await.map(drop) });
    eventually("it runs", || alive.load(Ordering::Relaxed) == 1).await;
    call.abort();
    let _ = call.await;
    eventually("it is dropped", || alive.load(Ordering::Relaxed) == 0).await;
    assert_eq!(stays.call(&5).await.unwrap().to_native(), 5);
    ends(handle, served).await;
}

#[tokio::test]
async fn the_connection_moves_to_shared_memory_by_itself_and_says_why_where_it_does_not() {
    let scratch = Scratch::new();
    let (handle, served) = numbers(&scratch.options());
    let client = connect(&scratch.options()).await;
    assert_eq!(client.transport(), TransportKind::Socket);
    for number in 0..10 {
        client.call(&number).await.unwrap();
    }
    assert_eq!(client.call(&1).await.unwrap().transport(), TransportKind::Shared);
    assert_eq!(client.fallback_reason(), None);
    let stays = connect(&Options { shared_memory: false, ..scratch.options() }).await;
    for number in 0..10 {
        assert_eq!(stays.call(&number).await.unwrap().transport(), TransportKind::Socket);
    }
    assert!(stays.fallback_reason().is_some());
    ends(handle, served).await;
}

#[tokio::test]
async fn a_blocking_client_calls_an_async_server_and_the_other_way_round() {
    let scratch = Scratch::new();
    let (handle, served) = numbers(&scratch.options());
    let options = scratch.options();
    tokio::task::spawn_blocking(move || {
        let client = strait_rpc::blocking::Client::<u64, u64>::connect_with(NAME, &options).unwrap();
        for number in 0..100 {
            assert_eq!(client.call(&number).unwrap().to_native(), number);
        }
    })
    .await
    .unwrap();
    ends(handle, served).await;
    let _server = support::serve(&scratch.options(), |number: Request<u64>| Ok::<_, String>(number.to_native()));
    let client = connect(&scratch.options()).await;
    for number in 0..100 {
        assert_eq!(client.call(&number).await.unwrap().to_native(), number);
    }
}

#[test]
fn outside_a_runtime_the_async_ends_are_refused() {
    let scratch = Scratch::new();
    let bound = Server::bind_with(NAME, &scratch.options());
    assert!(matches!(bound, Err(Error::Transport(TransportError::Usage(_)))), "{bound:?}");
}
