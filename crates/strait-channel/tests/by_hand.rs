//! Peers that speak the protocol byte by byte, as docs/PROTOCOL.md has it: of another version, and with damaged messages.

mod state_support;
mod stream_support;

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    time::Duration,
};

use strait_channel::{
    Error as Below, HonestPeer, Options, Receive, Refusal,
    state::{Daemon, Error as StateError, blocking::Shell},
    stream::{self, Config, Consumer, Endpoint, Producer, Raw},
};
use strait_transport::CODEC_ANY;
use stream_support::{PATIENCE, Scratch, pattern};

const CONTROL: u32 = 1 << 30;
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSE: u8 = 3;
const STREAM: u8 = 2;
const CHECKSUMS_AND_TIMESTAMPS: u32 = 3;

/// A frame: envelope and payload.
fn frame(flag: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 | flag).to_le_bytes().to_vec();
    bytes.extend_from_slice(&1u64.to_le_bytes());
    bytes.extend_from_slice(&strait_frame::checksum(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn control(stream: &mut UnixStream) -> Vec<u8> {
    let mut envelope = [0; 16];
    stream.read_exact(&mut envelope).unwrap();
    let word = u32::from_le_bytes(envelope[..4].try_into().unwrap());
    assert_eq!(word & CONTROL, CONTROL);
    let mut payload = vec![0; (word & !CONTROL) as usize];
    stream.read_exact(&mut payload).unwrap();
    payload
}

/// What a client says that speaks no codec in particular.
fn hello() -> Vec<u8> {
    let mut hello = vec![HELLO, 1, STREAM, CODEC_ANY];
    hello.extend_from_slice(&CHECKSUMS_AND_TIMESTAMPS.to_le_bytes());
    hello.extend_from_slice(&0u64.to_le_bytes());
    hello.extend_from_slice(&[64u32, 16].map(u32::to_le_bytes).concat());
    hello.extend_from_slice(&(16u64 << 10).to_le_bytes());
    hello
}

/// A message of a stream: its number, nothing dropped, its body.
fn message(sequence: u64, body: &[u8]) -> Vec<u8> {
    frame(0, &[&sequence.to_le_bytes()[..], &0u64.to_le_bytes(), body].concat())
}

/// A stream whose producer is this test.
fn connected(scratch: &Scratch) -> (UnixStream, Consumer) {
    let binding = <Consumer>::bind("lines", &scratch.config()).unwrap();
    let mut peer = UnixStream::connect(binding.path()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(&frame(CONTROL, &hello())).unwrap();
    let consumer = binding.accept_timeout(PATIENCE).unwrap();
    assert_eq!(control(&mut peer)[0], WELCOME);
    (peer, consumer)
}

#[test]
fn a_damaged_message_of_a_stream_is_left_out_told_by_the_next_one_and_counted() {
    let scratch = Scratch::new();
    let (mut peer, mut consumer) = connected(&scratch);
    let mut damaged = message(1, b"two");
    *damaged.last_mut().unwrap() ^= 1;
    peer.write_all(&[message(0, b"one"), damaged, message(2, b"three")].concat()).unwrap();
    assert_eq!(&*consumer.recv_timeout(PATIENCE).unwrap().unwrap(), b"one");
    let next = consumer.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((&*next, next.lost_before()), (&b"three"[..], 1));
    let stats = consumer.stats();
    assert_eq!((stats.received, stats.lost, stats.lost_by_choice, stats.connection.checksum_errors), (2, 1, 0, 1));
}

#[test]
fn messages_of_a_clock_that_is_ahead_or_goes_back_come_all_and_are_of_no_age() {
    let scratch = Scratch::new();
    let (mut peer, mut consumer) = connected(&scratch);
    for (sequence, timestamp) in [u64::MAX, u64::MAX - 1, strait_frame::now_micros() + 60_000_000].iter().enumerate() {
        let mut sent = message(sequence as u64, b"when?");
        sent[4..12].copy_from_slice(&timestamp.to_le_bytes());
        peer.write_all(&sent).unwrap();
        let received = consumer.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(
            (received.timestamp(), received.age(), &*received),
            (*timestamp, Some(Duration::ZERO), &b"when?"[..])
        );
    }
}

/// Refuses so many clients, as a server of version 9 does.
fn refuse_as_version_9(listener: UnixListener, clients: usize) {
    let mut refuse = vec![0; 24];
    (refuse[0], refuse[2], refuse[8], refuse[16]) = (REFUSE, 1, 9, 1);
    for _ in 0..clients {
        let mut client = listener.accept().unwrap().0;
        assert_eq!(control(&mut client)[0], HELLO);
        client.write_all(&frame(CONTROL, &refuse)).unwrap();
    }
}

#[test]
fn a_shell_is_refused_by_a_daemon_of_another_version_at_connect_and_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = state_support::options(dir.path());
    let daemon = Daemon::<[u8]>::create("versions", &state_support::config(&options)).unwrap();
    let path = daemon.path().to_owned();
    let mut shell = Shell::<[u8]>::connect_with("versions", &options).unwrap();
    drop(daemon);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || refuse_as_version_9(listener, 2));
    let is_version = |error: &StateError| {
        matches!(error, StateError::Transport(Below::Refused(Refusal::Version { server: 9, client: 1 })))
    };
    let told = shell.changed(state_support::soon()).unwrap_err();
    assert!(is_version(&told) && told.to_string().contains("version 9"), "{told}");
    let told = Shell::<[u8]>::connect_with("versions", &options).unwrap_err();
    assert!(is_version(&told), "{told}");
    server.join().unwrap();
}

#[test]
fn a_consumer_that_trusts_its_producer_reads_in_place_what_another_copies() {
    // SAFETY: both ends of the streams here are this process, and go by the protocol.
    let honest = unsafe { HonestPeer::assume() };
    for (receive, is_in_place) in [(Receive::Copied, false), (Receive::InPlace(honest), true)] {
        let scratch = Scratch::new();
        let config = scratch.config();
        let trusting = Config { options: Options { receive, ..config.options.clone() }, ..config.clone() };
        let (local, named) = (stream::local::<[u8], Raw>(&trusting).unwrap(), {
            let binding = <Consumer>::bind("lines", &trusting).unwrap();
            let accept = std::thread::spawn(move || binding.accept_timeout(PATIENCE).unwrap());
            let producer = <Producer>::connect("lines", &config).unwrap();
            (producer, accept.join().unwrap())
        });
        for (mut producer, mut consumer) in [local, named] {
            let sender = std::thread::spawn(move || {
                for number in 0..500 {
                    producer.send(&pattern(number)).unwrap();
                }
                producer.finish(PATIENCE).unwrap();
            });
            let mut seen_in_place = 0;
            for number in 0..500 {
                let message = consumer.recv_timeout(PATIENCE).unwrap().unwrap();
                assert_eq!((message.sequence(), &*message), (number, &pattern(number)[..]));
                seen_in_place += u64::from(message.is_in_place());
                if number % 50 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            assert!(consumer.recv_timeout(PATIENCE).unwrap().is_none());
            assert_eq!(seen_in_place > 400, is_in_place, "{seen_in_place} of 500 in place");
            sender.join().unwrap();
        }
    }
}
