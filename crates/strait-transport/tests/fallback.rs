//! Each way to fail an upgrade leaves a connection that works on its socket, and says why.
#![allow(clippy::multiple_unsafe_ops_per_block)] // a few system calls in a row, each argued for in one comment
#![cfg(not(strait_loom))]

mod support;

use std::{
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::SealFlags;
use strait_region::Header;
use strait_transport::{Connection, Interest, Listener, Options, Transport, TransportKind};
use support::{
    Scratch,
    child::{Child, hear, play, say},
    connected, options, pattern, raw,
    raw::{ACCEPT, DECLINE, OFFER, Raw, SESSION},
    receive, send,
};

#[test]
fn roles() {
    play(&[
        ("exhausted_client", exhausted_client),
        ("exhausted_server", exhausted_server),
        ("cramped_client", cramped_client),
        ("cramped_server", cramped_server),
    ]);
}

fn bind(scratch: &Scratch) -> Listener {
    Listener::bind("pair", &scratch.options(), None).unwrap()
}

fn accept(listener: &Listener) -> Connection {
    listener.accept().unwrap().unwrap().handshake().unwrap()
}

/// Lowers the limit on descriptors so far that just `spare` more can be opened.
fn leave_descriptors(spare: u64) {
    // SAFETY: a system call that asks about a number.
    let is_open = |fd: &i32| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0;
    let highest = (0..1024).filter(is_open).max().unwrap_or(0);
    // New ones get the lowest free number: fill the gaps.
    let null = std::fs::File::open("/dev/null").unwrap();
    while let Ok(fd) = null.try_clone()
        && std::os::fd::AsRawFd::as_raw_fd(&fd) <= highest
    {
        std::mem::forget(fd);
    }
    let highest = (0..1024).filter(is_open).max().unwrap_or(0) as u64;
    std::mem::forget(null);
    let limit = libc::rlimit { rlim_cur: highest + 1 + spare, rlim_max: highest + 1 + spare };
    // SAFETY: the pointer is to `limit`, which outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

/// A client process that has a few descriptors left at the time of its first message.
fn exhausted_client(dir: &Path) {
    let mut connection = Connection::connect("pair", &options(dir)).unwrap();
    // One for the handshake's pidfd may be in use already.
    leave_descriptors(std::env::var("SPARE").unwrap().parse().unwrap());
    for number in 0..20 {
        send(&mut connection, &pattern(number, 300)).unwrap();
        assert_eq!(*receive(&mut connection).unwrap(), *pattern(number, 300));
    }
    say(&format!("{:?}", connection.transport()));
    say(connection.fallback_reason().unwrap_or("none"));
    hear();
}

#[test]
fn a_client_without_descriptors_at_its_offer_or_at_the_accept_stays_on_the_socket() {
    // Without any it cannot make its segment; with one it cannot take the server's.
    for (spare, ours, theirs) in
        [("0", "could not make its segment", "could not make"), ("1", "lost on the way", "lost")]
    {
        let scratch = Scratch::new();
        let listener = bind(&scratch);
        let mut child = Child::start_with("exhausted_client", scratch.path(), &[("SPARE", spare)]);
        let mut connection = accept(&listener);
        for number in 0..20 {
            let message = receive(&mut connection).unwrap();
            assert_eq!(*message, *pattern(number, 300));
            send(&mut connection, &message).unwrap();
        }
        child.expect("Socket");
        let reason = child.line();
        assert!(reason.contains(ours), "{spare}: {reason}");
        assert_eq!(connection.transport(), TransportKind::Socket);
        let reason = connection.fallback_reason().unwrap();
        assert!(reason.contains(theirs), "{spare}: {reason}");
        child.tell("end");
        child.finish();
    }
}

/// A server process that has a few descriptors left when its client offers.
fn exhausted_server(dir: &Path) {
    let listener = Listener::bind("pair", &options(dir), None).unwrap();
    say("ready");
    let mut connection = accept(&listener);
    leave_descriptors(std::env::var("SPARE").unwrap().parse().unwrap());
    for _ in 0..20 {
        let message = receive(&mut connection).unwrap();
        send(&mut connection, &message).unwrap();
    }
    say(&format!("{:?}", connection.transport()));
    say(connection.fallback_reason().unwrap_or("none"));
    hear();
}

#[test]
fn a_server_without_descriptors_at_the_offer_or_at_its_accept_stays_on_the_socket() {
    // Without any it cannot take the client's segment; it takes that and closes it, so one is enough for its own.
    let scratch = Scratch::new();
    let mut server = Child::start_with("exhausted_server", scratch.path(), &[("SPARE", "0")]);
    server.expect("ready");
    let mut connection = Connection::connect("pair", &scratch.options()).unwrap();
    for number in 0..20 {
        send(&mut connection, &pattern(number, 300)).unwrap();
        assert_eq!(*receive(&mut connection).unwrap(), *pattern(number, 300));
    }
    server.expect("Socket");
    let reason = server.line();
    assert!(reason.contains("lost on the way"), "{reason}");
    assert_eq!(connection.fallback_reason(), Some(&*reason));
    assert_eq!(connection.transport(), TransportKind::Socket);
    server.tell("end");
    server.finish();
}

/// Rings that are large beside what is left of the address space.
fn roomy(dir: &Path) -> Options {
    Options { ring_bytes: 16 << 20, ..options(dir) }
}

/// Leaves `spare` bytes of address space; `None` lifts the limit again.
fn leave_address_space(spare: Option<u64>) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to `limit`, which outlives the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) }, 0);
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let used = pages.split(' ').next().unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64;
    limit.rlim_cur = spare.map_or(limit.rlim_max, |spare| used + spare);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

/// Two connections, of which the first has no address space for its rings.
fn cramped_client(dir: &Path) {
    for spare in [Some(8 << 20), None] {
        let mut connection = Connection::connect("pair", &roomy(dir)).unwrap();
        leave_address_space(spare);
        for number in 0..20 {
            send(&mut connection, &pattern(number, 300)).unwrap();
            assert_eq!(*receive(&mut connection).unwrap(), *pattern(number, 300));
        }
        say(&format!("{:?}", connection.transport()));
        say(connection.fallback_reason().unwrap_or("none"));
        hear();
    }
}

/// The same from the other side.
fn cramped_server(dir: &Path) {
    let listener = Listener::bind("pair", &roomy(dir), None).unwrap();
    say("ready");
    for spare in [Some(8 << 20), None] {
        let mut connection = accept(&listener);
        leave_address_space(spare);
        echo_twenty(&mut connection);
        say(&format!("{:?}", connection.transport()));
        say(connection.fallback_reason().unwrap_or("none"));
        hear();
    }
}

fn echo_twenty(connection: &mut Connection) {
    for number in 0..20 {
        let message = receive(connection).unwrap();
        assert_eq!(*message, *pattern(number, 300));
        send(connection, &message).unwrap();
    }
}

#[test]
fn a_client_without_address_space_stays_on_the_socket_and_the_next_connection_with_it_does_not() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &roomy(scratch.path()), None).unwrap();
    let mut child = Child::start("cramped_client", scratch.path());
    for (transport, words) in [("Socket", "could not make its segment"), ("Shared", "none")] {
        let mut connection = accept(&listener);
        echo_twenty(&mut connection);
        child.expect(transport);
        let reason = child.line();
        assert!(reason.contains(words), "{reason}");
        child.tell("next");
    }
    child.finish();
}

#[test]
fn a_server_without_address_space_stays_on_the_socket_and_the_next_connection_with_it_does_not() {
    let scratch = Scratch::new();
    let mut server = Child::start("cramped_server", scratch.path());
    server.expect("ready");
    for (transport, words) in [("Socket", "could not take the client's segment"), ("Shared", "none")] {
        let mut connection = Connection::connect("pair", &roomy(scratch.path())).unwrap();
        for number in 0..20 {
            send(&mut connection, &pattern(number, 300)).unwrap();
            assert_eq!(*receive(&mut connection).unwrap(), *pattern(number, 300));
        }
        server.expect(transport);
        let reason = server.line();
        assert!(reason.contains(words), "{reason}");
        server.tell("next");
    }
    server.finish();
}

// ---- peers that speak the protocol by hand ----

/// A connection whose server has been offered what `offer` sent by hand; checks that it declines and that the socket works.
fn assert_declined(case: &str, words: &str, offer: impl FnOnce(&mut Raw)) {
    let scratch = Scratch::new();
    let listener = bind(&scratch);
    let accepting = thread::spawn(move || accept(&listener));
    let mut raw = Raw::welcomed(scratch.path(), "pair");
    let mut connection = accepting.join().unwrap();
    raw.send(&raw::data(b"hello"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"hello", "{case}");
    offer(&mut raw);
    raw.send(&raw::data(b"after"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"after", "{case}");
    let decline = raw.control();
    assert_eq!(decline[0], DECLINE, "{case}");
    let reason = String::from_utf8(decline[1..].to_vec()).unwrap();
    assert!(reason.contains(words), "{case}: {reason}");
    assert_eq!(connection.fallback_reason(), Some(&*reason), "{case}");
    assert_eq!(connection.transport(), TransportKind::Socket);
    send(&mut connection, b"works").unwrap();
    assert_eq!(raw.data(), b"works");
}

/// What is wrong with a segment, its descriptors, and a word of the reason.
fn bad_segments() -> Vec<(&'static str, &'static str, Vec<OwnedFd>)> {
    let good = || raw::segment(SESSION);
    let with = |change: fn(&mut Header)| {
        let mut header = raw::header(SESSION);
        change(&mut header);
        raw::memfd(&header.encode(), 8192 + raw::RING, raw::SEALS)
    };
    let bytes = raw::header(SESSION).encode();
    let (pipe, _other) = std::io::pipe().unwrap();
    vec![
        ("no descriptor", "0 descriptors", vec![]),
        ("two descriptors", "2 descriptors", vec![good(), good()]),
        ("four descriptors", "4 descriptors", vec![good(), good(), good(), good()]),
        ("no seals", "seal", vec![raw::memfd(&bytes, 8192 + raw::RING, SealFlags::empty())]),
        (
            "not sealed against writing",
            "FUTURE_WRITE",
            vec![raw::memfd(&bytes, 8192 + raw::RING, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)],
        ),
        ("half as long", "", vec![raw::memfd(&bytes, 8192, raw::SEALS)]),
        ("longer", "", vec![raw::memfd(&bytes, 8192 + 2 * raw::RING, raw::SEALS)]),
        ("empty", "", vec![raw::memfd(b"", 0, raw::SEALS)]),
        ("a pipe", "pipe", vec![pipe.into()]),
        ("a file", "", vec![std::fs::File::open(std::env::current_exe().unwrap()).unwrap().into()]),
        ("no header", "", vec![raw::memfd(b"nothing", 8192 + raw::RING, raw::SEALS)]),
        ("another session", "session", vec![raw::segment([9; 16])]),
        ("another layout", "layout", vec![with(|header| header.layout_hash ^= 1)]),
        ("another kind", "kind", vec![with(|header| header.kind = 2)]),
        ("another ring", "ring", vec![with(|header| header.ring_capacity_bytes /= 2)]),
        ("another alignment", "16", vec![with(|header| header.record_align_bytes = 64)]),
        ("another largest message", "largest message", vec![with(|header| header.max_message_bytes -= 16)]),
    ]
}

#[test]
fn a_segment_that_is_not_as_it_must_be_is_declined_by_the_server() {
    for (case, words, fds) in bad_segments() {
        assert_declined(case, words, |raw| {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            raw.send_with(&raw::segment_frame(OFFER, SESSION), &fds);
        });
    }
}

#[test]
fn a_client_that_declines_without_an_offer_is_believed() {
    let scratch = Scratch::new();
    let listener = bind(&scratch);
    let accepting = thread::spawn(move || accept(&listener));
    let mut raw = Raw::welcomed(scratch.path(), "pair");
    let mut connection = accepting.join().unwrap();
    raw.send(&raw::frame(true, &[&[DECLINE], &b"out of memory"[..]].concat()));
    raw.send(&raw::data(b"hello"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"hello");
    assert_eq!(connection.fallback_reason(), Some("out of memory"));
}

#[test]
fn a_segment_that_is_not_as_it_must_be_is_declined_by_the_client() {
    for (case, words, fds) in bad_segments() {
        let scratch = Scratch::new();
        let server = UnixListener::bind(scratch.path().join("pair.sock")).unwrap();
        let serving = thread::spawn(move || Raw::serve(&server));
        let mut connection = Connection::connect("pair", &scratch.options()).unwrap();
        let mut raw = serving.join().unwrap();
        send(&mut connection, b"hello").unwrap();
        assert_eq!(raw.data(), b"hello");
        let (offer, offered) = raw.control_with();
        assert_eq!((offer[0], offered.len()), (OFFER, 1));
        let session: [u8; 16] = offer[16..].try_into().unwrap();
        // The bad segments are of a session of their own; all but that must be wrong for another reason.
        let fds: Vec<OwnedFd> = fds.into_iter().map(|fd| rebuilt(fd, session)).collect();
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        raw.send(&raw::data(b"before"));
        raw.send_with(&raw::segment_frame(ACCEPT, session), &fds);
        raw.send(&raw::data(b"after"));
        assert_eq!(*receive(&mut connection).unwrap(), *b"before", "{case}");
        assert_eq!(*receive(&mut connection).unwrap(), *b"after", "{case}");
        let decline = raw.control();
        assert_eq!(decline[0], DECLINE, "{case}");
        let reason = String::from_utf8(decline[1..].to_vec()).unwrap();
        assert!(case == "another session" || reason.contains(words), "{case}: {reason}");
        assert_eq!(connection.fallback_reason(), Some(&*reason), "{case}");
        send(&mut connection, b"works").unwrap();
        assert_eq!(raw.data(), b"works");
    }
}

/// The same segment with another session in its header, as far as it has one that can be written.
fn rebuilt(fd: OwnedFd, session: [u8; 16]) -> OwnedFd {
    let Ok(stat) = rustix::fs::fstat(&fd) else { return fd };
    let Ok(seals) = rustix::fs::fcntl_get_seals(&fd) else { return fd };
    let mut header = [0; 128];
    match rustix::io::pread(&fd, &mut header, 0) {
        Ok(128) if header[48..64] == SESSION => {
            header[48..64].copy_from_slice(&session);
            raw::memfd(&header, stat.st_size as u64, seals & !SealFlags::EXEC)
        }
        _ => fd,
    }
}

#[test]
fn who_spins_for_data_on_a_socket_hands_over_what_still_waits_for_it() {
    let scratch = Scratch::new();
    let options = Options { shared_memory: false, ring_bytes: 8 << 20, ..scratch.options() };
    let (mut left, mut right) = connected(&options, &options);
    let message = pattern(1, 1 << 20); // more than a socket takes at once
    left.send(&message).unwrap();
    let peer = thread::spawn(move || {
        let received = receive(&mut right).unwrap();
        send(&mut right, &received[..1]).unwrap();
        right
    });
    let until = Instant::now() + Duration::from_secs(5);
    while !left.is_ready(Interest::DATA) {
        assert!(Instant::now() < until, "the rest of the message never left");
        thread::yield_now();
    }
    assert_eq!(*receive(&mut left).unwrap(), message[..1]);
    drop(peer.join().unwrap());
}
