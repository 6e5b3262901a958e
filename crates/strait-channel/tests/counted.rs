//! What the connections below streams, states and queues count: values that cannot be decoded, and who has a state.
#![cfg(not(strait_loom))]

mod state_support;

use std::{sync::mpsc, time::Duration};

use state_support::{PATIENCE, config, options, soon};
use strait_channel::{
    Options, Postcard,
    queue::{Settings, blocking as queue},
    state::{Daemon, blocking::Shell},
    stream,
};
use strait_frame::{Codec, DecodeError, EncodeError, Sink, StableBytes};
use strait_transport::ErrorCode;

/// postcard, but the empty text is encoded as one that is longer than its bytes.
enum Torn {}

impl Codec<String> for Torn {
    const ID: u8 = 2;
    type View = String;
    type Held<B: StableBytes> = <Postcard as Codec<String>>::Held<B>;

    fn encode(value: &String, sink: &mut Sink<'_>) -> Result<(), EncodeError> {
        if value.is_empty() { sink.write(&[100, b'x']) } else { Postcard::encode(value, sink) }
    }

    fn open<B: StableBytes>(bytes: B) -> Result<Self::Held<B>, DecodeError> {
        <Postcard as Codec<String>>::open(bytes)
    }

    fn schema() -> u64 {
        <Postcard as Codec<String>>::schema()
    }
}

#[test]
fn a_message_of_a_stream_that_cannot_be_decoded_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let config = stream::Config { options: options(dir.path()), ..stream::Config::default() };
    let (mut producer, mut consumer) = stream::local::<String, Torn>(&config).unwrap();
    for text in ["one", "", "three"] {
        producer.send(&text.to_owned()).unwrap();
    }
    assert_eq!(*consumer.recv_timeout(PATIENCE).unwrap().unwrap(), "one");
    consumer.recv_timeout(PATIENCE).unwrap_err();
    assert_eq!(*consumer.recv_timeout(PATIENCE).unwrap().unwrap(), "three");
    let stats = consumer.stats().connection;
    assert_eq!((stats.decode_errors, stats.errors, stats.received_messages), (1, 1, 3));
    assert_eq!(producer.stats().connection.decode_errors, 0);
}

#[test]
fn a_state_says_how_many_have_it_and_a_shell_what_it_could_not_decode() {
    let dir = tempfile::tempdir().unwrap();
    for shared_memory in [true, false] {
        let options = Options { shared_memory, ..options(dir.path()) };
        let mut daemon = Daemon::<String, Torn>::create("counted", &config(&options)).unwrap();
        let mut shell = Shell::<String, Torn>::connect_with("counted", &options).unwrap();
        assert_eq!(daemon.stats().readers, u64::from(shared_memory));
        daemon.publish(&"fine".to_owned()).unwrap();
        assert_eq!(*shell.read(soon()).unwrap(), "fine");
        daemon.publish(&String::new()).unwrap();
        shell.read(soon()).unwrap_err();
        let stats = shell.stats();
        assert_eq!((stats.decode_errors, stats.last_error), (1, ErrorCode::DECODE));
        assert!(stats.sent_messages > 0 && stats.received_messages > 0);
        let stats = daemon.stats();
        assert_eq!((stats.published, stats.published_bytes), (2, 5 + 2));
        drop(shell);
        let gone = std::time::Instant::now();
        while daemon.stats().readers > 0 {
            assert!(gone.elapsed() < PATIENCE, "a shell that has left is still a reader");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn an_item_of_a_queue_that_cannot_be_decoded_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let owner = queue::Owner::<String, Torn>::bind_with("counted", Settings::default(), &options).unwrap();
    let (handle, (done, ended)) = (owner.handle(), mpsc::channel());
    let thread = std::thread::spawn(move || done.send(owner.serve().is_ok()));
    let mut producer = queue::Producer::<String, Torn>::connect_with("counted", &options).unwrap();
    let mut worker = queue::Worker::<String, Torn>::connect_with("counted", 4, &options).unwrap();
    producer.push(&String::new(), PATIENCE).unwrap();
    worker.pop(PATIENCE).unwrap_err();
    let stats = worker.stats();
    assert_eq!((stats.decode_errors, stats.last_error), (1, ErrorCode::DECODE));
    assert!(producer.stats().sent_messages >= 2, "Join and Push");
    drop((producer, worker));
    handle.shutdown();
    assert!(ended.recv_timeout(PATIENCE).unwrap());
    thread.join().unwrap().unwrap();
}
