//! Who is not let in, and what each side is told: other versions, services, codecs, schemas, rings and users.
#![allow(clippy::multiple_unsafe_ops_per_block)] // a few system calls in a row, each argued for in one comment
#![cfg(not(strait_loom))]

mod support;

use std::{
    os::unix::{fs::PermissionsExt, net::UnixListener},
    thread,
};

use strait_transport::{Blame, Connection, Error, Listener, Options, Refusal};
use support::{
    Scratch,
    child::in_child,
    raw,
    raw::{Greeting, HELLO, REFUSE, Raw, WELCOME},
    receive, send,
};

/// Accepts for ever, one thread per client, until the process ends.
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
    let changes: [Change; 9] = [
        |greeting| greeting.version = 2,
        |greeting| greeting.schema = 1,
        |greeting| greeting.max_in_flight = 65,
        |greeting| greeting.max_in_flight = 0,
        |greeting| greeting.align = 17,
        |greeting| greeting.ring = 5000,
        |greeting| greeting.flags = 4,  // no checksums, which the client wants
        |greeting| greeting.flags = 15, // trace contexts, which the client has not offered
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
