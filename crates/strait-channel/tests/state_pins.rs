//! Shells that read in place, and their daemon, in one process.
#![allow(unsafe_code)]

use std::time::Instant;

use strait_channel::{
    Error as TransportError, HonestPeer, Options,
    state::{Config, Daemon, Error, NoPin, blocking::Shell},
};

mod state_support;
use state_support::{config, options, soon};

type Bytes = Daemon<[u8]>;

/// Options of a shell that asks for a pin.
fn asking(options: &Options) -> Options {
    // SAFETY: the daemons of these tests are this library's.
    Options { state_pin: Some(unsafe { HonestPeer::assume() }), ..options.clone() }
}

fn why(shell: &mut Shell<[u8]>) -> NoPin {
    match shell.pin().map(|pinned| pinned.version()) {
        Err(Error::Transport(TransportError::NoPin(why))) => why,
        other => panic!("{other:?}"),
    }
}

/// Connects until it has a pin: it is free a little after its last owner is gone.
fn with_pin(name: &str, options: &Options) -> Shell<[u8]> {
    let until = soon();
    loop {
        let shell = Shell::connect_with(name, &asking(options)).unwrap();
        match shell.no_pin() {
            None => return shell,
            why => assert!(Instant::now() < until, "{why:?}"),
        }
    }
}

#[test]
fn what_a_shell_has_pinned_stays_as_it_is_while_its_daemon_publishes_and_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("pins", &Config { max_pins: 2, ..config(&options) }).unwrap();
    let mut shells = [with_pin("pins", &options), with_pin("pins", &options)];
    let mut copies = Shell::<[u8]>::connect_with("pins", &options).unwrap();
    assert!(matches!(shells[0].pin(), Err(Error::Empty)));
    daemon.publish(&1u64.to_le_bytes()).unwrap();
    let [one, other] = &mut shells;
    let first = one.pin().unwrap();
    assert_eq!(first.as_ptr() as usize % 128, 0);
    for turn in 2..1000u64 {
        daemon.publish(&turn.to_le_bytes()).unwrap();
        let pinned = other.pin().unwrap();
        assert_eq!((pinned.as_value(), pinned.version(), pinned.epoch()), (Some(&turn), turn, 1));
        assert_eq!(*copies.read(soon()).unwrap(), turn.to_le_bytes());
        assert_eq!((first.as_value(), first.version()), (Some(&1u64), 1));
    }
    drop(first);
    assert_eq!(one.pin().unwrap().as_value(), Some(&999u64));
    assert_eq!(*one.read(soon()).unwrap(), 999u64.to_le_bytes(), "a copy can be had, too");
    let deadline = Instant::now() + std::time::Duration::from_millis(5);
    assert!(matches!(one.changed(deadline), Err(Error::TimedOut { .. })), "what was pinned counts as read");
}

#[test]
fn a_value_that_was_pinned_and_forgotten_is_let_go_with_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("forgotten", &Config { max_pins: 1, ..config(&options) }).unwrap();
    let mut shell = with_pin("forgotten", &options);
    for turn in 0..100u64 {
        daemon.publish(&turn.to_le_bytes()).unwrap();
        let pinned = shell.pin().unwrap();
        assert_eq!(pinned.as_value(), Some(&turn));
        std::mem::forget(pinned);
    }
}

#[test]
fn beyond_max_pins_a_shell_is_told_so_and_copies_until_one_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("few", &Config { max_pins: 1, ..config(&options) }).unwrap();
    daemon.publish(b"sunny").unwrap();
    let mut first = with_pin("few", &options);
    let mut second = Shell::<[u8]>::connect_with("few", &asking(&options)).unwrap();
    assert_eq!(why(&mut second), NoPin::Refused { max_pins: 1 });
    assert_eq!(second.no_pin(), Some(NoPin::Refused { max_pins: 1 }));
    assert_eq!(&*second.read(soon()).unwrap(), b"sunny");
    assert_eq!(&*first.pin().unwrap(), b"sunny");
    drop(first);
    assert_eq!(&*with_pin("few", &options).pin().unwrap(), b"sunny");
}

#[test]
fn without_a_pin_the_reason_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("none", &config(&options)).unwrap();
    daemon.publish(b"sunny").unwrap();
    let connect = |options: &Options| Shell::<[u8]>::connect_with("none", options).unwrap();
    assert_eq!(why(&mut connect(&options)), NoPin::NotAsked);
    assert_eq!(why(&mut connect(&asking(&options))), NoPin::Refused { max_pins: 0 });
    let socket = Options { shared_memory: false, ..asking(&options) };
    let mut shell = connect(&socket);
    assert_eq!(why(&mut shell), NoPin::NotShared);
    assert_eq!(&*shell.read(soon()).unwrap(), b"sunny");
    let error = Bytes::create("many", &Config { max_pins: 62, ..config(&options) }).unwrap_err();
    assert!(matches!(error, Error::Config { field: "max_pins", .. }), "{error}");
}

#[test]
fn a_pin_ends_with_its_daemon_and_the_next_one_grants_another() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let settings = Config { max_pins: 1, ..config(&options) };
    let mut daemon = Bytes::create("next", &settings).unwrap();
    daemon.publish(b"sunny").unwrap();
    let mut shell = with_pin("next", &options);
    assert_eq!(&*shell.pin().unwrap(), b"sunny");
    drop(daemon);
    while shell.stale_since().is_none() {}
    assert_eq!(why(&mut shell), NoPin::Ended);
    assert_eq!(&*shell.read(soon()).unwrap(), b"sunny", "the last value can still be copied");
    let mut daemon = Bytes::create("next", &settings).unwrap();
    daemon.publish(b"rain").unwrap();
    shell.changed(soon()).unwrap();
    let pinned = shell.pin().unwrap();
    assert_eq!((&*pinned, pinned.epoch()), (&b"rain"[..], 2));
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_for_tasks_reads_in_place_too() {
    use strait_channel::state::Shell;
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("tasks", &Config { max_pins: 1, ..config(&options) }).unwrap();
    let mut shell = Shell::<[u8]>::connect_with("tasks", &asking(&options)).await.unwrap();
    assert_eq!(shell.no_pin(), None);
    let publisher = std::thread::spawn(move || {
        for turn in 1..=200u64 {
            daemon.publish(&turn.to_le_bytes()).unwrap();
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        daemon
    });
    let mut last = 0;
    while last < 200 {
        shell.changed(soon()).await.unwrap();
        let pinned = shell.pin().unwrap();
        tokio::task::yield_now().await;
        assert_eq!(pinned.as_value(), Some(&pinned.version()));
        last = pinned.version();
    }
    drop(publisher.join().unwrap());
}
