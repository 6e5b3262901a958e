//! Peers that die, stop, or leave children behind: each end is a typed error in time, after all that was sent.
#![allow(clippy::multiple_unsafe_ops_per_block)] // a few system calls in a row, each argued for in one comment
#![cfg(not(strait_loom))]

mod support;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use strait_transport::{Connection, Error, Interest, Listener, Options, SendError, Transport, Wake};
use support::{
    Scratch,
    child::{Child, hear, play, say},
    end_of, in_place, is_shared, options, pattern, receive, send,
};

#[test]
fn roles() {
    play(&[
        ("stream", stream),
        ("commit_and_die", commit_and_die),
        ("parent", parent),
        ("silent", silent),
        ("launcher", launcher),
    ]);
}

/// Deaths are told within this.
const PROMPT: Duration = Duration::from_secs(2);

fn accept(listener: &Listener) -> Connection {
    listener.accept().unwrap().unwrap().handshake().unwrap()
}

/// Uses a connection until it ends, and says how, in time.
#[track_caller]
fn assert_ends(connection: &mut Connection, case: &str) {
    let start = Instant::now();
    let end = end_of(connection);
    assert!(matches!(end, Error::PeerGone), "{case}: {end:?}");
    let refused = connection.send(b"x");
    assert!(matches!(refused, Err(SendError::Failed(Error::PeerGone))), "{case}: {refused:?}");
    assert!(start.elapsed() < PROMPT, "{case}: {:?}", start.elapsed());
}

/// A client that sends without end, and says what it has certainly sent.
fn stream(dir: &Path) {
    let options = Options { shared_memory: Options::default().shared_memory, ..options(dir) };
    let mut connection = Connection::connect("pair", &options).unwrap();
    for number in 0u64.. {
        send(&mut connection, &number.to_le_bytes()).unwrap();
        if number == 500 {
            // What a full socket has not taken dies with this process.
            connection.flush(support::soon()).unwrap();
            say("flowing");
        }
    }
}

#[test]
fn what_a_killed_peer_had_sent_is_received_in_order_and_then_it_is_gone() {
    for env in [&[][..], &[("STRAIT_DISABLE_SHM", "1")]] {
        for delay in 0..6 {
            let scratch = Scratch::new();
            let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
            let mut child = Child::start_with("stream", scratch.path(), env);
            let mut connection = accept(&listener);
            let killer = thread::spawn(move || {
                child.expect("flowing");
                thread::sleep(Duration::from_millis(delay * 3));
                child.kill();
            });
            let mut next = 0u64;
            let end = loop {
                match receive(&mut connection) {
                    Ok(message) => {
                        assert_eq!(*message, next.to_le_bytes());
                        next += 1;
                    }
                    Err(end) => break end,
                }
            };
            assert!(matches!(end, Error::PeerGone), "{end:?}");
            assert!(next > 500, "{next}");
            assert_eq!(is_shared(&connection), env.is_empty());
            killer.join().unwrap();
        }
    }
}

/// A client that upgrades as far as its own `Commit`, sends three messages by the ring, and is then killed.
fn commit_and_die(dir: &Path) {
    let mut connection = Connection::connect("pair", &options(dir)).unwrap();
    connection.send(b"socket").unwrap();
    say("offered");
    hear();
    let _ = connection.try_recv(); // reads the accept, commits
    for number in 0..3 {
        connection.send(&[number]).unwrap();
    }
    say("committed");
    hear();
}

#[test]
fn messages_in_the_ring_of_a_client_that_died_before_the_server_had_switched_are_received() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let mut child = Child::start("commit_and_die", scratch.path());
    let mut connection = accept(&listener);
    child.expect("offered");
    assert_eq!(*receive(&mut connection).unwrap(), *b"socket");
    assert!(connection.try_recv().unwrap().is_none(), "reads the offer, accepts");
    child.tell("go on");
    child.expect("committed");
    child.kill();
    assert!(!is_shared(&connection));
    for number in 0..3 {
        assert_eq!(*receive(&mut connection).unwrap(), [number]);
    }
    assert_ends(&mut connection, "the ring is read");
}

/// Connects, forks a child that keeps everything open, and is then killed.
fn parent(dir: &Path) {
    let options = Options { shared_memory: Options::default().shared_memory, ..options(dir) };
    let mut connection = Connection::connect("pair", &options).unwrap();
    for number in 0..4 {
        send(&mut connection, &[number]).unwrap();
        if number < 3 {
            receive(&mut connection).unwrap();
        }
    }
    // SAFETY: the child does nothing but sleep.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: system calls; it ends by itself.
        unsafe {
            libc::alarm(20);
            libc::pause();
            libc::_exit(0);
        }
    }
    say(&pid.to_string());
    hear();
}

#[test]
fn a_killed_peer_whose_child_keeps_the_socket_open_is_gone_all_the_same() {
    let pidfd_exists = {
        let (left, _right) = std::os::unix::net::UnixStream::pair().unwrap();
        let value = 1i32;
        // SAFETY: pointer and length describe `value`.
        let result = unsafe {
            libc::setsockopt(
                std::os::fd::AsRawFd::as_raw_fd(&left),
                libc::SOL_SOCKET,
                76,
                (&raw const value).cast(),
                size_of_val(&value) as u32,
            )
        };
        result == 0
    };
    if !pidfd_exists {
        eprintln!("skipped: this kernel has no SO_PASSPIDFD");
        return;
    }
    for env in [&[][..], &[("STRAIT_DISABLE_SHM", "1")]] {
        let scratch = Scratch::new();
        let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
        let mut child = Child::start_with("parent", scratch.path(), env);
        let mut connection = accept(&listener);
        for number in 0..3 {
            assert_eq!(*receive(&mut connection).unwrap(), [number]);
            send(&mut connection, b"ack").unwrap();
        }
        let grandchild: i32 = child.line().parse().unwrap();
        child.kill();
        let start = Instant::now();
        assert_eq!(*receive(&mut connection).unwrap(), [3], "what was sent before");
        let end = end_of(&mut connection);
        assert!(matches!(end, Error::PeerGone), "{end:?}");
        // Nor does a wait for room go on for ever.
        let refused = send(&mut connection, &[0; 100]).unwrap_err();
        assert!(matches!(refused, Error::PeerGone), "{refused:?}");
        assert!(start.elapsed() < PROMPT);
        // SAFETY: the grandchild is there until it is killed here or its alarm goes off.
        unsafe { libc::kill(grandchild, libc::SIGKILL) };
    }
}

#[cfg(feature = "tokio")]
#[test]
fn in_a_task_too_a_killed_peer_whose_child_keeps_the_socket_open_is_gone() {
    for env in [&[][..], &[("STRAIT_DISABLE_SHM", "1")]] {
        let scratch = Scratch::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = Listener::bind_async("pair", &scratch.options()).unwrap();
            let mut child = Child::start_with("parent", scratch.path(), env);
            let mut connection = listener.accept_async().await.unwrap().handshake_async().await.unwrap();
            let mut got = 0;
            let end = loop {
                match connection.try_recv() {
                    Ok(Some(_)) => {
                        got += 1;
                        let _ = connection.send(b"ack");
                        if got == 4 {
                            let grandchild: i32 = child.line().parse().unwrap();
                            child.kill();
                            assert!(grandchild > 0); // its alarm ends it
                        }
                        continue;
                    }
                    Ok(None) => {}
                    Err(end) => break end,
                }
                let ready = std::future::poll_fn(|cx| connection.poll_ready(cx, Interest::DATA));
                tokio::time::timeout(Duration::from_secs(5), ready).await.expect("in time").unwrap();
            };
            assert!(matches!(end, Error::PeerGone), "{end:?}");
            assert_eq!(got, 4);
        });
    }
}

/// A client that upgrades and then says and does nothing.
fn silent(dir: &Path) {
    let mut connection = Connection::connect("pair", &options(dir)).unwrap();
    for _ in 0..4 {
        send(&mut connection, b"hello").unwrap();
        receive(&mut connection).unwrap();
    }
    say("quiet");
    hear();
    send(&mut connection, b"still here").unwrap();
    hear();
}

#[test]
fn a_stopped_peer_is_not_taken_for_dead() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let mut child = Child::start("silent", scratch.path());
    let mut connection = accept(&listener);
    for _ in 0..4 {
        receive(&mut connection).unwrap();
        send(&mut connection, b"ack").unwrap();
    }
    child.expect("quiet");
    child.signal(libc::SIGSTOP);
    let start = Instant::now();
    let woken = connection.wait_ready(Interest::DATA, Some(start + Duration::from_millis(400))).unwrap();
    assert_eq!(woken, Wake::TimedOut);
    assert!(connection.try_recv().unwrap().is_none());
    while connection.send(&pattern(1, 4_000)).is_ok() {}
    let woken = connection.wait_ready(Interest::SPACE, Some(Instant::now() + Duration::from_millis(200))).unwrap();
    assert_eq!(woken, Wake::TimedOut);
    child.signal(libc::SIGCONT);
    child.tell("go on");
    assert_eq!(*receive(&mut connection).unwrap(), *b"still here");
}

#[test]
fn a_stopped_peer_that_is_killed_is_gone() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &Options { receive: in_place(), ..scratch.options() }, None).unwrap();
    let mut child = Child::start("silent", scratch.path());
    let mut connection = accept(&listener);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(receive(&mut connection).unwrap());
        send(&mut connection, b"ack").unwrap();
    }
    child.expect("quiet");
    child.signal(libc::SIGSTOP);
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        child.kill();
    });
    let start = Instant::now();
    assert!(matches!(end_of(&mut connection), Error::PeerGone));
    assert!(start.elapsed() < PROMPT);
    killer.join().unwrap();
    drop(connection);
    assert!(held.iter().all(|message| **message == *b"hello"), "what is held outlives peer and connection");
}

/// Binds, forks a server into the background, and is gone.
fn launcher(dir: &Path) {
    let listener = Listener::bind("pair", &options(dir), None).unwrap();
    // SAFETY: this thread alone goes on in the child, which uses what a listener allows across a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: a system call; the child ends by itself.
        unsafe { libc::alarm(20) };
        listener.adopt();
        let mut connection = accept(&listener);
        while let Ok(message) = receive(&mut connection) {
            send(&mut connection, &message).unwrap();
        }
        drop(listener);
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    say("launched");
    // Leaves without dropping the listener: its socket is the child's now.
    std::process::exit(0);
}

#[test]
fn a_server_in_the_background_outlives_its_launcher() {
    let scratch = Scratch::new();
    let launcher = Child::start("launcher", scratch.path());
    launcher.expect("launched");
    launcher.finish();
    let mut connection = Connection::connect("pair", &scratch.options()).unwrap();
    for number in 0..10 {
        send(&mut connection, &pattern(number, 50)).unwrap();
        assert_eq!(*receive(&mut connection).unwrap(), *pattern(number, 50));
    }
    assert!(is_shared(&connection), "{:?}", connection.fallback_reason());
    drop(connection);
    support::eventually("the child removes the socket", || scratch.files().is_empty());
}
