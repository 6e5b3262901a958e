//! The client for tasks under loom: nobody drives, whoever is polled reads for all, and the connection wakes everybody.
//!
//! The real client over the real in-process transport; each task has a thread that polls it when it is woken. The server's end
//! is modelled: a thread that answers each request with an empty reply. No deadlines: whoever is forgotten is a deadlock,
//! which loom reports.
#![cfg(all(strait_loom, feature = "tokio"))]

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use loom::{
    sync::{Condvar, Mutex},
    thread,
};
use strait_rpc::{Client, Options, Raw};
use strait_sync::mutant;
use strait_transport::{Connection, Error as TransportError, Interest, Message, Transport, local};

type Calls = Client<Vec<u8>, Vec<u8>, Raw>;

/// The smallest ring: a message is a header, and three fit.
const RING_BYTES: u64 = 128;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.max_branches = 50_000;
    model.check(test);
}

fn ends(max_in_flight: u32) -> (Arc<Calls>, Connection) {
    // Without a spin in a poll: it would find each answer before anybody had to be woken.
    let spin_async = Duration::ZERO;
    let options = Options { max_in_flight, timestamp: false, spin_async, ..Options::default() };
    let (ours, theirs) = local::ends(RING_BYTES, &options).unwrap();
    let mut client = Calls::over(ours);
    client.set_deadline(None);
    (Arc::new(client), theirs)
}

/// A server that answers `calls` calls, and heeds no cancel.
fn serve(mut connection: Connection, calls: usize) -> Connection {
    let mut answered = 0;
    while answered < calls {
        let message = receive(&mut connection).unwrap();
        if message[0] == REQUEST {
            let mut reply = [0; 16];
            reply.copy_from_slice(&message[..16]);
            reply[0] = REPLY;
            connection.send(&reply).unwrap();
            answered += 1;
        }
    }
    connection
}

fn receive(connection: &mut Connection) -> Result<Message, TransportError> {
    loop {
        if let Some(message) = connection.try_recv()? {
            return Ok(message);
        }
        connection.wait_ready(Interest::DATA, None)?;
    }
}

/// Where a task rests. Not loom's `park`: an unpark ends there whatever the thread is blocked on.
#[derive(Default)]
struct Rest {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Rest {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// Polls a future in this thread whenever it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let rest = Arc::new(Rest::default());
    let waker = Waker::from(rest.clone());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut woken = rest.woken.lock().unwrap();
        while !std::mem::take(&mut *woken) {
            woken = rest.changed.wait(woken).unwrap();
        }
    }
}

fn call(client: &Calls) {
    assert!(block_on(client.call(&Vec::new())).unwrap().is_empty());
}

/// Two tasks of one client, one call each.
fn two_tasks(max_in_flight: u32) {
    model(move || {
        let (client, connection) = ends(max_in_flight);
        let server = thread::spawn(move || serve(connection, 2));
        let other = client.clone();
        let task = thread::spawn(move || call(&other));
        call(&client);
        task.join().unwrap();
        let connection = server.join().unwrap();
        drop((client, connection));
    });
}

#[test]
fn each_of_two_tasks_gets_its_reply() {
    two_tasks(2);
}

#[test]
fn a_task_that_waits_for_the_others_slot_gets_it() {
    two_tasks(1);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_call_that_ends_and_wakes_nobody_leaves_who_waits_for_its_slot_asleep() {
    mutant::with("clear_wakes_nobody_for_the_slot", || two_tasks(1));
}

/// A future that is polled once and then held, whatever wakes it, while another task calls.
fn one_is_never_polled_again() {
    model(|| {
        let (client, connection) = ends(2);
        let server = thread::spawn(move || serve(connection, 2));
        {
            let request = Vec::new();
            let mut held = pin!(client.call(&request));
            let polled = held.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let other = client.clone();
            let task = thread::spawn(move || call(&other));
            task.join().unwrap();
            drop(polled);
        }
        let connection = server.join().unwrap();
        drop((client, connection));
    });
}

#[test]
fn a_future_that_is_woken_and_never_polled_again_holds_up_no_other() {
    one_is_never_polled_again();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_a_connection_that_wakes_one_of_its_tasks_leaves_the_other_asleep() {
    mutant::with("connection_wakes_one", one_is_never_polled_again);
}

/// A future that is dropped after its first poll cancels its call; the late reply frees the slot that another task waits for.
#[test]
fn a_future_that_is_dropped_gives_its_slot_to_a_task_that_waits_for_it() {
    model(|| {
        let (client, connection) = ends(1);
        let server = thread::spawn(move || serve(connection, 2));
        let other = client.clone();
        {
            let request = Vec::new();
            let mut dropped = pin!(client.call(&request));
            let polled = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let task = thread::spawn(move || call(&other));
            drop(polled);
            task
        }
        .join()
        .unwrap();
        let connection = server.join().unwrap();
        drop((client, connection));
    });
}
