//! What a tool sees from outside: which segments there are, what they say, and what lies.
//!
//! Each test that looks through `/proc` has a process of its own: others would show it their segments.
#![cfg(not(strait_loom))]

mod support;

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use strait_region::{Header, OwnRegion};
use strait_sync::WordsMut;
use strait_transport::{
    Connection, ErrorCode, Interest, Limits, Listener, Options, StateWriter, Transport,
    observe::{Kind, Lie, ObserveError, Observed, Reading},
};
use support::{
    Scratch,
    child::{Child, hear, in_child, play, say},
    connected, eventually, exchange, options,
    outside::{both, end, segments},
    receive, send, upgrade,
};

#[test]
fn roles() {
    play(&[
        ("sockets", sockets),
        ("stays", stays),
        ("limited", limited),
        ("unstamped", unstamped),
        ("everything", everything),
        ("occupied", occupied),
        ("state", state),
        ("forks", forks),
        ("serves", serves),
    ]);
}

/// Goes to sleep, and is awake again.
#[track_caller]
fn sleep_once(connection: &mut Connection) {
    assert!(connection.arm(Interest::DATA).unwrap());
    connection.disarm().unwrap();
}

/// Two ends on their socket that have slept.
fn asleep(options: &Options) -> (Connection, Connection) {
    let (mut client, mut server) = connected(options, options);
    sleep_once(&mut client);
    sleep_once(&mut server);
    (client, server)
}

/// Runs one of them to its end.
#[track_caller]
fn alone(role: &str) {
    let scratch = Scratch::new();
    Child::start(role, scratch.path()).finish();
}

#[test]
fn both_ends_of_a_socket_have_one_session_and_make_way_for_their_rings() {
    alone("sockets");
}

fn sockets(dir: &Path) {
    let (mut client, mut server) = connected(&options(dir), &options(dir));
    assert!(segments(std::process::id(), "socket").is_empty(), "connecting is not held up by it");
    sleep_once(&mut client);
    sleep_once(&mut server);
    let (seen, peer) = both("socket");
    assert_eq!(seen.session(), peer.session());
    assert_ne!(seen.session(), [0; 16]);
    assert_eq!((seen.kind(), seen.ring_capacity_bytes(), seen.total_bytes()), (Kind::Socket, 0, 8192));
    let owner = end(&seen).owner;
    assert_eq!((owner.pid, Some(owner.start_ticks)), (std::process::id(), strait_sync::process::start_ticks(None)));
    assert_eq!(seen.occupied_bytes(&peer), Err(Lie::NotAPair));

    upgrade(&mut client, &mut server);
    assert!(segments(std::process::id(), "socket").is_empty());
    let (ring, peer) = both("ring");
    assert_eq!((ring.kind(), ring.session()), (Kind::Ring, peer.session()));
    assert_eq!(end(&ring).stats, client.stats(), "what went over the socket is counted here too");
    assert_eq!(end(&peer).stats, server.stats());
    assert!(end(&ring).stats.opened_us >= end(&seen).stats.opened_us);
    assert!(!end(&ring).closed);
    client.close();
    assert!(end(&ring).closed && end(&ring).farewell);
    drop((client, server));
    assert!(segments(std::process::id(), "ring").is_empty());
    assert!(end(&ring).farewell, "what was mapped stays");
}

#[test]
fn a_connection_that_stays_on_its_socket_counts_there() {
    alone("stays");
}

fn stays(dir: &Path) {
    let options = Options { shared_memory: false, ..options(dir) };
    let (mut client, mut server) = asleep(&options);
    for _ in 0..3 {
        exchange(&mut client, &mut server);
    }
    server.set_in_flight(2);
    server.count_error(ErrorCode::DECODE);
    let (seen, peer) = both("socket");
    let (sent, received) = (end(&seen).stats, end(&peer).stats);
    assert_eq!((sent.sent_messages, sent.sent_bytes, received.received_messages), (3, 12, 3));
    assert_eq!((sent, received), (client.stats(), server.stats()));
    assert_eq!((received.in_flight, received.decode_errors, received.last_error), (2, 1, ErrorCode::DECODE));
    drop(client);
    assert!(receive(&mut server).is_err());
    assert_eq!(end(&peer).stats.last_error, ErrorCode::PEER_GONE);
    drop(server);
    assert!(segments(std::process::id(), "socket").is_empty());
}

#[test]
fn no_more_sockets_are_shown_than_the_limit_says() {
    alone("limited");
}

fn limited(dir: &Path) {
    let limited = |max_shown_sockets| Options {
        shared_memory: false,
        limits: Limits { max_shown_sockets, ..Limits::default() },
        ..options(dir)
    };
    let shown = || segments(std::process::id(), "socket").len();
    let (none, first) = (limited(0), limited(3));
    let hidden = asleep(&none);
    assert_eq!(shown(), 0);
    let one = asleep(&first);
    assert_eq!(shown(), 2);
    let mut two = asleep(&first);
    assert_eq!(shown(), 3);
    drop(one);
    assert_eq!(shown(), 1);
    sleep_once(&mut two.1);
    assert_eq!(shown(), 2, "a place that is given back is taken by the next that sleeps");
    let three = asleep(&first);
    assert_eq!(shown(), 3);
    drop((hidden, two, three));
    assert_eq!(shown(), 0);
}

#[test]
fn without_stamps_the_first_message_after_a_sleep_and_the_last_before_it_are_timed() {
    alone("unstamped");
}

fn unstamped(dir: &Path) {
    let options = Options { timestamp: false, ..options(dir) };
    let (mut client, mut server) = connected(&options, &options);
    upgrade(&mut client, &mut server);
    let seen = both("ring").0;
    let pause = || std::thread::sleep(Duration::from_millis(2));
    sleep_once(&mut client);
    pause();
    exchange(&mut client, &mut server);
    let first = end(&seen).stats;
    assert!(first.sent_us > first.opened_us && first.received_us > first.opened_us);
    pause();
    exchange(&mut client, &mut server);
    let second = end(&seen).stats;
    assert_eq!((second.sent_us, second.received_us), (first.sent_us, first.received_us), "no clock was read");
    assert!(client.arm(Interest::DATA).unwrap());
    let asleep = end(&seen);
    assert!(asleep.sleeps_for_data && !asleep.sleeps_for_space);
    assert!(asleep.stats.sent_us > first.sent_us && asleep.stats.received_us > first.received_us);
    client.disarm().unwrap();
    assert!(!end(&seen).sleeps_for_data);
    // Who never sleeps is timed now and then.
    exchange(&mut client, &mut server);
    let timed = end(&seen).stats;
    assert!(timed.sent_us > asleep.stats.sent_us);
    pause();
    for _ in 0..1024 {
        client.send(b"x").unwrap();
        receive(&mut server).unwrap();
    }
    assert!(end(&seen).stats.sent_us > timed.sent_us);
}

/// Everything that an end counts happens once at least; each end's memory says what its program says, number for number.
#[test]
fn each_counter_of_the_program_is_the_one_in_memory() {
    alone("everything");
}

fn everything(dir: &Path) {
    let (mut client, mut server) = connected(&options(dir), &options(dir));
    upgrade(&mut client, &mut server);
    let live = [client.live_stats(), server.live_stats()];
    let (seen, peer) = both("ring");
    let mut ends = [client, server];
    // After each step, so that no later one shows what that one should have.
    let same = |ends: &[Connection; 2]| {
        assert_eq!(end(&seen).stats, ends[0].stats());
        assert_eq!(end(&peer).stats, ends[1].stats());
    };
    for (from, to) in [(0, 1), (1, 0)] {
        // The receiver sleeps, and is woken; the sender finds no room, sleeps, and is woken.
        assert!(ends[to].arm(Interest::DATA).unwrap());
        same(&ends);
        while ends[from].send(&[7; 900]).is_ok() {
            same(&ends);
        }
        same(&ends);
        ends[to].disarm().unwrap();
        assert!(ends[from].arm(Interest::SPACE).unwrap());
        same(&ends);
        while ends[to].try_recv().unwrap().is_some() {
            same(&ends);
        }
        ends[from].disarm().unwrap();
    }
    for at in 0..2 {
        ends[at].set_in_flight(3);
        same(&ends);
        for code in [ErrorCode::CHECKSUM, ErrorCode::DECODE] {
            ends[at].count_error(code);
            same(&ends);
        }
    }
    for ((observed, connection), live) in [seen, peer].iter().zip(&ends).zip(&live) {
        let reading = end(observed);
        let stats = reading.stats;
        assert_eq!(stats, connection.stats());
        assert_eq!(stats, live.read());
        let counted = [
            stats.sent_messages,
            stats.sent_bytes,
            stats.full,
            stats.space_parks,
            stats.data_rings,
            stats.high_water_bytes,
            stats.sent_us,
            stats.received_messages,
            stats.received_bytes,
            stats.data_parks,
            stats.space_rings,
            stats.checksum_errors,
            stats.decode_errors,
            stats.received_us,
            stats.parks,
            stats.in_flight,
            stats.errors,
            stats.last_error_us,
            stats.opened_us,
        ];
        assert!(counted.iter().all(|count| *count > 0), "{stats:?}");
        assert_eq!((stats.space_parks, stats.data_parks, stats.full), (1, 1, 1));
        assert_eq!((stats.data_rings, stats.space_rings, stats.in_flight, stats.errors), (1, 1, 3, 2));
        assert_eq!(stats.last_error, ErrorCode::DECODE);
        assert!((12 << 10..=16 << 10).contains(&stats.high_water_bytes), "a full ring of 16 KiB: {stats:?}");
        assert_eq!(reading.lie, None);
    }
}

#[test]
fn occupancy_is_what_was_sent_and_not_received() {
    alone("occupied");
}

fn occupied(dir: &Path) {
    let (mut client, mut server) = connected(&options(dir), &options(dir));
    upgrade(&mut client, &mut server);
    let (seen, peer) = both("ring");
    assert_eq!(seen.occupied_bytes(&peer), Ok(0));
    for sent in 1..=5 {
        client.send(&[0; 100]).unwrap();
        assert_eq!(seen.occupied_bytes(&peer), Ok(128 * sent));
    }
    receive(&mut server).unwrap();
    assert_eq!((seen.occupied_bytes(&peer), peer.occupied_bytes(&seen)), (Ok(128 * 4), Ok(0)));
    assert_eq!(end(&seen).stats.sent_messages, client.stats().sent_messages);
    // A batch is counted by the program at once, and for others when it is published.
    client.try_send(1, &mut |span| Ok(span.len())).unwrap();
    assert_eq!(end(&seen).stats.sent_messages + 1, client.stats().sent_messages);
    client.publish().unwrap();
    assert_eq!(end(&seen).stats.sent_messages, client.stats().sent_messages);
}

#[test]
fn a_state_says_what_was_published_and_who_has_it() {
    alone("state");
}

fn state(dir: &Path) {
    let mut writer = StateWriter::create_with_pins("pair", 100, 40, 2).unwrap();
    let name = "/memfd:strait:state:pair:server:";
    let fd = writer.memory().as_fd().try_clone_to_owned().unwrap();
    let link = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd))).unwrap();
    assert!(link.to_str().unwrap().starts_with(name));
    let observed = Observed::open(fd).unwrap();
    assert_eq!((observed.kind(), observed.slots_and_max_pins()), (Kind::State, Some((5, 2))));
    let read = || match observed.read() {
        Reading::State(state) if state.lie.is_none() => state,
        other => panic!("{other:?}"),
    };
    assert_eq!(read().stats, writer.stats());
    assert_eq!((read().stats.version, read().stats.published_us), (40, 0));
    writer.write(b"sunny").unwrap();
    writer.write(b"cloudy").unwrap();
    let stats = read().stats;
    assert_eq!((stats.version, stats.published, stats.published_bytes, stats.readers), (42, 2, 11, 0));
    assert!(stats.published_us > 0 && stats.opened_us > 0);
    assert_eq!((stats, read().owner.pid), (writer.stats(), std::process::id()));

    // SAFETY: the writer is the one above, and the memory is dropped before the connection.
    let trust = unsafe { strait_transport::HonestPeer::assume() };
    let wants = Options { state_pin: Some(trust), ..options(dir) };
    let (mut client, mut server) = connected(&wants, &options(dir));
    let memory = writer.memory().for_client();
    server.attach_state(memory.clone());
    upgrade(&mut client, &mut server);
    let reader = client.take_state().expect("it came").unwrap();
    assert_eq!((read().stats.readers, read().stats.pins), (1, 1));
    assert_eq!(read().stats, writer.stats());
    drop(reader);
    memory.revoke_pin();
    assert_eq!((read().stats.readers, read().stats.pins), (1, 0));
    drop((client, server, memory));
    assert_eq!((read().stats.readers, read().stats.pins), (0, 0));
}

#[test]
fn in_a_forked_child_nothing_is_read() {
    alone("forks");
}

fn forks(dir: &Path) {
    let (mut client, mut server) = connected(&options(dir), &options(dir));
    upgrade(&mut client, &mut server);
    let live = client.live_stats();
    let (seen, peer) = both("ring");
    in_child(|| {
        assert_eq!(end(&seen).stats.sent_messages, 0);
        assert_eq!(seen.occupied_bytes(&peer), Ok(0));
        assert_eq!(live.read().sent_messages, 0);
        drop((seen, peer));
    });
    assert!(live.read().sent_messages > 0);
}

/// A server in a process of its own, seen by this one alone.
fn serves(dir: &Path) {
    let options = Options { spin: Duration::ZERO, ..options(dir) };
    let listener = Listener::bind("pair", &options, None).unwrap();
    say("listening");
    let mut connection = listener.accept().unwrap().unwrap().handshake().unwrap();
    while let Ok(message) = receive(&mut connection) {
        send(&mut connection, &message).unwrap();
    }
    say(&format!("{:?}", connection.stats()));
    assert_eq!(hear(), "seen");
}

#[test]
fn another_process_is_seen_at_work_and_asleep_and_after_its_connection_ended() {
    let scratch = Scratch::new();
    let mut child = Child::start("serves", scratch.path());
    child.expect("listening");
    let mut client = Connection::connect("pair", &scratch.options()).unwrap();
    for _ in 0..50 {
        send(&mut client, b"to and fro").unwrap();
        receive(&mut client).unwrap();
        std::thread::sleep(Duration::from_micros(500));
    }
    let mut found = segments(child.pid(), "ring");
    assert_eq!(found.len(), 1, "the peer's descriptor is closed");
    let (side, seen) = found.pop().unwrap();
    assert_eq!(side, "server");
    assert_eq!(end(&seen).owner.pid, child.pid());
    eventually("it sleeps", || end(&seen).sleeps_for_data);
    let stats = end(&seen).stats;
    assert_eq!((stats.sent_messages, stats.received_messages, stats.received_bytes), (50, 50, 500));
    assert!(stats.parks > 25 && client.stats().data_rings > 25, "{stats:?}");
    let age = Duration::from_micros(strait_frame::now_micros() - stats.sent_us);
    assert!(age < Duration::from_secs(10), "{age:?}");
    client.close();
    drop(client);
    let said = child.line();
    eventually("its last words", || format!("{:?}", end(&seen).stats) == said);
    child.tell("seen");
    child.finish();
    assert_eq!(format!("{:?}", end(&seen).stats), said, "the memory outlives its maker");
}

#[test]
fn looking_leaves_no_descriptor_behind() {
    let scratch = Scratch::new();
    let child = Child::start("serves", scratch.path());
    child.expect("listening");
    let client = Connection::connect("pair", &scratch.options()).unwrap();
    let before = mapped();
    for _ in 0..10 {
        eventually("the server's end", || segments(child.pid(), "socket").len() == 1);
    }
    assert_eq!(mapped(), before);
    drop(client);
}

/// Mappings of somebody's segments in this process.
fn mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("strait:socket:pair:server")).count()
}

// ---- lies ----

const PID: usize = 4864;
const TAIL: usize = 4096;
const HEAD: usize = 4224;
const HIGH_WATER: usize = 4656;

/// A segment of this layout that says what it likes.
fn forged(kind: u32, total_bytes: u64, ring_capacity_bytes: u64) -> OwnRegion {
    let layout_hash = strait_transport::LAYOUT_HASH;
    let (max_message_bytes, record_align_bytes, session) = (1008, 16, [9; 16]);
    let header =
        Header { kind, layout_hash, total_bytes, ring_capacity_bytes, max_message_bytes, record_align_bytes, session };
    let region = OwnRegion::create("strait:ring:pair:client:forged", &header).unwrap();
    // ORDERING: Relaxed; one thread, here and below.
    region.store(PID, std::process::id().into(), Ordering::Relaxed);
    region
}

fn open(region: &OwnRegion) -> Result<Observed, ObserveError> {
    Observed::open(region.fd().try_clone_to_owned().unwrap())
}

#[test]
fn headers_whose_numbers_do_not_go_together_are_refused() {
    let why = |kind, total_bytes, ring| match open(&forged(kind, total_bytes, ring)) {
        Err(ObserveError::Header { why }) => why,
        other => panic!("{other:?}"),
    };
    assert!(open(&forged(1, 12288, 4096)).is_ok());
    assert_eq!(why(1, 16384, 4096), "it has 16384 bytes, expected 12288");
    assert_eq!(why(1, 12288, 2048), "its ring has 2048 bytes, expected 4096 to 67108864");
    assert_eq!(why(4, 8192, 4096), "it has a ring of 4096 bytes, expected none on a socket");
    assert!(matches!(open(&forged(9, 8192, 0)), Err(ObserveError::Kind { found: 9 })));
    assert!(matches!(open(&forged(4, 16384, 0)), Err(ObserveError::Open(_))), "larger than such a segment can be");
    assert!(matches!(open(&forged(2, 12288, 0)), Err(ObserveError::Open(_))), "another layout");
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(matches!(Observed::open(OwnedFd::from(file)), Err(ObserveError::Open(_))));
}

#[test]
fn words_that_contradict_themselves_are_told_as_lies() {
    let (own, peer) = (forged(1, 12288, 4096), forged(1, 12288, 4096));
    let (seen, other) = (open(&own).unwrap(), open(&peer).unwrap());
    let set = |region: &OwnRegion, offset, value| region.store(offset, value, Ordering::Relaxed);
    assert_eq!(end(&seen).lie, None);
    for pid in [0, (1 << 22) + 1, u64::MAX] {
        set(&own, PID, pid);
        assert_eq!((end(&seen).owner.pid, end(&seen).lie), (0, Some(Lie::Pid { found: pid })));
    }
    set(&own, PID, 1);
    set(&own, HIGH_WATER, 4097);
    assert_eq!(end(&seen).lie, Some(Lie::HighWater { found: 4097, capacity_bytes: 4096 }));
    set(&own, HIGH_WATER, 4096);
    set(&own, TAIL, 8);
    assert_eq!(end(&seen).lie, Some(Lie::Misaligned { found: 8, align_bytes: 16 }));
    assert_eq!(seen.occupied_bytes(&other), Err(Lie::Misaligned { found: 8, align_bytes: 16 }));

    let occupied = |tail, head| {
        set(&own, TAIL, tail);
        set(&peer, HEAD, head);
        seen.occupied_bytes(&other)
    };
    let apart = |tail, head| Err(Lie::Positions { tail, head, capacity_bytes: 4096 });
    assert_eq!(occupied(4096, 0), Ok(4096));
    assert_eq!(occupied(32, u64::MAX - 15), Ok(48), "positions wrap");
    assert_eq!(occupied(4112, 0), apart(4112, 0));
    assert_eq!(occupied(1 << 62, 0), apart(1 << 62, 0));
    assert_eq!(occupied(0, 64), Ok(0), "a batch was read whose tail is not shown yet");
    assert_eq!(occupied(0, 4112), apart(0, 4112));
    assert_eq!(occupied(1 << 63, 0), apart(1 << 63, 0));
}

#[test]
fn whatever_stands_in_a_segment_is_read_without_harm() {
    let (own, peer) = (forged(1, 12288, 4096), forged(1, 12288, 4096));
    let (seen, other) = (open(&own).unwrap(), open(&peer).unwrap());
    let mut state = 0x1234_5678_9ABC_DEF0u64;
    let start = Instant::now();
    for _ in 0..200 {
        for region in [&own, &peer] {
            for offset in (4096..4992).step_by(8) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let word = if state & 3 == 0 { u64::MAX } else { state >> (state & 63) };
                region.store(offset, word, Ordering::Relaxed);
            }
        }
        let (one, two) = (end(&seen).stats, end(&other).stats);
        let _ = (one.since(&two), one.plus(&two), one.rings(), one.active_us(), one.last_error.to_string());
        if let Ok(bytes) = seen.occupied_bytes(&other) {
            assert!(bytes <= 4096);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}
