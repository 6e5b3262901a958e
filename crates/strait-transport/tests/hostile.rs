//! Peers that lie: each is a typed error on its own connection, in time, and nobody else notices.
#![allow(clippy::multiple_unsafe_ops_per_block)] // a few system calls in a row, each argued for in one comment
#![cfg(not(strait_loom))]

mod support;

use std::{
    io::Write,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use strait_transport::{Connection, Error, Interest, Listener, SendError, Transport};
use support::{
    Scratch, end_of, in_place, is_shared, raw,
    raw::{ACCEPT, CLOSE, COMMIT, DECLINE, Greeting, HELLO, OFFER, REFUSE, Raw, SESSION, SWITCHED, WELCOME},
    receive, send,
};

fn accept(listener: &Listener) -> Connection {
    listener.accept().unwrap().unwrap().handshake().unwrap()
}

/// A server's connection to a client that speaks by hand.
fn server_of_raw(scratch: &Scratch) -> (Connection, Raw) {
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let accepting = thread::spawn(move || accept(&listener));
    let raw = Raw::welcomed(scratch.path(), "pair");
    (accepting.join().unwrap(), raw)
}

/// The error of a handshake that began with `bytes`.
fn handshake_of(bytes: &[u8]) -> Error {
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.limits.handshake_timeout = Duration::from_millis(500);
    let listener = Listener::bind("pair", &options, None).unwrap();
    let refusing = thread::spawn(move || listener.accept().unwrap().unwrap().handshake().map(drop).unwrap_err());
    let mut raw = Raw::connect(scratch.path(), "pair");
    let _ = raw.stream.write_all(bytes);
    let _ = raw.stream.shutdown(std::net::Shutdown::Write);
    assert!(raw.is_ended());
    refusing.join().unwrap()
}

#[track_caller]
fn assert_corrupt(error: &Error) {
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}

#[test]
fn garbage_instead_of_a_hello_is_corrupt() {
    let hello = Greeting::new(HELLO).frame();
    let mut flipped = hello.clone();
    flipped[20] ^= 1;
    for bytes in [
        &[0xFF; 64][..],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &raw::data(b"a message before the handshake"),
        &raw::data(b""),
        &raw::frame(true, b""),
        &raw::frame(true, &[77]),
        &raw::frame(true, &hello[16..40]),
        &raw::frame(true, &[&hello[16..], &[0]].concat()),
        &raw::frame(true, &vec![HELLO; 5_000]), // longer than any control frame
        &raw::segment_frame(OFFER, SESSION),
        &flipped, // the checksum tells
    ] {
        assert_corrupt(&handshake_of(bytes));
    }
    assert!(matches!(handshake_of(&hello[..30]), Error::PeerGone), "half a Hello and the end");
    assert!(matches!(handshake_of(b""), Error::PeerGone));
}

#[test]
fn garbage_after_the_handshake_is_corrupt_and_ends_the_connection() {
    let max = 4_080u32;
    let envelope = |word: u32| [&word.to_le_bytes()[..], &[0; 12]].concat();
    for bytes in [
        envelope(u32::MAX),
        envelope(1 << 31 | 4),         // the commit bit of a ring's record
        envelope(max + 1),             // longer than was settled
        envelope(raw::CONTROL | 4097), // longer than control frames are
        raw::frame(true, b""),
        raw::frame(true, &[99]),
        raw::frame(true, &[COMMIT, 0]),
        raw::frame(true, &[OFFER, 0, 0]),
    ] {
        let scratch = Scratch::new();
        let (mut connection, mut raw) = server_of_raw(&scratch);
        raw.send(&raw::data(b"good"));
        raw.send(&bytes);
        assert_eq!(*receive(&mut connection).unwrap(), *b"good", "what came before is good");
        assert_corrupt(&end_of(&mut connection));
        assert_corrupt(&end_of(&mut connection));
        assert!(matches!(connection.send(b"x"), Err(SendError::Failed(Error::Corrupt { .. }))));
        assert!(raw.is_ended(), "the liar is told by a hang-up");
    }
}

#[test]
fn a_control_frame_out_of_turn_is_corrupt() {
    let plain = |kind: u8| raw::frame(true, &[kind]);
    let cases: Vec<Vec<Vec<u8>>> = vec![
        vec![plain(COMMIT)],
        vec![plain(SWITCHED)],
        vec![raw::segment_frame(ACCEPT, SESSION)],
        vec![Greeting::new(HELLO).frame()],
        vec![Greeting::new(WELCOME).frame()],
        vec![raw::frame(true, &[&[REFUSE], &[0; 23][..]].concat())],
        vec![plain(DECLINE), raw::segment_frame(OFFER, SESSION)],
        // An offer without its descriptor is declined; one more is out of turn, or answers could pile up without end.
        vec![raw::segment_frame(OFFER, SESSION), raw::segment_frame(OFFER, SESSION)],
    ];
    for frames in cases {
        let scratch = Scratch::new();
        let (mut connection, mut raw) = server_of_raw(&scratch);
        frames.iter().for_each(|frame| raw.send(frame));
        assert_corrupt(&end_of(&mut connection));
    }
}

#[test]
fn offers_to_a_server_that_has_shared_memory_switched_off_do_not_pile_up_answers() {
    let scratch = Scratch::new();
    let options = strait_transport::Options { shared_memory: false, ..scratch.options() };
    let listener = Listener::bind("pair", &options, None).unwrap();
    let accepting = thread::spawn(move || accept(&listener));
    let mut raw = Raw::welcomed(scratch.path(), "pair");
    let mut connection = accepting.join().unwrap();
    for _ in 0..10 {
        let _ = raw.stream.write_all(&raw::segment_frame(OFFER, SESSION));
    }
    assert_corrupt(&end_of(&mut connection));
}

#[test]
fn a_message_with_a_wrong_checksum_is_discarded_and_counted_and_the_connection_goes_on() {
    let scratch = Scratch::new();
    let (mut connection, mut raw) = server_of_raw(&scratch);
    let mut bad = raw::data(b"bad");
    bad[17] ^= 1;
    raw.send(&raw::data(b"one"));
    raw.send(&bad);
    raw.send(&raw::data(b"two"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"one");
    let error = receive(&mut connection).unwrap_err();
    assert!(matches!(error, Error::Checksum { size: 3, .. }), "{error:?}");
    assert_eq!(*receive(&mut connection).unwrap(), *b"two");
    assert_eq!((connection.stats().checksum_errors, connection.stats().received_messages), (1, 2));
}

#[test]
fn a_frame_that_comes_byte_by_byte_arrives_and_half_a_frame_ends_as_peer_gone() {
    let scratch = Scratch::new();
    let (mut connection, mut raw) = server_of_raw(&scratch);
    let sender = thread::spawn(move || {
        for byte in raw::data(b"slowly") {
            raw.send(&[byte]);
            thread::sleep(Duration::from_micros(200));
        }
        raw.send(&raw::data(b"half")[..18]);
    });
    assert_eq!(*receive(&mut connection).unwrap(), *b"slowly");
    let end = end_of(&mut connection);
    assert!(matches!(end, Error::PeerGone), "{end:?}");
    sender.join().unwrap();
}

/// A server's connection that is in shared memory with a client that speaks by hand: it, the client, the client's segment
/// mapped for writing, and the server's segment.
struct Upgraded {
    connection: Connection,
    raw: Raw,
    memory: Memory,
    _theirs: OwnedFd,
}

/// The client's segment, as only its maker can have it.
struct Memory {
    base: *mut u64,
}

impl Memory {
    fn store(&self, offset: usize, word: u64) {
        // SAFETY: the mapping of the whole segment is never taken away; callers stay inside it.
        unsafe { self.base.byte_add(offset).write_volatile(word) }
    }
}

fn upgraded(scratch: &Scratch, receive_in_place: bool) -> Upgraded {
    let mut options = scratch.options();
    if receive_in_place {
        options.receive = in_place();
    }
    let listener = Listener::bind("pair", &options, None).unwrap();
    let accepting = thread::spawn(move || accept(&listener));
    let mut raw = Raw::welcomed(scratch.path(), "pair");
    let mut connection = accepting.join().unwrap();
    let bytes = 8192 + raw::RING;
    let fd = raw::memfd(&raw::header(SESSION).encode(), bytes, rustix::fs::SealFlags::empty());
    // SAFETY: maps the memfd from above, all of whose bytes are there.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd.as_raw_fd(),
            0,
        )
    };
    assert_ne!(base, libc::MAP_FAILED);
    rustix::fs::fcntl_add_seals(&fd, raw::SEALS).unwrap();
    raw.send_with(&raw::segment_frame(OFFER, SESSION), &[fd.as_fd()]);
    raw.send(&raw::data(b"hello"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"hello");
    let (accept, mut fds) = raw.control_with();
    assert_eq!(accept[0], ACCEPT);
    raw.send(&raw::frame(true, &[COMMIT]));
    assert!(connection.try_recv().unwrap().is_none());
    assert!(is_shared(&connection));
    assert_eq!(raw.control(), [SWITCHED]);
    Upgraded { connection, raw, memory: Memory { base: base.cast() }, _theirs: fds.pop().unwrap() }
}

const CONTROL_BLOCK: usize = 4096;
const HEAD: usize = CONTROL_BLOCK + 128;
const SPACE_TICKET: usize = CONTROL_BLOCK + 264;
const DATA_TICKET: usize = CONTROL_BLOCK + 256;
const CLOSED: usize = CONTROL_BLOCK + 272;
const DATA: usize = 8192;

/// The two words of a record of `payload`, and the payload, at the ring's start.
fn publish_first(memory: &Memory, payload: [u8; 8], checksum: u32) {
    memory.store(DATA + 16, u64::from_le_bytes(payload));
    memory.store(DATA + 8, u64::from(checksum) << 32);
    memory.store(DATA + 32, 0);
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    memory.store(DATA, 1 << 31 | 8);
}

#[test]
fn by_hand_a_record_in_the_ring_is_received_and_one_with_a_wrong_checksum_is_discarded() {
    for (checksum, good) in [(strait_frame::checksum(b"by hand!"), true), (7, false)] {
        for in_place in [false, true] {
            let scratch = Scratch::new();
            let mut upgraded = upgraded(&scratch, in_place);
            publish_first(&upgraded.memory, *b"by hand!", checksum);
            let received = receive(&mut upgraded.connection);
            match (good, received) {
                (true, Ok(message)) => assert_eq!((&*message, message.is_in_place()), (&b"by hand!"[..], in_place)),
                (false, Err(Error::Checksum { size: 8, expected: 7, .. })) => {}
                (_, other) => panic!("{other:?}"),
            }
            assert!(upgraded.connection.try_recv().unwrap().is_none(), "the connection goes on");
        }
    }
}

#[test]
fn lies_in_the_ring_poison_the_connection_both_ways() {
    for word in [1u64, 1 << 31 | 5_000, 0x7FFF_FFFF, u64::from(u32::MAX)] {
        let scratch = Scratch::new();
        let mut upgraded = upgraded(&scratch, false);
        upgraded.memory.store(DATA, word);
        assert_corrupt(&end_of(&mut upgraded.connection));
        assert_corrupt(&end_of(&mut upgraded.connection));
        assert!(matches!(upgraded.connection.send(b"x"), Err(SendError::Failed(Error::Corrupt { .. }))));
        assert!(upgraded.raw.is_ended());
    }
}

#[test]
fn a_lie_about_the_head_poisons_the_connection_when_room_is_needed() {
    let scratch = Scratch::new();
    let mut upgraded = upgraded(&scratch, false);
    upgraded.memory.store(HEAD, 1 << 40);
    let error = loop {
        match upgraded.connection.send(&[0; 1_000]) {
            Ok(()) => {}
            Err(SendError::Failed(error)) => break error,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_corrupt(&error);
    assert_corrupt(&end_of(&mut upgraded.connection));
    assert!(upgraded.raw.is_ended());
}

#[test]
fn a_flood_of_doorbells_poisons_the_connection_and_does_not_hold_its_owner() {
    let scratch = Scratch::new();
    let mut upgraded = upgraded(&scratch, false);
    let start = Instant::now();
    let flood = thread::spawn(move || {
        while upgraded.raw.stream.write_all(&[1; 64]).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(10), "nobody ends it");
        }
    });
    let error = end_of(&mut upgraded.connection);
    assert!(matches!(&error, Error::Corrupt { what } if what.contains("doorbells")), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    flood.join().unwrap();
}

#[test]
fn bytes_behind_the_last_frame_are_doorbells_and_too_many_of_them_a_flood() {
    let scratch = Scratch::new();
    let (mut connection, mut raw) = server_of_raw(&scratch);
    raw.send_with(&raw::segment_frame(OFFER, SESSION), &[raw::segment(SESSION).as_fd()]);
    raw.send(&raw::data(b"hello"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"hello");
    assert_eq!(raw.control()[0], ACCEPT);
    let mut bytes = raw::frame(true, &[COMMIT]);
    bytes.extend_from_slice(&[1; 3_000]);
    raw.send(&bytes);
    assert_corrupt(&end_of(&mut connection));
}

#[test]
fn tickets_without_a_sleeper_cost_one_ring_each_and_nothing_else() {
    let scratch = Scratch::new();
    let mut upgraded = upgraded(&scratch, false);
    upgraded.memory.store(DATA_TICKET, 5);
    upgraded.memory.store(SPACE_TICKET, 6);
    for _ in 0..10 {
        upgraded.connection.send(b"x").unwrap();
    }
    assert_eq!(upgraded.connection.stats().data_rings, 1);
    upgraded.memory.store(DATA_TICKET, 7);
    send(&mut upgraded.connection, b"x").unwrap();
    assert_eq!(upgraded.connection.stats().data_rings, 2);
}

#[test]
fn a_peer_that_closes_without_a_farewell_is_gone() {
    let scratch = Scratch::new();
    let mut upgraded = upgraded(&scratch, false);
    upgraded.memory.store(CLOSED, 1);
    let end = end_of(&mut upgraded.connection);
    assert!(matches!(end, Error::PeerGone), "{end:?}");
}

#[test]
fn what_comes_behind_a_close_frame_is_not_read() {
    let scratch = Scratch::new();
    let (mut connection, mut raw) = server_of_raw(&scratch);
    raw.send(&raw::data(b"last"));
    raw.send(&raw::frame(true, &[CLOSE]));
    raw.send(&raw::data(b"never"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"last");
    assert!(matches!(end_of(&mut connection), Error::Closed));
    assert!(matches!(end_of(&mut connection), Error::Closed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_peer_writes_into_its_segment_ends_in_typed_errors(
        words in proptest::collection::vec((0usize..(4096 + 16384) / 8, any::<u64>()), 1..60),
        in_place in any::<bool>(),
    ) {
        let scratch = Scratch::new();
        let mut upgraded = upgraded(&scratch, in_place);
        for (index, word) in words {
            upgraded.memory.store(4096 + 8 * index, word);
            let _ = upgraded.connection.send(&[7; 700]);
            let _ = upgraded.connection.try_recv();
            let _ = upgraded.connection.wait_ready(Interest::BOTH, Some(Instant::now()));
        }
    }

    #[test]
    fn whatever_a_peer_says_on_the_socket_ends_in_typed_errors(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let scratch = Scratch::new();
        let (mut connection, mut raw) = server_of_raw(&scratch);
        let _ = raw.stream.write_all(&bytes);
        drop(raw);
        loop {
            match receive(&mut connection) {
                Ok(_) | Err(Error::Checksum { .. }) => {}
                Err(end) => {
                    prop_assert!(matches!(end, Error::Corrupt { .. } | Error::PeerGone | Error::Closed), "{end:?}");
                    break;
                }
            }
        }
    }
}
