//! Configurations from every way in, and what they come to.
#![allow(unsafe_code)]

use std::{
    os::{fd::AsFd, unix::fs::MetadataExt},
    time::{Duration, Instant},
};

use strait::{
    Config, TransportKind,
    config::{Backpressure, ConfigError, Direction, KNOBS, Medium, Trust},
    transport::{Connection, Interest, Listener, Options, StateWriter, Transport, local},
};

#[track_caller]
fn names(error: &ConfigError, field: &str, range: &str) {
    let text = error.to_string();
    assert!(text.contains(field) && text.contains(range), "{text}");
}

#[test]
fn the_low_latency_sample_is_a_ring_of_256_entries_within_its_four_mebibytes() {
    let properties = Config::from_properties([
        ("shm_size", "4194304"),
        ("ring_buffer_capacity", "256"),
        ("create_shm", "true"),
        ("bidirectional", "true"),
        ("max_message_size", "4096"),
    ])
    .unwrap();
    assert_eq!(properties.binds, Some(true));
    let config = properties.config;
    assert_eq!((config.ring_bytes, config.max_message_bytes), (256 * 4096, Some(4096)));
    assert_eq!(config.direction, Direction::Duplex);
    assert!(config.memory_required().unwrap().segment_bytes(1) <= 4_194_304);
    assert_eq!(config.options().unwrap().ring_bytes, 1 << 20);
}

#[test]
fn the_high_throughput_sample_is_the_largest_ring_or_what_its_memory_allows() {
    let sample = [("ring_buffer_capacity", "16384"), ("max_message_size", "65536")];
    let config = Config::from_properties(sample).unwrap().config;
    assert_eq!((config.ring_bytes, config.max_message_bytes), (64 << 20, Some(65_536)));
    // With the first sample's memory it would be one of 2 MiB, were it not for the two pages of each segment.
    let config = Config::from_properties([("shm_size", "4194304")].into_iter().chain(sample)).unwrap().config;
    assert_eq!(config.ring_bytes, 1 << 20);
    assert!(config.largest_message_bytes() >= 65_536);
}

#[test]
fn properties_that_cannot_be_are_named() {
    let error = |table: &[(&'static str, &'static str)]| Config::from_properties(table.iter().copied()).unwrap_err();
    names(&error(&[("ring_buffer_capacity", "300")]), "ring_buffer_capacity", "a power of two");
    names(&error(&[("max_message_size", "-1")]), "max_message_size", "1 to 16777200");
    names(&error(&[("bidirectional", "maybe")]), "bidirectional", "true or false");
    names(&error(&[("shm_size", "65536"), ("max_message_size", "65536")]), "shm_size", "max_message_size");
    names(&error(&[("ring_size", "1")]), "ring_size", "ring_buffer_capacity");
    names(&error(&[("state_commands", "0")]), "state_commands", "1 to 4096");
    let both = [("max_message_size", "4096"), ("stream_backpressure", "drop_newest"), ("state_commands", "5")];
    let config = Config::from_properties(both).unwrap().config;
    assert_eq!((config.stream_backpressure, config.state_commands), (Backpressure::DropNewest, 5));
}

#[test]
fn every_knob_is_set_by_name_and_by_variable_and_has_the_default_that_it_says() {
    for knob in KNOBS {
        let text = match (knob.name, knob.default) {
            ("max_message_bytes", _) => "1000",
            ("spin_us" | "spin_async_us" | "cpu", _) => "0",
            ("runtime_dir" | "state_checkpoint", _) => "/run/x",
            (_, default) => default,
        };
        let mut config = Config::default();
        config.set(knob.name, text).unwrap();
        if !knob.default.is_empty() {
            assert_eq!(config, Config::default(), "{}", knob.name);
        }
        let variable = format!("STRAIT_{}", knob.name.to_uppercase());
        assert_eq!(Config::default().with_env([(variable.as_str(), text)]).unwrap(), config);
        if !matches!(knob.name, "runtime_dir" | "state_checkpoint") {
            names(&Config::default().with_env([(variable, "nonsense")]).unwrap_err(), knob.name, knob.range);
        }
    }
}

#[test]
fn what_nothing_reads_is_refused() {
    let with = |name: &str| Config::default().with_env([(name, "1")]);
    assert!(matches!(with("STRAIT_RING_BYTE").unwrap_err(), ConfigError::Unknown { .. }));
    assert!(matches!(with("STRAIT_YIELD_US").unwrap_err(), ConfigError::Unread { .. }));
    assert!(matches!(with("STRAIT_PARK_US").unwrap_err(), ConfigError::Unread { .. }));
    assert_eq!(with("STRAIT_DISABLE_SHM").unwrap(), Config::default());
}

#[test]
fn ranges_are_checked_by_the_builder_and_the_defaults_are_those_of_the_options() {
    let builder = Config::builder;
    names(&builder().ring_bytes(128 << 20).build().unwrap_err(), "ring_bytes", "67108864");
    names(&builder().spin_us(Some(50_001)).build().unwrap_err(), "spin_us", "0 to 50000");
    names(&builder().max_message_bytes(Some(65_521)).build().unwrap_err(), "max_message_bytes", "at most 65520");
    names(&builder().max_in_flight(0).build().unwrap_err(), "max_in_flight", "1 to 4096");
    names(&builder().queue_window(0).build().unwrap_err(), "queue_window", "1 to 4096");
    names(&builder().state_max_pins(62).build().unwrap_err(), "state_max_pins", "0 to 61");
    names(&builder().state_max_value_bytes(0).build().unwrap_err(), "state_max_value_bytes", "1 to 268435456");
    names(&builder().stream_send_timeout_ms(3_600_001).build().unwrap_err(), "stream_send_timeout_ms", "0 to 3600000");
    let crowd = Config { max_clients: 65_537, ..Config::default() };
    names(&crowd.state_config().unwrap_err(), "max_clients", "1 to 65536");
    let (ours, theirs) = (Config::default().options().unwrap(), Options::default());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    assert_eq!(Config::default().queue_settings().unwrap(), strait::queue::Settings::default());
    assert_eq!(Config::default().polling().unwrap(), strait::rpc::blocking::Polling::default());
}

#[test]
fn every_knob_of_a_connection_reaches_its_options() {
    let config = Config::builder()
        .record_align_bytes(64)
        .spin_us(Some(7))
        .spin_async_us(Some(8))
        .spin_socket_us(9)
        .huge_pages(true)
        .prefault(true)
        .checksum(false)
        .timestamp(false)
        .medium(Medium::Socket)
        .direction(Direction::OneWay)
        .max_in_flight(3)
        .max_clients(4)
        .max_pending_handshakes(5)
        .handshake_timeout_ms(6)
        .max_ring_bytes(8192)
        .max_control_bytes(4097)
        .max_shown_sockets(7)
        .cpu(Some(0))
        .batch(2)
        .build()
        .unwrap();
    let options = config.options().unwrap();
    assert_eq!((options.record_align_bytes, options.max_in_flight), (64, 3));
    let micros = [options.spin, options.spin_async, options.spin_socket].map(|spin| spin.as_micros());
    assert_eq!(micros, [7, 8, 9]);
    assert!(options.huge_pages && options.prefault);
    assert!(!options.checksum && !options.timestamp && !options.shared_memory);
    let limits = &options.limits;
    assert_eq!((limits.max_clients, limits.max_pending_handshakes, limits.max_ring_bytes), (4, 5, 8192));
    assert_eq!((limits.handshake_timeout, limits.max_control_bytes), (Duration::from_millis(6), 4097));
    assert_eq!(limits.max_shown_sockets, 7);
    assert_eq!(config.receiver_options().unwrap().ring_bytes, 4096);
    let polling = config.polling().unwrap();
    assert_eq!((polling.cpus, polling.max_batch), (vec![0], 2));
    std::thread::spawn(move || config.pin_current_thread().unwrap()).join().unwrap();
}

#[test]
fn every_knob_of_streams_and_states_reaches_its_part_and_the_defaults_are_theirs() {
    let (stream, state) = (Config::default().stream_config().unwrap(), Config::default().state_config().unwrap());
    assert_eq!(format!("{stream:?}"), format!("{:?}", strait::stream::Config::default()));
    let theirs = strait::state::Config { options: Options::default(), ..Default::default() };
    assert_eq!(format!("{state:?}"), format!("{theirs:?}"));
    let config = Config::builder()
        .stream_backpressure(Backpressure::Fail)
        .stream_send_timeout_ms(0)
        .state_max_value_bytes(7)
        .state_max_pins(6)
        .state_commands(8)
        .max_clients(9)
        .state_checkpoint(Some("/x/y".into()))
        .build()
        .unwrap();
    let (stream, state) = (config.stream_config().unwrap(), config.state_config().unwrap());
    assert_eq!((stream.backpressure, stream.send_timeout), (strait::stream::Backpressure::Fail, None));
    assert_eq!((state.max_value_bytes, state.max_pins, state.commands, state.max_clients), (7, 6, 8, 9));
    assert_eq!(state.checkpoint.as_deref(), Some(std::path::Path::new("/x/y")));
    state.check().unwrap();
}

#[test]
fn trust_and_media_that_need_another_call_say_which() {
    let trusting = Config { trust: Trust::InPlace, ..Config::default() };
    names(&trusting.options().unwrap_err(), "trust", "options_trusting");
    let local = Config { medium: Medium::InProcess, ..Config::default() };
    names(&local.options().unwrap_err(), "medium", "Config::pair");
    names(&Config::default().pair().unwrap_err(), "medium", "in-process");
    let (mut left, mut right) = local.pair().unwrap();
    left.send(b"hello").unwrap();
    assert_eq!(&*right.try_recv().unwrap().unwrap(), b"hello");
    assert_eq!(left.transport(), TransportKind::Local);
    assert_eq!(local.memory_required().unwrap().segment_bytes(1), 0);
}

#[test]
fn presets_hold_their_largest_message_and_check() {
    for (preset, ring_bytes) in [
        (Config::ultra_low_latency(), 1 << 20),
        (Config::high_throughput(), 64 << 20),
        (Config::balanced(), 4 << 20),
        (Config::multi_producer(), 256 << 10),
        (Config::multi_consumer(), 256 << 10),
    ] {
        preset.check().unwrap();
        assert_eq!(preset.ring_bytes, ring_bytes);
        let (mut left, mut right) = local::pair(&preset.options().unwrap()).unwrap();
        let largest = vec![7; preset.max_message_bytes.unwrap() as usize];
        left.send(&largest).unwrap();
        assert_eq!(&*right.try_recv().unwrap().unwrap(), &largest[..]);
    }
}

/// Bytes that the kernel has allocated for this process's segments of that kind and service `name`.
fn allocated(kind: &str, name: &str) -> (usize, u64) {
    let (mut count, mut bytes) = (0, 0);
    for fd in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let is_ours =
            |link: std::path::PathBuf| link.to_string_lossy().starts_with(&format!("/memfd:strait:{kind}:{name}:"));
        if std::fs::read_link(fd.path()).is_ok_and(is_ours) {
            count += 1;
            bytes += 512 * std::fs::metadata(fd.path()).unwrap().blocks();
        }
    }
    (count, bytes)
}

#[test]
fn memory_required_is_what_the_kernel_counts_for_the_segments() {
    let cases = [
        ("memory-default", Config::default()),
        ("memory-one-way", Config { direction: Direction::OneWay, ring_bytes: 1 << 20, ..Config::default() }),
        ("memory-latency", Config::ultra_low_latency()),
        ("memory-balanced", Config::balanced()),
    ];
    for (name, config) in cases {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { runtime_dir: Some(dir.path().join("run")), medium: Medium::Shared, ..config };
        let listener = Listener::bind(name, &config.receiver_options().unwrap(), None).unwrap();
        let server = std::thread::spawn(move || {
            let mut connection = listener.accept().unwrap().unwrap().handshake().unwrap();
            loop {
                match connection.try_recv() {
                    Ok(Some(message)) => connection.send(&message).unwrap(),
                    Ok(None) => drop(connection.wait_ready(Interest::DATA, None).unwrap()),
                    Err(_) => return,
                }
            }
        });
        let mut client = Connection::connect(name, &config.options().unwrap()).unwrap();
        let patience = Instant::now() + Duration::from_secs(10);
        while client.transport() != TransportKind::Shared {
            assert!(Instant::now() < patience, "{name}: {:?}", client.fallback_reason());
            client.send(b"hello").unwrap();
            while client.try_recv().unwrap().is_none() {
                client.wait_ready(Interest::DATA, Some(patience)).unwrap();
            }
        }
        let (count, bytes) = allocated("ring", name);
        assert_eq!((count, bytes), (2, config.memory_required().unwrap().segment_bytes(1)), "{name}");
        client.close();
        drop(client);
        server.join().unwrap();
    }
}

#[test]
fn the_memory_of_a_state_is_what_the_kernel_counts_for_its_segment() {
    for (max_value_bytes, pins) in
        [(1, 0), (4096, 0), (1 << 20, 0), (1_000_003, 0), (4096, 1), (1_000_003, 7), (100, 61)]
    {
        let config = Config { state_max_value_bytes: max_value_bytes, state_max_pins: pins, ..Config::default() };
        let writer = StateWriter::create_with_pins("memory", max_value_bytes as usize, 0, pins as usize).unwrap();
        let memory = std::fs::File::from(writer.memory().as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        let required = config.memory_required().unwrap().state_segment_bytes;
        assert_eq!((memory.len(), 512 * memory.blocks()), (required, required), "{max_value_bytes} {pins}");
    }
}

#[test]
fn the_memory_of_a_pin_is_what_the_kernel_counts_for_its_segment() {
    let config = Config { state_max_pins: 1, ..Config::default() };
    let _daemon = strait::state::Daemon::<[u8]>::create("memory-pin", &config.state_config().unwrap()).unwrap();
    // SAFETY: the daemon is this library's.
    let trust = unsafe { strait::transport::HonestPeer::assume() };
    let options = Options { state_pin: Some(trust), ..config.options().unwrap() };
    let shell = strait::state::blocking::Shell::<[u8]>::connect_with("memory-pin", &options).unwrap();
    assert_eq!(shell.no_pin(), None);
    let required = config.memory_required().unwrap().state_pin_segment_bytes;
    assert_eq!(allocated("pin", "memory-pin"), (1, required));
}

#[cfg(feature = "toml")]
#[test]
fn toml_is_read_and_what_is_wrong_in_it_is_told_by_its_place() {
    let config = Config::from_toml(
        "ring_bytes = 1048576\ntrust = \"in_place\"\nmedium = \"shared\"\ndirection = \"one_way\"\nspin_us = 3\nqueue_capacity = 7\nstream_backpressure = \"drop_newest\"\nstate_commands = 5\n",
    )
    .unwrap();
    let expected = Config::builder()
        .ring_bytes(1 << 20)
        .trust(Trust::InPlace)
        .medium(Medium::Shared)
        .direction(Direction::OneWay)
        .spin_us(Some(3))
        .queue_capacity(7)
        .stream_backpressure(Backpressure::DropNewest)
        .state_commands(5)
        .build()
        .unwrap();
    assert_eq!(config, expected);
    names(&Config::from_toml("ring_bytes = 5000").unwrap_err(), "ring_bytes", "a power of two");
    names(&Config::from_toml("yield_us = 5").unwrap_err(), "yield_us", "spin_us");
    names(&Config::from_toml("checksum = 7").unwrap_err(), "checksum", "boolean");
    names(&Config::from_toml("trust = \"blind\"").unwrap_err(), "trust", "in_place");
}
