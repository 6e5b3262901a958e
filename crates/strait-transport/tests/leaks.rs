//! Nothing stays behind: descriptors and mappings are counted, one test at a time.
#![cfg(not(strait_loom))]

mod support;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use strait_transport::{Connection, Error, Listener, Options, SendError, Transport, TransportKind};
use support::{
    Scratch,
    child::{Child, hear, play, say},
    connected, end_of, exchange, in_place, mapped_segments, open_fds, options, raw,
    raw::Raw,
    receive, send, shared_pair, upgrade,
};

#[test]
fn roles() {
    play(&[("steps", steps), ("server_steps", server_steps)]);
}

/// The tests of this file count what the whole process has.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deaths are told within this.
const PROMPT: Duration = Duration::from_secs(2);

fn accept(listener: &Listener) -> Connection {
    listener.accept().unwrap().unwrap().handshake().unwrap()
}

/// A call that moves the upgrade one step on.
fn step(connection: &mut Connection, number: u64) {
    match number {
        0 | 3 | 6 => drop(connection.send(b"step")),
        _ => drop(connection.try_recv()),
    }
}

/// A client that goes as many steps as it is told.
fn steps(dir: &Path) {
    let mut connection = Connection::connect("pair", &options(dir)).unwrap();
    say("connected");
    let mut number = 0;
    while hear() == "step" {
        step(&mut connection, number);
        number += 1;
        say("done");
    }
}

/// A server that goes as many steps as it is told.
fn server_steps(dir: &Path) {
    let listener = Listener::bind("pair", &options(dir), None).unwrap();
    say("listening");
    let mut connection = accept(&listener);
    say("connected");
    let mut number = 0;
    while hear() == "step" {
        step(&mut connection, number);
        number += 1;
        say("done");
    }
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

#[test]
fn a_client_that_is_killed_at_any_step_of_the_upgrade_is_gone_and_leaks_nothing() {
    let _alone = alone();
    let mut kinds = Vec::new();
    let fds = open_fds();
    // Client and server steps take turns; after each number of them the client dies.
    for deaths in 0..14 {
        let scratch = Scratch::new();
        let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
        let mut client = Child::start("steps", scratch.path());
        let mut connection = accept(&listener);
        client.expect("connected");
        for number in 0..deaths {
            if number % 2 == 0 {
                client.tell("step");
                client.expect("done");
            } else {
                step(&mut connection, number / 2);
            }
        }
        client.kill();
        assert_ends(&mut connection, &format!("after {deaths} steps"));
        kinds.push(connection.transport());
        drop((connection, listener, client));
        assert_eq!(mapped_segments(), 0, "after {deaths} steps");
    }
    assert_eq!(open_fds(), fds);
    assert!(kinds.contains(&TransportKind::Socket) && kinds.contains(&TransportKind::Shared), "{kinds:?}");
}

#[test]
fn a_server_that_is_killed_at_any_step_of_the_upgrade_is_gone_and_leaks_nothing() {
    let _alone = alone();
    let mut kinds = Vec::new();
    let fds = open_fds();
    for deaths in 0..14 {
        let scratch = Scratch::new();
        let mut server = Child::start("server_steps", scratch.path());
        server.expect("listening");
        let mut connection = Connection::connect("pair", &scratch.options()).unwrap();
        server.expect("connected");
        for number in 0..deaths {
            if number % 2 == 1 {
                server.tell("step");
                server.expect("done");
            } else {
                step(&mut connection, number / 2);
            }
        }
        server.kill();
        assert_ends(&mut connection, &format!("after {deaths} steps"));
        kinds.push(connection.transport());
        drop((connection, server));
        assert_eq!(mapped_segments(), 0, "after {deaths} steps");
    }
    assert_eq!(open_fds(), fds);
    assert!(kinds.contains(&TransportKind::Socket) && kinds.contains(&TransportKind::Shared), "{kinds:?}");
}

/// Bytes of all shared memory in the system, as the kernel counts it.
fn shmem_bytes() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = meminfo.lines().find(|line| line.starts_with("Shmem:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn two_hundred_connections_leave_no_descriptor_no_mapping_and_no_memory() {
    let _alone = alone();
    let scratch = Scratch::new();
    let options = Options { ring_bytes: 1 << 20, ..scratch.options() };
    let listener = Listener::bind("pair", &options, None).unwrap();
    let cycle = |number: u32| {
        let accepting = std::thread::scope(|scope| {
            let server = scope.spawn(|| accept(&listener));
            let client = Connection::connect("pair", &options).unwrap();
            (client, server.join().unwrap())
        });
        let (mut client, mut server) = accepting;
        match number % 4 {
            0 => {}
            1 => exchange(&mut client, &mut server),
            _ => upgrade(&mut client, &mut server),
        }
        if number.is_multiple_of(3) {
            client.close();
        }
    };
    (0..8).for_each(cycle);
    let (fds, shmem) = (open_fds(), shmem_bytes());
    (0..200).for_each(cycle);
    assert_eq!(open_fds(), fds);
    assert_eq!(mapped_segments(), 0);
    assert_eq!(listener.clients(), 0);
    // 100 upgrades of 2 MiB would show; what else runs on the machine should not.
    assert!(shmem_bytes() < shmem + (64 << 20), "{} -> {}", shmem, shmem_bytes());
}

#[test]
fn a_held_message_keeps_the_memory_and_its_drop_frees_it() {
    let _alone = alone();
    let scratch = Scratch::new();
    let options = Options { receive: in_place(), ..scratch.options() };
    let (mut client, mut server) = connected(&options, &options);
    upgrade(&mut client, &mut server);
    send(&mut client, b"kept").unwrap();
    let held = receive(&mut server).unwrap();
    assert!(held.is_in_place());
    assert_eq!(mapped_segments(), 4);
    drop((client, server));
    assert_eq!(mapped_segments(), 2, "both memories of the end that holds it");
    assert_eq!(*held, *b"kept");
    drop(held);
    assert_eq!(mapped_segments(), 0);
}

#[test]
fn an_upgraded_connection_has_three_descriptors_an_end_at_most() {
    let _alone = alone();
    let fds = open_fds();
    let scratch = Scratch::new();
    let (client, server) = shared_pair(&scratch);
    // Socket, pidfd, own segment; the peer's was closed when it was mapped.
    assert!(open_fds() <= fds + 6, "{} -> {}", fds, open_fds());
    drop((client, server));
    assert_eq!(open_fds(), fds);
}

#[test]
fn descriptors_that_come_with_messages_are_closed() {
    let _alone = alone();
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let accepting = std::thread::spawn(move || accept(&listener));
    let mut raw = Raw::welcomed(scratch.path(), "pair");
    let mut connection = accepting.join().unwrap();
    let extra = raw::segment(raw::SESSION);
    let borrowed = std::os::fd::AsFd::as_fd(&extra);
    raw.send(&raw::data(b"first"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"first");
    let fds = open_fds();
    for number in 0..100u64 {
        raw.send_with(&raw::data(&number.to_le_bytes()), &[borrowed; 3]);
        assert_eq!(*receive(&mut connection).unwrap(), number.to_le_bytes());
    }
    assert!(connection.try_recv().unwrap().is_none());
    assert!(open_fds() <= fds + 3, "{} -> {}", fds, open_fds());
    // And none of them is taken for the segment of an offer.
    raw.send_with(&raw::segment_frame(raw::OFFER, raw::SESSION), &[borrowed]);
    raw.send(&raw::data(b"last"));
    assert_eq!(*receive(&mut connection).unwrap(), *b"last");
    assert_eq!(raw.control()[0], raw::ACCEPT);
    drop(connection);
}

#[test]
fn more_descriptors_than_any_frame_takes_end_the_connection() {
    let _alone = alone();
    let scratch = Scratch::new();
    let listener = Listener::bind("pair", &scratch.options(), None).unwrap();
    let accepting = std::thread::spawn(move || accept(&listener));
    let mut raw = Raw::welcomed(scratch.path(), "pair");
    let mut connection = accepting.join().unwrap();
    let fds = open_fds();
    let extra = raw::segment(raw::SESSION);
    let half = raw::segment_frame(raw::OFFER, raw::SESSION);
    for byte in &half[..20] {
        // Each byte of a control frame brings three: the frame could still take them.
        raw.send_with(&[*byte], &[std::os::fd::AsFd::as_fd(&extra); 3]);
    }
    let end = end_of(&mut connection);
    assert!(matches!(&end, Error::Corrupt { what } if what.contains("descriptors")), "{end:?}");
    drop(connection);
    drop((raw, extra));
    assert!(open_fds() < fds);
}
