//! Full rings, both at once, with senders of all sizes.
#![cfg(not(strait_loom))]

mod support;

use std::time::{Duration, Instant};

use strait_rpc::{Options, Raw, blocking::Client};
use support::{NAME, Scratch, serve_as, within};

type Calls = Client<Vec<u8>, Vec<u8>, Raw>;

/// Rings of four messages, and a window of many more.
fn tiny(scratch: &Scratch) -> Options {
    Options { ring_bytes: 4096, max_in_flight: 256, ..scratch.options() }
}

/// Sizes that differ from call to call, up to the largest.
fn size(thread: usize, call: usize) -> usize {
    [992, 0, 990, 16, 700, 64, 992, 1][(thread + call) % 8]
}

fn check(client: &Calls, thread: usize, call: usize) {
    let request = vec![(thread + call) as u8; size(thread, call)];
    let start = Instant::now();
    assert_eq!(*client.call(&request).unwrap(), *request);
    assert!(start.elapsed() < Duration::from_secs(5), "call {call} of thread {thread} was forgotten");
}

fn blocking_storm(options: &Options) {
    let client: Calls = Client::connect_with(NAME, options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let client = &client;
            scope.spawn(move || (0..100).for_each(|call| check(client, thread, call)));
        }
    });
}

#[test]
fn threads_with_large_calls_get_on_against_a_blocking_server() {
    within(Duration::from_secs(60), || {
        for shared_memory in [true, false] {
            let scratch = Scratch::new();
            let options = Options { shared_memory, ..tiny(&scratch) };
            let _server = serve_as::<Raw, Vec<u8>, Vec<u8>, String>(&options, |bytes| Ok(bytes.to_vec()));
            blocking_storm(&options);
        }
    });
}

#[test]
fn threads_that_do_not_spin_get_on_too() {
    within(Duration::from_secs(60), || {
        let scratch = Scratch::new();
        let options = Options { spin: Duration::ZERO, ..tiny(&scratch) };
        let _server = serve_as::<Raw, Vec<u8>, Vec<u8>, String>(&options, |bytes| Ok(bytes.to_vec()));
        blocking_storm(&options);
    });
}

#[cfg(feature = "tokio")]
mod tasks {
    use std::sync::Arc;

    use strait_rpc::{Client, Request, Server};
    use strait_transport::{Connection, Transport, local};

    use super::*;
    use crate::support::{REPLY, call_of, frame};

    type AsyncCalls = Client<Vec<u8>, Vec<u8>, Raw>;

    async fn storm(client: Arc<AsyncCalls>) {
        let tasks: Vec<_> = (0..200)
            .map(|task| {
                let client = client.clone();
                tokio::spawn(async move {
                    for call in 0..10 {
                        let request = vec![(task + call) as u8; size(task, call)];
                        assert_eq!(*client.call(&request).await.unwrap(), *request);
                    }
                })
            })
            .collect();
        for task in tasks {
            tokio::time::timeout(Duration::from_secs(20), task).await.expect("no task is forgotten").unwrap();
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn tasks_with_large_calls_get_on_beside_their_server_on_one_thread() {
        within(Duration::from_secs(60), || {
            runtime().block_on(async {
                for shared_memory in [true, false] {
                    let scratch = Scratch::new();
                    let options = Options { shared_memory, ..tiny(&scratch) };
                    let server = Server::<Raw>::bind_as(NAME, &options).unwrap();
                    let handle = server.handle();
                    let served = tokio::spawn(server.serve(|bytes: Request<Vec<u8>, Raw>| async move {
                        tokio::task::yield_now().await;
                        Ok::<_, String>(bytes.to_vec())
                    }));
                    let client = Arc::new(AsyncCalls::connect_with(NAME, &options).await.unwrap());
                    storm(client).await;
                    handle.shutdown();
                    served.await.unwrap().unwrap();
                }
            });
        });
    }

    #[test]
    fn tasks_with_large_calls_get_on_against_a_blocking_server() {
        within(Duration::from_secs(60), || {
            let scratch = Scratch::new();
            let options = tiny(&scratch);
            let _server = serve_as::<Raw, Vec<u8>, Vec<u8>, String>(&options, |bytes| Ok(bytes.to_vec()));
            runtime().block_on(async {
                storm(Arc::new(AsyncCalls::connect_with(NAME, &options).await.unwrap())).await;
            });
        });
    }

    /// Answers one message at a time, and only when the runtime gets round to it.
    async fn answer_slowly(mut connection: Connection, messages: usize) {
        for _ in 0..messages {
            let message = std::future::poll_fn(|cx| {
                loop {
                    match connection.try_recv() {
                        Ok(Some(message)) => return std::task::Poll::Ready(message),
                        Ok(None) => {
                            std::task::ready!(connection.poll_ready(cx, strait_transport::Interest::DATA)).unwrap();
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            })
            .await;
            let reply = frame(REPLY, call_of(&message), b"");
            while connection.send(&reply).is_err() {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_small_and_a_large_call_that_wait_for_room_do_not_spin_for_each_others_space() {
        within(Duration::from_secs(30), || {
            runtime().block_on(async {
                let options = Options { ring_bytes: 4096, max_in_flight: 64, ..Options::default() };
                let (ours, theirs) = local::pair(&options).unwrap();
                let client = Arc::new(AsyncCalls::over(ours));
                // The ring is full after 28; then the large one comes first.
                let sizes: Vec<usize> = std::iter::repeat_n(100, 28).chain([992, 16, 992, 16, 992]).collect();
                let server = tokio::spawn(answer_slowly(theirs, sizes.len()));
                let calls: Vec<_> = sizes
                    .into_iter()
                    .map(|size| {
                        let client = client.clone();
                        tokio::spawn(async move { client.call(&vec![0; size]).await.map(drop) })
                    })
                    .collect();
                for call in calls {
                    call.await.unwrap().unwrap();
                }
                server.await.unwrap();
            });
        });
    }
}
