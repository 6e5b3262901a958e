//! Peers that lie: each ends its own connection, and nobody else notices.

use std::time::{Duration, Instant};

use strait_channel::{
    Options,
    queue::{Error, Settings},
};
use strait_transport::{
    Connection, Error as TransportError, Interest, Limits, Listener, SendError, Transport, TransportKind, Wake,
};

use super::support::{NAME, OWNERS, PATIENCE, Producer, Scratch, Worker, process::alone, until};

/// A message, as docs/PROTOCOL.md has it.
fn frame(kind: u8, flags: u8, number: u32, id: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, flags, 0, 0];
    bytes.extend(number.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes.extend(body);
    bytes
}

fn send(connection: &mut Connection, bytes: &[u8]) {
    match connection.send(bytes) {
        Ok(()) | Err(SendError::Failed(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Reads until the connection ends; whether it did.
fn ends(connection: &mut Connection) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connection.try_recv() {
            Ok(Some(_)) => {}
            Err(_) => return true,
            Ok(None) => match connection.wait_ready(Interest::DATA, Some(deadline)) {
                Ok(Wake::TimedOut) => return false,
                Ok(_) => {}
                Err(_) => return true,
            },
        }
    }
}

fn raw(options: &Options) -> Options {
    Options {
        service: 4,
        codec: 0,
        schema: <strait_channel::Raw as strait_channel::Codec<[u8]>>::schema(),
        ..options.clone()
    }
}

const PRODUCER: fn() -> Vec<u8> = || frame(1, 1, 0, 0, b"");
const WORKER: fn() -> Vec<u8> = || frame(1, 2, 2, 0, b"");

#[test]
fn a_participant_that_lies_ends_alone() {
    let _alone = alone();
    let lies: Vec<Vec<Vec<u8>>> = vec![
        vec![vec![]],
        vec![vec![1, 1, 0]],
        vec![frame(1, 3, 0, 0, b"")],
        vec![frame(3, 0, 0, 1, b"an item before it has joined")],
        vec![frame(99, 0, 0, 0, b"")],
        vec![PRODUCER(), PRODUCER()],
        vec![PRODUCER(), frame(3, 0, 0, 2, b"a gap")],
        vec![PRODUCER(), frame(3, 0, 0, u64::MAX, b"")],
        vec![PRODUCER(), frame(7, 0, 0, 1, b"")],
        vec![PRODUCER(), frame(5, 0, 1, 1, b"an item from a producer, as an owner sends it")],
        vec![WORKER(), frame(7, 0, 0, 1_000_000, b"")],
        vec![WORKER(), frame(7, 0, 0, 0, b"")],
        vec![WORKER(), frame(8, 2, 0, 1, b"")],
        vec![WORKER(), frame(9, 0, 0, u64::MAX, b"")],
        vec![WORKER(), frame(6, 0, 0, u64::MAX, b"")],
        vec![WORKER(), frame(3, 0, 0, 1, b"an item from a worker")],
    ];
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings { acknowledged: true, ..Settings::default() }, &scratch.options());
        let (mut producer, mut worker) = (scratch.producer(), scratch.worker(4));
        for (index, lie) in lies.iter().enumerate() {
            let mut liar = Connection::connect(NAME, &raw(&scratch.options())).unwrap();
            lie.iter().for_each(|word| send(&mut liar, word));
            assert!(ends(&mut liar), "{name}: lie {index}");
            producer.push(b"honest", PATIENCE).unwrap();
            let item = worker.pop(PATIENCE).unwrap().unwrap();
            worker.ack(item).unwrap();
        }
        producer.drain(PATIENCE).unwrap();
        until("they are gone", || owner.stats().producers == 1 && owner.stats().workers == 1);
        let stats = owner.end();
        assert_eq!((stats.acked, stats.lost), (lies.len() as u64, 0));
    }
}

#[test]
fn an_item_that_is_larger_than_a_worker_can_be_given_ends_its_producer() {
    let _alone = alone();
    let scratch = Scratch::new();
    let small = Options { ring_bytes: 4096, ..scratch.options() };
    let owner = super::support::Running::start(Settings::default(), &small);
    let mut liar = Connection::connect(NAME, &raw(&scratch.options())).unwrap();
    send(&mut liar, &PRODUCER());
    send(&mut liar, &frame(3, 0, 0, 1, &[7; 10_000]));
    assert!(ends(&mut liar));
    let mut producer = scratch.producer();
    assert_eq!(producer.max_item_bytes(), 4096 / 4 - 16 - 16);
    let refused = producer.push(&[7; 993], PATIENCE);
    assert!(matches!(refused, Err(Error::Transport(TransportError::TooLarge { need: 993, max: 992 }))), "{refused:?}");
    producer.push(&[7; 992], PATIENCE).unwrap();
    assert_eq!(scratch.worker(1).pop(PATIENCE).unwrap().unwrap().len(), 992);
    drop(owner);
}

#[test]
fn somebody_who_never_joins_is_let_go_and_holds_up_nobody() {
    let _alone = alone();
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
        let owner = start(Settings::default(), &Options { limits, ..scratch.options() });
        let mut silent = Connection::connect(NAME, &raw(&scratch.options())).unwrap();
        let begin = Instant::now();
        let (mut producer, mut worker) = (scratch.producer(), scratch.worker(1));
        producer.push(b"meanwhile", PATIENCE).unwrap();
        assert!(worker.pop(PATIENCE).unwrap().is_some());
        assert!(ends(&mut silent));
        let took = begin.elapsed();
        assert!(took < Duration::from_millis(400), "{name}: {took:?}");
        drop(owner);
    }
}

/// A worker of an owner that answers its Join with `words`.
fn lied_to_worker(words: Vec<Vec<u8>>) -> Error {
    let scratch = Scratch::new();
    let listener = Listener::bind(NAME, &raw(&scratch.options()), None).unwrap();
    let owner = std::thread::spawn(move || {
        let mut connection = listener.accept().unwrap().unwrap().handshake().unwrap();
        while connection.try_recv().unwrap().is_none() {
            connection.wait_ready(Interest::DATA, Some(Instant::now() + PATIENCE)).unwrap();
        }
        words.iter().for_each(|word| send(&mut connection, word));
        ends(&mut connection);
    });
    let outcome = Worker::connect_with(NAME, 2, &scratch.options()).and_then(|mut worker| {
        loop {
            if let Err(error) = worker.pop(PATIENCE) {
                break Err::<Worker, _>(error);
            }
        }
    });
    owner.join().unwrap();
    outcome.unwrap_err()
}

fn is_corrupt(error: &Error) -> bool {
    let (Error::Transport(source) | Error::OwnerGone { source, .. }) = error else { return false };
    matches!(source, TransportError::Corrupt { .. })
}

#[test]
fn an_owner_that_lies_to_a_worker_is_corrupt() {
    let _alone = alone();
    let joined = |acknowledged| frame(2, acknowledged, 2, 1_000, b"");
    let item = |id| frame(5, 0, 1, id, b"item");
    for words in [
        vec![frame(2, 0, 0, 1_000, b"")],
        vec![item(1)],
        vec![joined(0), item(2)],
        vec![joined(0), item(1), item(1)],
        vec![joined(1), item(1), item(2), item(3)],
        vec![joined(1), joined(1)],
        vec![joined(1), frame(4, 0, 0, 0, &[0; 8])],
        vec![joined(1), vec![5, 0]],
    ] {
        let error = lied_to_worker(words.clone());
        assert!(is_corrupt(&error), "{words:?}: {error:?}");
    }
}

#[test]
fn an_owner_that_lies_to_a_producer_is_corrupt() {
    let _alone = alone();
    let progress = |accepted, settled: u64| frame(4, 0, 0, accepted, &settled.to_le_bytes());
    for words in [
        vec![progress(2, 0)],
        vec![progress(1, 2)],
        vec![progress(1, 0), progress(0, 0)],
        vec![frame(4, 0, 0, 1, b"short")],
        vec![frame(5, 0, 1, 1, b"an item")],
    ] {
        let scratch = Scratch::new();
        let listener = Listener::bind(NAME, &raw(&scratch.options()), None).unwrap();
        let said = words.clone();
        let owner = std::thread::spawn(move || {
            let mut connection = listener.accept().unwrap().unwrap().handshake().unwrap();
            let mut heard = 0;
            while heard < 2 {
                match connection.try_recv().unwrap() {
                    Some(_) if heard == 0 => {
                        heard += 1;
                        send(&mut connection, &frame(2, 0, 4, 1 << 40, b""));
                    }
                    Some(_) => heard += 1,
                    None => drop(connection.wait_ready(Interest::DATA, Some(Instant::now() + PATIENCE)).unwrap()),
                }
            }
            said.iter().for_each(|word| send(&mut connection, word));
            ends(&mut connection);
        });
        let mut producer = Producer::connect_with(NAME, &scratch.options()).unwrap();
        assert_eq!(producer.max_item_bytes(), 256 * 1024 / 4 - 32, "no more than its own ring takes");
        producer.push(b"one", PATIENCE).unwrap();
        let error = producer.drain(Duration::from_secs(5)).unwrap_err();
        assert!(is_corrupt(&error), "{words:?}: {error:?}");
        drop(producer);
        owner.join().unwrap();
    }
}

#[test]
fn a_producer_that_floods_and_never_listens_holds_up_nobody() {
    let _alone = alone();
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings { capacity: 64, ..Settings::default() }, &scratch.options());
        let options = Options { ring_bytes: 1 << 20, ..raw(&scratch.options()) };
        // The owner's words to it find no room after a while.
        let mut flood = Connection::connect(NAME, &options).unwrap();
        send(&mut flood, &PRODUCER());
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let flooding = std::thread::spawn(move || {
            let mut sequence = 1;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                if flood.transport() == TransportKind::Socket {
                    // It must read to get into shared memory; not a word after that.
                    let _ = flood.try_recv();
                }
                match flood.send(&frame(3, 0, 0, sequence, b"flood")) {
                    Ok(()) => sequence += 1,
                    Err(SendError::Failed(error)) => panic!("{error}"),
                    Err(_) => drop(flood.wait_ready(Interest::SPACE, Some(Instant::now() + Duration::from_millis(20)))),
                }
            }
        });
        let (mut producer, mut worker) = (scratch.producer(), scratch.worker(16));
        let popping = std::thread::spawn(move || {
            let mut honest = 0;
            while honest < 1_000 {
                honest += usize::from(*worker.pop(PATIENCE).unwrap().unwrap() == *b"honest");
            }
        });
        for _ in 0..1_000 {
            producer.push(b"honest", PATIENCE).unwrap();
        }
        popping.join().unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        flooding.join().unwrap();
        assert!(owner.stats().high_water <= 64, "{name}");
        drop(owner);
    }
}
