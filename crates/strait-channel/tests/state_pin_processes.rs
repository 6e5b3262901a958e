//! Shells in processes of their own that read in place, killed and stopped with a value pinned.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use rustix::process::Signal;
use strait_channel::{
    Error as TransportError, HonestPeer, Options,
    state::{Config, Daemon, Error, NoPin, blocking::Shell},
};

mod state_support;
use state_support::{
    PATIENCE, config, descriptors, options,
    process::{Process, alone, say, until_told},
    role, soon, spawn,
};

const LARGE: usize = 256 << 10;

/// What a child does.
#[test]
fn child() {
    let Some((role, options)) = role() else { return };
    match &*role {
        "holder" => hold(&options),
        "reader" => read_on(&options),
        "writer" => write_on(&options),
        other => panic!("no role {other}"),
    }
}

fn asking(options: &Options) -> Options {
    // SAFETY: the daemons of these tests are this library's.
    Options { state_pin: Some(unsafe { HonestPeer::assume() }), ..options.clone() }
}

fn daemon(options: &Options, max_pins: usize) -> Daemon<[u8]> {
    Daemon::create("state", &Config { max_pins, ..config(options) }).unwrap()
}

/// The value of a version: all of one byte.
fn publish(daemon: &mut Daemon<[u8]>, value: &mut [u8]) {
    value.fill((daemon.version() + 1) as u8);
    daemon.publish_bytes(value).unwrap();
}

#[track_caller]
fn check(bytes: &[u8], version: u64) {
    assert_eq!(bytes.len(), LARGE);
    let torn = bytes.iter().find(|byte| **byte != version as u8);
    assert_eq!(torn, None, "version {version} has changed");
}

/// Pins one value and keeps it until the test closes its input, or kills it.
fn hold(options: &Options) {
    let mut shell = with_pin(options);
    let pinned = shell.pin().unwrap();
    check(&pinned, pinned.version());
    say("holds");
    until_told();
    check(&pinned, pinned.version());
}

/// Pins values that it checks twice, until it has seen 50.
fn read_on(options: &Options) {
    let mut shell = Shell::<[u8]>::connect_with("state", &asking(options)).unwrap();
    assert_eq!(shell.no_pin(), None);
    let (mut seen, mut last, until) = (0, 0, soon());
    while seen < 50 {
        assert!(Instant::now() < until, "{seen} values");
        let pinned = match shell.pin() {
            Ok(pinned) => pinned,
            Err(Error::Transport(TransportError::Overtaken { .. })) => continue,
            Err(error) => panic!("{error}"),
        };
        assert!(pinned.version() >= last);
        check(&pinned, pinned.version());
        // Time for the daemon to come round.
        std::thread::sleep(Duration::from_millis(1));
        check(&pinned, pinned.version());
        seen += u64::from(pinned.version() > last);
        last = pinned.version();
    }
    say(&format!("seen {seen}"));
    until_told();
}

/// Publishes large values without end, and grants four pins.
fn write_on(options: &Options) {
    let (mut daemon, mut value) = (daemon(options, 4), vec![0; LARGE]);
    publish(&mut daemon, &mut value);
    say("publishing");
    loop {
        publish(&mut daemon, &mut value);
    }
}

/// Connects until it has a pin: it is free a little after its last owner is gone.
fn with_pin(options: &Options) -> Shell<[u8]> {
    let until = soon();
    loop {
        let shell = Shell::connect_with("state", &asking(options)).unwrap();
        match shell.no_pin() {
            None => return shell,
            why => assert!(Instant::now() < until, "no pin within {PATIENCE:?}: {why:?}"),
        }
    }
}

#[test]
fn a_shell_killed_with_a_value_pinned_gives_its_pin_back_by_its_death() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let (mut daemon, mut value) = (daemon(&options, 1), vec![0; LARGE]);
    publish(&mut daemon, &mut value);
    let before = descriptors();
    for _ in 0..8 {
        let mut holder = spawn("holder", &options);
        holder.hears("holds");
        let mut late = Shell::<[u8]>::connect_with("state", &asking(&options)).unwrap();
        assert_eq!(late.no_pin(), Some(NoPin::Refused { max_pins: 1 }));
        for _ in 0..20 {
            publish(&mut daemon, &mut value);
            check(&late.read(soon()).unwrap(), daemon.version());
        }
        holder.kill();
        let mut shell = with_pin(&options);
        for _ in 0..20 {
            publish(&mut daemon, &mut value);
            let pinned = shell.pin().unwrap();
            check(&pinned, daemon.version());
        }
    }
    let until = soon();
    while descriptors() > before {
        assert!(Instant::now() < until, "{} descriptors, before {before}", descriptors());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn shells_stopped_with_values_pinned_hold_up_no_daemon_and_find_them_as_they_were() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let (mut daemon, mut value) = (daemon(&options, 3), vec![0; LARGE]);
    let mut holders = Vec::new();
    for _ in 0..3 {
        publish(&mut daemon, &mut value);
        let mut holder = spawn("holder", &options);
        holder.hears("holds");
        holder.stop();
        holders.push(holder);
    }
    let mut shell = Shell::<[u8]>::connect_with("state", &options).unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..2000 {
        let start = Instant::now();
        publish(&mut daemon, &mut value);
        longest = longest.max(start.elapsed());
        check(&shell.read(soon()).unwrap(), daemon.version());
    }
    assert!(longest < Duration::from_secs(2), "a publication took {longest:?} beside stopped shells");
    for holder in holders {
        holder.signal(Signal::CONT);
        holder.ends_well();
    }
}

#[test]
fn four_shells_that_pin_what_a_daemon_writes_without_end_get_on_and_find_nothing_torn() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut writer = spawn("writer", &options);
    writer.hears("publishing");
    let mut readers: Vec<Process> = (0..4).map(|_| spawn("reader", &options)).collect();
    for reader in &mut readers {
        assert_eq!(reader.hears("seen "), "50");
    }
    // One that dies on the way gives its place to another.
    readers.remove(0).kill();
    let mut shell = with_pin(&options);
    let pinned = shell.pin().unwrap();
    check(&pinned, pinned.version());
    drop(pinned);
    readers.into_iter().for_each(Process::ends_well);
    let pinned = shell.pin().unwrap();
    // With its daemon killed at any point, what is pinned stays.
    writer.kill();
    check(&pinned, pinned.version());
}
