//! What a third party sees from outside.

mod support;

use std::{fs::File, os::fd::OwnedFd};

use strait_transport::{
    Options, Transport,
    observe::{EndReading, Kind, Observed, Reading},
};
use support::{Scratch, connected, exchange, upgrade};

/// The segments of `service` that this process has open, as `/proc` shows them.
fn segments(kind: &str, service: &str) -> Vec<Observed> {
    let name = format!("/memfd:strait:{kind}:{service}:");
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let ours = entries
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with(&name)));
    ours.map(|entry| Observed::open(OwnedFd::from(File::open(entry.path()).unwrap())).unwrap()).collect()
}

fn end(observed: &Observed) -> EndReading {
    match observed.read() {
        Reading::End(end) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_ends_of_a_socket_are_found_by_one_session_and_go_when_the_rings_come() {
    let scratch = Scratch::new();
    let (mut client, mut server) = connected(&scratch.options(), &scratch.options());
    let found = segments("socket", "pair");
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].session(), found[1].session());
    assert_eq!((found[0].kind(), found[0].ring_capacity_bytes()), (Kind::Socket, 0));
    assert_eq!(end(&found[0]).owner.pid, std::process::id());
    upgrade(&mut client, &mut server);
    assert!(segments("socket", "pair").is_empty());
    let found = segments("ring", "pair");
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].session(), found[1].session());
    let sent: u64 = found.iter().map(|observed| end(observed).stats.sent_messages).sum();
    assert_eq!(sent, client.stats().sent_messages + server.stats().sent_messages);
    drop((client, server));
    assert!(segments("ring", "pair").is_empty());
}

#[test]
fn a_connection_that_stays_on_its_socket_counts_there() {
    let scratch = Scratch::new();
    let options = Options { shared_memory: false, ..scratch.options() };
    let (mut client, mut server) = connected(&options, &options);
    for _ in 0..3 {
        exchange(&mut client, &mut server);
    }
    for observed in segments("socket", "pair") {
        let end = end(&observed);
        assert_eq!((end.stats.sent_messages, end.stats.received_bytes), (3, 12));
        assert!(end.stats.sent_us > 0 && end.stats.received_us > 0 && end.lie.is_none());
    }
}
