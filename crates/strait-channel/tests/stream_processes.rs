//! Streams between real processes: what is sent arrives, ends are told from deaths, and every call of a survivor ends in time.

mod stream_support;

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use strait_channel::{
    Error as Below, Options, TransportKind,
    stream::{self, Backpressure, Config, Consumer, Duplex, Endpoint, Error, Plain, Postcard, Producer, Raw, Received},
};
use strait_transport::Connection;
use stream_support::{
    PATIENCE, STORM, Scratch,
    child::{Child, hear, play, say},
    config, eventually, open_fds, pattern,
};

#[test]
fn roles() {
    play(&[
        ("produce", |dir| produce(connect(dir), u64::MAX)),
        ("produce_2000", |dir| produce(connect(dir), 2000)),
        ("consume", |dir| consume(connect(dir))),
        ("consume_when_told", |dir| {
            let consumer = connect(dir);
            say("ready");
            hear();
            consume(consumer);
        }),
        ("inherit", |_| produce(Producer::inherit(&Config::default()).unwrap(), 2000)),
        ("inherit_badly", inherit_badly),
        ("count_descriptors", count_descriptors),
    ]);
}

fn connect<E: Endpoint>(dir: &Path) -> E {
    eventually(|| E::connect("lines", &config(dir)).ok())
}

fn produce(mut producer: Producer, count: u64) {
    for number in 0..count {
        producer.send(&pattern(number)).unwrap();
    }
    producer.finish(PATIENCE).unwrap();
}

fn consume(mut consumer: Consumer) {
    let mut last = None;
    while let Some(message) = consumer.recv().unwrap() {
        check(&message);
        last = Some(message.sequence());
    }
    let stats = consumer.stats();
    say(&format!("{last:?} received {} lost {}", stats.received, stats.lost));
}

#[track_caller]
fn check(message: &Received<[u8]>) {
    assert_eq!(**message, *pattern(message.sequence()));
}

/// Receives to the end or the error.
fn drain(consumer: &mut Consumer) -> (u64, Option<Error>) {
    let mut next = 0;
    loop {
        match consumer.recv_timeout(PATIENCE) {
            Ok(Some(message)) => {
                assert_eq!((message.sequence(), message.lost_before()), (next, 0));
                check(&message);
                next += 1;
            }
            Ok(None) => return (next, None),
            Err(error) => return (next, Some(error)),
        }
    }
}

fn random_pause(limit_us: u64) {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    std::thread::sleep(Duration::from_micros(u64::from(nanos / 7) % limit_us));
}

#[test]
fn a_stream_whose_consumer_listens_arrives_whole_and_ends() {
    let scratch = Scratch::new();
    let binding = <Consumer>::bind("lines", &scratch.config()).unwrap();
    let child = Child::start("produce_2000", &scratch.0);
    let mut consumer = binding.accept_timeout(PATIENCE).unwrap();
    let (count, error) = drain(&mut consumer);
    assert!(error.is_none(), "{error:?}");
    assert_eq!((count, consumer.transport()), (2000, TransportKind::Shared));
    child.finish();
}

#[test]
fn a_stream_whose_producer_listens_arrives_whole_and_ends() {
    let scratch = Scratch::new();
    let binding = <Producer>::bind("lines", &scratch.config()).unwrap();
    let child = Child::start("consume", &scratch.0);
    let mut producer = binding.accept_timeout(PATIENCE).unwrap();
    for number in 0..2000 {
        producer.send(&pattern(number)).unwrap();
    }
    assert_eq!(producer.transport(), TransportKind::Shared);
    drop(producer);
    child.expect("Some(1999) received 2000 lost 0");
    child.finish();
}

#[test]
fn a_consumer_of_a_producer_that_was_killed_gets_what_it_sent_and_then_its_death() {
    for _ in 0..15 {
        let scratch = Scratch::new();
        let binding = <Consumer>::bind("lines", &scratch.config()).unwrap();
        let mut child = Child::start("produce", &scratch.0);
        let mut consumer = binding.accept_timeout(PATIENCE).unwrap();
        let killer = std::thread::spawn(move || {
            random_pause(20_000);
            child.kill();
            Instant::now()
        });
        let (_, error) = drain(&mut consumer);
        let told = Instant::now();
        assert!(matches!(error, Some(Error::Connection(Below::PeerGone))), "{error:?}");
        assert!(told.saturating_duration_since(killer.join().unwrap()) < STORM);
        drop((consumer, binding));
        assert_eq!(scratch.files(), 0, "a socket is left");
    }
}

#[test]
fn a_producer_of_a_consumer_that_was_killed_is_told_whatever_its_backpressure() {
    for backpressure in [Backpressure::Block, Backpressure::Fail, Backpressure::DropNewest] {
        for _ in 0..5 {
            let scratch = Scratch::new();
            let config = Config { backpressure, ..scratch.config() };
            let binding = <Producer>::bind("lines", &config).unwrap();
            let mut child = Child::start("consume", &scratch.0);
            let mut producer = binding.accept_timeout(PATIENCE).unwrap();
            let killer = std::thread::spawn(move || {
                random_pause(20_000);
                child.kill();
                Instant::now()
            });
            let mut number = 0;
            let error = loop {
                match producer.send(&pattern(number)) {
                    Ok(_) => number += 1,
                    Err(Error::Full) => {}
                    Err(error) => break error,
                }
            };
            let told = Instant::now();
            assert!(matches!(error, Error::Connection(Below::PeerGone)), "{error}");
            assert!(error.is_peer_gone());
            assert!(told.saturating_duration_since(killer.join().unwrap()) < STORM, "{backpressure:?}");
        }
    }
}

#[test]
fn a_producer_of_a_stopped_consumer_waits_fails_or_drops_as_it_chose_and_loses_nothing_else() {
    for backpressure in [Backpressure::Block, Backpressure::Fail, Backpressure::DropNewest] {
        let scratch = Scratch::new();
        let config = Config { backpressure, send_timeout: Some(Duration::from_millis(200)), ..scratch.config() };
        let binding = <Producer>::bind("lines", &config).unwrap();
        let child = Child::start("consume", &scratch.0);
        let mut producer = binding.accept_timeout(PATIENCE).unwrap();
        let mut number = 0;
        let mut send = |producer: &mut Producer| {
            let sent = producer.send(&pattern(number));
            number += u64::from(sent.is_ok());
            sent
        };
        while producer.transport() != TransportKind::Shared {
            send(&mut producer).unwrap_or(stream::Sent::Dropped);
        }
        child.signal(libc::SIGSTOP);
        let begin = Instant::now();
        match backpressure {
            Backpressure::Block => {
                let error = std::iter::repeat_with(|| send(&mut producer)).find_map(Result::err).unwrap();
                assert!(error.is_timeout(), "{error}");
                assert!(begin.elapsed() >= Duration::from_millis(200) && begin.elapsed() < STORM);
                let begin = Instant::now();
                let error = producer.send_timeout(&[0; 3000], Duration::from_millis(50)).unwrap_err();
                assert!(error.is_timeout() && begin.elapsed() < Duration::from_millis(50) + STORM);
            }
            Backpressure::Fail => {
                let error = std::iter::repeat_with(|| send(&mut producer)).find_map(Result::err).unwrap();
                assert!(matches!(error, Error::Full), "{error}");
            }
            Backpressure::DropNewest => {
                for _ in 0..500 {
                    send(&mut producer).unwrap();
                }
                assert!(producer.stats().dropped > 300, "{:?}", producer.stats());
            }
        }
        child.signal(libc::SIGCONT);
        eventually(|| send(&mut producer).is_ok_and(|sent| sent == stream::Sent::Queued).then_some(()));
        let stats = producer.stats();
        producer.finish(PATIENCE).unwrap();
        child.expect(&format!("Some({}) received {} lost {}", number - 1, stats.sent, stats.dropped));
        child.finish();
    }
}

#[test]
fn a_consumer_of_a_stopped_producer_waits_until_its_deadline_and_goes_on_after() {
    let scratch = Scratch::new();
    let binding = <Consumer>::bind("lines", &scratch.config()).unwrap();
    let child = Child::start("produce_2000", &scratch.0);
    let mut consumer = binding.accept_timeout(PATIENCE).unwrap();
    check(&consumer.recv().unwrap().unwrap());
    child.signal(libc::SIGSTOP);
    let mut next = 1;
    let error = loop {
        let begin = Instant::now();
        match consumer.recv_timeout(Duration::from_millis(100)) {
            Ok(message) => check(&message.unwrap()),
            Err(error) => {
                assert!(begin.elapsed() >= Duration::from_millis(100) && begin.elapsed() < STORM);
                break error;
            }
        }
        next += 1;
    };
    assert!(error.is_timeout(), "{error}");
    child.signal(libc::SIGCONT);
    while let Some(message) = consumer.recv_timeout(PATIENCE).unwrap() {
        assert_eq!(message.sequence(), next);
        next += 1;
    }
    assert_eq!(next, 2000);
    child.finish();
}

#[test]
fn a_batch_is_published_once_and_arrives_whole() {
    let scratch = Scratch::new();
    let binding = <Producer>::bind("lines", &scratch.config()).unwrap();
    let child = Child::start("consume", &scratch.0);
    let mut producer = binding.accept_timeout(PATIENCE).unwrap();
    for first in (0..3000).step_by(30) {
        let batch: Vec<_> = (first..first + 30).map(pattern).collect();
        assert_eq!(producer.send_batch(batch.iter().map(|bytes| &bytes[..])).unwrap(), 30);
    }
    drop(producer);
    child.expect("Some(2999) received 3000 lost 0");
    child.finish();
}

fn refusal<E: Endpoint + std::fmt::Debug>(config: &Config) -> strait_transport::Refusal {
    match E::connect("lines", config).unwrap_err() {
        Error::Refused { refusal, .. } => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn ends_that_do_not_go_together_are_refused_and_the_binding_waits_on() {
    use strait_transport::Refusal;
    let scratch = Scratch::new();
    let config = scratch.config();
    let binding = Consumer::<u64, Plain>::bind("lines", &config).unwrap();
    let accept = std::thread::spawn(move || binding.accept_timeout(PATIENCE));
    assert!(matches!(refusal::<Producer<u32, Plain>>(&config), Refusal::Schema { .. }));
    assert!(matches!(refusal::<Producer<u64, Postcard>>(&config), Refusal::Codec { server: 3, client: 2 }));
    assert!(matches!(refusal::<Consumer<u64, Plain>>(&config), Refusal::Schema { .. }));
    assert!(matches!(refusal::<Duplex<u64, Plain>>(&config), Refusal::Schema { .. }));
    let text = Producer::<u32, Plain>::connect("lines", &config).unwrap_err().to_string();
    assert!(text.contains("a producer of codec plain") && text.contains("schema"), "{text}");
    let other_service = Options { service: 1, codec: 3, ..config.options.clone() };
    let refused = Connection::connect("lines", &other_service).unwrap_err();
    assert!(matches!(refused, Below::Refused(Refusal::Service { server: 2, client: 1 })), "{refused}");
    let mut producer = Producer::<u64, Plain>::connect("lines", &config).unwrap();
    producer.send(&42).unwrap();
    assert_eq!(*accept.join().unwrap().unwrap().recv().unwrap().unwrap(), 42);
}

#[test]
fn accepting_ends_at_its_deadline_even_where_a_client_says_nothing() {
    let scratch = Scratch::new();
    let binding = <Consumer>::bind("lines", &scratch.config()).unwrap();
    let _silent = std::os::unix::net::UnixStream::connect(binding.path()).unwrap();
    let begin = Instant::now();
    let error = binding.accept_timeout(Duration::from_millis(150)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(begin.elapsed() >= Duration::from_millis(150) && begin.elapsed() < STORM);
}

/// A peer that speaks the connection's protocol and not the stream's.
fn liar(messages: &[(u64, u64)]) -> Vec<Result<u64, Error>> {
    let scratch = Scratch::new();
    let binding = <Consumer>::bind("lines", &scratch.config()).unwrap();
    let any = Options { service: 2, codec: strait_transport::CODEC_ANY, ..scratch.config().options };
    let connect = std::thread::spawn(move || Connection::connect("lines", &any).unwrap());
    let mut consumer = binding.accept_timeout(PATIENCE).unwrap();
    let mut connection = connect.join().unwrap();
    messages
        .iter()
        .map(|(sequence, dropped)| {
            connection.send(&[sequence.to_le_bytes(), dropped.to_le_bytes()].concat()).unwrap();
            consumer.recv_timeout(PATIENCE).map(|message| message.unwrap().lost_before())
        })
        .collect()
}

#[test]
fn a_sequence_shows_what_is_lost_and_one_that_cannot_be_is_corrupt() {
    let ok = |results: Vec<Result<u64, Error>>| results.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(ok(liar(&[(0, 0), (3, 1), (4, 1), (9, 6)])), [0, 2, 0, 4]);
    for wrong in [[(5, 0), (5, 0)], [(5, 0), (4, 0)], [(5, 3), (6, 2)], [(0, 0), (2, 2)], [(0, 0), (u64::MAX, 0)]] {
        let results = liar(&wrong);
        assert!(results[0].is_ok());
        assert!(matches!(results[1], Err(Error::Connection(Below::Corrupt { .. }))), "{wrong:?}: {results:?}");
    }
}

#[test]
fn a_message_without_a_header_is_corrupt_and_stays_so() {
    let scratch = Scratch::new();
    let binding = <Consumer>::bind("lines", &scratch.config()).unwrap();
    let any = Options { service: 2, codec: strait_transport::CODEC_ANY, ..scratch.config().options };
    let connect = std::thread::spawn(move || Connection::connect("lines", &any).unwrap());
    let mut consumer = binding.accept_timeout(PATIENCE).unwrap();
    connect.join().unwrap().send(&[0; 15]).unwrap();
    for _ in 0..2 {
        let error = consumer.recv_timeout(PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Connection(Below::Corrupt { .. })), "{error}");
    }
}

fn child_command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "roles", "--nocapture", "--test-threads=1"]).stdout(std::process::Stdio::null());
    command.env("STRAIT_TEST_ROLE", role).env("STRAIT_TEST_DIR", "/");
    command
}

#[test]
fn a_spawned_child_inherits_its_stream_without_a_name() {
    let config = config(Path::new("/nonexistent"));
    let (mut child, mut consumer) = <Consumer>::spawn(child_command("inherit"), &config).unwrap();
    let (count, error) = drain(&mut consumer);
    assert!(error.is_none(), "{error:?}");
    assert_eq!((count, consumer.transport()), (2000, TransportKind::Shared));
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_death_of_a_spawned_child_is_told() {
    let config = config(Path::new("/nonexistent"));
    let (mut child, mut consumer) = <Consumer>::spawn(child_command("inherit"), &config).unwrap();
    check(&consumer.recv().unwrap().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let mut last = consumer.recv_timeout(STORM);
    while let Ok(Some(_)) = last {
        last = consumer.recv_timeout(STORM);
    }
    // Where it had sent all and closed before it was killed, that is an end in good order.
    assert!(matches!(last, Ok(None) | Err(Error::Connection(Below::PeerGone))), "{last:?}");
}

#[test]
fn a_child_that_never_adopts_is_told_by_its_end_and_one_that_cannot_start_by_an_error() {
    let config = config(Path::new("/nonexistent"));
    let error = <Consumer>::spawn(Command::new("/bin/true"), &config).unwrap_err();
    assert!(error.is_peer_gone(), "{error}");
    let error = <Consumer>::spawn(Command::new("/no/such/program"), &config).unwrap_err();
    assert!(matches!(error, Error::Connection(Below::Io { .. })), "{error}");
    let error = <Consumer>::inherit(&config).unwrap_err();
    assert!(matches!(error, Error::Connection(Below::Usage(_))), "{error}");
}

/// Adopts twice, and has a child of its own, which knows the variable and has no such descriptor.
fn inherit_badly(_: &Path) {
    let mut producer = <Producer>::inherit(&Config::default()).unwrap();
    let again = <Producer>::inherit(&Config::default()).unwrap_err().to_string();
    producer.send(again.as_bytes()).unwrap();
    let grandchild = child_command("inherit").stderr(std::process::Stdio::null()).status().unwrap();
    producer.send(if grandchild.success() { b"it could" } else { b"it could not" }).unwrap();
}

#[test]
fn a_stream_is_inherited_once_and_not_by_grandchildren() {
    let config = config(Path::new("/nonexistent"));
    let (mut child, mut consumer) = <Consumer>::spawn(child_command("inherit_badly"), &config).unwrap();
    let again = String::from_utf8(consumer.recv().unwrap().unwrap().to_vec()).unwrap();
    assert!(again.contains("adopted already"), "{again}");
    assert_eq!(&*consumer.recv().unwrap().unwrap(), b"it could not");
    assert!(consumer.recv().unwrap().is_none());
    assert!(child.wait().unwrap().success());
}

/// Alone in its process, so that nobody else opens any.
fn count_descriptors(dir: &Path) {
    let config = config(dir);
    let round = || {
        let (mut child, mut consumer) = <Consumer>::spawn(child_command("inherit"), &config).unwrap();
        check(&consumer.recv().unwrap().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        drop(consumer);
        <Consumer>::spawn(Command::new("/bin/true"), &config).unwrap_err();
        let binding = <Consumer>::bind("lines", &config).unwrap();
        binding.accept_timeout(Duration::from_millis(1)).unwrap_err();
        let (producer, consumer): (Producer, Consumer) = stream::local(&config).unwrap();
        drop((producer, consumer.on_message(None, drop).unwrap()));
    };
    round();
    let before = open_fds();
    (0..5).for_each(|_| round());
    say(&format!("{} descriptors more", open_fds() - before));
}

#[test]
fn nothing_is_left_of_streams_whose_children_died_or_never_came() {
    let scratch = Scratch::new();
    let child = Child::start("count_descriptors", &scratch.0);
    child.expect("0 descriptors more");
    child.finish();
    assert_eq!(scratch.files(), 0);
}

#[test]
fn a_callback_gets_each_message_and_stops_when_asked() {
    let scratch = Scratch::new();
    let binding = <Consumer>::bind("lines", &scratch.config()).unwrap();
    let child = Child::start("produce", &scratch.0);
    let consumer = binding.accept_timeout(PATIENCE).unwrap();
    let (sender, numbers) = std::sync::mpsc::channel();
    let callback = consumer
        .on_message(None, move |message| {
            check(&message);
            let _ = sender.send(message.sequence());
        })
        .unwrap();
    assert!((0..500).all(|number| numbers.recv_timeout(PATIENCE) == Ok(number)));
    // Asleep or at work, it stops.
    child.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(20));
    let begin = Instant::now();
    let mut consumer = callback.stop().unwrap();
    assert!(begin.elapsed() < STORM);
    let next = numbers.try_iter().last().map_or(500, |last| last + 1);
    child.signal(libc::SIGCONT);
    assert_eq!(consumer.recv().unwrap().unwrap().sequence(), next);
    let error = consumer.on_message(Some(1_000_000), |_| {}).unwrap_err();
    assert!(matches!(error, Error::Connection(Below::Option { option: "cpu", .. })), "{error}");
}

#[test]
fn a_callback_thread_inside_the_process_is_pinned_and_ends_with_the_stream() {
    let (mut producer, consumer) = stream::local::<u64, Plain>(&Config::default()).unwrap();
    let (sender, heard) = std::sync::mpsc::channel();
    let callback = consumer.on_message(Some(0), move |message| sender.send(*message).unwrap()).unwrap();
    producer.send(&7).unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(7));
    drop(producer);
    callback.join().unwrap();
}

#[cfg(feature = "tokio")]
mod tasks {
    use strait_channel::stream::Sent;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
    }

    #[test]
    fn a_stream_and_a_sink_carry_all_through_full_rings() {
        use std::pin::Pin;

        use futures_util::{Sink, Stream};
        let scratch = Scratch::new();
        block_on(async {
            let binding = <Consumer>::bind_async("lines", &scratch.config()).unwrap();
            let config = scratch.config();
            let sender = tokio::spawn(async move {
                let mut producer = <Producer>::connect_async("lines", &config).await.unwrap();
                for number in 0..3000 {
                    std::future::poll_fn(|cx| Sink::<Vec<u8>>::poll_ready(Pin::new(&mut producer), cx)).await.unwrap();
                    Sink::<Vec<u8>>::start_send(Pin::new(&mut producer), pattern(number)).unwrap();
                }
                std::future::poll_fn(|cx| Sink::<Vec<u8>>::poll_close(Pin::new(&mut producer), cx)).await.unwrap();
                assert_eq!(producer.stats().sent, 3000);
            });
            let mut consumer = binding.accept_async().await.unwrap();
            let mut next = 0;
            while let Some(message) = std::future::poll_fn(|cx| Pin::new(&mut consumer).poll_next(cx)).await {
                let message = message.unwrap();
                assert_eq!(message.sequence(), next);
                check(&message);
                next += 1;
            }
            assert_eq!(next, 3000);
            sender.await.unwrap();
        });
    }

    #[test]
    fn tasks_send_and_receive_and_are_told_of_the_end() {
        let scratch = Scratch::new();
        block_on(async {
            let binding = <Producer>::bind_async("lines", &scratch.config()).unwrap();
            let config = scratch.config();
            let receiver = tokio::spawn(async move {
                let mut consumer = <Consumer>::connect_async("lines", &config).await.unwrap();
                let mut count = 0;
                while let Some(message) = consumer.recv_async().await.unwrap() {
                    check(&message);
                    count += 1;
                }
                count
            });
            let mut producer = binding.accept_async().await.unwrap();
            for number in 0..2000 {
                assert_eq!(producer.send_async(&pattern(number)).await.unwrap(), Sent::Queued);
            }
            drop(producer);
            assert_eq!(receiver.await.unwrap(), 2000);
        });
    }

    #[test]
    fn a_task_inherits_its_stream() {
        let config = config(Path::new("/nonexistent"));
        block_on(async {
            let (mut child, mut consumer) = <Consumer>::spawn_async(child_command("inherit"), &config).await.unwrap();
            let mut count = 0;
            while let Some(message) = consumer.recv_async().await.unwrap() {
                check(&message);
                count += 1;
            }
            assert_eq!(count, 2000);
            assert!(child.wait().unwrap().success());
        });
    }
}

#[test]
fn raw_is_the_default_codec() {
    let (mut producer, _consumer): (Producer, Consumer<[u8], Raw>) = stream::local(&Config::default()).unwrap();
    producer.send(b"x").unwrap();
}

/// The other end says what it has to say and goes, before this one has said a word: both are still on the socket.
#[test]
fn a_duplex_end_that_sends_to_one_that_has_finished_is_told_so_and_gets_what_it_said() {
    for count in [1, 20] {
        let scratch = Scratch::new();
        let binding = <Duplex>::bind("talk", &scratch.config()).unwrap();
        let config = scratch.config();
        let other = std::thread::spawn(move || {
            let mut right: Duplex = stream::duplex("talk", &config, PATIENCE).unwrap();
            for number in 0..count {
                right.send(&pattern(number)).unwrap();
            }
            right.finish(PATIENCE).unwrap();
        });
        let mut left = binding.accept_timeout(PATIENCE).unwrap();
        other.join().unwrap();
        let refused = left.send(b"late").unwrap_err();
        assert!(matches!(refused, Error::Connection(Below::Closed)), "{refused}");
        for number in 0..count {
            assert_eq!(*left.recv().unwrap().unwrap(), pattern(number)[..]);
        }
        assert!(left.recv().unwrap().is_none());
    }
}

/// What was heard and answered was sent, also where the other end has gone while this one still offered shared memory.
#[test]
fn a_message_that_a_duplex_end_has_answered_was_sent() {
    for _ in 0..300 {
        let scratch = Scratch::new();
        let binding = <Duplex>::bind("talk", &scratch.config()).unwrap();
        let config = scratch.config();
        let other = std::thread::spawn(move || {
            let mut right = binding.accept_timeout(PATIENCE).unwrap();
            assert_eq!(&*right.recv().unwrap().unwrap(), b"good evening");
        });
        let mut left: Duplex = stream::duplex("talk", &config, PATIENCE).unwrap();
        left.send(b"good evening").unwrap();
        other.join().unwrap();
    }
}
