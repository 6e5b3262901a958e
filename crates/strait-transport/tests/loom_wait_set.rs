//! One thread that sleeps on many connections, and is told of other things meanwhile.
//!
//! The wait set that runs between processes, over a modelled event and modelled sockets. What arming a connection promises is
//! in `loom_parking.rs` and `loom_switch.rs`.
#![cfg(strait_loom)]

mod loom_support;

use loom::thread;
use loom_support::{in_own_process, model, numbered};
use strait_sync::{
    mutant,
    primitive::{Arc, AtomicU32, Ordering},
};
use strait_transport::{Connection, Interest, Options, Transport, WaitSet, modelled};

/// A connection that stays on its socket, or moves to memory with its first messages.
fn pair(shared_memory: bool) -> (Connection, Connection) {
    let options = Options { timestamp: false, checksum: false, shared_memory, ..Options::default() };
    modelled::pair(4096, 128, &options)
}

/// Sleeps on all, unless one has something already: each that was armed is disarmed.
fn sleep(set: &WaitSet, connections: &mut [Connection]) {
    let armed = connections.iter_mut().position(|connection| !connection.arm(Interest::DATA).unwrap());
    if armed.is_none() {
        set.sleep(connections.iter(), None).unwrap();
    }
    let armed = armed.unwrap_or(connections.len());
    connections[..armed].iter_mut().for_each(|connection| connection.disarm().unwrap());
}

/// Two notices of one thread to another that sleeps whenever there is none; each tells of a number.
fn notices() {
    model(3, || {
        let (set, news) = (Arc::new(WaitSet::modelled()), Arc::new(AtomicU32::new(0)));
        let teller = {
            let (set, news) = (set.clone(), news.clone());
            thread::spawn(move || {
                for number in 1..=2 {
                    // ORDERING: Relaxed; the notice orders it.
                    news.store(number, Ordering::Relaxed);
                    set.notify();
                }
            })
        };
        let mut known = 0;
        while known < 2 {
            if set.take_notice() {
                // ORDERING: Relaxed; as above.
                let now = news.load(Ordering::Relaxed);
                assert!(now > known || now == 2, "a notice that tells of nothing: {now} after {known}");
                known = now;
            } else {
                sleep(&set, &mut []);
            }
        }
        teller.join().unwrap();
    });
}

#[test]
fn who_is_told_while_it_falls_asleep_wakes_up_and_sees_what_it_was_told_of() {
    notices();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_an_event_before_its_notice_is_slept_through() {
    in_own_process("mutant_an_event_before_its_notice_is_slept_through", || {
        mutant::with("event_before_notice", notices);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_notice_without_its_release_hides_what_it_tells_of() {
    in_own_process("mutant_a_notice_without_its_release_hides_what_it_tells_of", || {
        mutant::with("notice_relaxed", notices);
    });
}

/// Two peers send a message each and a third thread gives a notice, while one thread sleeps on both connections.
fn all_come(shared_memory: bool) {
    model(2, move || {
        let set = Arc::new(WaitSet::modelled());
        let (peers, mut ours): (Vec<_>, Vec<_>) = [pair(shared_memory), pair(false)].into_iter().unzip();
        let senders: Vec<_> = peers
            .into_iter()
            .zip(0u8..)
            .map(|(mut peer, number)| {
                thread::spawn(move || {
                    peer.send(&numbered(number, 8)).unwrap();
                    peer
                })
            })
            .collect();
        set.notify();
        let (mut came, mut noticed) = ([false; 2], false);
        while came != [true; 2] || !noticed {
            noticed |= set.take_notice();
            let before = came;
            for (connection, came) in ours.iter_mut().zip(&mut came) {
                *came |= connection.try_recv().unwrap().is_some();
            }
            if came == before && came != [true; 2] {
                sleep(&set, &mut ours);
            }
        }
        for sender in senders {
            drop(sender.join().unwrap());
        }
        drop(ours);
    });
}

#[test]
fn no_message_of_two_connections_finds_their_thread_asleep_for_ever() {
    all_come(false);
}

#[test]
fn and_while_one_of_them_moves_to_memory() {
    all_come(true);
}
