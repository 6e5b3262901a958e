//! What a queue does while nobody dies.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use strait_channel::{
    Options, Postcard, Raw, TransportKind,
    queue::{Error, Settings, Unacknowledged, blocking},
};
use strait_transport::{Error as TransportError, Refusal};

use super::support::{LATE, NAME, OWNERS, PATIENCE, Running, Scratch, process::alone, until};

fn acknowledged() -> Settings {
    Settings { acknowledged: true, ..Settings::default() }
}

#[track_caller]
fn in_time(start: Instant, timeout: Duration) {
    let late = start.elapsed().saturating_sub(timeout);
    assert!(late < LATE, "{late:?} late");
}

#[test]
fn items_come_once_each_and_move_to_shared_memory() {
    let _alone = alone();
    for (name, start) in OWNERS {
        for acked in [false, true] {
            let scratch = Scratch::new();
            let owner = start(Settings { acknowledged: acked, ..Settings::default() }, &scratch.options());
            let (mut producer, mut worker) = (scratch.producer(), scratch.worker(16));
            assert_eq!(worker.is_acknowledged(), acked);
            for number in 0..2_000u64 {
                producer.push(&number.to_le_bytes(), PATIENCE).unwrap();
                if number % 4 == 3 {
                    for expected in number - 3..=number {
                        let item = worker.pop(PATIENCE).unwrap().unwrap();
                        assert_eq!((&*item, item.deliveries()), (&expected.to_le_bytes()[..], 1));
                        worker.ack(item).unwrap();
                    }
                }
            }
            assert!(worker.try_pop().unwrap().is_none());
            producer.drain(PATIENCE).unwrap();
            assert_eq!(producer.transport(), TransportKind::Shared, "{name}");
            assert_eq!(worker.transport(), TransportKind::Shared, "{name}");
            drop((producer, worker));
            until("both have left", || owner.stats().producers + owner.stats().workers == 0);
            let stats = owner.end();
            assert_eq!((stats.pushed, stats.acked, stats.popped), (2_000, 2_000, 2_000));
            assert_eq!((stats.lost, stats.redelivered, stats.depth, stats.in_flight), (0, 0, 0, 0));
            assert!((1..=1024).contains(&stats.high_water), "{stats:?}");
            assert!(scratch.left_behind().is_empty());
        }
    }
}

#[test]
fn typed_items_arrive_as_their_type() {
    let _alone = alone();
    let scratch = Scratch::new();
    type Job = (u32, String);
    let owner = blocking::Owner::<Job, Postcard>::bind_with(NAME, Settings::default(), &scratch.options()).unwrap();
    let handle = owner.handle();
    let thread = std::thread::spawn(move || owner.serve());
    let mut producer = blocking::Producer::<Job, Postcard>::connect_with(NAME, &scratch.options()).unwrap();
    let mut worker = blocking::Worker::<Job, Postcard>::connect_with(NAME, 4, &scratch.options()).unwrap();
    let long = "long ".repeat(4_000);
    producer.push(&(7, "seven".into()), PATIENCE).unwrap();
    producer.push(&(8, long.clone()), PATIENCE).unwrap();
    assert_eq!(*worker.pop(PATIENCE).unwrap().unwrap(), (7, "seven".into()));
    assert_eq!(worker.pop(PATIENCE).unwrap().unwrap().into_held().into_inner(), (8, long));
    let too_large = "x".repeat(producer.max_item_bytes() + 1);
    let refused = producer.push(&(9, too_large), PATIENCE);
    assert!(matches!(refused, Err(Error::Transport(TransportError::TooLarge { .. }))), "{refused:?}");
    producer.push(&(10, "goes on".into()), PATIENCE).unwrap();
    assert_eq!(worker.pop(PATIENCE).unwrap().unwrap().0, 10);
    handle.shutdown();
    assert_eq!(thread.join().unwrap().unwrap().pushed, 3);
}

#[test]
fn a_full_queue_holds_producers_back_by_its_capacity_and_their_window() {
    let _alone = alone();
    for (_, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings { capacity: 40, window: 16, ..Settings::default() }, &scratch.options());
        let mut producer = scratch.producer();
        for number in 0..56u64 {
            producer.push(&number.to_le_bytes(), PATIENCE).unwrap();
        }
        until("the owner is full", || owner.stats().depth == 40);
        assert!(matches!(producer.try_push(b"more"), Err(Error::Full)));
        let (begin, timeout) = (Instant::now(), Duration::from_millis(150));
        assert!(matches!(producer.push(b"more", timeout), Err(Error::Full)));
        in_time(begin, timeout);
        assert!(begin.elapsed() >= timeout);
        assert!(matches!(producer.flush(timeout), Err(Error::Transport(TransportError::TimedOut { .. }))));
        let expected = Unacknowledged::Pushes { pushed: 56, accepted: 40, settled: 0 };
        assert_eq!(producer.unacknowledged(), expected);
        let mut worker = scratch.worker(8);
        for number in 0..56u64 {
            assert_eq!(*worker.pop(PATIENCE).unwrap().unwrap(), number.to_le_bytes());
        }
        producer.push(b"more", PATIENCE).unwrap();
        producer.flush(PATIENCE).unwrap();
        assert_eq!(owner.end().high_water, 40);
    }
}

#[test]
fn a_batch_comes_whole_and_in_order_and_says_how_many_found_room_in_time() {
    let _alone = alone();
    let scratch = Scratch::new();
    let owner = Running::start(Settings { capacity: 8, window: 4, ..acknowledged() }, &scratch.options());
    let (mut producer, mut worker) = (scratch.producer(), scratch.worker(3));
    let numbers: Vec<[u8; 8]> = (0..3_000u64).map(u64::to_le_bytes).collect();
    let items = |from: usize| numbers[from..].iter().map(|number| &number[..]);
    assert_eq!(producer.push_batch(std::iter::empty(), PATIENCE).unwrap(), 0);
    let (begin, timeout) = (Instant::now(), Duration::from_millis(50));
    let first = producer.push_batch(items(0), timeout).unwrap();
    in_time(begin, timeout);
    assert_eq!(first, 12, "the queue and the window");
    assert!(matches!(producer.push_batch(items(first), timeout), Err(Error::Full)));
    let rest = std::thread::spawn(move || {
        let items = numbers[first..].iter().map(|number| &number[..]);
        let pushed = producer.push_batch(items, PATIENCE).unwrap();
        producer.drain(PATIENCE).unwrap();
        let huge = vec![0; producer.max_item_bytes() + 1];
        let some = [&b"fits"[..], &huge, b"fits too"];
        assert_eq!(producer.push_batch(some, PATIENCE).unwrap(), 1, "it stops at what cannot be pushed");
        let error = producer.push_batch(some[1..].iter().copied(), PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Transport(TransportError::TooLarge { .. })), "{error}");
        pushed
    });
    for number in 0..3_000u64 {
        let item = worker.pop(PATIENCE).unwrap().unwrap();
        assert_eq!(*item, number.to_le_bytes());
        worker.ack(item).unwrap();
    }
    assert_eq!(&*worker.pop(PATIENCE).unwrap().unwrap(), b"fits");
    assert_eq!(rest.join().unwrap(), 3_000 - first);
    assert_eq!(owner.end().pushed, 3_001);
}

#[test]
fn a_queue_full_of_bytes_holds_producers_back_too() {
    let _alone = alone();
    let scratch = Scratch::new();
    let settings = Settings { capacity_bytes: 10_000, window: 2, ..Settings::default() };
    let owner = Running::start(settings, &scratch.options());
    let mut producer = scratch.producer();
    for _ in 0..6 {
        producer.push(&[7; 3_000], PATIENCE).unwrap();
    }
    assert!(matches!(producer.push(&[7; 3_000], Duration::from_millis(50)), Err(Error::Full)));
    assert_eq!(owner.stats().depth, 4, "the fourth is the one that may be over it");
}

#[test]
fn a_worker_that_never_acknowledges_stops_nobody_and_its_items_go_to_others_when_it_leaves() {
    let _alone = alone();
    for (_, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(acknowledged(), &scratch.options());
        let (mut producer, mut lazy) = (scratch.producer(), scratch.worker(4));
        for number in 0..100u64 {
            producer.push(&number.to_le_bytes(), PATIENCE).unwrap();
        }
        let held: Vec<_> = (0..4).map(|_| lazy.pop(PATIENCE).unwrap().unwrap()).collect();
        let (begin, timeout) = (Instant::now(), Duration::from_millis(100));
        assert!(lazy.pop(timeout).unwrap().is_none(), "its prefetch is used up");
        in_time(begin, timeout);
        let mut busy = scratch.worker(4);
        for number in 4..100u64 {
            let item = busy.pop(PATIENCE).unwrap().unwrap();
            assert_eq!(*item, number.to_le_bytes());
            busy.ack(item).unwrap();
        }
        assert!(busy.pop(Duration::from_millis(20)).unwrap().is_none());
        assert_eq!(lazy.unacknowledged(), Unacknowledged::Items { not_acknowledged: 4 });
        drop(held);
        drop(lazy);
        for number in 0..4u64 {
            let item = busy.pop(PATIENCE).unwrap().unwrap();
            assert_eq!((&*item, item.deliveries()), (&number.to_le_bytes()[..], 2));
            busy.ack(item).unwrap();
        }
        producer.drain(PATIENCE).unwrap();
        let stats = owner.end();
        assert_eq!((stats.acked, stats.redelivered, stats.lost), (100, 4, 0));
    }
}

#[test]
fn an_item_counts_as_taken_when_its_worker_asks_for_more_and_not_in_the_call_that_brings_it() {
    let _alone = alone();
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings::default(), &scratch.options());
        let (mut producer, mut worker) = (scratch.producer(), scratch.worker(2));
        producer.push(b"12345678", PATIENCE).unwrap();
        let item = worker.pop(PATIENCE).unwrap();
        assert!(item.is_some());
        // A worker that dies here was given the item, and perhaps never had it: it must still count as lost then.
        std::thread::sleep(Duration::from_millis(50));
        let stats = owner.stats();
        assert_eq!((stats.acked, stats.in_flight), (0, 1), "{name}: {stats:?}");
        assert!(worker.try_pop().unwrap().is_none());
        until("it is taken", || owner.stats().acked == 1);
        drop((producer, worker));
        owner.end();
    }
}

#[test]
fn items_that_a_leaving_worker_had_not_popped_go_to_others_as_new() {
    let _alone = alone();
    for acked in [false, true] {
        let scratch = Scratch::new();
        let owner = Running::start(Settings { acknowledged: acked, ..Settings::default() }, &scratch.options());
        let (mut producer, mut leaver) = (scratch.producer(), scratch.worker(8));
        for number in 0..8u64 {
            producer.push(&number.to_le_bytes(), PATIENCE).unwrap();
        }
        let first = leaver.pop(PATIENCE).unwrap().unwrap();
        until("all are handed out", || owner.stats().popped == 8);
        leaver.ack(first).unwrap();
        drop(leaver);
        let mut heir = scratch.worker(8);
        for number in 1..8u64 {
            let item = heir.pop(PATIENCE).unwrap().unwrap();
            assert_eq!((&*item, item.deliveries()), (&number.to_le_bytes()[..], 1));
            heir.ack(item).unwrap();
        }
        // Who asks for the next one has taken those before it.
        assert!(heir.try_pop().unwrap().is_none());
        producer.drain(PATIENCE).unwrap();
        let stats = owner.end();
        assert_eq!((stats.acked, stats.returned, stats.redelivered, stats.lost), (8, 7, 0, 0));
    }
}

#[test]
fn an_item_is_given_back_or_thrown_away_where_it_may_be() {
    let _alone = alone();
    let scratch = Scratch::new();
    let owner = Running::start(Settings { max_deliveries: 3, ..acknowledged() }, &scratch.options());
    let (mut producer, mut worker) = (scratch.producer(), scratch.worker(1));
    producer.push(b"bad", PATIENCE).unwrap();
    producer.push(b"worse", PATIENCE).unwrap();
    producer.flush(PATIENCE).unwrap();
    let mut seen = Vec::new();
    while let Some(item) = worker.pop(Duration::from_millis(100)).unwrap() {
        seen.push((item.to_vec(), item.deliveries()));
        if *item == *b"worse" { worker.discard(item) } else { worker.give_back(item) }.unwrap();
    }
    let bad = |deliveries| (b"bad".to_vec(), deliveries);
    assert_eq!(seen, [bad(1), (b"worse".to_vec(), 1), bad(2), bad(3)]);
    producer.drain(PATIENCE).unwrap();
    let stats = owner.end();
    assert_eq!((stats.lost, stats.redelivered, stats.acked), (2, 2, 0));

    let owner = Running::start(Settings::default(), &scratch.options());
    let (mut producer, mut worker) = (scratch.producer(), scratch.worker(1));
    producer.push(b"taken", PATIENCE).unwrap();
    let item = worker.pop(PATIENCE).unwrap().unwrap();
    let refused = worker.give_back(item);
    assert!(matches!(refused, Err(Error::Transport(TransportError::Usage(_)))), "{refused:?}");
    drop(owner);
}

#[test]
fn unequal_producers_have_equal_shares() {
    let _alone = alone();
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings { capacity: 32, ..Settings::default() }, &scratch.options());
        let flood = |mut producer: super::support::Producer, item: u8| {
            std::thread::spawn(move || while producer.push(&[item], PATIENCE).is_ok() {})
        };
        let floods: Vec<_> = (0..3).map(|_| flood(scratch.producer(), 1)).collect();
        until("the queue is full", || owner.stats().depth == 32);
        let (late, mut worker) = (flood(scratch.producer(), 2), scratch.worker(4));
        while *worker.pop(PATIENCE).unwrap().unwrap() != [2] {}
        let of_late = (0..4_000).filter(|_| *worker.pop(PATIENCE).unwrap().unwrap() == [2]).count();
        // A quarter of 4,000, give or take what waits in the queue and that a thread may not have had its turn.
        assert!((700..1_300).contains(&of_late), "{name}: {of_late} of 4000 from the fourth producer");
        drop(owner);
        floods.into_iter().chain([late]).for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn all_calls_go_on_where_shared_memory_is_off() {
    let _alone = alone();
    for (_, start) in OWNERS {
        let scratch = Scratch::new();
        let options = Options { shared_memory: false, ..scratch.options() };
        let owner = start(acknowledged(), &options);
        let mut producer = super::support::Producer::connect_with(NAME, &options).unwrap();
        let mut worker = super::support::Worker::connect_with(NAME, 64, &options).unwrap();
        let pushes = std::thread::spawn(move || {
            for number in 0..5_000u64 {
                let mut item = vec![number as u8; 700];
                item[..8].copy_from_slice(&number.to_le_bytes());
                producer.push(&item, PATIENCE).unwrap();
            }
            producer.drain(PATIENCE).unwrap();
            assert_eq!(producer.transport(), TransportKind::Socket);
        });
        for number in 0..5_000u64 {
            let item = worker.pop(PATIENCE).unwrap().unwrap();
            assert_eq!(item[..8], number.to_le_bytes());
            assert!(item[8..].iter().all(|byte| *byte == number as u8));
            worker.ack(item).unwrap();
        }
        // An acknowledgement may still be on its way out of this process.
        worker.flush(PATIENCE).unwrap();
        pushes.join().unwrap();
        assert_eq!(owner.end().acked, 5_000);
    }
}

#[test]
fn an_owner_that_ends_in_good_order_says_what_it_had_not_accepted() {
    let _alone = alone();
    for (_, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings { capacity: 4, window: 8, ..acknowledged() }, &scratch.options());
        let (mut producer, mut worker) = (scratch.producer(), scratch.worker(2));
        for number in 0..10u64 {
            producer.push(&number.to_le_bytes(), PATIENCE).unwrap();
        }
        let item = worker.pop(PATIENCE).unwrap().unwrap();
        until("the owner is full", || owner.stats().pushed == 4);
        let stats = owner.end();
        assert_eq!((stats.pushed, stats.depth, stats.in_flight), (4, 2, 2));
        let begin = Instant::now();
        match producer.drain(PATIENCE) {
            Err(Error::OwnerGone { unacknowledged, source: TransportError::Closed }) => {
                assert_eq!(unacknowledged, Unacknowledged::Pushes { pushed: 10, accepted: 4, settled: 0 });
            }
            other => panic!("{other:?}"),
        }
        assert!(worker.pop(PATIENCE).unwrap().is_some(), "what was handed out is still there");
        match worker.pop(PATIENCE) {
            Err(Error::OwnerGone { unacknowledged, .. }) => {
                assert_eq!(unacknowledged, Unacknowledged::Items { not_acknowledged: 2 });
            }
            other => panic!("{other:?}"),
        }
        in_time(begin, Duration::ZERO);
        assert!(worker.ack(item).is_ok() || matches!(producer.try_push(b"x"), Err(Error::OwnerGone { .. })));
    }
}

#[test]
fn other_types_services_and_versions_are_refused_at_connect() {
    let _alone = alone();
    let scratch = Scratch::new();
    let options = scratch.options();
    let owner = blocking::Owner::<u64>::bind_with(NAME, Settings::default(), &options).unwrap();
    let (handle, path) = (owner.handle(), owner.path());
    let thread = std::thread::spawn(move || owner.serve());
    let schema = blocking::Producer::<u32>::connect_with(NAME, &options).unwrap_err();
    let Error::Refused { end, codec, refusal: Refusal::Schema { .. } } = schema else { panic!("{schema:?}") };
    assert_eq!((end, codec), ("a producer", "rkyv"));
    let refused = blocking::Worker::<[u8], Raw>::connect_with(NAME, 1, &options).unwrap_err();
    assert!(matches!(refused, Error::Refused { refusal: Refusal::Codec { .. }, .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.starts_with("a worker of codec raw was refused by the owner of the queue: "), "{text}");
    assert_eq!(refused.blame(), strait_transport::Blame::Peer);
    let service = strait_transport::Connection::connect(NAME, &Options { service: 1, ..options.clone() }).unwrap_err();
    assert!(matches!(service, TransportError::Refused(Refusal::Service { server: 4, client: 1 })), "{service:?}");
    // A Hello of version 9, by hand.
    let mut hello = vec![0u8; 32];
    (hello[0], hello[1], hello[2]) = (1, 9, 4);
    let mut frame = (32u32 | 1 << 30).to_le_bytes().to_vec();
    frame.extend(0u64.to_le_bytes());
    frame.extend(strait_frame::checksum(&hello).to_le_bytes());
    frame.extend(&hello);
    let mut socket = std::os::unix::net::UnixStream::connect(path).unwrap();
    socket.write_all(&frame).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert_eq!((answer[16], answer[18]), (3, 1), "Refuse, because of the version");
    let mut producer = blocking::Producer::<u64>::connect_with(NAME, &options).unwrap();
    producer.push(&7, PATIENCE).unwrap();
    producer.flush(PATIENCE).unwrap();
    handle.shutdown();
    assert_eq!(thread.join().unwrap().unwrap().pushed, 1);
}

#[test]
fn settings_out_of_range_are_named() {
    let scratch = Scratch::new();
    for (settings, name) in [
        (Settings { capacity: 0, ..Settings::default() }, "queue.capacity"),
        (Settings { capacity_bytes: 0, ..Settings::default() }, "queue.capacity_bytes"),
        (Settings { window: 5_000, ..Settings::default() }, "queue.window"),
        (Settings { max_prefetch: 0, ..Settings::default() }, "queue.max_prefetch"),
    ] {
        match super::support::Owner::bind_with(NAME, settings, &scratch.options()) {
            Err(Error::Transport(TransportError::Option { option, .. })) => assert_eq!(option, name),
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(feature = "tokio")]
#[test]
fn async_participants_wait_push_and_pop_by_their_deadlines() {
    use strait_channel::queue::{Producer, Worker};
    let _alone = alone();
    let scratch = Scratch::new();
    let owner = Running::start_async(Settings { capacity: 8, window: 4, ..acknowledged() }, &scratch.options());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = scratch.options();
        let mut producer = Producer::<[u8], Raw>::connect_with(NAME, &options).await.unwrap();
        let mut worker = Worker::<[u8], Raw>::connect_with(NAME, 4, &options).await.unwrap();
        let (begin, timeout) = (Instant::now(), Duration::from_millis(50));
        assert!(worker.pop(timeout).await.unwrap().is_none());
        in_time(begin, timeout);
        for number in 0..12u64 {
            producer.push(&number.to_le_bytes(), PATIENCE).await.unwrap();
        }
        let begin = Instant::now();
        assert!(matches!(producer.push(b"more", timeout).await, Err(Error::Full)));
        in_time(begin, timeout);
        let pushes = async {
            for number in 12..3_000u64 {
                producer.push(&number.to_le_bytes(), PATIENCE).await.unwrap();
            }
            let more: Vec<[u8; 8]> = (3_000..4_000u64).map(u64::to_le_bytes).collect();
            let pushed = producer.push_batch(more.iter().map(|number| &number[..]), PATIENCE).await.unwrap();
            assert_eq!(pushed, 1_000);
            producer.drain(PATIENCE).await.unwrap();
        };
        let pops = async {
            for number in 0..4_000u64 {
                let item = worker.pop(PATIENCE).await.unwrap().unwrap();
                assert_eq!(*item, number.to_le_bytes());
                worker.ack(item).unwrap();
            }
            worker.flush(PATIENCE).await.unwrap();
        };
        tokio::join!(pushes, pops);
    });
    assert_eq!(owner.end().acked, 4_000);
}
