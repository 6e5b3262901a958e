//! Names, sockets and handshakes: who is let in, who is refused and told why, and who cannot hold up others.
#![allow(clippy::multiple_unsafe_ops_per_block)] // a few system calls in a row, each argued for in one comment
#![cfg(not(strait_loom))]

mod support;

use std::{
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use strait_transport::{
    Blame, Connection, Error, Interrupt, Limits, Listener, Options, Refusal, Transport, socket_path,
};
use support::{
    Scratch,
    child::{Child, forked, hear, in_child, play, say},
    eventually, exchange, options, raw,
    raw::{Greeting, HELLO, REFUSE, Raw, WELCOME},
    receive, send, within,
};

#[test]
fn roles() {
    play(&[("hold_name", hold_name), ("exhausted_accept", exhausted_accept), ("stopped_with_lock", stopped_with_lock)]);
}

/// Accepts for ever, one thread per client, until the process or the scratch ends.
fn serve(listener: Listener) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while let Ok(Some(incoming)) = listener.accept() {
            thread::spawn(move || {
                let Ok(mut connection) = incoming.handshake() else { return };
                while let Ok(message) = receive(&mut connection) {
                    send(&mut connection, &message).unwrap();
                }
            });
        }
    })
}

fn echoes(connection: &mut Connection) {
    send(connection, b"echo").unwrap();
    assert_eq!(*receive(connection).unwrap(), *b"echo");
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
        drop(listener.take());
        assert!(std::fs::symlink_metadata(&path).is_ok());
        // What the child still has open of it would keep the name taken when the parent is gone.
        let sockets = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            std::fs::read_link(entry.unwrap().path()).ok().filter(|link| link.to_string_lossy().starts_with("socket:"))
        });
        let mine = sockets.count();
        drop(UnixStream::pair().unwrap());
        assert_eq!(mine, sockets_before());
    });
    assert_eq!(scratch.files(), ["pair.sock"]);
    drop(listener);
    assert!(scratch.files().is_empty());
}

/// Sockets that a child of this test binary has for other reasons: none that we know of.
fn sockets_before() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
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

// ---- refusals ----

#[test]
fn differences_are_refused_with_both_values() {
    type Change = fn(&mut Options);
    let changes: [(Change, Refusal); 4] = [
        (|options| options.service = 9, Refusal::Service { server: 0, client: 9 }),
        (|options| options.codec = 2, Refusal::Codec { server: 0, client: 2 }),
        (|options| options.schema = 77, Refusal::Schema { server: 0, client: 77 }),
        (|options| options.ring_bytes = 1 << 20, Refusal::RingBytes { server: 1 << 18, client: 1 << 20 }),
    ];
    for (change, expected) in changes {
        let scratch = Scratch::new();
        let mut server = scratch.options();
        server.limits.max_ring_bytes = 1 << 18;
        let listener = Listener::bind("pair", &server, None).unwrap();
        let refusing = thread::spawn(move || listener.accept().unwrap().unwrap().handshake().unwrap_err());
        let mut client = scratch.options();
        change(&mut client);
        let error = Connection::connect("pair", &client).unwrap_err();
        assert!(matches!(&error, Error::Refused(refusal) if *refusal == expected), "{error:?}");
        assert_eq!(error.blame(), Blame::Peer);
        let told = refusing.join().unwrap();
        assert!(matches!(&told, Error::Refused(refusal) if *refusal == expected), "{told:?}");
    }
}

#[test]
fn another_version_is_refused_with_both_versions() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let refusing = thread::spawn(move || listener.accept().unwrap().unwrap().handshake().unwrap_err());
    let mut raw = Raw::connect(scratch.path(), "pair");
    // Of a later version nothing but the first two bytes is known; it may be longer.
    let mut hello = Greeting { version: 9, ..Greeting::new(HELLO) }.frame()[16..].to_vec();
    hello.extend_from_slice(b"and more");
    raw.send(&raw::frame(true, &hello));
    let refuse = raw.control();
    assert_eq!((refuse.len(), refuse[0], refuse[2]), (24, REFUSE, 1));
    assert_eq!((refuse[8], refuse[16]), (1, 9));
    assert!(raw.is_ended());
    let told = refusing.join().unwrap();
    assert!(matches!(told, Error::Refused(Refusal::Version { server: 1, client: 9 })), "{told:?}");
}

#[test]
fn a_hello_that_cannot_be_ends_the_handshake() {
    for greeting in [
        Greeting { max_in_flight: 0, ..Greeting::new(HELLO) },
        Greeting { align: 48, ..Greeting::new(HELLO) },
        Greeting::new(WELCOME),
    ] {
        let scratch = Scratch::new();
        let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
        let refusing = thread::spawn(move || listener.accept().unwrap().unwrap().handshake().unwrap_err());
        let mut raw = Raw::connect(scratch.path(), "pair");
        raw.send(&greeting.frame());
        assert!(raw.is_ended());
        assert!(matches!(refusing.join().unwrap(), Error::Corrupt { .. }));
    }
}

#[test]
fn a_welcome_that_does_not_answer_is_not_believed() {
    type Change = fn(&mut Greeting);
    let changes: [Change; 8] = [
        |greeting| greeting.version = 2,
        |greeting| greeting.schema = 1,
        |greeting| greeting.max_in_flight = 65,
        |greeting| greeting.max_in_flight = 0,
        |greeting| greeting.align = 17,
        |greeting| greeting.ring = 5000,
        |greeting| greeting.flags = 4, // no checksums, which the client wants
        |greeting| greeting.kind = HELLO,
    ];
    for change in changes {
        let scratch = Scratch::new();
        let server = UnixListener::bind(scratch.path().join("pair.sock")).unwrap();
        let serving = thread::spawn(move || {
            let mut raw = Raw::new(server.accept().unwrap().0);
            raw.control();
            let mut greeting = Greeting::new(WELCOME);
            change(&mut greeting);
            raw.send(&greeting.frame());
            raw.is_ended()
        });
        let error = Connection::connect("pair", &scratch.options()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        assert!(serving.join().unwrap());
    }
}

#[test]
fn a_server_cannot_talk_a_client_into_shared_memory_that_it_does_not_want() {
    let scratch = Scratch::new();
    let server = UnixListener::bind(scratch.path().join("pair.sock")).unwrap();
    let serving = thread::spawn(move || Raw::serve(&server)); // says flags 7, whatever it is asked
    let error = Connection::connect("pair", &Options { shared_memory: false, ..scratch.options() }).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    drop(serving.join());
}

#[test]
fn a_ring_of_the_server_above_the_clients_limit_is_named() {
    let scratch = Scratch::new();
    let server = Options { ring_bytes: 1 << 20, ..scratch.options() };
    let _serving = serve(Listener::bind("pair", &server, None).unwrap());
    let mut client = scratch.options();
    client.limits.max_ring_bytes = 1 << 18;
    let error = Connection::connect("pair", &client).unwrap_err();
    assert!(matches!(&error, Error::Option { option: "limits.max_ring_bytes", .. }), "{error:?}");
}

// ---- other users ----

/// Not root, and not whoever runs the tests.
const OTHER: u32 = 65_533;

fn can_drop_uid() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    eprintln!("skipped: only root can become another user");
    false
}

/// Gives up all rights for good. For a forked child.
fn become_other() {
    // SAFETY: system calls that change this process alone.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setgid(OTHER), 0);
        assert_eq!(libc::setuid(OTHER), 0);
    }
}

#[test]
fn a_client_of_another_user_is_refused_and_told_why() {
    if !can_drop_uid() {
        return;
    }
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    // Open what keeps others out, as a careless administrator would: the user is checked all the same.
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(listener.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let path = scratch.path().to_owned();
    let _serving = serve(listener);
    in_child(move || {
        become_other();
        let mut raw = Raw::connect(&path, "pair");
        let refuse = raw.control();
        assert_eq!((refuse[0], refuse[2]), (REFUSE, 7));
        assert_eq!(u64::from_le_bytes(refuse[16..24].try_into().unwrap()), u64::from(OTHER));
        assert!(raw.is_ended());
    });
}

#[test]
fn a_server_of_another_user_is_not_talked_to() {
    if !can_drop_uid() {
        return;
    }
    let scratch = Scratch::new();
    // Bound with rights, listening without: the kernel shows who listened.
    let (server_says, says) = std::io::pipe().unwrap();
    let path = scratch.path().join("pair.sock");
    // SAFETY: the child makes system calls alone and ends by itself.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = std::panic::catch_unwind(|| {
            let socket =
                rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
            rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
            become_other();
            rustix::net::listen(&socket, 4).unwrap();
            rustix::io::write(&says, b"x").unwrap();
            let client = rustix::net::accept(&socket).unwrap();
            let mut byte = [0];
            let _ = rustix::io::read(&client, &mut byte);
        });
        // SAFETY: ends the process.
        unsafe { libc::_exit(status.is_err().into()) };
    }
    drop(says);
    let mut byte = [0];
    assert_eq!(rustix::io::read(&server_says, &mut byte).unwrap(), 1);
    let error = Connection::connect("pair", &scratch.options()).unwrap_err();
    assert!(matches!(error, Error::OtherUser { expected: 0, found: OTHER }), "{error:?}");
    let mut status = 0;
    // SAFETY: waits for the child from above.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(status, 0);
}

#[test]
fn a_runtime_directory_of_another_user_is_not_used() {
    if !can_drop_uid() {
        return;
    }
    let scratch = Scratch::new();
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = scratch.options();
    in_child(move || {
        become_other();
        assert!(matches!(Connection::connect("pair", &options), Err(Error::RuntimeDir { .. })));
        assert!(matches!(Listener::bind("pair", &options, None), Err(Error::RuntimeDir { .. })));
    });
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

/// Connects, trying again while the server has not noticed yet that others left.
fn connect_patiently(options: &Options) -> Connection {
    let mut connection = None;
    eventually("a place", || {
        match Connection::connect("pair", options) {
            Ok(made) => connection = Some(made),
            Err(Error::Refused(Refusal::Busy { .. })) => {}
            Err(other) => panic!("{other}"),
        }
        connection.is_some()
    });
    connection.unwrap()
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
