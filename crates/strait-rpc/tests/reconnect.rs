//! Clients that connect again: what is sent twice and what never is, who connects for whom, and when calls end.
#![cfg(not(strait_loom))]

#[path = "support/launched.rs"]
mod launched;
#[path = "support/process.rs"]
mod process;
mod support;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use launched::{HANG_IN_FIRST, Place, kill, until_gone};
use process::role;
use strait_rpc::{
    Backoff, Error, LaunchError, Options, Retry,
    blocking::{Client, Reconnecting},
};
use strait_transport::{Connection, Error as TransportError, local};
use support::{ERROR, GO_AWAY, NAME, REPLY, call_of, frame, receive, send, until, within};

/// By how much a call may miss its deadline.
const LATE: Duration = Duration::from_millis(100);

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    match role().as_deref() {
        None => {}
        Some("server") => launched::server(),
        Some("hangs") => launched::hangs(),
        Some("fails") => launched::fails(),
        Some(other) => panic!("no role {other}"),
    }
}

fn reconnecting(place: &Place, role: &'static str) -> Reconnecting<u64, u64> {
    Reconnecting::launching(NAME, &place.options(), &place.launch(role))
}

/// Calls what is scripted: the n-th connection goes to a peer that does what `peer` says.
fn scripted(peer: impl Fn(u64, Connection) + Send + Sync + 'static) -> (Reconnecting<u64, u64>, Arc<AtomicU64>) {
    let (peer, count) = (Arc::new(peer), Arc::new(AtomicU64::new(0)));
    let dialled = count.clone();
    let client = Reconnecting::with(move || {
        let (ours, theirs) = local::pair(&Options::default())?;
        let (peer, turn) = (peer.clone(), dialled.fetch_add(1, Ordering::Relaxed));
        std::thread::spawn(move || peer(turn, theirs));
        Ok(Client::over(ours))
    });
    (client, count)
}

/// Answers a call with its own number.
fn answer(connection: &mut Connection) {
    let request = receive(connection).unwrap();
    send(connection, &frame(REPLY, call_of(&request), &request[16..])).unwrap();
}

/// Stays until the client leaves.
fn stay(mut connection: Connection) {
    while let Ok(request) = receive(&mut connection) {
        send(&mut connection, &frame(REPLY, call_of(&request), &request[16..])).unwrap();
    }
}

#[test]
fn a_call_that_its_server_refused_to_execute_is_made_on_a_new_connection() {
    let (client, dialled) = scripted(|turn, mut connection| {
        if turn == 0 {
            let request = receive(&mut connection).unwrap();
            send(&mut connection, &frame(ERROR, call_of(&request), &[9, 0])).unwrap();
        }
        stay(connection);
    });
    assert_eq!(client.call(&7).unwrap().to_native(), 7);
    assert_eq!((dialled.load(Ordering::Relaxed), client.reconnects()), (2, 1));
}

#[test]
fn a_call_after_the_servers_farewell_is_made_on_a_new_connection() {
    let (client, dialled) = scripted(|turn, mut connection| {
        if turn == 0 {
            answer(&mut connection);
            let late = receive(&mut connection).unwrap();
            send(&mut connection, &frame(GO_AWAY, 0, &[])).unwrap();
            // The call that is in flight is answered when the other has been made elsewhere.
            std::thread::sleep(Duration::from_millis(300));
            send(&mut connection, &frame(REPLY, call_of(&late), &late[16..])).unwrap();
            assert!(receive(&mut connection).is_err(), "nothing comes after a farewell");
        } else {
            stay(connection);
        }
    });
    assert_eq!(client.call(&1).unwrap().to_native(), 1);
    std::thread::scope(|scope| {
        let inflight = scope.spawn(|| client.call(&2).unwrap().to_native());
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        assert_eq!(client.call(&3).unwrap().to_native(), 3);
        assert!(start.elapsed() < Duration::from_millis(150), "{:?}", start.elapsed());
        assert_eq!(dialled.load(Ordering::Relaxed), 2);
        assert_eq!(inflight.join().unwrap(), 2);
    });
}

#[test]
fn a_call_whose_connection_ends_is_not_made_again_unless_it_is_idempotent() {
    for retry in [Retry::NotExecuted, Retry::Idempotent] {
        let received = Arc::new(AtomicU64::new(0));
        let counted = received.clone();
        let (client, _) = scripted(move |turn, mut connection| {
            loop {
                let Ok(request) = receive(&mut connection) else { return };
                counted.fetch_add(1, Ordering::Relaxed);
                if turn == 0 {
                    return;
                }
                send(&mut connection, &frame(REPLY, call_of(&request), &request[16..])).unwrap();
            }
        });
        let outcome = client.call_with(&7, retry, Some(Duration::from_secs(10)));
        if retry == Retry::Idempotent {
            assert_eq!(outcome.unwrap().to_native(), 7);
            assert_eq!(received.load(Ordering::Relaxed), 2);
        } else {
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::Lost { then: None, .. }) && !error.was_not_executed(), "{error:?}");
            assert_eq!(received.load(Ordering::Relaxed), 1);
            assert_eq!(client.call(&8).unwrap().to_native(), 8);
        }
    }
}

#[test]
fn a_peer_that_lies_is_not_asked_again() {
    let (client, dialled) = scripted(|_, mut connection| {
        receive(&mut connection).unwrap();
        send(&mut connection, &frame(77, 0, &[])).unwrap();
        let _ = receive(&mut connection);
    });
    let error = client.call_idempotent(&1).unwrap_err();
    assert!(matches!(error, Error::Lost { source: TransportError::Corrupt { .. }, .. }), "{error}");
    assert_eq!(dialled.load(Ordering::Relaxed), 1);
}

#[test]
fn a_server_that_ends_at_each_call_is_tried_at_growing_pauses() {
    let (client, dialled) = scripted(|_, mut connection| drop(receive(&mut connection)));
    let start = Instant::now();
    let error = client.call_with(&1, Retry::Idempotent, Some(Duration::from_millis(400))).unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(400) + LATE, "{:?}", start.elapsed());
    // It may have been executed by the first.
    assert!(matches!(&error, Error::Lost { then: Some(_), .. }), "{error}");
    // Pauses of 5, 10, 20 … 160 ms at least.
    let dialled = dialled.load(Ordering::Relaxed);
    assert!((3..=7).contains(&dialled), "{dialled}");
}

#[test]
fn one_connects_for_all() {
    let (client, dialled) = scripted(|turn, mut connection| {
        std::thread::sleep(Duration::from_millis(50));
        if turn == 0 {
            (0..32).for_each(|_| answer(&mut connection));
            drop(receive(&mut connection));
        } else {
            stay(connection);
        }
    });
    for connections in [1, 2] {
        std::thread::scope(|scope| {
            for number in 0..32 {
                let client = &client;
                scope.spawn(move || assert_eq!(client.call_idempotent(&number).unwrap().to_native(), number));
            }
        });
        assert_eq!(dialled.load(Ordering::Relaxed), connections);
    }
}

#[test]
fn calls_end_by_their_deadlines_while_no_server_comes() {
    within(Duration::from_secs(30), || {
        let place = Place::new();
        let client: Reconnecting<u64, u64> = Reconnecting::new(NAME, &place.options());
        for retry in [Retry::NotExecuted, Retry::Idempotent] {
            std::thread::scope(|scope| {
                for timeout in [0, 1, 50, 300] {
                    let (client, timeout) = (&client, Duration::from_millis(timeout));
                    scope.spawn(move || {
                        let start = Instant::now();
                        let error = client.call_with(&1, retry, Some(timeout)).unwrap_err();
                        let took = start.elapsed();
                        assert!(timeout <= took && took < timeout + LATE, "{timeout:?}: {took:?}");
                        assert!(matches!(error, Error::NotConnected { .. }) && error.was_not_executed(), "{error}");
                    });
                }
            });
        }
        let error = client.call_with(&1, Retry::NotExecuted, Some(Duration::from_millis(50))).unwrap_err();
        assert!(error.to_string().contains("nothing was sent; the last attempt: no server listens at"), "{error}");
    });
}

#[test]
fn a_call_ends_by_its_deadline_while_its_server_starts() {
    let place = Place::new();
    let launch = place.launch("hangs").timeout(Duration::from_secs(1));
    let client: Reconnecting<u64, u64> = Reconnecting::launching(NAME, &place.options(), &launch);
    let (start, timeout) = (Instant::now(), Duration::from_millis(200));
    let error = client.call_with(&1, Retry::NotExecuted, Some(timeout)).unwrap_err();
    assert!(start.elapsed() < timeout + LATE, "{:?}", start.elapsed());
    assert!(matches!(error, Error::NotConnected { last: None }), "{error}");
    // The start went on, and its end is the next call's to know.
    let error = client.call(&1).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(error.to_string().contains("still looking for my configuration"), "{error}");
    assert_eq!(place.started().len(), 1);
}

#[test]
fn what_no_waiting_mends_is_told_at_once() {
    let place = Place::new();
    let client = reconnecting(&place, "fails");
    let error = client.call_idempotent(&1).unwrap_err();
    let Error::NotConnected { last: Some(last) } = &error else { panic!("{error}") };
    assert!(matches!(&**last, Error::Launch(error) if matches!(**error, LaunchError::Exited { .. })), "{error}");
    assert!(error.to_string().contains("cannot open the database"), "{error}");

    let client: Reconnecting<u64, u64> = Reconnecting::new("no name", &place.options());
    let error = client.call(&1).unwrap_err();
    assert!(error.to_string().contains("is not a service name"), "{error}");

    let client: Reconnecting<u64, u64> = Reconnecting::with(|| panic!("as a test"));
    let error = client.call(&1).unwrap_err();
    assert!(error.to_string().contains("the function that connects panicked"), "{error}");
}

#[test]
fn calls_are_told_when_there_was_no_connection_for_long() {
    let place = Place::new();
    let mut client: Reconnecting<u64, u64> = Reconnecting::new(NAME, &place.options());
    client.set_backoff(Backoff { max_elapsed: Some(Duration::from_millis(100)), ..Backoff::default() });
    client.set_deadline(None);
    let start = Instant::now();
    let error = client.call(&1).unwrap_err();
    assert!(matches!(error, Error::NotConnected { last: Some(_) }), "{error}");
    assert!((100..1000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_is_killed_under_a_call_is_started_for_the_next_one() {
    let place = Place::new();
    let mut client = reconnecting(&place, "server");
    let noticed = Arc::new(Mutex::new(Vec::new()));
    let notice = noticed.clone();
    client.on_reconnect(move |count| notice.lock().unwrap().push(count));
    let first = client.call(&1).unwrap().to_native();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| client.call(&HANG_IN_FIRST));
        until("the call is executed", || place.executed().contains(&HANG_IN_FIRST));
        kill(first);
        let error = call.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Lost { then: None, .. }), "{error}");
    });
    let second = client.call(&2).unwrap().to_native();
    assert_eq!(place.started(), [first, second]);
    assert_eq!(place.executed(), [1, HANG_IN_FIRST, 2]);
    until("it is told", || *noticed.lock().unwrap() == [1]);
    assert_eq!(client.reconnects(), 1);
    until_gone(first);
}

#[test]
fn an_idempotent_call_survives_its_server() {
    let place = Place::new();
    let client = reconnecting(&place, "server");
    let first = client.call(&1).unwrap().to_native();
    let second = std::thread::scope(|scope| {
        let call = scope.spawn(|| client.call_idempotent(&HANG_IN_FIRST));
        until("the call is executed", || place.executed().contains(&HANG_IN_FIRST));
        kill(first);
        call.join().unwrap().unwrap().to_native()
    });
    assert_eq!(place.started(), [first, second]);
    assert_eq!(place.executed(), [1, HANG_IN_FIRST, HANG_IN_FIRST]);
}

#[test]
fn no_call_is_executed_twice_unless_it_is_idempotent() {
    const THREADS: u64 = 4;
    const KILLS: usize = 4;
    let place = Place::new();
    let client = reconnecting(&place, "server");
    let answered = Mutex::new(HashSet::new());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, answered, done) = (&client, &answered, &done);
            scope.spawn(move || {
                for number in (thread..).step_by(THREADS as usize).take_while(|_| !done.load(Ordering::Relaxed)) {
                    match client.call(&number) {
                        Ok(_) => drop(answered.lock().unwrap().insert(number)),
                        Err(Error::Lost { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        for _ in 0..KILLS {
            let before = answered.lock().unwrap().len();
            until("calls are answered", || answered.lock().unwrap().len() > before + 100);
            kill(*place.started().last().unwrap());
        }
        done.store(true, Ordering::Relaxed);
    });
    let executed = place.executed();
    let distinct: HashSet<_> = executed.iter().copied().collect();
    assert_eq!(executed.len(), distinct.len(), "a call was executed twice");
    assert!(answered.lock().unwrap().is_subset(&distinct));
    assert!((KILLS..=KILLS + 1).contains(&place.started().len()));
}

#[cfg(feature = "tokio")]
mod tasks {
    use super::*;

    fn reconnecting(place: &Place, role: &'static str) -> Arc<strait_rpc::Reconnecting<u64, u64>> {
        Arc::new(strait_rpc::Reconnecting::launching(NAME, &place.options(), &place.launch(role)))
    }

    #[tokio::test]
    async fn a_server_that_is_killed_under_calls_is_started_for_those_that_are_idempotent() {
        let place = Place::new();
        let client = reconnecting(&place, "server");
        let first = client.call(&1).await.unwrap().to_native();
        let (other, again) = (client.clone(), client.clone());
        let once = tokio::spawn(async move { other.call(&HANG_IN_FIRST).await.map(|pid| pid.to_native()) });
        let again = tokio::spawn(async move { again.call_idempotent(&2).await.map(|pid| pid.to_native()) });
        while !place.executed().contains(&HANG_IN_FIRST) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill(first);
        let error = once.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Lost { then: None, .. }), "{error}");
        again.await.unwrap().unwrap();
        let second = client.call(&3).await.unwrap().to_native();
        assert_eq!(place.started(), [first, second]);
        assert_eq!(place.executed().iter().filter(|&&number| number == HANG_IN_FIRST).count(), 1);
        assert_eq!(client.reconnects(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_tasks_share_one_start() {
        let place = Place::new();
        let client = reconnecting(&place, "server");
        let calls: Vec<_> = (0..32)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move { client.call(&number).await.unwrap().to_native() })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(place.started().len(), 1);
        assert_eq!(client.reconnects(), 0);
    }

    #[tokio::test]
    async fn calls_end_by_their_deadlines_and_a_dropped_one_stops_nobody() {
        let place = Place::new();
        let launch = place.launch("hangs").timeout(Duration::from_millis(500));
        let client: strait_rpc::Reconnecting<u64, u64> =
            strait_rpc::Reconnecting::launching(NAME, &place.options(), &launch);
        let dropped = tokio::time::timeout(Duration::from_millis(50), client.call(&1)).await;
        assert!(dropped.is_err());
        let (start, timeout) = (Instant::now(), Duration::from_millis(100));
        let error = client.call_with(&1, Retry::NotExecuted, Some(timeout)).await.unwrap_err();
        assert!(start.elapsed() < timeout + LATE, "{:?}", start.elapsed());
        assert!(matches!(error, Error::NotConnected { last: None }), "{error}");
        let error = client.call(&1).await.unwrap_err();
        assert!(error.to_string().contains("still looking for my configuration"), "{error}");
        assert_eq!(place.started().len(), 1);
    }

    #[test]
    fn a_runtime_that_ends_while_it_connects_leaves_the_client_usable() {
        let place = Place::new();
        let turn = AtomicU64::new(0);
        let (options, launch) = (place.options(), place.launch("server"));
        let client = strait_rpc::Reconnecting::<u64, u64>::with(async move || {
            if turn.fetch_add(1, Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            strait_rpc::Client::connect_or_launch(NAME, &options, &launch).await
        });
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let call = |timeout| client.call_with(&1, Retry::NotExecuted, Some(timeout));
        let error = runtime().block_on(call(Duration::from_millis(50))).unwrap_err();
        assert!(matches!(error, Error::NotConnected { last: None }), "{error}");
        let runtime = runtime();
        until("another run connects", || runtime.block_on(call(Duration::from_secs(1))).is_ok());
        assert_eq!(place.started().len(), 1);
    }
}

#[test]
fn a_clean_restart_while_nobody_calls_goes_unnoticed() {
    within(Duration::from_secs(30), || {
        let place = Place::new();
        let client = reconnecting(&place, "server");
        for turn in 0..5 {
            client.call(&turn).unwrap();
            let server = *place.started().last().unwrap();
            let other: Client<u64, u64> = Client::connect_with(NAME, &place.options()).unwrap();
            let _ = other.call(&launched::STOP);
            until_gone(server);
        }
        client.call(&9).unwrap();
        assert_eq!(place.started().len(), 6);
    });
}
