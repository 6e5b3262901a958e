//! What the connections of clients and servers count for the layer of calls: those in flight, and those that failed.
#![cfg(all(feature = "tokio", not(strait_loom)))]

mod support;

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use strait_rpc::{Client, Options, Request, Server, TransportKind, blocking};
use strait_transport::{ErrorCode, local};
use support::{NAME, REPLY, Scratch, call_of, frame, receive, send, serve, until, within};

#[test]
fn calls_are_in_flight_from_their_request_to_their_answer_at_either_end() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let server = serve(&scratch.options(), move |number: Request<u64>| {
            gate.lock().unwrap().recv().unwrap();
            Ok::<u64, String>(number.to_native())
        });
        let connected = blocking::Client::<u64, u64>::connect_with(NAME, &scratch.options()).unwrap();
        let client = Arc::new(connected);
        for number in 0..4 {
            go.send(()).unwrap();
            client.call(&number).unwrap();
        }
        assert_eq!(client.transport(), TransportKind::Shared, "a server looks ahead only there");
        let callers: Vec<_> = (0..3)
            .map(|number| {
                let client = client.clone();
                std::thread::spawn(move || client.call(&number).unwrap().to_native())
            })
            .collect();
        until("three calls are sent", || client.stats().in_flight == 3);
        // The first is executed already: what came behind it is looked at before the next.
        go.send(()).unwrap();
        until("two are left", || server.handle.stats().connections.in_flight == 2 && client.stats().in_flight == 2);
        go.send(()).unwrap();
        go.send(()).unwrap();
        for (number, caller) in (0..).zip(callers) {
            assert_eq!(caller.join().unwrap(), number);
        }
        until("none is left", || server.handle.stats().connections.in_flight == 0 && client.stats().in_flight == 0);
        let stats = server.handle.stats().connections;
        assert_eq!((stats.received_messages, stats.sent_messages), (7, 7));
        assert_eq!(client.stats().sent_bytes, stats.received_bytes);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_async_server_adds_up_its_clients_and_keeps_what_those_counted_that_have_left() {
    let scratch = Scratch::new();
    let server = Server::bind_with(NAME, &scratch.options()).unwrap();
    let handle = server.handle();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let waits = gate.clone();
    let served = tokio::spawn(server.serve(move |number: Request<u64>| {
        let waits = waits.clone();
        async move {
            waits.acquire().await.unwrap().forget();
            Ok::<u64, String>(number.to_native())
        }
    }));
    let on_socket = Options { shared_memory: false, ..scratch.options() };
    let mut clients = Vec::new();
    for options in [scratch.options(), on_socket] {
        clients.push(Arc::new(Client::<u64, u64>::connect_with(NAME, &options).await.unwrap()));
    }
    let calls: Vec<_> = (0..8u64)
        .map(|number| {
            let client = clients[number as usize % 2].clone();
            tokio::spawn(async move { client.call(&number).await.unwrap().to_native() })
        })
        .collect();
    until("all are in flight", || handle.stats().connections.in_flight == 8);
    assert_eq!([clients[0].stats().in_flight, clients[1].stats().in_flight], [4, 4]);
    // One that nobody waits for any more is in flight until the server says so.
    calls[7].abort();
    gate.add_permits(8);
    for (number, call) in (0..7).zip(calls) {
        assert_eq!(call.await.unwrap(), number);
    }
    until("none is in flight", || handle.stats().connections.in_flight == 0);
    assert_eq!(clients[0].stats().in_flight, 0);
    let before = handle.stats().connections;
    assert!(before.received_messages >= 8 && before.parks > 0);
    drop(clients);
    until("both have left", || handle.stats().active_in_memory + handle.stats().active_on_socket == 0);
    let after = handle.stats().connections;
    assert!(after.received_messages >= before.received_messages && after.sent_bytes >= before.sent_bytes);
    handle.shutdown();
    served.await.unwrap().unwrap();
}

#[test]
fn an_answer_that_cannot_be_read_is_counted_by_its_client() {
    within(Duration::from_secs(20), || {
        let (ours, mut theirs) = local::pair(&Options::default()).unwrap();
        let client: blocking::Client<u64, u64> = blocking::Client::over(ours);
        let server = std::thread::spawn(move || {
            let call = call_of(&receive(&mut theirs).unwrap());
            send(&mut theirs, &frame(REPLY, call, b"short")).unwrap();
            // Its end would be an error more.
            theirs
        });
        client.call(&1).unwrap_err();
        let stats = client.stats();
        assert_eq!((stats.decode_errors, stats.errors, stats.last_error), (1, 1, ErrorCode::DECODE));
        drop(server.join().unwrap());
    });
}

#[test]
fn a_call_that_fails_is_counted_at_either_end() {
    within(Duration::from_secs(20), || {
        let scratch = Scratch::new();
        let server = serve(&scratch.options(), |_: Request<u64>| Err::<u64, _>("no"));
        let client: blocking::Client<u64, u64> = blocking::Client::connect_with(NAME, &scratch.options()).unwrap();
        client.call(&1).unwrap_err();
        client.call(&2).unwrap_err();
        for stats in [client.stats(), server.handle.stats().connections] {
            assert_eq!((stats.errors, stats.decode_errors, stats.last_error), (2, 0, ErrorCode::CALL));
            assert!(stats.last_error_us > 0);
        }
    });
}
