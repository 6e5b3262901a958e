//! Many clients at one moment. Alone in its program: it takes both processors for as long as it lasts, and others measure time.
#![cfg(not(strait_loom))]

mod support;

use std::{path::Path, sync::Barrier, thread};

use strait_transport::{Connection, Error, Limits, Listener, Refusal};
use support::{
    Scratch,
    child::{Child, hear, play, say},
    options,
    service::{connect_patiently, echoes, serve},
};

#[test]
fn roles() {
    play(&[("crowd", crowd)]);
}

/// Clients of one of the processes that come at once.
const CROWD: usize = 250;

/// So many clients at the same moment; says how many were served, and keeps those until it is told to let go.
fn crowd(dir: &Path) {
    let (options, gate) = (options(dir), Barrier::new(CROWD + 1));
    let (options, gate) = (&options, &gate);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CROWD)
            .map(|_| {
                let small = thread::Builder::new().stack_size(256 << 10);
                let client = move || {
                    gate.wait();
                    Connection::connect("pair", options)
                };
                small.spawn_scoped(scope, client).unwrap()
            })
            .collect();
        say("ready");
        hear();
        gate.wait();
        let mut served = Vec::new();
        for client in clients {
            match client.join().unwrap() {
                Ok(connection) => served.push(connection),
                Err(Error::Refused(Refusal::Busy { .. }) | Error::TimedOut { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        say(&served.len().to_string());
        hear();
        served.iter_mut().for_each(echoes);
    });
}

#[test]
fn of_a_thousand_clients_at_once_no_more_than_the_limit_are_served_the_rest_are_told_and_the_next_one_is_served() {
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.limits = Limits { max_clients: 128, max_pending_handshakes: 128, ..Limits::default() };
    let _serving = serve(Listener::bind("pair", &options, None).unwrap());
    let mut crowds: Vec<Child> = (0..4).map(|_| Child::start("crowd", scratch.path())).collect();
    crowds.iter().for_each(|crowd| crowd.expect("ready"));
    crowds.iter_mut().for_each(|crowd| crowd.tell("come"));
    let served: usize = crowds.iter().map(|crowd| crowd.line().parse::<usize>().unwrap()).sum();
    assert!((1..=128).contains(&served), "{served} of {} clients were served", 4 * CROWD);
    crowds.iter_mut().for_each(|crowd| crowd.tell("go"));
    crowds.into_iter().for_each(Child::finish);
    echoes(&mut connect_patiently(&scratch.options()));
}
