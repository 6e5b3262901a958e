//! The numbers of streams, states and queues in the `metrics` facade are those that their own statistics have.
#![cfg(feature = "metrics")]

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use strait_channel::{
    Options, Raw,
    queue::{Settings, blocking as queue},
    state::{self, Daemon},
    stream::{Backpressure, Config, Consumer, Endpoint, Producer, Sent},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The recorder of this process, installed before the first connection.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// The value of a series with no label but its service.
#[track_caller]
fn value(name: &str, service: &str) -> u64 {
    let rendered = recorder().render();
    let series = format!("{name}{{service=\"{service}\"}} ");
    let found = rendered.lines().find_map(|line| line.strip_prefix(&series));
    let value: f64 = found.unwrap_or_else(|| panic!("no {series} in\n{rendered}")).parse().unwrap();
    value as u64
}

fn options(dir: &tempfile::TempDir) -> Options {
    Options { runtime_dir: Some(dir.path().join("run")), ring_bytes: 16 << 10, ..Options::default() }
}

#[test]
fn of_a_stream_that_drops() {
    recorder();
    let dir = tempfile::tempdir().unwrap();
    let config = Config { options: options(&dir), backpressure: Backpressure::DropNewest, ..Config::default() };
    let binding = Consumer::<[u8], Raw>::bind("dropping", &config).unwrap();
    let (mut producer, mut consumer) = std::thread::scope(|threads| {
        let accepting = threads.spawn(|| binding.accept().unwrap());
        (Producer::<[u8], Raw>::connect("dropping", &config).unwrap(), accepting.join().unwrap())
    });
    // Until some are dropped, and then until one comes that shows it.
    while producer.send(&[7; 1000]).unwrap() == Sent::Queued {}
    let start = Instant::now();
    while consumer.stats().lost_by_choice == 0 {
        let _ = consumer.recv_timeout(Duration::from_millis(1));
        producer.send(&[7; 1000]).unwrap();
        assert!(start.elapsed() < PATIENCE, "no message has come that was sent after the drop");
    }
    let (sending, receiving) = (producer.stats(), consumer.stats());
    assert!(sending.sent > 0 && sending.dropped > 0 && receiving.received > 0 && receiving.lost > 0);
    for (name, expected) in [
        ("sent", sending.sent),
        ("dropped", sending.dropped),
        ("received", receiving.received),
        ("lost", receiving.lost),
        ("lost_by_choice", receiving.lost_by_choice),
    ] {
        assert_eq!(value(&format!("strait_stream_{name}_total"), "dropping"), expected, "{name}");
    }
}

#[test]
fn of_a_daemon() {
    recorder();
    let dir = tempfile::tempdir().unwrap();
    let config = state::Config { options: options(&dir), ..state::Config::default() };
    let mut daemon = Daemon::<[u8]>::create("published", &config).unwrap();
    for len in 1..=10 {
        daemon.publish(&vec![7; len]).unwrap();
    }
    assert_eq!(daemon.publish_bytes(&[7; 45]).unwrap(), 11);
    assert_eq!(value("strait_state_published_total", "published"), 11);
    assert_eq!(value("strait_state_published_bytes_total", "published"), 55 + 45);
}

#[test]
fn of_a_queue_and_of_its_next_owner() {
    recorder();
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { acknowledged: true, ..Settings::default() };
    let (mut pushed, mut popped, mut redelivered) = (0, 0, 0);
    // What a second owner counts comes on top.
    for _ in 0..2 {
        let owner = queue::Owner::<[u8], Raw>::bind_with("worked", settings.clone(), &options(&dir)).unwrap();
        let handle = owner.handle();
        let thread = std::thread::spawn(move || owner.serve());
        let mut producer = queue::Producer::<[u8], Raw>::connect_with("worked", &options(&dir)).unwrap();
        let mut worker = queue::Worker::<[u8], Raw>::connect_with("worked", 1, &options(&dir)).unwrap();
        for number in 0..10u64 {
            producer.push(&number.to_le_bytes(), PATIENCE).unwrap();
        }
        let first = worker.pop(PATIENCE).unwrap().unwrap();
        worker.give_back(first).unwrap();
        for _ in 0..10 {
            let item = worker.pop(PATIENCE).unwrap().unwrap();
            worker.ack(item).unwrap();
        }
        worker.flush(PATIENCE).unwrap();
        producer.drain(PATIENCE).unwrap();
        assert_eq!((value("strait_queue_producers", "worked"), value("strait_queue_workers", "worked")), (1, 1));
        handle.shutdown();
        let stats = thread.join().unwrap().unwrap();
        (pushed, popped, redelivered) = (pushed + stats.pushed, popped + stats.popped, redelivered + stats.redelivered);
        for (name, expected) in [
            ("pushed_total", pushed),
            ("popped_total", popped),
            ("acked_total", pushed),
            ("lost_total", 0),
            ("redelivered_total", redelivered),
            ("returned_total", 0),
            ("depth", 0),
            ("in_flight", 0),
            ("high_water", stats.high_water),
        ] {
            assert_eq!(value(&format!("strait_queue_{name}"), "worked"), expected, "{name}");
        }
        drop((producer, worker));
    }
    assert_eq!((pushed, redelivered), (20, 2));
}
