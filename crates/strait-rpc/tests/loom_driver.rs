//! The blocking client under loom: the driver, its followers, and for each rule a mutant that breaks it.
//!
//! The real client over the real in-process transport, with rings of three messages. The server's end is modelled: a thread
//! that answers each request with an empty reply. No deadlines: whoever is forgotten is a deadlock, which loom reports.
#![cfg(strait_loom)]

use std::{sync::Arc, time::Duration};

use loom::{
    sync::{Condvar, Mutex},
    thread,
};
use strait_rpc::{Error, Options, Raw, blocking::Client};
use strait_sync::mutant;
use strait_transport::{Connection, Error as TransportError, Interest, Message, SendError, Transport, local};

type Calls = Client<Vec<u8>, Vec<u8>, Raw>;

/// The smallest ring: a message is a header, and three fit.
const RING_BYTES: u64 = 128;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const CANCEL: u8 = 4;
const GO_AWAY: u8 = 5;
const NOTIFY: u8 = 6;

fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.max_branches = 50_000;
    model.check(test);
}

fn ends(max_in_flight: u32) -> (Arc<Calls>, Connection) {
    let options = Options { max_in_flight, timestamp: false, ..Options::default() };
    let (ours, theirs) = local::ends(RING_BYTES, &options).unwrap();
    let mut client = Calls::over(ours);
    client.set_deadline(None);
    (Arc::new(client), theirs)
}

fn receive(connection: &mut Connection) -> Result<Message, TransportError> {
    loop {
        if let Some(message) = connection.try_recv()? {
            return Ok(message);
        }
        connection.wait_ready(Interest::DATA, None)?;
    }
}

fn reply_to(message: &[u8]) -> [u8; 16] {
    let mut reply = [0; 16];
    reply.copy_from_slice(&message[..16]);
    reply[0] = REPLY;
    reply
}

fn answer(connection: &mut Connection, message: &[u8]) {
    loop {
        match connection.send(&reply_to(message)) {
            Ok(()) => return,
            Err(SendError::Failed(error)) => panic!("{error}"),
            Err(_) => connection.wait_ready(Interest::SPACE, None).unwrap(),
        };
    }
}

/// A server that answers `calls` calls.
fn serve(mut connection: Connection, calls: usize) -> Connection {
    for _ in 0..calls {
        let message = receive(&mut connection).unwrap();
        answer(&mut connection, &message);
    }
    connection
}

fn call(client: &Calls) {
    assert!(client.call(&Vec::new()).unwrap().is_empty());
}

/// Two threads of one client, one call each.
fn two_callers(bound: usize, max_in_flight: u32) {
    model(bound, move || {
        let (client, connection) = ends(max_in_flight);
        let server = thread::spawn(move || serve(connection, 2));
        let other = client.clone();
        let caller = thread::spawn(move || call(&other));
        call(&client);
        caller.join().unwrap();
        let connection = server.join().unwrap();
        drop(client);
        drop(connection);
    });
}

#[test]
fn each_of_two_callers_gets_its_reply() {
    two_callers(2, 2);
}

#[test]
fn a_caller_that_waits_for_the_others_slot_gets_it() {
    two_callers(2, 1);
}

#[test]
fn one_caller_makes_several_calls() {
    model(2, || {
        let (client, connection) = ends(1);
        let server = thread::spawn(move || serve(connection, 3));
        for _ in 0..3 {
            call(&client);
        }
        drop(server.join().unwrap());
    });
}

/// The server answers the second call, and the first one only once whoever called second has its reply.
fn answers_wait_for_each_other() {
    model(2, || {
        let (client, mut connection) = ends(2);
        let first_done = Arc::new((Mutex::new(false), Condvar::new()));
        let waits = first_done.clone();
        let server = thread::spawn(move || {
            let first = receive(&mut connection).unwrap();
            let second = receive(&mut connection).unwrap();
            answer(&mut connection, &second);
            let mut done = waits.0.lock().unwrap();
            while !*done {
                done = waits.1.wait(done).unwrap();
            }
            drop(done);
            answer(&mut connection, &first);
            connection
        });
        let call_and_tell = |client: &Calls, done: &(Mutex<bool>, Condvar)| {
            call(client);
            *done.0.lock().unwrap() = true;
            done.1.notify_all();
        };
        let (other, tells) = (client.clone(), first_done.clone());
        let caller = thread::spawn(move || call_and_tell(&other, &tells));
        call_and_tell(&client, &first_done);
        caller.join().unwrap();
        drop(server.join().unwrap());
    });
}

#[test]
fn a_follower_gets_its_reply_while_the_driver_still_waits() {
    answers_wait_for_each_other();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_reply_that_wakes_nobody_leaves_its_caller_asleep() {
    mutant::with("deliver_without_wake", answers_wait_for_each_other);
}

/// The request ring has room for one more call. The server reads, but answers nobody before it has both.
fn room_for_one(bound: usize) {
    model(bound, || {
        let options = Options { max_in_flight: 2, timestamp: false, ..Options::default() };
        let (mut ours, mut connection) = local::ends(RING_BYTES, &options).unwrap();
        for _ in 0..2 {
            let mut cancel = [0; 16];
            cancel[0] = CANCEL;
            ours.send(&cancel).unwrap();
        }
        let mut client = Calls::over(ours);
        client.set_deadline(None);
        let client = Arc::new(client);
        let server = thread::spawn(move || {
            for _ in 0..2 {
                assert_eq!(receive(&mut connection).unwrap()[0], CANCEL);
            }
            let both = [receive(&mut connection).unwrap(), receive(&mut connection).unwrap()];
            both.iter().for_each(|message| answer(&mut connection, message));
            connection
        });
        let other = client.clone();
        let caller = thread::spawn(move || call(&other));
        call(&client);
        caller.join().unwrap();
        drop(server.join().unwrap());
    });
}

#[test]
fn a_follower_that_waits_for_room_gets_it_while_the_driver_sleeps() {
    room_for_one(2);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_follower_that_shows_no_ticket_waits_for_room_for_ever() {
    in_own_process("mutant_a_follower_that_shows_no_ticket_waits_for_room_for_ever", || {
        mutant::with("follower_shows_no_space_ticket", || room_for_one(2));
    });
}

/// Both rings are full, and the server reads no request before it has sent several messages more than there is room for: events,
/// in the model, where a server of many calls has replies.
fn rings_full_both_ways() {
    model(2, || {
        let options = Options { max_in_flight: 2, timestamp: false, ..Options::default() };
        let (mut ours, mut connection) = local::ends(RING_BYTES, &options).unwrap();
        let message = |kind: u8| {
            let mut bytes = [0; 16];
            bytes[0] = kind;
            bytes
        };
        for _ in 0..3 {
            ours.send(&message(CANCEL)).unwrap();
            connection.send(&message(NOTIFY)).unwrap();
        }
        assert!(ours.send(&message(CANCEL)).is_err() && connection.send(&message(NOTIFY)).is_err(), "both are full");
        let mut client = Calls::over(ours);
        client.set_deadline(None);
        let server = thread::spawn(move || {
            for _ in 0..4 {
                while let Err(full) = connection.send(&message(NOTIFY)) {
                    assert!(!matches!(full, SendError::Failed(_)), "{full:?}");
                    connection.wait_ready(Interest::SPACE, None).unwrap();
                }
            }
            for _ in 0..3 {
                assert_eq!(receive(&mut connection).unwrap()[0], CANCEL);
            }
            serve(connection, 1)
        });
        call(&client);
        drop(server.join().unwrap());
    });
}

#[test]
fn a_call_that_finds_both_rings_full_gets_its_reply() {
    rings_full_both_ways();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_caller_that_waits_for_room_and_reads_nothing_waits_for_ever() {
    in_own_process("mutant_a_caller_that_waits_for_room_and_reads_nothing_waits_for_ever", || {
        mutant::with("waits_for_room_without_reading", rings_full_both_ways);
    });
}

/// Runs a mutant that aborts after its deadlock (destructors find loom gone) in a process of its own, and panics with
/// what it said.
fn in_own_process(test: &str, mutant: impl FnOnce()) {
    const CHILD: &str = "STRAIT_LOOM_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return mutant();
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(!output.status.success(), "the mutant lives");
    let said = String::from_utf8_lossy(&output.stderr);
    panic!("{}", said.lines().find(|line| line.starts_with("deadlock")).unwrap_or(&said));
}

/// Whether the request has a deadline. There is no time here: such a call waits until it is woken for whatever reason, and then
/// its deadline has passed.
fn is_impatient(request: &[u8]) -> bool {
    request[8..16] != u64::MAX.to_le_bytes()
}

fn impatient_call(client: &Calls) -> Result<(), Error> {
    client.call_timeout(&Vec::new(), Duration::from_nanos(1)).map(drop)
}

/// A call is given up while its reply is on the way; another thread calls twice.
#[test]
fn a_late_reply_reaches_nobody_and_frees_its_slot() {
    model(2, || {
        let (client, mut connection) = ends(1);
        let server = thread::spawn(move || {
            // The impatient call may be over before it is sent.
            while let Ok(message) = receive(&mut connection) {
                if message[0] == REQUEST {
                    // And nobody may be there any more to read a late reply.
                    let _ = connection.send(&reply_to(&message));
                }
            }
            connection
        });
        let other = client.clone();
        let caller = thread::spawn(move || call(&other));
        match impatient_call(&client) {
            Ok(()) | Err(Error::Deadline) => {}
            Err(other) => panic!("{other:?}"),
        }
        caller.join().unwrap();
        drop(client);
        drop(server.join().unwrap());
    });
}

/// A driver that gives up, a follower whose call is in flight, and one that waits for a slot, of which there are two. The
/// call that was given up is never answered.
fn slot_behind_a_follower(bound: usize) {
    model(bound, || {
        let (client, mut connection) = ends(2);
        let server = thread::spawn(move || {
            let mut answered = 0;
            while answered < 2 {
                let message = receive(&mut connection).unwrap();
                if message[0] == REQUEST && !is_impatient(&message) {
                    answer(&mut connection, &message);
                    answered += 1;
                }
            }
            connection
        });
        let callers = [client.clone(), client.clone()].map(|client| thread::spawn(move || call(&client)));
        match impatient_call(&client) {
            Err(Error::Deadline) => {}
            other => panic!("{other:?}"),
        }
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        drop(server.join().unwrap());
    });
}

/// The server goes, in good order or not, while two calls are in flight.
fn server_goes(bound: usize, farewell: bool, answered: usize) {
    model(bound, move || {
        let (client, mut connection) = ends(2);
        let server = thread::spawn(move || {
            for _ in 0..answered {
                let message = receive(&mut connection).unwrap();
                answer(&mut connection, &message);
            }
            if farewell {
                let mut bytes = [0; 16];
                bytes[0] = GO_AWAY;
                connection.send(&bytes).unwrap();
                connection.close();
            }
            drop(connection);
        });
        let other = client.clone();
        let caller = thread::spawn(move || other.call(&Vec::new()).map(drop));
        let mine = client.call(&Vec::new()).map(drop);
        let outcomes = [mine, caller.join().unwrap()];
        server.join().unwrap();
        let mut replies = 0;
        for outcome in outcomes {
            match outcome {
                Ok(()) => replies += 1,
                Err(Error::ShuttingDown | Error::Transport(TransportError::Closed | TransportError::PeerGone)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(replies <= answered);
    });
}

#[test]
fn a_server_that_says_farewell_and_closes_ends_all_calls() {
    server_goes(2, true, 0);
}

#[test]
fn a_server_that_goes_after_one_answer_ends_the_other_call() {
    server_goes(2, false, 1);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_driver_that_leaves_without_a_successor_leaves_its_follower_asleep() {
    mutant::with("leave_without_successor", || two_callers(2, 2));
}

#[test]
fn a_caller_that_waits_for_a_slot_is_woken_when_a_follower_frees_one() {
    slot_behind_a_follower(1);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_driver_that_waits_for_a_slot_sleeps_on_the_connection_for_ever() {
    mutant::with("slot_waiter_drives", || slot_behind_a_follower(1));
}

/// A server that answers `calls` calls and heeds no cancel.
fn serve_late(mut connection: Connection, calls: usize) -> Connection {
    let mut answered = 0;
    while answered < calls {
        let message = receive(&mut connection).unwrap();
        if message[0] == REQUEST {
            answer(&mut connection, &message);
            answered += 1;
        }
    }
    connection
}

/// A call is given up as its answer comes; the next one, through the same slot, gets its own.
fn cancel_against_late_reply() {
    model(3, || {
        let (client, theirs) = ends(1);
        let server = thread::spawn(move || serve_late(theirs, 2));
        client.call_and_give_up(&Vec::new()).unwrap();
        call(&client);
        assert!(client.late_replies() <= 1);
        let theirs = server.join().unwrap();
        drop((client, theirs));
    });
}

#[test]
fn a_cancel_against_a_late_reply_ends_each_call_once() {
    cancel_against_late_reply();
}

#[test]
#[should_panic(expected = "not in flight")]
fn mutant_a_call_that_is_given_up_frees_its_slot_at_once() {
    mutant::with("abandon_frees_the_slot", cancel_against_late_reply);
}

/// The same with another thread that calls meanwhile, and rings that three messages fill.
#[test]
fn a_cancel_beside_another_thread_that_calls() {
    model(2, || {
        let (client, theirs) = ends(2);
        let server = thread::spawn(move || serve_late(theirs, 2));
        let other = {
            let client = client.clone();
            thread::spawn(move || call(&client))
        };
        client.call_and_give_up(&Vec::new()).unwrap();
        other.join().unwrap();
        let theirs = server.join().unwrap();
        drop((client, theirs));
    });
}
