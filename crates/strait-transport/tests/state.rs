//! Memory beyond the pair: what a server publishes, and what a hostile one sends in its place.
#![cfg(not(strait_loom))]

mod support;

use std::os::{
    fd::{AsFd, OwnedFd},
    unix::net::UnixListener,
};

use strait_region::Header;
use strait_transport::{
    Connection, Error, Listener, Options, StateMemory, StateReader, StateWriter, Transport, TransportKind,
};
use support::{
    Scratch, end_of,
    raw::{self, ACCEPT, COMMIT, OFFER, Raw, SEALS, SWITCHED},
    receive, send, upgrade,
};

const EXTRA: u8 = 9;
const STATE_SESSION: [u8; 16] = *b"a state's own id";

fn extra_frame(kind: u8, session: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![EXTRA, kind, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&8192u64.to_le_bytes());
    bytes.extend_from_slice(&session);
    raw::frame(true, &bytes)
}

/// A client whose server, by hand, sends `frame` and `fds` behind its `Accept`.
fn client_of(frame: &[u8], fds: &[OwnedFd]) -> (Connection, Raw, Scratch) {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.path().join("raw.sock")).unwrap();
    let (frame, fds) = (frame.to_vec(), fds.iter().map(|fd| fd.try_clone().unwrap()).collect::<Vec<_>>());
    let server = std::thread::spawn(move || {
        let mut raw = Raw::serve(&listener);
        let offer = raw.control();
        assert_eq!(offer[0], OFFER);
        let session = offer[16..32].try_into().unwrap();
        raw.send_with(&raw::segment_frame(ACCEPT, session), &[raw::segment(session).as_fd()]);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        raw.send_with(&frame, &fds);
        raw
    });
    let mut client = Connection::connect("raw", &scratch.options()).unwrap();
    send(&mut client, b"first").unwrap();
    (client, server.join().unwrap(), scratch)
}

/// What a client makes of an `Extra`, and whether it then goes on to shared memory.
fn outcome(frame: &[u8], fds: &[OwnedFd]) -> Result<StateReader, String> {
    let (mut client, mut server, _scratch) = client_of(frame, fds);
    let until = std::time::Instant::now() + support::PATIENCE;
    while client.transport() != TransportKind::Shared {
        assert!(std::time::Instant::now() < until, "the connection does not go on");
        client.publish().unwrap();
        if let Ok((true, payload, _)) = server.try_frame()
            && payload[0] == COMMIT
        {
            server.send(&raw::frame(true, &[SWITCHED]));
        }
        assert!(client.try_recv().unwrap().is_none());
    }
    client.take_state().expect("an Extra has come")
}

fn header(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let writer = StateWriter::create("test", 100, 0).unwrap();
    let mut bytes = [0; 8192];
    rustix::io::pread(writer.memory().as_fd(), &mut bytes, 0).unwrap();
    let mut header = Header::decode(&bytes).unwrap();
    header.session = STATE_SESSION;
    change(&mut header);
    bytes[..128].copy_from_slice(&header.encode());
    bytes.to_vec()
}

#[test]
fn a_client_gets_its_servers_memory_before_the_answer_to_its_second_message() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let mut writer = StateWriter::create("pair", 100, 0).unwrap();
    writer.write(b"sunny").unwrap();
    let memory = writer.memory();
    let server = std::thread::spawn(move || {
        let mut server = listener.accept().unwrap().unwrap().handshake().unwrap();
        server.attach_state(memory);
        for _ in 0..2 {
            let message = receive(&mut server).unwrap();
            send(&mut server, &message).unwrap();
        }
        server
    });
    let mut client = Connection::connect("pair", &scratch.options()).unwrap();
    for _ in 0..2 {
        send(&mut client, b"question").unwrap();
    }
    for _ in 0..2 {
        receive(&mut client).unwrap();
    }
    let mut reader = client.take_state().expect("it has come").unwrap();
    assert_eq!(&*reader.read().unwrap().unwrap().0, b"sunny");
    assert!(client.take_state().is_none());
    let mut server = server.join().unwrap();
    upgrade(&mut client, &mut server);
    writer.write(b"rain").unwrap();
    assert_eq!(&*reader.read().unwrap().unwrap().0, b"rain");
}

#[test]
fn a_socket_carries_no_memory() {
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let writer = StateWriter::create("pair", 100, 0).unwrap();
    let options = Options { shared_memory: false, ..scratch.options() };
    let client = std::thread::spawn(move || Connection::connect("pair", &options).unwrap());
    let mut server = listener.accept().unwrap().unwrap().handshake().unwrap();
    server.attach_state(writer.memory());
    let mut client = client.join().unwrap();
    send(&mut client, b"question").unwrap();
    assert_eq!(&*receive(&mut server).unwrap(), b"question");
    send(&mut server, b"answer").unwrap();
    assert_eq!(&*receive(&mut client).unwrap(), b"answer");
    assert!(client.take_state().is_none());
}

#[test]
fn memory_that_fails_a_check_is_refused_with_the_reason_and_the_connection_goes_on() {
    let good = header(|_| {});
    let of = |content: &[u8], bytes, seals| [raw::memfd(content, bytes, seals)];
    let frame = extra_frame(2, STATE_SESSION);
    assert!(outcome(&frame, &of(&good, 8192, SEALS)).is_ok(), "what the others differ from");
    for seal in [rustix::fs::SealFlags::SHRINK, rustix::fs::SealFlags::GROW, rustix::fs::SealFlags::FUTURE_WRITE] {
        assert!(outcome(&frame, &of(&good, 8192, SEALS.difference(seal))).is_err(), "without {seal:?}");
    }
    assert!(outcome(&frame, &of(&good[..4096], 4096, SEALS)).is_err(), "short");
    assert!(outcome(&frame, &of(&good, 12288, SEALS)).is_err(), "longer than its header says");
    let foreign = header(|header| header.session = [9; 16]);
    assert!(outcome(&frame, &of(&foreign, 8192, SEALS)).is_err(), "of another session");
    let ring = header(|header| header.kind = 1);
    assert!(outcome(&frame, &of(&ring, 8192, SEALS)).is_err(), "of another kind");
    let layout = header(|header| header.layout_hash ^= 1);
    assert!(outcome(&frame, &of(&layout, 8192, SEALS)).is_err(), "of another layout");
    let long = header(|header| header.max_message_bytes = u64::MAX);
    assert!(outcome(&frame, &of(&long, 8192, SEALS)).is_err(), "with values longer than itself");
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(outcome(&frame, &[file.into()]).is_err(), "not memory");
    assert!(outcome(&frame, &[]).is_err(), "no descriptor");
    assert!(outcome(&extra_frame(7, STATE_SESSION), &of(&good, 8192, SEALS)).is_err(), "of a kind nobody knows");
}

#[test]
fn a_second_extra_ends_the_connection() {
    let two = [extra_frame(2, STATE_SESSION), extra_frame(2, STATE_SESSION)].concat();
    let (mut client, _server, _scratch) = client_of(&two, &[raw::memfd(&header(|_| {}), 8192, SEALS)]);
    assert!(matches!(end_of(&mut client), Error::Corrupt { .. }));
}

#[test]
fn an_extra_before_accept_ends_the_connection() {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.path().join("raw.sock")).unwrap();
    let server = std::thread::spawn(move || {
        let mut raw = Raw::serve(&listener);
        assert_eq!(raw.control()[0], OFFER);
        raw.send_with(&extra_frame(2, STATE_SESSION), &[raw::memfd(&header(|_| {}), 8192, SEALS).as_fd()]);
        raw
    });
    let mut client = Connection::connect("raw", &scratch.options()).unwrap();
    send(&mut client, b"first").unwrap();
    let _server = server.join().unwrap();
    assert!(matches!(end_of(&mut client), Error::Corrupt { .. }));
}

const PIN_SESSION: [u8; 16] = *b"a pin's own id..";
/// CRC32 of the pin table in docs/PROTOCOL.md.
const PIN_LAYOUT_HASH: u32 = 0xEA6B_3096;

/// A client's memory for a pin, by hand; `change` makes it a bad one.
fn pin_memory(change: impl FnOnce(&mut Header)) -> OwnedFd {
    let mut header = Header {
        kind: 3,
        layout_hash: PIN_LAYOUT_HASH,
        total_bytes: 8192,
        ring_capacity_bytes: 0,
        max_message_bytes: 0,
        record_align_bytes: 16,
        session: PIN_SESSION,
    };
    change(&mut header);
    raw::memfd(&header.encode(), 8192, SEALS)
}

/// A server that publishes a state with that many pins, until its client by hand ends; that one has its `Welcome`.
fn server_of(max_pins: usize) -> (std::thread::JoinHandle<Error>, StateMemory, Raw, Scratch) {
    let scratch = Scratch::new();
    let listener = Listener::bind("raw", &scratch.options(), None).unwrap();
    let writer = StateWriter::create_with_pins("raw", 100, 0, max_pins).unwrap();
    let memory = writer.memory().for_client();
    let attached = memory.clone();
    let server = std::thread::spawn(move || {
        let _writer = writer;
        let mut server = listener.accept().unwrap().unwrap().handshake().unwrap();
        server.attach_state(attached);
        end_of(&mut server)
    });
    let raw = Raw::welcomed(scratch.path(), "raw");
    (server, memory, raw, scratch)
}

/// What a server's `Extra` says of pins, after `frame` and `fds` were sent before the `Offer`: granted, and the most.
fn granted(max_pins: usize, frame: &[u8], fds: &[OwnedFd]) -> (u8, u8) {
    let (server, memory, mut raw, _scratch) = server_of(max_pins);
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    raw.send_with(frame, &fds);
    raw.send_with(&raw::segment_frame(OFFER, raw::SESSION), &[raw::segment(raw::SESSION).as_fd()]);
    assert_eq!(raw.control()[0], ACCEPT);
    let extra = raw.control();
    assert_eq!((extra[0], extra[1]), (EXTRA, 2));
    assert_eq!(memory.has_pin(), extra[2] == 1);
    drop(raw);
    assert!(matches!(server.join().unwrap(), Error::PeerGone));
    memory.revoke_pin();
    assert!(!memory.has_pin());
    (extra[2], extra[3])
}

#[test]
fn a_client_is_told_with_the_state_whether_it_was_granted_the_pin_that_it_asked_for() {
    let frame = extra_frame(3, PIN_SESSION);
    assert_eq!(granted(2, &frame, &[pin_memory(|_| {})]), (1, 2));
    assert_eq!(granted(0, &frame, &[pin_memory(|_| {})]), (0, 0));
    assert_eq!(granted(2, &raw::data(b"no wish"), &[]), (0, 2));
}

#[test]
fn a_pin_that_fails_a_check_is_not_granted_and_the_connection_goes_on() {
    let frame = extra_frame(3, PIN_SESSION);
    let refused = |frame: &[u8], fds: &[OwnedFd], why| assert_eq!(granted(1, frame, fds), (0, 1), "{why}");
    refused(&frame, &[pin_memory(|header| header.kind = 1)], "of another kind");
    refused(&frame, &[pin_memory(|header| header.session = [9; 16])], "of another session");
    refused(&frame, &[pin_memory(|header| header.layout_hash ^= 1)], "of another layout");
    refused(&frame, &[pin_memory(|header| header.total_bytes = 4096)], "longer than its header says");
    refused(&extra_frame(2, PIN_SESSION), &[pin_memory(|_| {})], "of a kind that servers send");
    let shrinks = SEALS.difference(rustix::fs::SealFlags::SHRINK);
    let mut content = [0; 128];
    rustix::io::pread(pin_memory(|_| {}), &mut content, 0).unwrap();
    refused(&frame, &[raw::memfd(&content, 8192, shrinks)], "that may shrink");
    let file = std::fs::File::open("/dev/null").unwrap();
    refused(&frame, &[file.into()], "not memory");
}

#[test]
fn a_second_wish_for_a_pin_ends_the_connection_and_so_does_one_after_the_offer_or_without_a_state() {
    let frame = extra_frame(3, PIN_SESSION);
    let (server, memory, mut raw, _scratch) = server_of(2);
    raw.send_with(&frame, &[pin_memory(|_| {}).as_fd()]);
    raw.send_with(&frame, &[pin_memory(|_| {}).as_fd()]);
    assert!(matches!(server.join().unwrap(), Error::Corrupt { .. }));
    assert!(!memory.has_pin());

    let (server, memory, mut raw, _scratch) = server_of(2);
    raw.send_with(&raw::segment_frame(OFFER, raw::SESSION), &[raw::segment(raw::SESSION).as_fd()]);
    raw.send_with(&frame, &[pin_memory(|_| {}).as_fd()]);
    assert!(matches!(server.join().unwrap(), Error::Corrupt { .. }));
    assert!(!memory.has_pin());

    let scratch = Scratch::new();
    let listener = Listener::bind("raw", &scratch.options(), None).unwrap();
    let server = std::thread::spawn(move || end_of(&mut listener.accept().unwrap().unwrap().handshake().unwrap()));
    let mut raw = Raw::welcomed(scratch.path(), "raw");
    raw.send_with(&frame, &[pin_memory(|_| {}).as_fd()]);
    assert!(matches!(server.join().unwrap(), Error::Corrupt { .. }));
}
