//! Sleeping and waking over the in-process transport, which has the rings and tickets of shared memory.
//!
//! The ring has 8 units of 16 bytes; a message of 16 bytes takes two, an empty one takes one.
#![cfg(strait_loom)]
#![allow(unsafe_code)]

mod loom_support;

use loom::thread;
use loom_support::{EMPTY, END, in_own_process, model, numbered, pair, receive, recv_all, send};
use strait_sync::{
    mutant,
    primitive::{Arc, Mutex},
};
use strait_transport::{Connection, Error, Interest, Transport};

/// Two messages to a receiver that sleeps for each.
fn two_messages() {
    model(3, || {
        let (mut left, mut right) = pair(false);
        let sender = thread::spawn(move || {
            for number in 0..2 {
                left.send(&numbered(number, 8)).unwrap();
            }
            left
        });
        for number in 0..2 {
            assert_eq!(receive(&mut right), Ok(number));
        }
        drop(sender.join().unwrap());
    });
}

#[test]
fn no_message_finds_its_receiver_asleep_for_ever() {
    two_messages();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_sleeper_without_its_fence_sleeps_for_ever() {
    mutant::with("sleeper_no_fence", two_messages);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_sender_without_its_fence_wakes_nobody() {
    mutant::with("ringer_no_fence", two_messages);
}

/// More than the ring holds, both ends sleeping: for room and for data. Sizes let the sender's padding move about.
fn more_than_fits(sizes: &'static [usize]) {
    model(2, move || {
        let (mut left, mut right) = pair(false);
        let sender = thread::spawn(move || {
            for (number, &size) in sizes.iter().enumerate() {
                send(&mut left, &numbered(number as u8, size));
            }
            left
        });
        for (number, &size) in sizes.iter().enumerate() {
            assert_eq!(receive(&mut right), Ok(if size == 0 { EMPTY } else { number as u8 }));
        }
        drop(sender.join().unwrap());
    });
}

#[test]
fn a_sender_that_sleeps_for_room_is_woken_though_its_ticket_is_looked_at_once_per_quarter() {
    more_than_fits(&[16, 16, 16, 16]);
}

#[test]
fn and_with_small_messages_and_padding() {
    more_than_fits(&[0, 16, 16, 0, 16]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_ticket_that_is_looked_at_once_per_lap_is_overlooked() {
    in_own_process("mutant_a_ticket_that_is_looked_at_once_per_lap_is_overlooked", || {
        mutant::with("looks_for_writers_too_rarely", || more_than_fits(&[16, 16, 16, 16]));
    });
}

#[test]
fn full_rings_both_ways_empty_themselves() {
    model(2, || {
        let (left, right) = pair(false);
        let run = |mut end: Connection| {
            let (mut sent, mut received) = (0, 0);
            while sent < 4 || received < 4 {
                let blocked = sent < 4 && end.send(&numbered(sent, 16)).is_err();
                sent += u8::from(sent < 4 && !blocked);
                match end.try_recv().unwrap() {
                    Some(message) => {
                        assert_eq!(*message, numbered(received, 16));
                        received += 1;
                    }
                    None if blocked || sent == 4 && received < 4 => {
                        end.wait_ready(Interest::data_and(blocked), None).unwrap();
                    }
                    None => {}
                }
            }
            end
        };
        let other = thread::spawn(move || run(left));
        let right = run(right);
        drop((other.join().unwrap(), right));
    });
}

/// The receiver holds a message, another thread drops it, and that must wake the sender.
#[test]
fn a_held_message_that_another_thread_drops_wakes_the_sender() {
    model(2, || {
        let (mut left, mut right) = pair(true);
        for number in 0..3 {
            left.send(&numbered(number, 16)).unwrap();
        }
        // Held, and with it the space of what comes after it.
        let held = right.try_recv().unwrap().unwrap();
        assert!(held.is_in_place());
        let sender = thread::spawn(move || {
            send(&mut left, &numbered(3, 16));
            left
        });
        let dropper = thread::spawn(move || drop(held));
        for number in 1..4 {
            assert_eq!(receive(&mut right), Ok(number));
        }
        dropper.join().unwrap();
        drop((sender.join().unwrap(), right));
    });
}

/// One thread of a process sleeps for data, another looks for room, finds it, and goes on.
fn two_threads_of_one_process() {
    model(3, || {
        let (mut left, right) = pair(false);
        let shared = Arc::new(Mutex::new(right));
        let sleeper = {
            let shared = shared.clone();
            thread::spawn(move || {
                loop {
                    let mut connection = shared.lock();
                    if let Some(message) = connection.try_recv().unwrap() {
                        assert_eq!(*message, numbered(1, 8));
                        return;
                    }
                    if !connection.arm(Interest::DATA).unwrap() {
                        continue;
                    }
                    let sleeper = connection.sleeper();
                    drop(connection);
                    sleeper.sleep(None).unwrap();
                    shared.lock().disarm().unwrap();
                }
            })
        };
        let sender = thread::spawn(move || {
            left.send(&numbered(1, 8)).unwrap();
            left
        });
        assert!(!shared.lock().arm(Interest::SPACE).unwrap(), "there is room");
        sleeper.join().unwrap();
        drop(sender.join().unwrap());
    });
}

#[test]
fn who_looks_for_room_leaves_the_ticket_of_who_sleeps_for_data() {
    two_threads_of_one_process();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_who_looks_for_room_takes_back_the_ticket_of_who_sleeps_for_data() {
    mutant::with("arm_takes_back_a_sleepers_ticket", two_threads_of_one_process);
}

#[test]
fn a_close_against_a_sleeping_receiver_is_the_end_after_all_that_was_sent() {
    model(3, || {
        let (mut left, mut right) = pair(false);
        let closer = thread::spawn(move || {
            left.send(&numbered(0, 8)).unwrap();
            left.close();
            left
        });
        assert_eq!(recv_all(&mut right), (vec![0], END));
        drop(closer.join().unwrap());
    });
}

#[test]
fn a_close_and_a_drop_at_once_is_still_a_close() {
    model(3, || {
        let (mut left, mut right) = pair(false);
        let closer = thread::spawn(move || {
            left.send(&numbered(0, 8)).unwrap();
            left.close();
        });
        assert_eq!(recv_all(&mut right), (vec![0], END));
        closer.join().unwrap();
    });
}

#[test]
fn a_drop_is_peer_gone_after_all_that_was_published() {
    model(3, || {
        let (mut left, mut right) = pair(false);
        let dropper = thread::spawn(move || left.send(&numbered(0, 8)).unwrap());
        assert_eq!(recv_all(&mut right), (vec![0], "gone"));
        dropper.join().unwrap();
    });
}

/// Both close while both send: each gets what the other's sends were taken for.
#[test]
fn a_close_against_a_send_loses_nothing_that_was_taken() {
    model(2, || {
        let (left, right) = pair(false);
        let run = |mut end: Connection| {
            let sent = end.send(&numbered(7, 8)).is_ok();
            end.close();
            let (received, _) = recv_all(&mut end);
            (sent, received, end)
        };
        let other = thread::spawn(move || run(left));
        let (sent_right, received_right, _right) = run(right);
        let (sent_left, received_left, _left) = other.join().unwrap();
        assert_eq!((received_right.len(), received_left.len()), (sent_left.into(), sent_right.into()));
    });
}

/// A sender that waits for room when its peer goes.
#[test]
fn a_drop_wakes_a_sender_that_sleeps_for_room() {
    model(3, || {
        let (mut left, right) = pair(false);
        let mut sent = 0;
        while left.send(&numbered(sent, 16)).is_ok() {
            sent += 1;
        }
        let dropper = thread::spawn(move || drop(right));
        left.wait_ready(Interest::SPACE, None).unwrap();
        assert!(matches!(left.send(&numbered(9, 16)), Err(strait_transport::SendError::Failed(Error::PeerGone))));
        dropper.join().unwrap();
    });
}
