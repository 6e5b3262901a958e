//! One thread asleep on many connections.
#![cfg(not(strait_loom))]

mod support;

use std::time::{Duration, Instant};

use strait_transport::{Connection, Error, Interest, Options, Transport, WaitSet, Wake, local};
use support::*;

/// Three connected pairs: one in shared memory, one that moves there with its first messages, one on its socket.
fn pairs(scratch: &Scratch) -> (Vec<Connection>, Vec<Connection>) {
    let socket = Options { shared_memory: false, ..scratch.options() };
    let pairs = [
        shared_pair(scratch),
        connected(&scratch.options(), &scratch.options()),
        connected(&socket, &scratch.options()),
    ];
    pairs.into_iter().unzip()
}

/// Sleeps on all until one has something, and returns which.
fn wait(set: &WaitSet, connections: &mut [Connection], deadline: Option<Instant>) -> Option<usize> {
    loop {
        if let Some(ready) = connections.iter_mut().position(|connection| connection.is_ready(Interest::DATA)) {
            return Some(ready);
        }
        let armed = connections.iter_mut().position(|connection| !connection.arm(Interest::DATA).unwrap());
        let woken = match armed {
            None => set.sleep(connections.iter(), deadline).unwrap(),
            Some(_) => Wake::Ready,
        };
        let armed = armed.unwrap_or(connections.len());
        connections[..armed].iter_mut().for_each(|connection| connection.disarm().unwrap());
        if woken == Wake::TimedOut || set.take_notice() {
            return None;
        }
    }
}

#[test]
fn whoever_sends_wakes_the_one_that_sleeps_on_all() {
    within(PATIENCE, || {
        let scratch = Scratch::new();
        let (mut clients, mut servers) = pairs(&scratch);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0..60 {
                    // Sometimes before the other sleeps, mostly after.
                    std::thread::sleep(Duration::from_micros(50 * (turn % 7)));
                    exchange_alone(&mut clients[turn as usize % 3], turn);
                }
            });
            let set = WaitSet::new().unwrap();
            for turn in 0..60u64 {
                let message = loop {
                    let ready = wait(&set, &mut servers, None).expect("nobody notified");
                    if let Some(message) = servers[ready].try_recv().unwrap() {
                        servers[ready].send(&message).unwrap();
                        break message;
                    }
                };
                assert_eq!(*message, turn.to_le_bytes());
            }
        });
    });
}

fn exchange_alone(client: &mut Connection, turn: u64) {
    send(client, &turn.to_le_bytes()).unwrap();
    assert_eq!(*receive(client).unwrap(), turn.to_le_bytes());
}

#[test]
fn a_peer_that_goes_ends_the_sleep() {
    within(PATIENCE, || {
        for who in 0..3 {
            let scratch = Scratch::new();
            let (mut clients, mut servers) = pairs(&scratch);
            let leaves = clients.swap_remove(who);
            let thread = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(30));
                drop(leaves);
            });
            let ready = wait(&WaitSet::new().unwrap(), &mut servers, None).unwrap();
            assert_eq!(ready, who);
            assert!(matches!(end_of(&mut servers[ready]), Error::PeerGone));
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_notice_and_a_deadline_end_the_sleep_and_nothing_else_does() {
    within(PATIENCE, || {
        let scratch = Scratch::new();
        let (_clients, mut servers) = pairs(&scratch);
        let set = WaitSet::new().unwrap();
        let start = Instant::now();
        assert_eq!(wait(&set, &mut servers, Some(start + Duration::from_millis(50))), None);
        assert!(start.elapsed() >= Duration::from_millis(50));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                set.notify();
            });
            assert_eq!(wait(&set, &mut servers, None), None);
        });
        assert!(start.elapsed() >= Duration::from_millis(80));
    });
}

#[test]
fn a_connection_inside_the_process_is_refused() {
    let (left, _right) = local::pair(&Options::default()).unwrap();
    assert!(matches!(WaitSet::new().unwrap().sleep([&left], soon()), Err(Error::Usage(_))));
}
