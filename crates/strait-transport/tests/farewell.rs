//! How the end of a peer is told to a side that sends before it has read all that the peer had to say.
#![cfg(not(strait_loom))]

mod support;

use std::{io::Write, net::Shutdown, os::unix::net::UnixListener, time::Instant};

use strait_transport::{Connection, Error, SendError, Transport};
use support::{
    PATIENCE, Scratch,
    raw::{self, CLOSE, Raw},
    receive,
};

/// A client whose server has sent `count` messages and `last`, and has hung up before the client says a word.
fn client_of(count: u32, last: &[u8]) -> (Connection, Scratch) {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.path().join("raw.sock")).unwrap();
    let last = last.to_vec();
    let server = std::thread::spawn(move || {
        let mut raw = Raw::serve(&listener);
        for number in 0..count {
            raw.send(&raw::data(&number.to_le_bytes()));
        }
        raw.send(&last);
    });
    let client = Connection::connect("raw", &scratch.options()).unwrap();
    server.join().unwrap();
    (client, scratch)
}

/// Sends until that fails, and says how.
fn refusal(client: &mut Connection) -> Error {
    loop {
        match client.send(b"late") {
            Ok(()) => {}
            Err(SendError::Failed(error)) => return error,
            Err(other) => panic!("{other}"),
        }
    }
}

fn all_arrive(client: &mut Connection, count: u32) {
    for number in 0..count {
        assert_eq!(*receive(client).unwrap(), number.to_le_bytes());
    }
}

#[test]
fn who_sends_to_a_peer_that_has_closed_in_good_order_is_told_so_and_still_gets_what_it_sent() {
    for count in [0, 1, 100] {
        let (mut client, _scratch) = client_of(count, &raw::frame(true, &[CLOSE]));
        let refused = refusal(&mut client);
        assert!(matches!(refused, Error::Closed), "{count}: {refused:?}");
        assert!(matches!(client.publish(), Err(Error::Closed)));
        all_arrive(&mut client, count);
        assert!(matches!(receive(&mut client), Err(Error::Closed)));
        assert!(matches!(refusal(&mut client), Error::Closed));
    }
}

#[test]
fn who_sends_to_a_peer_that_has_gone_without_a_word_is_told_so() {
    for count in [0, 1, 100] {
        let (mut client, _scratch) = client_of(count, &[]);
        assert!(matches!(refusal(&mut client), Error::PeerGone), "{count}");
        all_arrive(&mut client, count);
        assert!(matches!(receive(&mut client), Err(Error::PeerGone)));
    }
}

#[test]
fn nonsense_before_the_end_is_told_as_what_it_is() {
    let (mut client, _scratch) = client_of(3, &raw::frame(true, &[99]));
    assert!(matches!(refusal(&mut client), Error::Corrupt { .. }));
    all_arrive(&mut client, 3);
    assert!(matches!(receive(&mut client), Err(Error::Corrupt { .. })));
}

#[test]
fn a_peer_that_reads_no_more_and_sends_without_end_holds_up_no_send() {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.path().join("raw.sock")).unwrap();
    let flood = std::thread::spawn(move || {
        let mut raw = Raw::serve(&listener);
        raw.stream.shutdown(Shutdown::Read).unwrap();
        let message = raw::data(&[7; 4000]);
        while raw.stream.write_all(&message).is_ok() {}
    });
    let mut client = Connection::connect("raw", &scratch.options()).unwrap();
    let start = Instant::now();
    while client.send(b"unheard").is_ok() {}
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    for _ in 0..1000 {
        assert_eq!(*receive(&mut client).unwrap(), [7; 4000]);
    }
    drop(client);
    flood.join().unwrap();
}
