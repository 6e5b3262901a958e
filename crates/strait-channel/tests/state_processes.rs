//! A daemon and shells in processes of their own, killed and stopped.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use strait_channel::{
    Options,
    state::{Config, Daemon, Error, blocking::Shell},
};

mod state_support;
use state_support::{
    config, descriptors, ends_by, options,
    process::{Process, alone, say, until_told},
    role, soon, spawn,
};

/// How late a survivor may be while many processes share few cores.
const STORM: Duration = Duration::from_secs(2);
const LARGE: usize = 256 << 10;

/// What a child does.
#[test]
fn child() {
    let Some((role, options)) = role() else { return };
    match &*role {
        "writer" => write_on(&options),
        "daemon" => serve(&options),
        "reader" => read_on(&options),
        "saver" => save_on(&options),
        "commander" => command_on(&options),
        "idle" => {
            let _shell = Shell::<[u8]>::connect_with("state", &options).unwrap();
            say("connected");
            until_told();
        }
        other => panic!("no role {other}"),
    }
}

/// Publishes large values without end, each of one byte.
fn write_on(options: &Options) {
    let mut daemon = Daemon::<[u8]>::create("state", &config(options)).unwrap();
    let mut value = vec![0u8; LARGE];
    daemon.publish_bytes(&value).unwrap();
    say("publishing");
    loop {
        value.fill(daemon.version() as u8);
        daemon.publish_bytes(&value).unwrap();
    }
}

/// Publishes small values, and answers commands.
fn serve(options: &Options) {
    let mut daemon = Daemon::<[u8]>::create("state", &config(options)).unwrap();
    daemon.publish(&std::process::id().to_le_bytes()).unwrap();
    say("publishing");
    loop {
        if let Some(command) = daemon.command(Instant::now() + Duration::from_millis(1)) {
            let answer = command.to_vec();
            command.reply(&answer);
        }
        daemon.publish(&std::process::id().to_le_bytes()).unwrap();
    }
}

/// A state in a file of the test's directory.
fn saved(options: &Options) -> Config {
    let file = options.runtime_dir.as_ref().unwrap().join("saved");
    Config { checkpoint: Some(file), ..config(options) }
}

/// Publishes large values of one byte, and writes each to the file.
fn save_on(options: &Options) {
    let mut daemon = Daemon::<[u8]>::create("state", &saved(options)).unwrap();
    let mut told = false;
    loop {
        let value = vec![daemon.version() as u8; LARGE];
        daemon.publish_bytes(&value).unwrap();
        daemon.checkpoint().unwrap();
        if !std::mem::replace(&mut told, true) {
            say("saving");
        }
    }
}

/// Commands, waits and reads until the test closes its input.
fn command_on(options: &Options) {
    let mut shell = Shell::<[u8]>::connect_with("state", options).unwrap();
    let end = std::thread::spawn(until_told);
    say("commanding");
    let mut turn = 0u64;
    while !end.is_finished() {
        turn += 1;
        assert_eq!(*shell.command(&turn.to_le_bytes(), soon()).unwrap(), turn.to_le_bytes());
        shell.changed(soon()).unwrap();
        assert_eq!(shell.read(soon()).unwrap().len(), 8);
    }
    assert_eq!(shell.epoch(), 1);
    say(&format!("turns {turn}"));
}

/// Reads until it has seen 20 values, each of them whole.
fn read_on(options: &Options) {
    let mut shell = Shell::<[u8]>::connect_with("state", options).unwrap();
    assert!(shell.is_mapped());
    let (mut versions, mut last, mut overtaken) = (0, 0, 0u64);
    let until = soon();
    while versions < 20 {
        assert!(Instant::now() < until, "{versions} versions, {overtaken} reads overtaken");
        let value = match shell.read(soon()) {
            Ok(value) => value,
            Err(Error::Transport(strait_channel::Error::Overtaken { .. })) => {
                overtaken += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(value.len(), LARGE);
        let torn = value.iter().find(|byte| **byte != (value.version() - 1) as u8);
        assert_eq!(torn, None, "a torn value of version {}", value.version());
        assert!(value.version() >= last);
        versions += u64::from(value.version() > last);
        last = value.version();
    }
    say(&format!("seen {versions} overtaken {overtaken}"));
    until_told();
}

#[test]
fn no_value_is_torn_and_every_shell_gets_on_while_a_daemon_writes_without_end() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut writer = spawn("writer", &options);
    writer.hears("publishing");
    let mut readers: Vec<Process> = (0..8).map(|_| spawn("reader", &options)).collect();
    for reader in &mut readers {
        assert!(reader.hears("seen ").starts_with("20"));
    }
    readers.into_iter().for_each(Process::ends_well);
}

#[test]
fn thirty_two_shells_keep_the_last_value_of_a_killed_daemon_and_find_the_next() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = spawn("daemon", &options);
    daemon.hears("publishing");
    let before = descriptors();
    let mut shells: Vec<_> = (0..32).map(|_| Shell::<[u8]>::connect_with("state", &options).unwrap()).collect();
    let first = shells[0].read(soon()).unwrap().to_vec();
    daemon.kill();
    for shell in &mut shells {
        let until = soon();
        while shell.stale_since().is_none() {
            assert!(Instant::now() < until, "a shell does not learn of its daemon's death");
        }
        let value = shell.read(soon()).unwrap();
        assert!(*value == *first && value.stale_since().is_some() && value.epoch() == 1);
        let deadline = Instant::now() + Duration::from_millis(20);
        let waited = ends_by(deadline, STORM, || shell.changed(deadline));
        assert!(matches!(waited, Err(Error::TimedOut { .. })));
    }
    let mut daemon = spawn("daemon", &options);
    daemon.hears("publishing");
    for shell in &mut shells {
        shell.changed(soon()).unwrap();
        let value = shell.read(soon()).unwrap();
        assert!(*value != *first && value.stale_since().is_none() && value.epoch() == 2);
        assert_eq!(&*shell.command(b"there?", soon()).unwrap(), b"there?");
    }
    drop(shells);
    assert_eq!(descriptors(), before, "descriptors of shells that are gone");
}

#[test]
fn a_stopped_daemon_is_read_as_ever_and_what_asks_it_ends_by_its_deadline() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = spawn("daemon", &options);
    daemon.hears("publishing");
    let mut shell = Shell::<[u8]>::connect_with("state", &options).unwrap();
    shell.read(soon()).unwrap();
    daemon.stop();
    let value = shell.read(soon()).unwrap();
    assert!(value.stale_since().is_none(), "a stopped daemon is not a dead one");
    for _ in 0..3 {
        let deadline = Instant::now() + Duration::from_millis(30);
        let waited = ends_by(deadline, STORM, || shell.command(b"there?", deadline));
        assert!(matches!(waited, Err(Error::TimedOut { .. })));
    }
    daemon.signal(Signal::CONT);
    assert_eq!(&*shell.command(b"there?", soon()).unwrap(), b"there?");
    shell.changed(soon()).unwrap();
    assert_eq!(shell.epoch(), 1);
}

#[test]
fn shells_that_are_stopped_killed_or_never_read_hold_up_nobody_and_leave_nothing() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Daemon::<[u8]>::create("state", &Config { max_clients: 8, ..config(&options) }).unwrap();
    let before = descriptors();
    let mut idle: Vec<Process> = (0..4).map(|_| spawn("idle", &options)).collect();
    idle.iter_mut().for_each(|shell| drop(shell.hears("connected")));
    idle[0].stop();
    idle[1].stop();
    let mut shell = Shell::<[u8]>::connect_with("state", &options).unwrap();
    for turn in 0..2000u64 {
        daemon.publish(&turn.to_le_bytes()).unwrap();
        assert_eq!(*shell.read(soon()).unwrap(), turn.to_le_bytes());
    }
    drop(shell);
    idle.into_iter().for_each(Process::kill);
    let until = soon();
    while descriptors() > before {
        assert!(Instant::now() < until, "{} descriptors, before {before}", descriptors());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_daemon_killed_at_any_point_leaves_a_whole_value_and_every_call_ends() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut shell: Option<Shell<[u8]>> = None;
    for round in 0..12u64 {
        let mut writer = spawn("writer", &options);
        writer.hears("publishing");
        let shell = shell.get_or_insert_with(|| Shell::connect_with("state", &options).unwrap());
        shell.changed(soon()).unwrap();
        std::thread::sleep(Duration::from_micros(round * round * 97 % 9000));
        writer.kill();
        let deadline = Instant::now() + Duration::from_millis(20);
        match ends_by(deadline, STORM, || shell.command(b"there?", deadline)) {
            Err(Error::DaemonGone | Error::TimedOut { .. }) => {}
            other => panic!("{other:?}"),
        }
        let value = shell.read(soon()).unwrap();
        assert_eq!(value.len(), LARGE);
        assert!(value.iter().all(|byte| *byte == (value.version() - 1) as u8), "a torn value of a dead daemon");
        assert!(value.stale_since().is_some());
    }
}

#[test]
fn a_checkpoint_is_whole_wherever_its_daemon_is_killed() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut last = 0;
    for round in 0..16u64 {
        let mut saver = spawn("saver", &options);
        saver.hears("saving");
        std::thread::sleep(Duration::from_micros(round * round * 131 % 7000));
        saver.kill();
        let daemon = Daemon::<[u8]>::create("state", &saved(&options)).unwrap();
        assert!(daemon.version() > last, "{} after {last}", daemon.version());
        last = daemon.version();
        let value = Shell::<[u8]>::connect_with("state", &options).unwrap().read(soon()).unwrap();
        assert_eq!((value.len(), value.version()), (LARGE, last));
        assert!(value.iter().all(|byte| *byte == (last - 1) as u8), "a torn checkpoint");
        daemon.checkpoint().unwrap();
        let is_left = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().to_string_lossy().starts_with("saved.")
        };
        let runtime_dir = options.runtime_dir.as_ref().unwrap();
        assert!(!std::fs::read_dir(runtime_dir).unwrap().any(is_left), "a half-written file stays");
    }
}

#[test]
fn shells_stopped_or_killed_in_the_middle_of_a_call_go_on_or_are_gone_and_hold_up_nobody() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Daemon::<[u8]>::create("state", &config(&options)).unwrap();
    daemon.publish(&[0; 8]).unwrap();
    let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = end.clone();
    let owner = std::thread::spawn(move || {
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            if let Some(command) = daemon.command(Instant::now() + Duration::from_millis(1)) {
                let answer = command.to_vec();
                command.reply(&answer);
            }
            daemon.publish(&daemon.version().to_le_bytes()).unwrap();
        }
    });
    let mut shell = Shell::<[u8]>::connect_with("state", &options).unwrap();
    let start = || {
        let mut shell = spawn("commander", &options);
        shell.hears("commanding");
        shell
    };
    let before = descriptors();
    let mut shells: Vec<Process> = (0..4).map(|_| start()).collect();
    for round in 0..40usize {
        std::thread::sleep(Duration::from_micros((round * round * 97 % 3000) as u64));
        let victim = &mut shells[round % 4];
        if round % 5 == 4 {
            std::mem::replace(victim, start()).kill();
        } else {
            victim.stop();
        }
        let deadline = soon();
        let asked = Instant::now();
        assert_eq!(&*shell.command(b"there?", deadline).unwrap(), b"there?");
        shell.changed(deadline).unwrap();
        assert!(asked.elapsed() < STORM, "{:?} beside a stopped shell", asked.elapsed());
        victim.signal(Signal::CONT);
    }
    shells.into_iter().for_each(Process::ends_well);
    end.store(true, std::sync::atomic::Ordering::Relaxed);
    owner.join().unwrap();
    drop(shell);
    let until = soon();
    while descriptors() > before {
        assert!(Instant::now() < until, "{} descriptors, before {before}", descriptors());
        std::thread::sleep(Duration::from_millis(1));
    }
}
