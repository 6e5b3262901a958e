//! What requests and responses tell of themselves, and how long they may be held.
#![cfg(not(strait_loom))]

mod support;

use std::time::Duration;

use strait_rpc::{HonestPeer, Options, Receive, Request, TransportKind, blocking::Client};
use support::{NAME, Scratch, serve, within};

fn in_place(options: Options) -> Options {
    // SAFETY: both ends are this test.
    let trust = unsafe { HonestPeer::assume() };
    Options { receive: Receive::InPlace(trust), ..options }
}

#[test]
fn a_connection_begins_on_its_socket_and_goes_on_in_shared_memory() {
    let scratch = Scratch::new();
    let _server = serve(&scratch.options(), |request: Request<u64>| {
        assert!(!request.is_zero_copy(), "copies are the default");
        Ok::<bool, String>(request.transport() == TransportKind::Shared)
    });
    let client: Client<u64, bool> = Client::connect_with(NAME, &scratch.options()).unwrap();
    assert_eq!(client.transport(), TransportKind::Socket);
    assert!(!*client.call(&0).unwrap(), "the first request goes over the socket");
    for _ in 0..10 {
        client.call(&0).unwrap();
    }
    let reply = client.call(&0).unwrap();
    assert!(*reply, "later ones do not");
    assert_eq!(reply.transport(), TransportKind::Shared);
    assert!(!reply.is_zero_copy());
    assert_eq!(client.transport(), TransportKind::Shared);
    assert!(client.stats().sent_messages >= 12);
}

#[test]
fn a_request_tells_its_way_its_time_and_its_deadline() {
    let scratch = Scratch::new();
    let _server = serve(&scratch.options(), |request: Request<u64>| {
        assert!(request.timestamp() > 1_600_000_000_000_000, "µs since 1970");
        assert_eq!(format!("{request:?}"), "Request(7)");
        Ok::<u64, String>(request.remaining().map_or(u64::MAX, |left| left.as_millis() as u64))
    });
    let mut client: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
    let left = client.call_timeout(&7, Duration::from_secs(60)).unwrap().to_native();
    assert!((50_000..=60_000).contains(&left), "{left}");
    client.set_deadline(None);
    let reply = client.call(&7).unwrap();
    assert_eq!(reply.to_native(), u64::MAX);
    assert!(reply.timestamp() > 1_600_000_000_000_000);
    assert_eq!(format!("{reply:?}"), format!("Response({})", u64::MAX));
}

#[test]
fn replies_in_place_may_be_held_and_dropped_in_any_order() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = in_place(Options { ring_bytes: 4096, ..scratch.options() });
        let _server = serve(&options, |request: Request<[u8; 100]>| Ok::<[u8; 100], String>([request[0]; 100]));
        let client: Client<[u8; 100], [u8; 100]> = Client::connect_with(NAME, &options).unwrap();
        for _ in 0..10 {
            client.call(&[0; 100]).unwrap();
        }
        for round in 0..20 {
            let mut held: Vec<_> = (0..18u8)
                .map(|number| {
                    let reply = client.call(&[number; 100]).unwrap();
                    (number, reply)
                })
                .collect();
            assert!(held[0].1.is_zero_copy());
            assert!(!held[17].1.is_zero_copy(), "more than half the ring is held: the rest is copied");
            if round % 2 == 0 {
                held.reverse();
            }
            while !held.is_empty() {
                let (number, reply) = held.swap_remove(held.len() / 2);
                assert_eq!(*reply, [number; 100]);
            }
        }
    });
}

#[test]
fn replies_that_are_held_hold_up_later_ones_until_the_deadline_and_no_longer_than_they_are_held() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = in_place(Options { ring_bytes: 4096, ..scratch.options() });
        let _server = serve(&options, |request: Request<[u8; 900]>| Ok::<[u8; 900], String>([request[0]; 900]));
        let client: Client<[u8; 900], [u8; 900]> = Client::connect_with(NAME, &options).unwrap();
        for _ in 0..10 {
            client.call(&[0; 900]).unwrap();
        }
        let mut held = Vec::new();
        let full = loop {
            match client.call_timeout(&[1; 900], Duration::from_millis(100)) {
                Ok(reply) => held.push(reply),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, strait_rpc::Error::Deadline), "{full:?}");
        assert!((1..5).contains(&held.len()), "{}", held.len());
        held.clear();
        for number in 0..20 {
            assert_eq!(*client.call(&[number; 900]).unwrap(), [number; 900]);
        }
    });
}

#[test]
fn a_reply_in_place_outlives_its_client() {
    let scratch = Scratch::new();
    let options = in_place(scratch.options());
    let server = serve(&options, |request: Request<[u8; 100]>| Ok::<[u8; 100], String>([request[0]; 100]));
    let client: Client<[u8; 100], [u8; 100]> = Client::connect_with(NAME, &options).unwrap();
    for _ in 0..10 {
        client.call(&[1; 100]).unwrap();
    }
    let reply = client.call(&[2; 100]).unwrap();
    assert!(reply.is_zero_copy());
    drop(client);
    server.stop().unwrap();
    assert_eq!(*reply, [2; 100]);
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_place_may_be_held_across_await() {
    let scratch = Scratch::new();
    let options = in_place(Options { ring_bytes: 4096, ..scratch.options() });
    let server = strait_rpc::Server::bind_with(NAME, &options).unwrap();
    let handle = server.handle();
    let served = tokio::spawn(server.serve(|request: Request<[u8; 100]>| async move {
        let wait = u64::from(request[0] % 5);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok::<_, String>([request[0]; 100])
    }));
    let client = strait_rpc::Client::<[u8; 100], [u8; 100]>::connect_with(NAME, &options).await.unwrap();
    let client = std::sync::Arc::new(client);
    let calls: Vec<_> = (0..200u8)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let reply = client.call(&[number; 100]).await.unwrap();
                tokio::task::yield_now().await;
                assert_eq!(*reply, [number; 100]);
            })
        })
        .collect();
    for call in calls {
        tokio::time::timeout(Duration::from_secs(10), call).await.expect("nobody is forgotten").unwrap();
    }
    handle.shutdown();
    served.await.unwrap().unwrap();
}
