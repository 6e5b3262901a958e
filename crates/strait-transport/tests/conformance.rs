//! One suite for all transports: the socket, shared memory after the upgrade, and a pair in this process; in threads, and in
//! tasks where the feature `tokio` is on.
#![cfg(not(strait_loom))]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::{Duration, Instant},
};

use strait_frame::EncodeError;
use strait_transport::{
    Connection, Error, Interest, Message, Options, Receive, SendError, Stats, Transport, TransportKind, Wake, local,
};
use support::{PATIENCE, Scratch, connected, in_place, pattern, upgrade};

/// How an end waits.
#[derive(Clone)]
enum Mode {
    Thread,
    #[cfg(feature = "tokio")]
    Task(std::sync::Arc<tokio::runtime::Runtime>),
}

/// One end, and how it waits.
struct End {
    connection: Connection,
    mode: Mode,
}

impl End {
    fn wait_for(&mut self, interest: Interest, patience: Duration) -> Result<Wake, Error> {
        match &self.mode {
            Mode::Thread => self.connection.wait_ready(interest, Some(Instant::now() + patience)),
            #[cfg(feature = "tokio")]
            Mode::Task(runtime) => {
                let connection = &mut self.connection;
                runtime.clone().block_on(async {
                    let ready = std::future::poll_fn(|cx| connection.poll_ready(cx, interest));
                    match tokio::time::timeout(patience, ready).await {
                        Ok(ready) => ready.map(|()| Wake::Ready),
                        Err(_) => Ok(Wake::TimedOut),
                    }
                })
            }
        }
    }

    #[track_caller]
    fn wait(&mut self, interest: Interest) -> Result<(), Error> {
        assert_ne!(self.wait_for(interest, PATIENCE)?, Wake::TimedOut, "waited for {interest:?} in vain");
        Ok(())
    }

    #[track_caller]
    fn receive(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.connection.try_recv()? {
                return Ok(message);
            }
            self.wait(Interest::DATA)?;
        }
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        loop {
            match self.connection.send(bytes) {
                Ok(()) => return,
                Err(SendError::Full) => self.wait(Interest::SPACE).unwrap(),
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Nothing stays behind when this end stops sending.
    fn flush(&mut self) {
        let flushed = self.connection.flush(Some(Instant::now() + PATIENCE)).unwrap();
        assert_eq!(flushed, Wake::Ready);
    }

    /// Sends until there is no room; returns how many messages were taken.
    fn fill(&mut self, len: usize) -> u64 {
        let mut sent = 0;
        loop {
            match self.connection.send(&pattern(sent, len)) {
                Ok(()) => sent += 1,
                Err(SendError::Full) => return sent,
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, number: u64, len: usize) {
        assert_eq!(*self.receive().unwrap(), *pattern(number, len), "message {number} of {len} bytes");
    }

    fn stage(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.connection.try_send(bytes.len(), &mut |span| {
            span[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        })
    }
}

/// Which transport the suite runs over, and how it waits.
#[derive(Clone, Copy)]
struct Case {
    kind: TransportKind,
    #[cfg_attr(not(feature = "tokio"), expect(dead_code))]
    tasks: bool,
}

impl Case {
    fn mode(self) -> Mode {
        #[cfg(feature = "tokio")]
        if self.tasks {
            return Mode::Task(std::sync::Arc::new(
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            ));
        }
        Mode::Thread
    }

    fn pair(self) -> (End, End) {
        self.pair_with(|_| ())
    }

    fn pair_with(self, change: impl FnOnce(&mut Options)) -> (End, End) {
        let scratch = Scratch::new();
        let mut options = scratch.options();
        options.shared_memory = self.kind == TransportKind::Shared;
        change(&mut options);
        let mode = self.mode();
        let (mut left, mut right) = match (&mode, self.kind) {
            (_, TransportKind::Local) => local::pair(&options).unwrap(),
            (Mode::Thread, _) => connected(&options, &options),
            #[cfg(feature = "tokio")]
            (Mode::Task(runtime), _) => runtime.block_on(async {
                let listener = strait_transport::Listener::bind_async("pair", &options).unwrap();
                let server = async { listener.accept_async().await.unwrap().handshake_async().await.unwrap() };
                let client = async { Connection::connect_async("pair", &options).await.unwrap() };
                join(client, server).await
            }),
        };
        if self.kind == TransportKind::Shared {
            upgrade_in(&mode, &mut left, &mut right);
        }
        assert_eq!((left.transport(), right.transport()), (self.kind, self.kind));
        (End { connection: left, mode: mode.clone() }, End { connection: right, mode })
    }
}

#[cfg(feature = "tokio")]
async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut a_done, mut b_done) = (None, None);
    std::future::poll_fn(|cx| {
        if a_done.is_none()
            && let std::task::Poll::Ready(value) = a.as_mut().poll(cx)
        {
            a_done = Some(value);
        }
        if b_done.is_none()
            && let std::task::Poll::Ready(value) = b.as_mut().poll(cx)
        {
            b_done = Some(value);
        }
        match (a_done.is_some(), b_done.is_some()) {
            (true, true) => std::task::Poll::Ready((a_done.take().unwrap(), b_done.take().unwrap())),
            _ => std::task::Poll::Pending,
        }
    })
    .await
}

fn upgrade_in(mode: &Mode, left: &mut Connection, right: &mut Connection) {
    match mode {
        Mode::Thread => upgrade(left, right),
        #[cfg(feature = "tokio")]
        Mode::Task(runtime) => runtime.block_on(async {
            for _ in 0..10 {
                if support::is_shared(left) && support::is_shared(right) {
                    return;
                }
                left.send(b"warm").unwrap();
                task_receive(right).await;
                right.send(b"warm").unwrap();
                task_receive(left).await;
            }
        }),
    }
}

#[cfg(feature = "tokio")]
async fn task_receive(connection: &mut Connection) {
    while connection.try_recv().unwrap().is_none() {
        let ready = std::future::poll_fn(|cx| connection.poll_ready(cx, Interest::DATA));
        tokio::time::timeout(PATIENCE, ready).await.expect("nothing came").unwrap();
    }
}

// ---- the suite ----

fn messages_of_every_size_arrive_whole_and_in_order(case: Case) {
    let (mut left, mut right) = case.pair();
    let max = left.connection.limits().max_send_bytes;
    assert_eq!(max, (16 << 10) / 4 - 16);
    assert_eq!(right.connection.limits().max_receive_bytes, max);
    let sizes = move || (0..=max).chain((0..=max).rev().step_by(5));
    let sender = thread::spawn(move || {
        sizes().enumerate().for_each(|(number, len)| left.send(&pattern(number as u64, len)));
        left.flush();
        left
    });
    for (number, len) in sizes().enumerate() {
        right.expect(number as u64, len);
    }
    let mut left = sender.join().unwrap();
    right.send(b"and back");
    assert_eq!(*left.receive().unwrap(), *b"and back");
}

fn a_message_that_is_too_large_is_refused_and_nothing_is_sent(case: Case) {
    let (mut left, mut right) = case.pair();
    let max = left.connection.limits().max_send_bytes;
    let before = left.connection.stats();
    let refused = left.connection.try_send(max + 1, &mut |_| unreachable!("nothing is claimed"));
    match refused {
        Err(SendError::Failed(Error::TooLarge { need, max: limit })) => assert_eq!((need, limit), (max + 1, max)),
        other => panic!("{other:?}"),
    }
    assert_eq!(left.connection.stats(), before);
    left.send(b"next");
    assert_eq!(*right.receive().unwrap(), *b"next");
}

fn a_batch_is_shown_by_one_publish(case: Case) {
    let (mut left, mut right) = case.pair();
    for number in 0..5 {
        left.stage(&pattern(number, 40)).unwrap();
    }
    assert_eq!(right.wait_for(Interest::DATA, Duration::from_millis(20)).unwrap(), Wake::TimedOut);
    assert!(right.connection.try_recv().unwrap().is_none(), "nothing is published yet");
    let rings = left.connection.stats().data_rings;
    left.connection.publish().unwrap();
    for number in 0..5 {
        right.expect(number, 40);
    }
    assert!(left.connection.stats().data_rings <= rings + 1, "one wake-up for the batch");
}

fn what_a_failed_fill_wrote_is_not_sent(case: Case) {
    let (mut left, mut right) = case.pair();
    let short = left.connection.try_send(10, &mut |span| {
        span.fill(1);
        Err(EncodeError::TooLarge { need: 11, capacity: 10 })
    });
    assert!(matches!(short, Err(SendError::Short { claimed: 10 })), "{short:?}");
    let refused = left.connection.try_send(2_000, &mut |span| {
        span.fill(2);
        Err(EncodeError::Codec("no".into()))
    });
    assert!(matches!(refused, Err(SendError::Failed(Error::Encode(_)))), "{refused:?}");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        left.connection.try_send(3_000, &mut |span| {
            span.fill(3);
            panic!("an encoder's bug")
        })
    }));
    assert!(panicked.is_err());
    left.stage(b"first").unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| left.connection.try_send(10, &mut |_| panic!("another"))));
    assert!(panicked.is_err());
    left.send(b"second");
    assert_eq!(*right.receive().unwrap(), *b"first");
    assert_eq!(*right.receive().unwrap(), *b"second");
    assert_eq!(right.wait_for(Interest::DATA, Duration::from_millis(10)).unwrap(), Wake::TimedOut);
}

fn a_full_connection_takes_more_once_the_peer_has_read(case: Case) {
    let (mut left, mut right) = case.pair();
    let full = left.connection.stats().full;
    let sent = left.fill(3_000);
    assert!(sent >= 3, "{sent}");
    assert_eq!(left.connection.stats().full, full + 1);
    assert_eq!(left.wait_for(Interest::SPACE, Duration::from_millis(20)).unwrap(), Wake::TimedOut);
    let sender = thread::spawn(move || {
        for number in sent..sent + 300 {
            left.send(&pattern(number, 3_000));
        }
        left.flush();
    });
    for number in 0..sent + 300 {
        if number % 100 == 0 {
            thread::sleep(Duration::from_millis(5)); // so that the sender goes to sleep
        }
        right.expect(number, 3_000);
    }
    sender.join().unwrap();
}

fn both_ends_may_fill_the_connection_at_once(case: Case) {
    let (left, right) = case.pair();
    let run = |mut end: End| {
        thread::spawn(move || {
            let (mut sent, mut received) = (0, 0);
            while sent < 200 || received < 200 {
                let blocked = sent < 200
                    && match end.connection.send(&pattern(sent, 3_500)) {
                        Ok(()) => {
                            sent += 1;
                            false
                        }
                        Err(SendError::Full) => true,
                        Err(other) => panic!("{other}"),
                    };
                if let Some(message) = end.connection.try_recv().unwrap() {
                    assert_eq!(*message, *pattern(received, 3_500));
                    received += 1;
                } else if blocked {
                    end.wait(Interest::BOTH).unwrap();
                } else if sent == 200 && received < 200 {
                    end.wait(Interest::DATA).unwrap();
                }
            }
            end.flush();
            end
        })
    };
    let (left, right) = (run(left), run(right));
    let _ = (left.join().unwrap(), right.join().unwrap());
}

fn a_wait_ends_at_its_deadline(case: Case) {
    let (mut left, _right) = case.pair();
    left.fill(4_000);
    for interest in [Interest::DATA, Interest::SPACE, Interest::BOTH] {
        for patience in [0, 30].map(Duration::from_millis) {
            let mut timed = || {
                let start = Instant::now();
                assert_eq!(left.wait_for(interest, patience).unwrap(), Wake::TimedOut);
                start.elapsed()
            };
            // The best of three: on a machine with too much to do, a thread may also just not have its turn.
            let took = [timed(), timed(), timed()];
            assert!(took.iter().all(|took| *took >= patience), "{interest:?}: {took:?}");
            let best = took.iter().min().unwrap();
            assert!(*best < patience + Duration::from_millis(100), "{interest:?}: {took:?}");
        }
    }
}

fn a_sleeper_is_woken_by_a_message_a_close_and_a_drop(case: Case) {
    let (mut left, mut right) = case.pair();
    let sleeper = thread::spawn(move || {
        let message = right.receive().unwrap().to_vec();
        (message, right.receive().unwrap_err(), right)
    });
    thread::sleep(Duration::from_millis(30));
    left.send(b"awake");
    thread::sleep(Duration::from_millis(30));
    left.connection.close();
    let (message, end, _right) = sleeper.join().unwrap();
    assert_eq!(message, b"awake");
    assert!(matches!(end, Error::Closed), "{end:?}");

    let (left, mut right) = case.pair();
    let sleeper = thread::spawn(move || right.receive().unwrap_err());
    thread::sleep(Duration::from_millis(30));
    drop(left);
    let end = sleeper.join().unwrap();
    assert!(matches!(end, Error::PeerGone), "{end:?}");
}

fn a_sender_that_waits_for_room_learns_that_the_peer_is_gone(case: Case) {
    let (mut left, right) = case.pair();
    left.fill(3_000);
    let sleeper = thread::spawn(move || {
        loop {
            match left.connection.send(&[0; 3_000]) {
                Ok(()) => {}
                Err(SendError::Full) => match left.wait(Interest::SPACE) {
                    Ok(()) => {}
                    Err(error) => return error,
                },
                Err(SendError::Failed(error)) => return error,
                Err(other) => panic!("{other}"),
            }
        }
    });
    thread::sleep(Duration::from_millis(30));
    drop(right);
    let end = sleeper.join().unwrap();
    assert!(matches!(end, Error::PeerGone), "{end:?}");
}

fn after_a_close_all_that_was_sent_arrives_and_then_the_end(case: Case) {
    let (mut left, mut right) = case.pair();
    right.send(b"sent before");
    for number in 0..5 {
        left.stage(&pattern(number, 500)).unwrap();
    }
    left.connection.close();
    left.connection.close(); // once is enough, twice is no harm
    let refused = left.connection.send(b"more").unwrap_err();
    assert!(matches!(refused, SendError::Failed(Error::Usage(_))), "{refused:?}");
    left.wait(Interest::SPACE).unwrap();
    for number in 0..5 {
        right.expect(number, 500);
    }
    for _ in 0..3 {
        let end = right.receive().unwrap_err();
        assert!(matches!(end, Error::Closed), "{end:?}");
    }
    assert!(matches!(right.connection.send(b"x"), Err(SendError::Failed(Error::Closed))));
    assert_eq!(*left.receive().unwrap(), *b"sent before", "who closed can still receive");
}

fn a_close_with_more_to_say_than_the_peer_has_room_for_says_it_all(case: Case) {
    let (mut left, mut right) = case.pair();
    let sent = left.fill(3_000);
    left.connection.close();
    let reader = thread::spawn(move || {
        for number in 0..sent {
            right.expect(number, 3_000);
        }
        right.receive().unwrap_err()
    });
    left.wait(Interest::SPACE).unwrap();
    drop(left);
    let end = reader.join().unwrap();
    assert!(matches!(end, Error::Closed), "{end:?}");
}

fn after_a_drop_what_was_published_arrives_and_then_peer_gone(case: Case) {
    let (mut left, mut right) = case.pair();
    for number in 0..3 {
        left.send(&pattern(number, 100));
    }
    left.stage(b"never published").unwrap();
    drop(left);
    // Even where the first thing that this end notices is that it cannot send.
    let _ = right.connection.send(b"into the void");
    let _ = right.connection.send(b"into the void");
    for number in 0..3 {
        right.expect(number, 100);
    }
    for _ in 0..2 {
        let end = right.receive().unwrap_err();
        assert!(matches!(end, Error::PeerGone), "{end:?}");
    }
    let refused = right.connection.send(b"x").unwrap_err();
    assert!(matches!(refused, SendError::Failed(Error::PeerGone)), "{refused:?}");
}

fn the_counters_count(case: Case) {
    let (mut left, mut right) = case.pair();
    let (before_left, before_right) = (left.connection.stats(), right.connection.stats());
    for len in [0, 10, 500] {
        left.send(&pattern(1, len));
        right.expect(1, len);
    }
    let (after_left, after_right) = (left.connection.stats(), right.connection.stats());
    let sent = |stats: Stats| (stats.sent_messages, stats.sent_bytes);
    let received = |stats: Stats| (stats.received_messages, stats.received_bytes);
    assert_eq!(sent(after_left), (sent(before_left).0 + 3, sent(before_left).1 + 510));
    assert_eq!(received(after_right), (received(before_right).0 + 3, received(before_right).1 + 510));
    assert_eq!(received(after_left), received(before_left));
    assert_eq!(sent(after_right), sent(before_right));
    assert_eq!(after_right.checksum_errors, 0);
    let parks = right.connection.stats().parks;
    right.wait_for(Interest::DATA, Duration::from_millis(10)).unwrap();
    assert!(right.connection.stats().parks > parks);
}

fn timestamps_and_checksums_are_on_only_where_asked_for(case: Case) {
    for timestamp in [true, false] {
        for checksum in [true, false] {
            let (mut left, mut right) = case.pair_with(|options| {
                (options.timestamp, options.checksum) = (timestamp, checksum);
            });
            let before = strait_frame::now_micros();
            left.send(b"when?");
            let message = right.receive().unwrap();
            assert_eq!(*message, *b"when?");
            match timestamp {
                true => assert!((before..=strait_frame::now_micros()).contains(&message.timestamp())),
                false => assert_eq!(message.timestamp(), 0),
            }
            assert_eq!(message.transport(), case.kind);
        }
    }
}

fn messages_may_be_held_long_and_released_in_any_order_from_any_thread(case: Case) {
    for receive in [Receive::Copied, in_place()] {
        let (mut left, mut right) = case.pair_with(|options| options.receive = receive);
        let in_ring = case.kind != TransportKind::Socket && matches!(receive, Receive::InPlace(_));
        let mut held = Vec::new();
        for number in 0..400u64 {
            left.send(&pattern(number, 700));
            let message = right.receive().unwrap();
            held.push((number, message));
            if held.len() == 10 {
                let ours = held.split_off(5);
                thread::spawn(move || {
                    for (number, message) in ours.into_iter().rev() {
                        assert_eq!(*message, *pattern(number, 700));
                    }
                })
                .join()
                .unwrap();
                for (number, message) in held.drain(..) {
                    assert_eq!(*message, *pattern(number, 700));
                    assert_eq!(message.is_in_place(), in_ring);
                }
            }
        }
    }
}

fn more_than_half_a_ring_is_not_held_but_copied(case: Case) {
    let (mut left, mut right) = case.pair_with(|options| options.receive = in_place());
    let mut held = Vec::new();
    for number in 0..11 {
        left.send(&pattern(number, 1_000));
        held.push(right.receive().unwrap());
    }
    let in_place: Vec<bool> = held.iter().map(Message::is_in_place).collect();
    if case.kind == TransportKind::Socket {
        assert!(in_place.iter().all(|in_place| !in_place));
    } else {
        assert!(in_place[0] && !in_place[10], "{in_place:?}");
    }
    for (number, message) in held.iter().enumerate() {
        assert_eq!(**message, *pattern(number as u64, 1_000));
    }
}

fn the_drop_of_a_held_message_wakes_a_sender_that_waits_for_room(case: Case) {
    let (mut left, mut right) = case.pair_with(|options| options.receive = in_place());
    left.send(&pattern(0, 4_000));
    let held = right.receive().unwrap();
    let sent = left.fill(4_000);
    let sender = thread::spawn(move || {
        left.send(&pattern(99, 4_000));
        left
    });
    for number in 0..sent {
        right.expect(number, 4_000); // copied or dropped at once, but behind what is held
    }
    thread::sleep(Duration::from_millis(30));
    assert_eq!(*held, *pattern(0, 4_000));
    thread::spawn(move || drop(held)).join().unwrap();
    right.expect(99, 4_000);
    sender.join().unwrap();
}

fn a_connection_that_is_dropped_with_a_message_held_is_gone_for_the_peer(case: Case) {
    let (mut left, mut right) = case.pair_with(|options| options.receive = in_place());
    left.send(&pattern(0, 300));
    let held = right.receive().unwrap();
    let waiting = thread::spawn(move || left.receive().unwrap_err());
    thread::sleep(Duration::from_millis(20));
    drop(right);
    let end = waiting.join().unwrap();
    assert!(matches!(end, Error::PeerGone), "{end:?}");
    assert_eq!(*held, *pattern(0, 300), "and what is held stays");
}

fn a_sender_that_only_looks_for_messages_still_learns_of_a_close(case: Case) {
    let (left, mut right) = case.pair();
    let mut left = left;
    left.send(b"last");
    left.connection.close();
    let start = Instant::now();
    let mut got = 0;
    let end = loop {
        match right.connection.try_recv() {
            Ok(Some(_)) => got += 1,
            Ok(None) => assert!(start.elapsed() < PATIENCE, "never"),
            Err(end) => break end,
        }
    };
    assert_eq!(got, 1);
    assert!(matches!(end, Error::Closed), "{end:?}");
}

/// What a test holds while it runs: they run side by side, but for the one that measures time.
type Turn = (Option<RwLockReadGuard<'static, ()>>, Option<RwLockWriteGuard<'static, ()>>);

fn turn(name: &str) -> Turn {
    static TURNS: RwLock<()> = RwLock::new(());
    match name {
        "a_wait_ends_at_its_deadline" => (None, Some(TURNS.write().unwrap_or_else(PoisonError::into_inner))),
        _ => (Some(TURNS.read().unwrap_or_else(PoisonError::into_inner)), None),
    }
}

fn run(name: &str, kind: TransportKind, tasks: bool, test: fn(Case)) {
    let _turn = turn(name);
    test(Case { kind, tasks });
}

macro_rules! suite {
    ($($name:ident)*) => {
        mod socket { $(#[test] fn $name() { super::run(stringify!($name), super::TransportKind::Socket, false, super::$name) })* }
        mod shared { $(#[test] fn $name() { super::run(stringify!($name), super::TransportKind::Shared, false, super::$name) })* }
        mod in_process { $(#[test] fn $name() { super::run(stringify!($name), super::TransportKind::Local, false, super::$name) })* }
        #[cfg(feature = "tokio")]
        mod async_socket { $(#[test] fn $name() { super::run(stringify!($name), super::TransportKind::Socket, true, super::$name) })* }
        #[cfg(feature = "tokio")]
        mod async_shared { $(#[test] fn $name() { super::run(stringify!($name), super::TransportKind::Shared, true, super::$name) })* }
        #[cfg(feature = "tokio")]
        mod async_in_process { $(#[test] fn $name() { super::run(stringify!($name), super::TransportKind::Local, true, super::$name) })* }
    };
}

suite! {
    messages_of_every_size_arrive_whole_and_in_order
    a_message_that_is_too_large_is_refused_and_nothing_is_sent
    a_batch_is_shown_by_one_publish
    what_a_failed_fill_wrote_is_not_sent
    a_full_connection_takes_more_once_the_peer_has_read
    both_ends_may_fill_the_connection_at_once
    a_wait_ends_at_its_deadline
    a_sleeper_is_woken_by_a_message_a_close_and_a_drop
    a_sender_that_waits_for_room_learns_that_the_peer_is_gone
    after_a_close_all_that_was_sent_arrives_and_then_the_end
    a_close_with_more_to_say_than_the_peer_has_room_for_says_it_all
    after_a_drop_what_was_published_arrives_and_then_peer_gone
    the_counters_count
    timestamps_and_checksums_are_on_only_where_asked_for
    messages_may_be_held_long_and_released_in_any_order_from_any_thread
    more_than_half_a_ring_is_not_held_but_copied
    the_drop_of_a_held_message_wakes_a_sender_that_waits_for_room
    a_connection_that_is_dropped_with_a_message_held_is_gone_for_the_peer
    a_sender_that_only_looks_for_messages_still_learns_of_a_close
}
