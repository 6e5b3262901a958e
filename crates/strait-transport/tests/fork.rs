//! What a forked child may do with its parent's connections: nothing, and without harm.
#![allow(clippy::multiple_unsafe_ops_per_block)] // a few system calls in a row, each argued for in one comment
#![cfg(not(strait_loom))]

mod support;

use std::time::{Duration, Instant};

use strait_transport::{Connection, Error, Interest, Options, SendError, Transport, local};
use support::{Scratch, child::in_child, connected, exchange, in_place, receive, send, upgrade};

fn assert_forked<T>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Forked)));
}

/// Each call of the interface in a child: `Forked` or nothing, never a fault.
fn assert_useless(connection: &mut Connection) {
    let deadline = Some(Instant::now() + Duration::from_millis(50));
    assert!(matches!(connection.send(b"x"), Err(SendError::Failed(Error::Forked))));
    assert_forked(connection.try_recv());
    assert_forked(connection.publish());
    assert_forked(connection.wait_ready(Interest::BOTH, deadline));
    assert_forked(connection.arm(Interest::DATA));
    assert_forked(connection.disarm());
    assert!(connection.is_ready(Interest::DATA), "the next call says why");
    assert!(connection.spin_until(Interest::DATA, || false));
    connection.limits();
    connection.stats();
    connection.set_in_flight(1);
    connection.count_error(strait_transport::ErrorCode::DECODE);
    connection.live_stats().read();
    connection.transport();
    connection.close();
}

#[test]
fn in_a_child_a_connection_is_forked_and_its_drop_harms_nobody() {
    for shared in [false, true] {
        let scratch = Scratch::new();
        let options = Options { shared_memory: shared, receive: in_place(), ..scratch.options() };
        let (mut client, mut server) = connected(&options, &options);
        exchange(&mut client, &mut server);
        if shared {
            upgrade(&mut client, &mut server);
        }
        send(&mut client, b"held").unwrap();
        let held = receive(&mut server).unwrap();
        send(&mut client, b"unread").unwrap();
        // In the middle of a batch, too: there it would be published.
        client
            .try_send(4, &mut |span| {
                span.copy_from_slice(b"open");
                Ok(4)
            })
            .unwrap();
        // Moved into the child's closure: there they are dropped, here they live on.
        let mut ends = Some((client, server, held));
        in_child(|| {
            let (mut client, mut server, held) = ends.take().unwrap();
            assert_useless(&mut client);
            assert_useless(&mut server);
            drop((client, server, held));
        });
        let (mut client, mut server, held) = ends.unwrap();
        assert_eq!(*held, *b"held");
        drop(held);
        assert_eq!(*receive(&mut server).unwrap(), *b"unread");
        client.publish().unwrap();
        assert_eq!(*receive(&mut server).unwrap(), *b"open");
        exchange(&mut client, &mut server);
    }
}

#[test]
fn a_child_that_lives_on_does_not_hide_the_drop_of_its_parents_connection() {
    for shared in [false, true] {
        let scratch = Scratch::new();
        let options = Options { shared_memory: shared, ..scratch.options() };
        let (mut client, mut server) = connected(&options, &options);
        exchange(&mut client, &mut server);
        if shared {
            upgrade(&mut client, &mut server);
        }
        // SAFETY: the child only sleeps, with all its parent's descriptors.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: system calls; it ends by itself.
            unsafe {
                libc::alarm(10);
                libc::pause();
                libc::_exit(0);
            }
        }
        let start = Instant::now();
        drop(client);
        let end = receive(&mut server).unwrap_err();
        assert!(matches!(end, Error::PeerGone), "{end:?}");
        assert!(start.elapsed() < Duration::from_secs(2));
        let mut status = 0;
        // SAFETY: ends and reaps the child from above.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, &mut status, 0);
        }
    }
}

#[test]
fn a_child_may_connect_anew() {
    let scratch = Scratch::new();
    let (mut client, mut server) = connected(&scratch.options(), &scratch.options());
    upgrade(&mut client, &mut server);
    let options = scratch.options();
    in_child(|| {
        let (mut mine, mut theirs) = connected(&options, &options);
        upgrade(&mut mine, &mut theirs);
        exchange(&mut mine, &mut theirs);
    });
    exchange(&mut client, &mut server);
}

#[test]
fn a_pair_in_this_process_belongs_to_each_copy_of_it() {
    let (mut left, mut right) = local::pair(&Options::default()).unwrap();
    in_child(|| exchange(&mut left, &mut right));
    exchange(&mut left, &mut right);
}

#[cfg(feature = "tokio")]
#[test]
fn in_a_child_an_async_connection_is_forked_and_its_drop_leaves_the_parents_runtime_alone() {
    let scratch = Scratch::new();
    let options = scratch.options();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, server) = runtime.block_on(async {
        let listener = strait_transport::Listener::bind_async("pair", &options).unwrap();
        let path = options.clone();
        let client = std::thread::spawn(move || Connection::connect("pair", &path).unwrap());
        let server = listener.accept_async().await.unwrap().handshake_async().await.unwrap();
        (client.join().unwrap(), server)
    });
    let (mut client, mut server) = (client, Some(server));
    in_child(|| {
        let mut server = server.take().unwrap();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(matches!(server.poll_ready(&mut cx, Interest::DATA), std::task::Poll::Ready(Err(Error::Forked))));
        assert_useless(&mut server);
    });
    let mut server = server.unwrap();
    send(&mut client, b"still").unwrap();
    runtime.block_on(async {
        while server.try_recv().unwrap().is_none() {
            let ready = std::future::poll_fn(|cx| server.poll_ready(cx, Interest::DATA));
            tokio::time::timeout(support::PATIENCE, ready).await.expect("the reactor still knows it").unwrap();
        }
    });
}
