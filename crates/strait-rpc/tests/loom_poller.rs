//! A polling thread under loom: it and the threads that call hand the driving to each other, and for each wake-up that they owe
//! there is a mutant that forgets it.
//!
//! No time passes: the thread rests after its first look that finds nothing, so it comes and goes between any two steps.
#![cfg(strait_loom)]

use std::sync::Arc;

use loom::thread;
use strait_rpc::{
    Options, Raw,
    blocking::{Client, Poller},
};
use strait_sync::mutant;
use strait_transport::{Connection, Interest, SendError, Transport, local};

type Calls = Client<Vec<u8>, Vec<u8>, Raw>;

/// The smallest ring: three messages fit.
const RING_BYTES: u64 = 128;
const REPLY: u8 = 2;

fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.max_branches = 50_000;
    model.check(test);
}

/// A client, and what its server does: it answers `calls` calls with empty replies, and keeps its end.
fn ends(calls: usize) -> (Calls, impl FnOnce() -> Connection + Send) {
    let options = Options { max_in_flight: 2, timestamp: false, ..Options::default() };
    let (ours, mut theirs) = local::ends(RING_BYTES, &options).unwrap();
    let mut client = Calls::over(ours);
    client.set_deadline(None);
    let serve = move || {
        for _ in 0..calls {
            let request = loop {
                match theirs.try_recv().unwrap() {
                    Some(request) => break request,
                    None => theirs.wait_ready(Interest::DATA, None).unwrap(),
                };
            };
            let mut reply = [0; 16];
            reply.copy_from_slice(&request[..16]);
            reply[0] = REPLY;
            match theirs.send(&reply) {
                Ok(()) => {}
                Err(SendError::Failed(error)) => panic!("{error}"),
                Err(full) => panic!("{full:?}: two fit"),
            }
        }
        theirs
    };
    (client, serve)
}

fn call(client: &Calls) {
    assert!(client.call(&Vec::new()).unwrap().is_empty());
}

/// One thread that calls, its server, and the thread that polls.
fn one_caller(bound: usize, calls: usize) {
    model(bound, move || {
        let (mut client, serve) = ends(calls);
        let (poller, poll) = Poller::modelled();
        client.set_poller(&poller);
        let (server, polling) = (thread::spawn(serve), thread::spawn(poll));
        (0..calls).for_each(|_| call(&client));
        drop(server.join().unwrap());
        drop(client);
        drop(poller);
        polling.join().unwrap();
    });
}

#[test]
fn a_call_gets_its_reply_whoever_drives() {
    one_caller(2, 1);
}

#[test]
fn a_call_after_a_rest_gets_its_reply_too() {
    one_caller(1, 2);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_thread_that_rests_and_wakes_nobody_leaves_its_follower_asleep() {
    in_own_process("mutant_a_thread_that_rests_and_wakes_nobody_leaves_its_follower_asleep", || {
        mutant::with("poller_leaves_without_successor", || one_caller(2, 1));
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_call_that_counts_on_a_thread_which_it_does_not_wake_sleeps_for_ever() {
    mutant::with("call_rouses_nobody", || one_caller(2, 1));
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

/// Two threads of one client, of which one may drive while the other follows the polling thread.
#[test]
fn two_callers_get_their_replies() {
    model(1, || {
        let (mut client, serve) = ends(2);
        let (poller, poll) = Poller::modelled();
        client.set_poller(&poller);
        let client = Arc::new(client);
        let other = client.clone();
        let threads = [thread::spawn(poll), thread::spawn(move || call(&other))];
        let server = thread::spawn(serve);
        call(&client);
        drop(server.join().unwrap());
        drop(poller);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The polling thread is told to end while a call is in flight, and while it is only about to learn of the client.
#[test]
fn a_poller_that_is_dropped_leaves_its_client_to_its_threads() {
    model(1, || {
        let (mut client, serve) = ends(1);
        let (poller, poll) = Poller::modelled();
        client.set_poller(&poller);
        let (server, polling) = (thread::spawn(serve), thread::spawn(poll));
        let ends = thread::spawn(move || drop(poller));
        call(&client);
        drop(server.join().unwrap());
        ends.join().unwrap();
        polling.join().unwrap();
    });
}
