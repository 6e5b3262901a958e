//! The switch from the socket to shared memory: that it happens, and that no message and no sleeper notices.
#![cfg(not(strait_loom))]

mod support;

use std::{
    os::fd::AsFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use strait_transport::{Connection, Error, Interest, Listener, Options, Transport, TransportKind};
use support::{
    Scratch,
    child::{Child, play, say},
    connected, end_of, exchange, in_place, is_shared, options, pattern, raw,
    raw::{ACCEPT, COMMIT, OFFER, Raw, SESSION, SWITCHED},
    receive, send, shared_pair, upgrade, within,
};

#[test]
fn roles() {
    play(&[("echo", echo), ("connect", connect), ("pipe", pipe)]);
}

fn bind(scratch: &Scratch) -> Listener {
    Listener::bind("pair", &scratch.options(), None).unwrap()
}

fn accept(listener: &Listener) -> Connection {
    listener.accept().unwrap().unwrap().handshake().unwrap()
}

/// A server process: echoes what one client sends, and says how the connection ran.
fn echo(dir: &Path) {
    // Tests say by the environment alone whether shared memory is on here.
    let options = Options { shared_memory: Options::default().shared_memory, ..options(dir) };
    let listener = Listener::bind("pair", &options, None).unwrap();
    say("ready");
    let mut connection = accept(&listener);
    while let Ok(message) = receive(&mut connection) {
        send(&mut connection, &message).unwrap();
    }
    say(&format!("{:?}", connection.transport()));
    say(connection.fallback_reason().unwrap_or("none"));
}

/// A client process.
fn connect(dir: &Path) {
    let options = Options { shared_memory: Options::default().shared_memory, ..options(dir) };
    let mut connection = Connection::connect("pair", &options).unwrap();
    for number in 0..10 {
        send(&mut connection, &pattern(number, 100)).unwrap();
        assert_eq!(*receive(&mut connection).unwrap(), *pattern(number, 100));
    }
    connection.close();
    say(&format!("{:?}", connection.transport()));
    say(connection.fallback_reason().unwrap_or("none"));
}

fn two_processes(server_env: &[(&str, &str)], client_env: &[(&str, &str)]) -> [String; 4] {
    let scratch = Scratch::new();
    let server = Child::start_with("echo", scratch.path(), server_env);
    server.expect("ready");
    let client = Child::start_with("connect", scratch.path(), client_env);
    let lines = [client.line(), client.line(), server.line(), server.line()];
    client.finish();
    server.finish();
    lines
}

#[test]
fn two_processes_meet_in_shared_memory() {
    assert_eq!(two_processes(&[], &[]), ["Shared", "none", "Shared", "none"]);
}

#[test]
fn the_environment_of_either_side_keeps_the_connection_on_its_socket() {
    let here = "switched off here (option or STRAIT_DISABLE_SHM)";
    let off = [("STRAIT_DISABLE_SHM", "1")];
    assert_eq!(two_processes(&off, &[]), ["Socket", "switched off by the peer", "Socket", here]);
    assert_eq!(two_processes(&[], &off), ["Socket", here, "Socket", "switched off by the peer"]);
    assert_eq!(two_processes(&[("STRAIT_DISABLE_SHM", "0")], &[]), ["Shared", "none", "Shared", "none"]);
}

#[test]
fn the_option_of_either_side_keeps_the_connection_on_its_socket() {
    let scratch = Scratch::new();
    let off = Options { shared_memory: false, ..scratch.options() };
    for (client, server) in [(&off, &scratch.options()), (&scratch.options(), &off)] {
        let (mut client, mut server) = connected(client, server);
        for _ in 0..5 {
            exchange(&mut client, &mut server);
        }
        for end in [&client, &server] {
            assert_eq!(end.transport(), TransportKind::Socket);
            assert!(end.fallback_reason().unwrap().contains("switched off"));
        }
    }
}

#[test]
fn an_upgrade_takes_two_messages_each_way() {
    let scratch = Scratch::new();
    let (mut client, mut server) = connected(&scratch.options(), &scratch.options());
    assert!(!is_shared(&client) && client.fallback_reason().is_none());
    exchange(&mut client, &mut server);
    exchange(&mut client, &mut server);
    assert!(client.try_recv().unwrap().is_none(), "the mark behind the last message is read here");
    assert!(is_shared(&client) && is_shared(&server));
    assert_eq!(client.stats().sent_messages, 2, "the counters go on");
    assert_eq!(server.stats().received_bytes, 8);
}

#[test]
fn who_only_sends_and_who_only_receives_upgrade_too() {
    for client_sends in [true, false] {
        let scratch = Scratch::new();
        let (client, server) = connected(&scratch.options(), &scratch.options());
        let (mut sender, mut receiver) = if client_sends { (client, server) } else { (server, client) };
        let reader = thread::spawn(move || {
            for number in 0..2_000 {
                assert_eq!(*receive(&mut receiver).unwrap(), *pattern(number, 200));
            }
            receiver
        });
        for number in 0..2_000 {
            send(&mut sender, &pattern(number, 200)).unwrap();
        }
        let receiver = reader.join().unwrap();
        assert!(is_shared(&sender) && is_shared(&receiver), "client sends: {client_sends}");
        assert_eq!((sender.stats().sent_messages, receiver.stats().received_messages), (2_000, 2_000));
        assert_eq!(sender.stats().sent_bytes, 400_000);
    }
}

#[test]
fn different_rings_each_way_and_aligned_records_are_settled() {
    let scratch = Scratch::new();
    let small = Options { ring_bytes: 4096, record_align_bytes: 64, receive: in_place(), ..scratch.options() };
    let large = Options { ring_bytes: 1 << 20, ..scratch.options() };
    let (mut client, mut server) = connected(&small, &large);
    upgrade(&mut client, &mut server);
    assert_eq!(client.limits().max_send_bytes, 1008);
    assert_eq!(client.limits().max_receive_bytes, (1 << 18) - 16);
    assert_eq!(server.limits().max_send_bytes, client.limits().max_receive_bytes);
    for number in 0..50 {
        send(&mut client, &pattern(number, 1008)).unwrap();
        send(&mut server, &pattern(number, (1 << 18) - 16)).unwrap();
        assert_eq!(*receive(&mut server).unwrap(), *pattern(number, 1008));
        assert_eq!(*receive(&mut client).unwrap(), *pattern(number, (1 << 18) - 16));
    }
}

#[test]
fn a_look_for_readiness_between_switch_and_send_leads_no_message_astray() {
    let scratch = Scratch::new();
    let (mut client, mut server) = connected(&scratch.options(), &scratch.options());
    for number in 0..20 {
        send(&mut client, &pattern(number, 10)).unwrap();
        support::eventually("data", || server.is_ready(Interest::DATA));
        send(&mut server, &pattern(number, 20)).unwrap();
        assert_eq!(*receive(&mut server).unwrap(), *pattern(number, 10));
        support::eventually("data", || client.is_ready(Interest::DATA));
        send(&mut client, b"between").unwrap();
        assert_eq!(*receive(&mut client).unwrap(), *pattern(number, 20));
        support::eventually("data", || server.is_ready(Interest::DATA));
        server.is_ready(Interest::BOTH);
        send(&mut server, b"between").unwrap();
        assert_eq!(*receive(&mut server).unwrap(), *b"between");
        client.is_ready(Interest::BOTH);
        assert_eq!(*receive(&mut client).unwrap(), *b"between");
    }
    assert!(is_shared(&client) && is_shared(&server));
}

/// Sends and receives `count` messages, each way as fast as it goes.
fn flood(mut connection: Connection, count: u64, len: usize) -> Connection {
    let (mut sent, mut received) = (0, 0);
    while sent < count || received < count {
        let mut moved = false;
        while sent < count && connection.send(&pattern(sent, len + sent as usize % 64)).is_ok() {
            (sent, moved) = (sent + 1, true);
        }
        while received < count
            && let Some(message) = connection.try_recv().unwrap()
        {
            assert_eq!(*message, *pattern(received, len + received as usize % 64), "message {received}");
            (received, moved) = (received + 1, true);
        }
        if !moved {
            connection.wait_ready(Interest::data_and(sent < count), support::soon()).unwrap();
        }
    }
    connection
}

#[test]
fn messages_in_flight_both_ways_across_the_switch_arrive_once_and_in_order() {
    within(Duration::from_secs(60), || {
        for round in 0..30 {
            let scratch = Scratch::new();
            let len = [0, 100, 1_000, 3_900][round % 4];
            let (client, server) = connected(&scratch.options(), &scratch.options());
            let done = Arc::new(AtomicU32::new(0));
            let run = move |connection, done: Arc<AtomicU32>| {
                let mut connection = flood(connection, 400, len);
                done.fetch_add(1, Ordering::Relaxed);
                // The last of it may still wait for the socket: it goes out with later calls.
                while done.load(Ordering::Relaxed) < 2 {
                    let soon = std::time::Instant::now() + Duration::from_millis(1);
                    connection.wait_ready(Interest::DATA, Some(soon)).unwrap();
                }
                connection
            };
            let server = {
                let done = done.clone();
                thread::spawn(move || run(server, done))
            };
            let mut client = run(client, done);
            let mut server = server.join().unwrap();
            upgrade(&mut client, &mut server);
        }
    });
}

fn pipe(dir: &Path) {
    let connection = Connection::connect("pair", &options(dir)).unwrap();
    let mut connection = flood(connection, 3_000, 500);
    connection.close();
    // The other process has read all of it when it hangs up.
    let end = end_of(&mut connection);
    assert!(matches!(end, Error::Closed), "{end:?}");
    say(&format!("{:?}", connection.transport()));
}

#[test]
fn two_processes_flood_each_other_across_the_switch() {
    let scratch = Scratch::new();
    let listener = bind(&scratch);
    let child = Child::start("pipe", scratch.path());
    let mut connection = flood(accept(&listener), 3_000, 500);
    assert!(matches!(end_of(&mut connection), Error::Closed));
    connection.close();
    drop(connection);
    child.expect("Shared");
    child.finish();
}

#[test]
fn by_hand_the_whole_upgrade_goes_as_documented() {
    let scratch = Scratch::new();
    let listener = bind(&scratch);
    let accepting = thread::spawn(move || accept(&listener));
    let mut raw = Raw::welcomed(scratch.path(), "pair");
    let mut connection = accepting.join().unwrap();
    raw.send(&raw::data(b"one"));
    raw.send_with(&raw::segment_frame(OFFER, SESSION), &[raw::segment(SESSION).as_fd()]);
    raw.send(&raw::data(b"two"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"one");
    assert_eq!(*receive(&mut connection).unwrap(), *b"two");
    let (accept, fds) = raw.control_with();
    assert_eq!((accept[0], fds.len(), &accept[16..]), (ACCEPT, 1, &SESSION[..]));
    send(&mut connection, b"three").unwrap();
    assert_eq!(raw.data(), b"three");
    raw.send(&raw::frame(true, &[COMMIT]));
    support::eventually("the switch", || {
        let _ = connection.wait_ready(Interest::DATA, Some(std::time::Instant::now()));
        is_shared(&connection)
    });
    assert_eq!(raw.control(), [SWITCHED]);
    send(&mut connection, b"in the ring").unwrap();
    raw.set_patience(Duration::from_millis(50));
    let mut byte = [0];
    assert!(std::io::Read::read(&mut raw.stream, &mut byte).is_err(), "nobody sleeps there, so no doorbell either");
    // What lies where, as docs/PROTOCOL.md says: the record begins at offset 8192.
    let mut record = [0; 32];
    assert_eq!(rustix::io::pread(&fds[0], &mut record, 8192).unwrap(), 32);
    assert_eq!(u32::from_le_bytes(record[..4].try_into().unwrap()), 1 << 31 | 11);
    assert_eq!(&record[16..27], b"in the ring");
    assert_eq!(u32::from_le_bytes(record[12..16].try_into().unwrap()), strait_frame::checksum(b"in the ring"));
}

#[test]
fn a_peer_that_reads_nothing_while_it_switches_does_not_stop_the_other_from_reading() {
    // The server's socket is full when the client commits: `Switched` has to wait, and the client's ring is read all the same.
    within(Duration::from_secs(20), || {
        let scratch = Scratch::new();
        let (mut client, mut server) = connected(&scratch.options(), &scratch.options());
        send(&mut client, b"hello").unwrap();
        assert_eq!(*receive(&mut server).unwrap(), *b"hello");
        // The offer is answered, and much more follows it until the socket is full.
        let mut sent = 0;
        while server.send(&pattern(sent, 4_000)).is_ok() {
            sent += 1;
        }
        // The client reads one message, and with that the accept.
        let reading = receive(&mut client).unwrap();
        assert_eq!(*reading, *pattern(0, 4_000));
        let writer = thread::spawn(move || {
            // Far more than the ring holds, without reading anything.
            for number in 0..100 {
                send(&mut client, &pattern(number, 3_000)).unwrap();
            }
            client
        });
        for number in 0..100 {
            assert_eq!(*receive(&mut server).unwrap(), *pattern(number, 3_000));
        }
        let mut client = writer.join().unwrap();
        for number in 1..sent {
            assert_eq!(*receive(&mut client).unwrap(), *pattern(number, 4_000));
        }
        send(&mut server, b"last").unwrap();
        assert_eq!(*receive(&mut client).unwrap(), *b"last");
        assert!(is_shared(&client) && is_shared(&server));
    });
}

#[test]
fn a_thread_that_sleeps_while_another_switches_the_connection_is_woken() {
    // Two threads share the client's connection as a driver does: one sleeps without the lock, the other reads.
    within(Duration::from_secs(20), || {
        for _ in 0..20 {
            let scratch = Scratch::new();
            let (mut client, mut server) = connected(&scratch.options(), &scratch.options());
            send(&mut client, b"one").unwrap();
            assert_eq!(*receive(&mut server).unwrap(), *b"one");
            // The accept lies in the socket unless the client's own send has read it already.
            let armed = client.arm(Interest::DATA).unwrap();
            let sleeper = client.sleeper();
            let sleeping =
                thread::spawn(
                    move || if armed { sleeper.sleep(support::soon()) } else { Ok(strait_transport::Wake::Ready) },
                );
            thread::sleep(Duration::from_millis(5));
            for _ in 0..20 {
                let _ = client.try_recv().unwrap();
                let _ = server.try_recv().unwrap();
                thread::sleep(Duration::from_millis(1));
            }
            assert!(is_shared(&client) && is_shared(&server));
            // No ticket was shown for the sleeper in the ring: it must not sleep through this.
            assert_eq!(sleeping.join().unwrap().unwrap(), strait_transport::Wake::Ready);
            client.disarm().unwrap();
            send(&mut server, b"two").unwrap();
            assert_eq!(*receive(&mut client).unwrap(), *b"two");
        }
    });
}

#[test]
fn a_thread_that_armed_before_a_switch_and_sleeps_only_after_it_is_woken() {
    let scratch = Scratch::new();
    let (mut client, mut server) = connected(&scratch.options(), &scratch.options());
    send(&mut client, b"one").unwrap();
    assert_eq!(*receive(&mut server).unwrap(), *b"one");
    assert!(client.arm(Interest::DATA).unwrap());
    let sleeper = client.sleeper();
    for _ in 0..10 {
        // What another thread with the connection does.
        assert!(client.try_recv().unwrap().is_none());
        assert!(server.try_recv().unwrap().is_none());
    }
    assert!(is_shared(&client) && is_shared(&server));
    assert_eq!(sleeper.sleep(support::soon()).unwrap(), strait_transport::Wake::Ready, "nobody rings for it");
    client.disarm().unwrap();
    send(&mut server, b"two").unwrap();
    assert_eq!(*receive(&mut client).unwrap(), *b"two");
}

#[test]
fn a_thread_that_sleeps_while_anothers_message_is_half_sent_sends_the_rest() {
    within(Duration::from_secs(20), || {
        let scratch = Scratch::new();
        let off = Options { shared_memory: false, ring_bytes: 1 << 20, ..scratch.options() };
        let (mut client, mut server) = connected(&off, &off);
        assert!(client.arm(Interest::DATA).unwrap());
        let sleeper = client.sleeper();
        let sleeping = thread::spawn(move || sleeper.sleep(support::soon()).unwrap());
        thread::sleep(Duration::from_millis(20));
        // Two thirds of it find no room in the socket.
        let mut sent = 0;
        while client.send(&pattern(sent, 200_000)).is_ok() {
            sent += 1;
        }
        let reader = thread::spawn(move || {
            for number in 0..sent {
                assert_eq!(*receive(&mut server).unwrap(), *pattern(number, 200_000));
            }
        });
        assert_eq!(sleeping.join().unwrap(), strait_transport::Wake::Ready);
        client.disarm().unwrap();
        support::eventually("all is sent", || {
            let _ = client.publish();
            reader.is_finished()
        });
        reader.join().unwrap();
    });
}

#[test]
fn messages_of_a_shared_pair_are_where_they_are_said_to_be() {
    let scratch = Scratch::new();
    let (mut client, mut server) = shared_pair(&scratch);
    send(&mut client, b"x").unwrap();
    assert_eq!(receive(&mut server).unwrap().transport(), TransportKind::Shared);
}
