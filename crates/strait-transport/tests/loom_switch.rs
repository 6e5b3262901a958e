//! The switch from the socket to the rings, with messages in flight.
//!
//! The code that runs between processes, over a modelled kernel: frames, handshake from `Offer` to `Switched`, rings,
//! doorbells. A ring has 8 units of 16 bytes; a message of 16 bytes takes two.
#![cfg(strait_loom)]
#![allow(unsafe_code)]

mod loom_support;

use loom::thread;
use loom_support::{END, in_own_process, model, numbered, receive, recv_all, send};
use strait_sync::{
    mutant,
    primitive::{Arc, Mutex},
};
use strait_transport::{
    Connection, Error, HonestPeer, Interest, Message, Options, Receive, SendError, Transport,
    modelled::{self, Voice},
};

/// Bytes of a ring: 8 units of 16.
const RING: u64 = 128;
/// Bytes that a socket holds each way: never full.
const ROOMY: usize = 4096;
/// Two frames with messages and part of a third.
const TIGHT: usize = 80;

fn pair(socket_bytes: usize) -> (Connection, Connection) {
    let options = Options { timestamp: false, checksum: false, ..Options::default() };
    modelled::pair(socket_bytes, RING, &options)
}

fn in_place_pair(socket_bytes: usize) -> (Connection, Connection) {
    // SAFETY: both ends are in the model and go by the protocol.
    let receive = Receive::InPlace(unsafe { HonestPeer::assume() });
    let options = Options { timestamp: false, checksum: false, receive, ..Options::default() };
    modelled::pair(socket_bytes, RING, &options)
}

/// Sends back what comes, until the peer closes.
fn echo(mut server: Connection) {
    loop {
        match receive(&mut server) {
            Ok(number) => send(&mut server, &numbered(number, 8)),
            Err(END) => break,
            Err(other) => panic!("{other}"),
        }
    }
    server.close();
    server.flush(None).unwrap();
}

/// `count` calls, of which `window` are in flight at a time.
fn calls(socket_bytes: usize, count: u8, window: u8) {
    model(2, move || {
        let (mut client, server) = pair(socket_bytes);
        let server = thread::spawn(move || echo(server));
        let mut sent = 0;
        for answered in 0..count {
            while sent < count && sent - answered < window {
                send(&mut client, &numbered(sent, 8));
                sent += 1;
            }
            assert_eq!(receive(&mut client), Ok(answered), "out of order, lost or twice");
        }
        client.close();
        assert_eq!(receive(&mut client), Err(END));
        server.join().unwrap();
    });
}

#[test]
fn calls_one_at_a_time_cross_the_switch() {
    calls(ROOMY, 3, 1);
}

#[test]
fn calls_in_flight_cross_the_switch_once_and_in_order() {
    calls(ROOMY, 6, 2);
}

#[test]
fn and_through_a_socket_that_is_often_full() {
    calls(TIGHT, 3, 3);
}

#[test]
#[should_panic(expected = "out of order, lost or twice")]
fn mutant_a_client_that_reads_the_ring_before_the_last_of_the_socket_is_out_of_order() {
    mutant::with("switch_reads_the_ring_early", || calls(ROOMY, 6, 2));
}

/// Sends and receives as each goes, until both are done.
fn exchange(end: &mut Connection, sent: u8, to_send: u8, mut received: u8, to_receive: u8) {
    exchange_until(end, sent, to_send, &mut received, |_| false, to_receive);
    end.flush(None).unwrap();
}

/// As `exchange`, until `enough` says so of a message.
fn exchange_until(
    end: &mut Connection,
    mut sent: u8,
    to_send: u8,
    received: &mut u8,
    mut enough: impl FnMut(Message) -> bool,
    to_receive: u8,
) {
    while sent < to_send || *received < to_receive {
        let blocked = sent < to_send && matches!(end.send(&numbered(sent, 16)), Err(SendError::Full));
        if sent < to_send && !blocked {
            sent += 1;
            continue;
        }
        match end.try_recv().unwrap() {
            Some(message) => {
                assert_eq!(*message, numbered(*received, 16), "out of order, lost or twice");
                *received += 1;
                if enough(message) {
                    return;
                }
            }
            None if sent < to_send || *received < to_receive => {
                end.wait_ready(Interest::data_and(blocked), None).unwrap();
            }
            None => {}
        }
    }
}

/// Both send on their own account through a socket that is soon full: the server's `Switched` waits behind its messages, while
/// it reads the ring already.
fn streams(to_server: u8, to_client: u8) {
    model(2, move || {
        let (mut client, mut server) = pair(TIGHT);
        let server = thread::spawn(move || {
            assert_eq!(receive(&mut server), Ok(0));
            exchange(&mut server, 0, to_client, 1, to_server);
            server
        });
        exchange(&mut client, 0, to_server, 0, to_client);
        drop(server.join().unwrap());
    });
}

#[test]
fn streams_both_ways_cross_the_switch() {
    streams(9, 5);
}

#[test]
#[should_panic(expected = "left: [1, ")]
fn mutant_a_doorbell_between_frames() {
    mutant::with("switch_rings_between_frames", || streams(9, 5));
}

/// The server holds the first message of the ring while its `Switched` waits for room in the socket; another thread of it drops
/// that message as the frame goes out, and the client, which has just read the frame, waits for the room.
fn held_over_the_switch() {
    model(2, || {
        let (mut client, mut server) = in_place_pair(TIGHT);
        let server = thread::spawn(move || {
            assert_eq!(receive(&mut server), Ok(0));
            let (mut received, mut held) = (1, None);
            let in_ring = |message: Message| {
                held = message.is_in_place().then_some(message);
                held.is_some()
            };
            exchange_until(&mut server, 0, 3, &mut received, in_ring, 6);
            let dropper = thread::spawn(move || drop(held));
            server.flush(None).unwrap();
            exchange(&mut server, 0, 0, received, 6);
            dropper.join().unwrap();
            server
        });
        exchange(&mut client, 0, 6, 0, 3);
        drop(server.join().unwrap());
    });
}

#[test]
fn a_message_held_over_the_switch_gives_its_room_back() {
    held_over_the_switch();
}

/// One thread lets doorbells out, while another has one to ring.
fn ring_as_it_is_unmuted() {
    model(3, || {
        let voice = Arc::new(Voice::default());
        voice.mute();
        let other = voice.clone();
        let rings = thread::spawn(move || other.may_ring());
        let owed = voice.unmute();
        assert!(rings.join().unwrap() != owed, "rung by nobody, or twice");
    });
}

#[test]
fn a_doorbell_that_was_held_back_is_rung_once() {
    ring_as_it_is_unmuted();
}

#[test]
#[should_panic(expected = "rung by nobody")]
fn mutant_a_doorbell_that_was_held_back_is_forgotten() {
    mutant::with("voice_forgets_what_it_owes", ring_as_it_is_unmuted);
}

/// One thread of the server sleeps until something comes, another just looks, and it is the one that finds `Commit`: the
/// sleeper must learn that what it waits for comes by the ring from now on.
fn two_threads_of_the_server() {
    model(2, || {
        let (mut client, server) = pair(ROOMY);
        let server = Arc::new(Mutex::new((server, Vec::new())));
        let sleeper = {
            let server = server.clone();
            thread::spawn(move || {
                loop {
                    let mut both = server.lock();
                    let (connection, received) = &mut *both;
                    match connection.try_recv() {
                        Ok(Some(message)) => received.push(message[0]),
                        Ok(None) if connection.arm(Interest::DATA).unwrap() => {
                            let sleeper = connection.sleeper();
                            drop(both);
                            sleeper.sleep(None).unwrap();
                            server.lock().0.disarm().unwrap();
                        }
                        Ok(None) => {}
                        Err(Error::Closed) => break,
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        };
        let looker = {
            let server = server.clone();
            thread::spawn(move || {
                let (connection, received) = &mut *server.lock();
                while let Ok(Some(message)) = connection.try_recv() {
                    received.push(message[0]);
                }
            })
        };
        for number in 0..3 {
            send(&mut client, &numbered(number, 8));
        }
        client.close();
        client.flush(None).unwrap();
        sleeper.join().unwrap();
        looker.join().unwrap();
        assert_eq!(server.lock().1, [0, 1, 2], "out of order, lost or twice");
        drop(client);
    });
}

#[test]
fn a_thread_that_sleeps_through_the_switch_is_woken() {
    two_threads_of_the_server();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_thread_that_sleeps_through_the_switch_is_not_woken() {
    in_own_process("mutant_a_thread_that_sleeps_through_the_switch_is_not_woken", || {
        mutant::with("switch_wakes_no_sleeper", two_threads_of_the_server);
    });
}

#[test]
fn a_close_during_the_switch_loses_nothing() {
    model(2, || {
        let (mut client, mut server) = pair(ROOMY);
        let closer = thread::spawn(move || {
            for number in 0..3 {
                send(&mut client, &numbered(number, 8));
            }
            client.close();
            client.flush(None).unwrap();
            assert_eq!(recv_all(&mut client), (vec![], END));
        });
        assert_eq!(recv_all(&mut server), (vec![0, 1, 2], END));
        server.close();
        server.flush(None).unwrap();
        closer.join().unwrap();
    });
}

/// The server closes while its `Switched` still waits for the socket.
fn close_before_the_last_frame_is_out() {
    model(2, || {
        let (mut client, mut server) = pair(TIGHT);
        let server = thread::spawn(move || {
            assert_eq!(receive(&mut server), Ok(0));
            exchange_until(&mut server, 0, 4, &mut 1, |_| false, 3);
            server.close();
            server.flush(None).unwrap();
            assert_eq!(receive(&mut server), Err(END));
        });
        exchange(&mut client, 0, 3, 0, 4);
        assert_eq!(receive(&mut client), Err(END));
        client.close();
        client.flush(None).unwrap();
        server.join().unwrap();
    });
}

#[test]
fn a_close_before_the_last_frame_is_out_is_heard() {
    close_before_the_last_frame_is_out();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_close_before_the_last_frame_is_out_is_forgotten() {
    in_own_process("mutant_a_close_before_the_last_frame_is_out_is_forgotten", || {
        mutant::with("switch_forgets_that_it_was_closed", close_before_the_last_frame_is_out);
    });
}

/// The server takes the one message and ends, at any point of the offer that follows that message.
fn last_message() {
    model(2, || {
        let (mut client, mut server) = pair(ROOMY);
        let server = thread::spawn(move || {
            assert_eq!(receive(&mut server), Ok(1));
            server.close();
        });
        client.send(&numbered(1, 8)).expect("it has arrived");
        server.join().unwrap();
        assert_eq!(receive(&mut client), Err(END));
    });
}

#[test]
fn a_message_that_has_arrived_was_sent_whatever_becomes_of_the_offer_behind_it() {
    last_message();
}

#[test]
#[should_panic(expected = "it has arrived")]
fn mutant_a_lost_offer_fails_the_message_before_it() {
    mutant::with("upgrade_fails_the_message", last_message);
}

/// The server sends, closes and ends; the client, which has read nothing, sends.
fn late_message() {
    model(2, || {
        let (mut client, mut server) = pair(ROOMY);
        let server = thread::spawn(move || {
            send(&mut server, &numbered(1, 8));
            server.close();
        });
        server.join().unwrap();
        let refused = client.send(&numbered(2, 8)).unwrap_err();
        assert!(matches!(refused, SendError::Failed(Error::Closed)), "not told as a good end: {refused}");
        assert_eq!(recv_all(&mut client), (vec![1], END));
    });
}

#[test]
fn a_good_end_is_told_also_to_who_sends_before_it_has_read() {
    late_message();
}

#[test]
#[should_panic(expected = "not told as a good end")]
fn mutant_nobody_looks_for_a_good_end_behind_a_failed_send() {
    mutant::with("end_without_a_look_behind", late_message);
}
