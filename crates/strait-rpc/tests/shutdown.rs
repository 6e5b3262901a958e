//! How servers end: calls in flight are finished, new ones are told, `serve` returns and the socket is gone.
#![cfg(not(strait_loom))]

mod support;

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use strait_rpc::{Code, Error, Options, Raw, Request, blocking::Client, schema};
use strait_transport::{Connection, Error as TransportError, socket_path};
use support::{GO_AWAY, NAME, REPLY, REQUEST, Scratch, frame, receive, send, serve, serve_as, within};

/// What a call may end in that came after the farewell.
fn is_told(error: &Error) -> bool {
    matches!(
        error,
        Error::ShuttingDown
            | Error::Call { code: Code::SHUTTING_DOWN, .. }
            | Error::Transport(TransportError::Closed | TransportError::PeerGone)
    )
}

#[test]
fn a_blocking_server_finishes_what_it_has_and_goes() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = scratch.options();
        let (started, starts) = mpsc::channel();
        let server = serve(&options, move |millis: Request<u64>| {
            let millis = millis.to_native();
            started.send(millis).unwrap();
            std::thread::sleep(Duration::from_millis(millis));
            Ok::<_, String>(millis)
        });
        let path = socket_path(NAME, options.runtime_dir.as_deref()).unwrap();
        assert!(path.exists());
        let client: Client<u64, u64> = Client::connect_with(NAME, &options).unwrap();
        let idle: Client<u64, u64> = Client::connect_with(NAME, &options).unwrap();
        client.call(&0).unwrap();
        starts.recv().unwrap();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| client.call(&200).map(|reply| reply.to_native()));
            assert_eq!(starts.recv().unwrap(), 200);
            // This one is received while the first one runs.
            let queued = scope.spawn(|| client.call(&100).map(|reply| reply.to_native()));
            std::thread::sleep(Duration::from_millis(50));
            let start = Instant::now();
            server.stop().unwrap();
            assert!(start.elapsed() >= Duration::from_millis(100) && start.elapsed() < Duration::from_secs(2));
            assert_eq!(running.join().unwrap().unwrap(), 200);
            assert_eq!(queued.join().unwrap().unwrap(), 100);
        });
        assert!(!path.exists());
        for client in [client, idle] {
            let after = client.call(&1).unwrap_err();
            assert!(is_told(&after), "{after:?}");
        }
        let anew = Client::<u64, u64>::connect_with(NAME, &options);
        assert!(matches!(anew, Err(Error::Transport(TransportError::NoServer { .. }))), "{anew:?}");
    });
}

#[test]
fn a_client_that_is_slow_to_read_still_gets_its_last_replies_from_a_blocking_server() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let options = Options { ring_bytes: 4096, ..scratch.options() };
        let server = serve_as::<Raw, Vec<u8>, Vec<u8>, String>(&options, |_| Ok(vec![7; 900]));
        let schema = schema::<Raw, Vec<u8>, Vec<u8>>();
        let options = Options { service: 1, codec: 0, schema, ..options };
        let mut slow = Connection::connect(NAME, &options).unwrap();
        for call in 0..2 {
            send(&mut slow, &frame(REQUEST, call, b"")).unwrap();
            receive(&mut slow).unwrap();
        }
        // The ring has room for four of these replies.
        for call in 0..10 {
            send(&mut slow, &frame(REQUEST, call, b"")).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
        let ends = std::thread::spawn(move || server.stop());
        std::thread::sleep(Duration::from_millis(200));
        for call in 0..10 {
            assert_eq!(*receive(&mut slow).unwrap(), *frame(REPLY, call, &[7; 900]));
        }
        assert_eq!(receive(&mut slow).unwrap()[0], GO_AWAY);
        assert!(matches!(receive(&mut slow), Err(TransportError::Closed | TransportError::PeerGone)));
        ends.join().unwrap().unwrap();
    });
}

#[test]
fn a_client_that_calls_all_the_time_learns_of_a_blocking_servers_end() {
    within(Duration::from_secs(30), || {
        let scratch = Scratch::new();
        let server = serve(&scratch.options(), |number: Request<u64>| Ok::<_, String>(number.to_native()));
        let client: Client<u64, u64> = Client::connect_with(NAME, &scratch.options()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let end = (0..).find_map(|number| client.call(&number).err()).unwrap();
                    assert!(is_told(&end), "{end:?}");
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            server.stop().unwrap();
        });
    });
}

#[cfg(feature = "tokio")]
mod tasks {
    use std::{future::pending, os::unix::net::UnixStream, sync::Arc};

    use strait_rpc::{Client, Server};
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn an_async_server_finishes_what_it_has_and_goes() {
        let scratch = Scratch::new();
        let options = scratch.options();
        let server = Server::bind_with(NAME, &options).unwrap();
        let (handle, path) = (server.handle(), server.path());
        let served = tokio::spawn(server.serve(|millis: Request<u64>| async move {
            sleep(Duration::from_millis(millis.to_native())).await;
            Ok::<_, String>(millis.to_native())
        }));
        let client = Arc::new(Client::<u64, u64>::connect_with(NAME, &options).await.unwrap());
        client.call(&0).await.unwrap();
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.call(&200).await.map(|reply| reply.to_native()) })
            })
            .collect();
        sleep(Duration::from_millis(50)).await;
        handle.shutdown();
        sleep(Duration::from_millis(20)).await;
        let late = client.call(&1).await.unwrap_err();
        assert!(is_told(&late), "{late:?}");
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 200);
        }
        timeout(Duration::from_secs(5), served).await.expect("it ends").unwrap().unwrap();
        assert!(!path.exists());
        let after = client.call(&1).await.unwrap_err();
        assert!(is_told(&after), "{after:?}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_even_say_hello_does_not_hold_up_the_end() {
        let scratch = Scratch::new();
        let server = Server::bind_with(NAME, &scratch.options()).unwrap();
        let (handle, path) = (server.handle(), server.path());
        let served = tokio::spawn(server.serve(|_: Request<u64>| async { Ok::<u64, String>(0) }));
        let silent = UnixStream::connect(path).unwrap();
        sleep(Duration::from_millis(50)).await;
        let start = Instant::now();
        handle.shutdown();
        served.await.unwrap().unwrap();
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        drop(silent);
    }

    #[tokio::test]
    async fn dropping_serve_drops_its_handlers_and_ends_its_clients() {
        let scratch = Scratch::new();
        let server = Server::bind_with(NAME, &scratch.options()).unwrap();
        let served = tokio::spawn(server.serve(|_: Request<u64>| pending::<Result<u64, String>>()));
        let client = Client::<u64, u64>::connect_with(NAME, &scratch.options()).await.unwrap();
        let abort = served.abort_handle();
        tokio::spawn(async move {
            sleep(Duration::from_millis(50)).await;
            abort.abort();
        });
        let end = timeout(Duration::from_secs(5), client.call(&1)).await.expect("it ends").unwrap_err();
        assert!(is_told(&end), "{end:?}");
        assert!(served.await.is_err());
    }
}
