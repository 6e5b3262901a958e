//! Names, sockets and handshakes: who is let in, who is refused and told why, and who cannot hold up others.
#![allow(clippy::multiple_unsafe_ops_per_block)] // a few system calls in a row, each argued for in one comment
#![cfg(not(strait_loom))]

mod support;

use std::{
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use strait_transport::{
    Blame, Connection, Error, Interrupt, Limits, Listener, Options, Refusal, Transport, socket_path,
};
use support::{
    Scratch,
    child::{Child, hear, in_child, play, say},
    eventually, exchange, options,
    raw::{Greeting, HELLO, Raw},
    receive, send,
    service::{connect_patiently, echoes, serve},
};
#[cfg(feature = "tokio")]
use support::{child::forked, within};

#[test]
fn roles() {
    play(&[("hold_name", hold_name), ("exhausted_accept", exhausted_accept), ("stopped_with_lock", stopped_with_lock)]);
}

// ---- names ----

fn hold_name(dir: &Path) {
    let _listener = Listener::bind("pair", &options(dir), None).unwrap();
    say("held");
    hear();
}

#[test]
fn a_second_server_is_told_that_the_name_is_taken() {
    let scratch = Scratch::new();
    let first = Listener::bind("pair", &scratch.options(), None).unwrap();
    let error = Listener::bind("pair", &scratch.options(), None).unwrap_err();
    assert!(matches!(&error, Error::NameTaken { path } if *path == first.path()), "{error:?}");
    assert_eq!(error.blame(), Blame::Usage);
    Listener::bind("other", &scratch.options(), None).unwrap();
    let child = Child::start("hold_name", Scratch::new().path());
    drop(child);
}

#[test]
fn the_socket_goes_with_its_listener_and_is_private() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    assert_eq!(scratch.files(), ["pair.sock"]);
    assert_eq!(listener.path(), socket_path("pair", Some(scratch.path())).unwrap());
    assert_eq!(std::fs::metadata(listener.path()).unwrap().permissions().mode() & 0o777, 0o600);
    drop(listener);
    assert!(scratch.files().is_empty());
    let error = Connection::connect("pair", &scratch.options()).unwrap_err();
    assert!(matches!(error, Error::NoServer { .. }), "{error:?}");
}

#[test]
fn a_killed_servers_socket_is_replaced_and_a_living_ones_is_not() {
    let scratch = Scratch::new();
    let mut child = Child::start("hold_name", scratch.path());
    child.expect("held");
    assert!(matches!(Listener::bind("pair", &scratch.options(), None), Err(Error::NameTaken { .. })));
    child.kill();
    assert_eq!(scratch.files(), ["pair.sock"], "a kill leaves the path behind, and nothing else");
    let error = Connection::connect("pair", &scratch.options()).unwrap_err();
    assert!(matches!(error, Error::NoServer { .. }), "{error:?}");
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let _serving = serve(listener);
    echoes(&mut Connection::connect("pair", &scratch.options()).unwrap());
}

#[test]
fn a_listener_does_not_remove_a_successors_socket() {
    let scratch = Scratch::new();
    let first = Listener::bind("pair", &scratch.options(), None).unwrap();
    std::fs::remove_file(first.path()).unwrap();
    let second = Listener::bind("pair", &scratch.options(), None).unwrap();
    drop(first);
    assert_eq!(scratch.files(), ["pair.sock"]);
    drop(second);
    assert!(scratch.files().is_empty());
}

#[test]
fn a_listener_that_is_dropped_in_a_forked_child_leaves_the_name_alone_and_the_child_without_it() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let path = listener.path();
    let mut listener = Some(listener);
    in_child(|| {
        let before = open_sockets();
        drop(listener.take());
        assert!(std::fs::symlink_metadata(&path).is_ok());
        // A copy that stayed open here would keep the name taken when the parent is gone.
        assert_eq!(open_sockets(), before - 1);
    });
    assert_eq!(scratch.files(), ["pair.sock"]);
    drop(listener);
    assert!(scratch.files().is_empty());
}

/// How many sockets this process has open.
fn open_sockets() -> usize {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn impossible_options_are_refused_before_anything_is_done() {
    let scratch = Scratch::new();
    type Change = fn(&mut Options);
    let changes: [(&str, Change); 7] = [
        ("ring_bytes", |options| options.ring_bytes = 5000),
        ("ring_bytes", |options| options.ring_bytes = 128 << 20),
        ("record_align_bytes", |options| options.record_align_bytes = 32),
        ("max_in_flight", |options| options.max_in_flight = 0),
        ("limits.max_ring_bytes", |options| options.limits.max_ring_bytes = 1 << 40),
        ("limits.max_control_bytes", |options| options.limits.max_control_bytes = 16),
        ("spin", |options| options.spin = Duration::from_secs(1)),
    ];
    for (expected, change) in changes {
        let mut options = scratch.options();
        change(&mut options);
        for error in [
            Listener::bind("pair", &options, None).map(drop).unwrap_err(),
            Connection::connect("pair", &options).map(drop).unwrap_err(),
        ] {
            assert!(matches!(&error, Error::Option { option, .. } if *option == expected), "{error:?}");
        }
    }
    assert!(scratch.files().is_empty());
    assert!(matches!(Listener::bind("../up", &scratch.options(), None), Err(Error::Name { .. })));
}

/// Holds the lock on the runtime directory, and is stopped.
fn stopped_with_lock(dir: &Path) {
    let dir = std::fs::File::open(dir).unwrap();
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive).unwrap();
    say("locked");
    hear();
}

#[test]
fn who_is_stopped_while_it_binds_does_not_stop_others_for_ever() {
    let scratch = Scratch::new();
    let earlier = Listener::bind("earlier", &scratch.options(), None).unwrap();
    let child = Child::start("stopped_with_lock", scratch.path());
    child.expect("locked");
    child.signal(libc::SIGSTOP);
    let start = Instant::now();
    let error = Listener::bind("pair", &scratch.options(), None).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    drop(earlier);
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    drop(child);
    Listener::bind("pair", &scratch.options(), None).unwrap();
}

// ---- limits ----

#[test]
fn a_client_above_the_limit_is_told_that_the_server_is_busy() {
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.limits = Limits { max_clients: 3, ..Limits::default() };
    let _serving = serve(Listener::bind("pair", &options, None).unwrap());
    for _ in 0..20 {
        let mut clients: Vec<Connection> = (0..3).map(|_| connect_patiently(&scratch.options())).collect();
        for _ in 0..5 {
            let error = Connection::connect("pair", &scratch.options()).unwrap_err();
            assert!(matches!(error, Error::Refused(Refusal::Busy { server: 3 })), "{error:?}");
        }
        clients.iter_mut().for_each(echoes);
    }
}

#[test]
fn slow_handshakes_end_by_their_time_limit_and_hold_up_nobody() {
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.limits =
        Limits { max_pending_handshakes: 4, handshake_timeout: Duration::from_millis(400), ..Limits::default() };
    let _serving = serve(Listener::bind("pair", &options, None).unwrap());
    let hello = Greeting::new(HELLO).frame();
    let start = Instant::now();
    let mut slow: Vec<Raw> = (0..3).map(|_| Raw::connect(scratch.path(), "pair")).collect();
    slow.iter_mut().for_each(|raw| raw.send(&hello[..20]));
    echoes(&mut Connection::connect("pair", &scratch.options()).unwrap());
    assert!(start.elapsed() < Duration::from_millis(350), "{:?}", start.elapsed());
    // One more of these, and no handshake can begin.
    slow.push(Raw::connect(scratch.path(), "pair"));
    eventually("too many handshakes", || {
        matches!(Connection::connect("pair", &scratch.options()), Err(Error::Refused(Refusal::Busy { server: 4 })))
            || start.elapsed() > Duration::from_millis(390)
    });
    // A byte now and then does not make the time any longer.
    thread::sleep(Duration::from_millis(100));
    let _ = std::io::Write::write(&mut slow[0].stream, &hello[20..21]);
    for raw in &mut slow {
        assert!(raw.is_ended());
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(390) && took < Duration::from_secs(2), "{took:?}");
    echoes(&mut Connection::connect("pair", &scratch.options()).unwrap());
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let scratch = Scratch::new();
    let _mute = UnixListener::bind(scratch.path().join("pair.sock")).unwrap();
    let mut options = scratch.options();
    options.limits.handshake_timeout = Duration::from_millis(150);
    let start = Instant::now();
    let error = Connection::connect("pair", &options).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(150) && took < Duration::from_millis(250), "{took:?}");
}

#[cfg(feature = "tokio")]
#[test]
fn a_client_that_dies_in_its_handshake_while_its_child_lives_does_not_stop_a_runtime() {
    let scratch = Scratch::new();
    let options = scratch.options();
    let path = scratch.path().to_owned();
    within(Duration::from_secs(10), move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = Listener::bind_async("pair", &options).unwrap();
            let status = forked(|| {
                // Or what outlives this test would keep the sockets of others open.
                // SAFETY: nothing in this child uses a descriptor that it has inherited.
                unsafe { libc::close_range(3, u32::MAX, 0) };
                let mut raw = Raw::connect(&path, "pair");
                raw.send(&Greeting::new(HELLO).frame()[..20]);
                // SAFETY: the child keeps the socket and sleeps; its parent ends at once.
                unsafe {
                    if libc::fork() == 0 {
                        libc::alarm(20);
                        libc::pause();
                    }
                }
            });
            assert_eq!(status, 0);
            let incoming = listener.accept_async().await.unwrap();
            let error = incoming.handshake_async().await.unwrap_err();
            assert!(matches!(error, Error::PeerGone | Error::TimedOut { .. }), "{error:?}");
        });
    });
}

/// A server that runs out of descriptors with clients waiting, and gets some back.
fn exhausted_accept(dir: &Path) {
    let listener = Listener::bind("pair", &options(dir), Some(std::sync::Arc::new(Interrupt::new().unwrap()))).unwrap();
    let mut taken = Vec::new();
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: the pointer is to `limit`, which outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let null = std::fs::File::open("/dev/null").unwrap();
    while let Ok(fd) = null.try_clone() {
        taken.push(fd);
    }
    say("exhausted");
    thread::spawn(move || {
        hear();
        taken.clear();
        say("freed");
    });
    while let Ok(Some(incoming)) = listener.accept() {
        let Ok(mut connection) = incoming.handshake() else { continue };
        while let Ok(message) = receive(&mut connection) {
            send(&mut connection, &message).unwrap();
        }
    }
}

#[test]
fn a_server_without_descriptors_turns_clients_away_at_once_and_recovers() {
    let scratch = Scratch::new();
    let mut server = Child::start("exhausted_accept", scratch.path());
    server.expect("exhausted");
    for _ in 0..5 {
        let start = Instant::now();
        let error = Connection::connect("pair", &scratch.options()).unwrap_err();
        assert!(matches!(error, Error::PeerGone), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    server.tell("free some");
    server.expect("freed");
    let mut connection = Connection::connect("pair", &scratch.options()).unwrap();
    echoes(&mut connection);
}

#[test]
fn an_interrupt_ends_the_wait_for_clients_and_the_waits_of_their_connections() {
    let scratch = Scratch::new();
    let interrupt = std::sync::Arc::new(Interrupt::new().unwrap());
    let listener = Listener::bind("pair", &scratch.options(), Some(interrupt.clone())).unwrap();
    let serving = thread::spawn(move || {
        let mut connection = listener.accept().unwrap().unwrap().handshake().unwrap();
        receive(&mut connection).unwrap();
        let ended = connection.wait_ready(strait_transport::Interest::DATA, None).unwrap();
        (ended, listener.accept().unwrap().is_none())
    });
    let mut client = Connection::connect("pair", &scratch.options()).unwrap();
    client.send(b"hello").unwrap();
    thread::sleep(Duration::from_millis(20));
    interrupt.raise();
    assert_eq!(serving.join().unwrap(), (strait_transport::Wake::Interrupted, true));
}

#[test]
fn the_smallest_and_the_largest_ring_work() {
    for ring_bytes in [4096, 64 << 20] {
        let scratch = Scratch::new();
        let options = Options { ring_bytes, ..scratch.options() };
        let (mut client, mut server) = support::connected(&options, &options);
        support::upgrade(&mut client, &mut server);
        let largest = support::pattern(1, options.max_message_bytes());
        send(&mut client, &largest).unwrap();
        assert_eq!(*receive(&mut server).unwrap(), *largest);
        exchange(&mut client, &mut server);
    }
}
