//! A daemon and its shells, in one process.

use std::time::{Duration, Instant};

use strait_channel::{
    Error as TransportError, Options, Postcard, Refusal, Rkyv,
    state::{Config, Daemon, Error, blocking::Shell},
};

mod state_support;
use state_support::{config, ends_by, options, soon};

type Bytes = Daemon<[u8]>;

#[test]
fn a_shell_reads_what_its_daemon_publishes_out_of_shared_memory() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("mapped", &config(&options)).unwrap();
    let mut shell = Shell::<[u8]>::connect_with("mapped", &options).unwrap();
    assert!(shell.is_mapped(), "{:?}", shell.fallback_reason());
    assert!(matches!(shell.read(soon()), Err(Error::Empty)));
    for turn in 1..=100u64 {
        assert_eq!(daemon.publish(&turn.to_le_bytes()).unwrap(), turn);
        assert_eq!(shell.version().unwrap(), turn);
        let value = shell.read(soon()).unwrap();
        assert_eq!((&*value, value.version(), value.epoch()), (&turn.to_le_bytes()[..], turn, 1));
        assert!(value.stale_since().is_none());
    }
}

/// The same calls, the same results, whatever the connection runs over.
#[test]
fn on_a_socket_the_same_calls_give_the_same_results() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { shared_memory: false, ..options(dir.path()) };
    let mut daemon = Bytes::create("socket", &config(&options)).unwrap();
    let mut shell = Shell::<[u8]>::connect_with("socket", &options).unwrap();
    assert!(!shell.is_mapped() && shell.fallback_reason().is_some());
    assert!(matches!(shell.read(soon()), Err(Error::Empty)));
    // In many pieces, in one, and in one that is empty.
    for len in [700_000, 10, 0] {
        let sent: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let version = daemon.publish(&sent).unwrap();
        assert_eq!(shell.changed(soon()).unwrap(), version);
        let value = shell.read(soon()).unwrap();
        assert!(*value == *sent && value.version() == version);
    }
    let deadline = Instant::now() + Duration::from_millis(50);
    let waited = ends_by(deadline, Duration::from_millis(100), || shell.changed(deadline));
    assert!(matches!(waited, Err(Error::TimedOut { .. })));
    drop(daemon);
    let value = shell.read(soon()).unwrap();
    assert!(value.is_empty() && value.stale_since().is_some());
}

#[test]
fn a_typed_value_is_read_as_the_type_it_was_written_as_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Daemon::<(u32, String), Postcard>::create("typed", &config(&options)).unwrap();
    let long = "x".repeat(10_000);
    daemon.publish(&(7, long.clone())).unwrap();
    let mut shell = Shell::<(u32, String), Postcard>::connect_with("typed", &options).unwrap();
    assert_eq!(*shell.read(soon()).unwrap(), (7, long));
    let refused = |error: Error| assert!(matches!(error, Error::Transport(TransportError::Refused(_))), "{error}");
    refused(Shell::<[u8]>::connect_with("typed", &options).unwrap_err());
    refused(Shell::<(u64, String), Postcard>::connect_with("typed", &options).unwrap_err());
}

#[test]
fn a_wait_for_a_change_ends_with_the_change_or_by_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("changes", &config(&options)).unwrap();
    let mut shell = Shell::<[u8]>::connect_with("changes", &options).unwrap();
    let deadline = Instant::now() + Duration::from_millis(50);
    let waited = ends_by(deadline, Duration::from_millis(100), || shell.changed(deadline));
    assert!(matches!(waited, Err(Error::TimedOut { .. })));
    let waiter = std::thread::spawn(move || (1..=50).map(|_| shell.changed(soon()).unwrap()).last());
    while !waiter.is_finished() {
        daemon.publish(b"on").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(waiter.join().unwrap().unwrap() <= daemon.version());
}

#[test]
fn a_full_command_ring_is_a_typed_error_and_ends_when_the_owner_has_answered() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let daemon = Bytes::create("full", &Config { commands: 2, ..config(&options) }).unwrap();
    let mut shell = Shell::<[u8]>::connect_with("full", &options).unwrap();
    let mut other = Shell::<[u8]>::connect_with("full", &options).unwrap();
    for _ in 0..2 {
        let deadline = Instant::now() + Duration::from_millis(20);
        let waited = ends_by(deadline, Duration::from_millis(100), || shell.command(b"lost", deadline));
        assert!(matches!(waited, Err(Error::TimedOut { .. })));
    }
    assert!(matches!(shell.command(b"one too many", soon()), Err(Error::CommandsFull { commands: 2 })));
    let owner = std::thread::spawn(move || {
        let mut clients = Vec::new();
        while clients.len() < 5 {
            let command = daemon.command(soon()).unwrap();
            clients.push(command.client());
            if *command == *b"drop me" {
                continue;
            }
            let answer = [&*command, b"!"].concat();
            command.reply(&answer);
        }
        clients
    });
    assert_eq!(&*other.command(b"hello", soon()).unwrap(), b"hello!", "another shell has a ring of its own");
    // The answers to what has timed out are let go, and make room.
    while let Err(Error::CommandsFull { .. }) = shell.command(b"again", soon()) {}
    assert!(matches!(shell.command(b"drop me", soon()), Err(Error::Unanswered)));
    let clients = owner.join().unwrap();
    assert_eq!(clients.iter().filter(|client| **client == other.client()).count(), 1);
}

#[test]
fn one_shell_too_many_is_refused_and_a_place_is_free_again_after_a_drop() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let _daemon = Bytes::create("busy", &Config { max_clients: 1, ..config(&options) }).unwrap();
    let shell = Shell::<[u8]>::connect_with("busy", &options).unwrap();
    let refused = Shell::<[u8]>::connect_with("busy", &options).unwrap_err();
    assert!(matches!(refused, Error::Transport(TransportError::Refused(_))), "{refused}");
    drop(shell);
    let until = soon();
    while Shell::<[u8]>::connect_with("busy", &options).is_err() {
        assert!(Instant::now() < until, "the place of a shell that has left stays taken");
    }
}

#[test]
fn a_value_beyond_the_limit_is_refused_and_the_last_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("large", &Config { max_value_bytes: 5, ..config(&options) }).unwrap();
    daemon.publish(b"sunny").unwrap();
    assert!(matches!(daemon.publish(b"cloudy"), Err(Error::ValueTooLarge { need: 6, max: 5 })));
    assert!(matches!(daemon.publish_bytes(b"cloudy"), Err(Error::ValueTooLarge { need: 6, max: 5 })));
    let mut shell = Shell::<[u8]>::connect_with("large", &options).unwrap();
    assert_eq!(&*shell.read(soon()).unwrap(), b"sunny");
}

#[test]
fn a_daemon_goes_on_from_its_checkpoint_and_refuses_one_that_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let file = dir.path().join("saved");
    let config = Config { checkpoint: Some(file.clone()), ..config(&options) };
    let mut daemon = Bytes::create("saved", &config).unwrap();
    for turn in 1..=9u64 {
        daemon.publish(&turn.to_le_bytes()).unwrap();
    }
    daemon.checkpoint().unwrap();
    daemon.publish(b"never saved").unwrap();
    let mut shell = Shell::<[u8]>::connect_with("saved", &options).unwrap();
    shell.read(soon()).unwrap();
    drop(daemon);
    let mut daemon = Bytes::create("saved", &config).unwrap();
    assert_eq!(daemon.version(), 9);
    assert_eq!(shell.changed(soon()).unwrap(), 9);
    let value = shell.read(soon()).unwrap();
    assert_eq!((&*value, value.version(), value.epoch()), (&9u64.to_le_bytes()[..], 9, 2));
    assert_eq!(daemon.publish(b"ten").unwrap(), 10);
    drop(daemon);
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let refused = Bytes::create("saved", &config).unwrap_err();
    assert!(matches!(refused, Error::Checkpoint { .. }) && refused.to_string().contains("move it away"), "{refused}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(Bytes::create("saved", &config).unwrap().version(), 0);
}

#[test]
fn a_typed_command_is_opened_and_answered_as_its_types_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let daemon = Daemon::<String, Postcard>::create("asks", &config(&options)).unwrap();
    let mut shell = Shell::<String, Postcard>::connect_with("asks", &options).unwrap();
    let owner = std::thread::spawn(move || {
        let mut refused = Vec::new();
        for turn in 0..4 {
            let command = daemon.command(soon()).unwrap();
            match command.open::<(u32, String), Postcard>() {
                Ok(question) if turn == 3 => {
                    command.reply_with::<u8, Postcard>(&(question.0 as u8)).unwrap();
                }
                Ok(question) => {
                    let answer = format!("{}{}", question.1, question.0);
                    command.reply_with::<String, Postcard>(&answer).unwrap();
                }
                Err(error) => refused.push(error),
            }
        }
        refused
    });
    let huge = shell.ask::<String, String>(&"x".repeat(100_000), soon()).unwrap_err();
    assert!(matches!(huge, Error::Transport(TransportError::TooLarge { .. })), "{huge}");
    let long = "x".repeat(5000);
    let answer = shell.ask::<(u32, String), String>(&(7, long.clone()), soon()).unwrap();
    assert_eq!(*answer, format!("{long}7"));
    assert!(matches!(shell.ask::<u64, String>(&7, soon()), Err(Error::Unanswered)), "another type");
    assert!(matches!(shell.command(b"bytes", soon()), Err(Error::Unanswered)), "no type");
    let other = shell.ask::<(u32, String), String>(&(7, String::new()), soon()).unwrap_err();
    assert!(matches!(other, Error::OtherType { what: "the answer", .. }), "{other}");
    let refused = owner.join().unwrap();
    assert_eq!(refused.len(), 2);
    assert!(matches!(refused[1], Error::OtherType { found: (0, 0), expected: (2, _), .. }), "{}", refused[1]);
}

#[test]
fn a_command_of_archives_is_read_as_an_archive_on_memory_and_on_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    for shared_memory in [true, false] {
        let options = Options { shared_memory, ..options(dir.path()) };
        let daemon = Daemon::<String, Rkyv>::create("archives", &config(&options)).unwrap();
        let mut shell = Shell::<String, Rkyv>::connect_with("archives", &options).unwrap();
        let owner = std::thread::spawn(move || {
            for _ in 0..3 {
                let command = daemon.command(soon()).unwrap();
                let question = command.open::<(u128, Vec<String>), Rkyv>().unwrap();
                let answer = (
                    question.0.to_native() + 1,
                    question.1.iter().map(|word| word.as_str()).collect::<Vec<_>>().join("-"),
                );
                command.reply_with::<(u128, String), Rkyv>(&answer).unwrap();
            }
        });
        for len in [0, 1, 40] {
            let words = vec!["a word".to_owned(); len];
            let answer = shell.ask::<(u128, Vec<String>), (u128, String)>(&(1 << 90, words.clone()), soon()).unwrap();
            assert_eq!((answer.0.to_native(), answer.1.as_str()), ((1 << 90) + 1, words.join("-").as_str()));
        }
        owner.join().unwrap();
    }
}

#[test]
fn a_daemon_that_refuses_a_shell_is_reported_to_its_calls_until_it_is_told_to_retry() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut daemon = Bytes::create("next", &config(&options)).unwrap();
    daemon.publish(b"sunny").unwrap();
    let mut shell = Shell::<[u8]>::connect_with("next", &options).unwrap();
    shell.read(soon()).unwrap();
    let waiter = std::thread::spawn(move || {
        let refused = shell.changed(soon()).unwrap_err();
        (refused, shell)
    });
    drop(daemon);
    let other = Daemon::<String, Postcard>::create("next", &config(&options)).unwrap();
    let (refused, mut shell) = waiter.join().unwrap();
    let is_codec = |error: &Error| matches!(error, Error::Transport(TransportError::Refused(Refusal::Codec { .. })));
    assert!(is_codec(&refused) && refused.to_string().contains("codec 2"), "{refused}");
    assert!(shell.refusal().is_some());
    drop(other);
    let mut daemon = Bytes::create("next", &config(&options)).unwrap();
    daemon.publish(b"rain").unwrap();
    assert!(is_codec(&shell.command(b"there?", soon()).unwrap_err()), "it goes on only when told to");
    assert!(shell.read(soon()).unwrap().stale_since().is_some(), "the last value stays");
    shell.retry();
    shell.changed(soon()).unwrap();
    assert_eq!(&*shell.read(soon()).unwrap(), b"rain");
    assert!(shell.refusal().is_none());
}

#[test]
fn a_daemon_that_is_busy_is_reported_at_the_deadline_and_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let daemon = Bytes::create("crowd", &config(&options)).unwrap();
    let mut shell = Shell::<[u8]>::connect_with("crowd", &options).unwrap();
    drop(daemon);
    while shell.stale_since().is_none() {}
    let mut daemon = loop {
        // The shell itself may be the one that has the place: then once more.
        let daemon = Bytes::create("crowd", &Config { max_clients: 1, ..config(&options) }).unwrap();
        match Shell::<[u8]>::connect_with("crowd", &options) {
            Ok(first) => break (daemon, first),
            Err(_) => drop(daemon),
        }
    };
    let until = soon();
    while !matches!(shell.refusal(), Some(TransportError::Refused(Refusal::Busy { server: 1 }))) {
        assert!(Instant::now() < until, "the refusal is never reported");
    }
    let deadline = Instant::now() + Duration::from_millis(50);
    let waited = ends_by(deadline, Duration::from_millis(100), || shell.changed(deadline)).unwrap_err();
    assert!(matches!(waited, Error::Transport(TransportError::Refused(Refusal::Busy { .. }))), "{waited}");
    drop(daemon.1);
    daemon.0.publish(b"room").unwrap();
    shell.changed(soon()).unwrap();
    assert_eq!(&*shell.read(soon()).unwrap(), b"room");
}

#[test]
fn a_daemon_that_was_found_and_went_does_not_hide_the_refusal_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let daemon = Bytes::create("short", &config(&options)).unwrap();
    let mut shell = Shell::<[u8]>::connect_with("short", &options).unwrap();
    drop(daemon);
    while shell.stale_since().is_none() {}
    shell.stale_since(); // begins the search
    let found = Bytes::create("short", &config(&options)).unwrap();
    std::thread::sleep(Duration::from_millis(500)); // and this is what it finds
    drop(found);
    let _other = Daemon::<String, Postcard>::create("short", &config(&options)).unwrap();
    let until = soon();
    while shell.refusal().is_none() {
        assert!(Instant::now() < until, "the refusal is never reported");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_task_is_told_of_a_refusal_as_a_thread_is() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let daemon = Bytes::create("next-task", &config(&options)).unwrap();
    let mut shell = strait_channel::state::Shell::<[u8]>::connect_with("next-task", &options).await.unwrap();
    drop(daemon);
    let _other = Daemon::<String, Postcard>::create("next-task", &config(&options)).unwrap();
    let refused = shell.changed(soon()).await.unwrap_err();
    assert!(matches!(refused, Error::Transport(TransportError::Refused(Refusal::Codec { .. }))), "{refused}");
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_task_reads_waits_and_commands_as_a_thread_does() {
    use strait_channel::state;
    let dir = tempfile::tempdir().unwrap();
    for shared_memory in [true, false] {
        let options = Options { shared_memory, ..options(dir.path()) };
        let mut daemon = Bytes::create("tasks", &config(&options)).unwrap();
        daemon.publish(b"sunny").unwrap();
        let mut shell = state::Shell::<[u8]>::connect_with("tasks", &options).await.unwrap();
        assert_eq!(shell.is_mapped(), shared_memory);
        assert_eq!(&*shell.read(soon()).await.unwrap(), b"sunny");
        let deadline = Instant::now() + Duration::from_millis(50);
        assert!(matches!(shell.changed(deadline).await, Err(Error::TimedOut { .. })));
        let owner = tokio::spawn(async move {
            let command = daemon.command_async().await;
            daemon.publish(&command).unwrap();
            command.reply(b"done");
            daemon
        });
        assert_eq!(&*shell.command(b"rain", soon()).await.unwrap(), b"done");
        assert_eq!(shell.changed(soon()).await.unwrap(), 2);
        assert_eq!(&*shell.read(soon()).await.unwrap(), b"rain");
        drop(owner.await.unwrap());
        let mut daemon = Bytes::create("tasks", &config(&options)).unwrap();
        daemon.publish(b"snow").unwrap();
        shell.changed(soon()).await.unwrap();
        assert_eq!((&*shell.read(soon()).await.unwrap(), shell.epoch()), (&b"snow"[..], 2));
    }
}
