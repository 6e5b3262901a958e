//! Published state: a daemon that dies or stops under its shells, and a shell under its daemon.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use strait::{
    HonestPeer, Options,
    state::{Config, Daemon, Error, blocking::Shell},
    transport::{Blame, Error as TransportError},
};

use super::{Role, until_told};
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    journal::Journal,
    pattern::{number, pattern},
    place::{NAME, Place},
};

pub(super) const ROLES: &[Role] = &[
    Role { name: "daemon", play: publish, survive: read_a_daemon },
    Role { name: "shell", play: read, survive: publish_for_a_shell },
];

const SAVED: &str = "saved";
const TURNS: u64 = 30;
/// Long enough that no writer is done at once.
const VALUE_BYTES: usize = 4000;

fn options(place: &Place) -> Options {
    // SAFETY: the daemons of a case are this library's.
    Options { state_pin: Some(unsafe { HonestPeer::assume() }), ..place.options(16 << 10) }
}

fn config(place: &Place, checkpoint: bool) -> Config {
    Config {
        max_value_bytes: VALUE_BYTES,
        max_pins: 1,
        checkpoint: checkpoint.then(|| place.data().join("checkpoint")),
        options: options(place),
        ..Config::default()
    }
}

fn publish_next(daemon: &mut Daemon<[u8]>) -> Outcome {
    let version = daemon.version() + 1;
    let len = 16 + (version as usize * 577) % (VALUE_BYTES - 16);
    match daemon.publish_bytes(&pattern(version, len)).told("publish")? {
        published if published == version => Ok(()),
        published => Err(format!("version {published} was published, expected {version}")),
    }
}

fn answer(daemon: &Daemon<[u8]>) {
    if let Some(command) = daemon.command(Instant::now() + Duration::from_millis(1)) {
        let answer = command.to_vec();
        command.reply(&answer);
    }
}

/// Publishes, answers, and saves now and then.
fn publish(place: &Place) -> Outcome {
    let saved = Journal::open(&place.data(), SAVED)?;
    let mut daemon = Daemon::<[u8]>::create(NAME, &config(place, true)).told("creating the daemon")?;
    let told = std::thread::spawn(until_told);
    while !told.is_finished() {
        publish_next(&mut daemon)?;
        answer(&daemon);
        if daemon.version().is_multiple_of(8) {
            daemon.checkpoint().told("a checkpoint")?;
            saved.note(SAVED, daemon.version())?;
        }
    }
    Ok(())
}

/// Whether an error says that the daemon is gone.
fn says_gone(error: &Error) -> bool {
    match error {
        Error::DaemonGone => true,
        Error::Transport(TransportError::TimedOut { .. }) => false,
        Error::Transport(error) => error.blame() == Blame::Peer,
        _ => false,
    }
}

/// A shell was told that its daemon is gone, which must be so unless that is one whose end is known.
fn gone(case: &Case, what: &str, told: &dyn std::fmt::Display, is_this_one: bool) -> Outcome {
    if is_this_one { case.gone(what, told) } else { Ok(()) }
}

fn read_a_daemon(case: &mut Case) -> Outcome {
    let mut kept: Option<Shell<[u8]>> = None;
    // The last epoch of a daemon that is known to be dead.
    let mut past = 0;
    case.each(|case| {
        let mut versions = (0, 0);
        let mut turns = 0;
        while !case.is_over() {
            case.patience("reading")?;
            let Some(shell) = &mut kept else {
                let options = options(&case.place);
                match case.within("connect", Place::HANDSHAKE, || Shell::connect_with(NAME, &options))? {
                    Ok(shell) => kept = Some(shell),
                    Err(Error::Transport(TransportError::NoServer { .. } | TransportError::TimedOut { .. })) => {}
                    Err(error) if says_gone(&error) => case.gone("a shell that connects", &error)?,
                    Err(Error::TimedOut { .. }) => {}
                    Err(error) => return Err(format!("connect: {error}")),
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            versions = read_once(case, shell, versions, past)?;
            ask_once(case, shell, turns, past)?;
            let (deadline, epoch) = (Instant::now() + CALL, shell.epoch());
            match case.within("changed", CALL, || shell.changed(deadline))? {
                Ok(_) | Err(Error::TimedOut { .. }) => {}
                Err(error) if says_gone(&error) => gone(case, "a shell", &error, epoch > past)?,
                Err(error) => return Err(format!("changed: {error}")),
            }
            if turns % 4 == 0 {
                // One that comes, holds the pin or not, and goes.
                let passing = Shell::<[u8]>::connect_with(NAME, &options(&case.place));
                drop(passing.map(|mut passing| passing.read(Instant::now() + CALL).map(drop)));
            }
            turns += 1;
            if turns == TURNS {
                case.tell();
            }
        }
        // What the last daemon published whole stays, whole.
        if let Some(shell) = &mut kept {
            read_once(case, shell, versions, past)?;
            past = shell.epoch();
        }
        Ok(())
    })?;
    let saved = Journal::read(&case.place.data(), SAVED, SAVED);
    // What a daemon saved the next one goes on from: its first save is of a later version.
    if let Some(pair) = saved.windows(2).find(|pair| pair[1] <= pair[0]) {
        return Err(format!("version {} was saved after {}: a checkpoint was lost", pair[1], pair[0]));
    }
    drop(kept);
    let left = crate::leaks::names(&case.place.data());
    // The file beside the checkpoint is the next save's, if it is there at all.
    if left.iter().any(|name| !["checkpoint", "checkpoint.new", SAVED].contains(&name.as_str())) {
        return Err(format!("left beside the checkpoint: {left:?}"));
    }
    Ok(())
}

/// Reads a copy, and in place: whole, and not older than before.
fn read_once(case: &Case, shell: &mut Shell<[u8]>, last: (u64, u64), past: u64) -> Outcome<(u64, u64)> {
    let (deadline, epoch) = (Instant::now() + CALL, shell.epoch());
    let seen = match case.within("read", CALL, || shell.read(deadline))? {
        Ok(value) => {
            if number(&value)? != value.version() {
                return Err(format!("version {} has the value of another", value.version()));
            }
            if value.stale_since().is_some() && value.epoch() > past {
                case.gone("a shell that reads", &"its value is stale")?;
            }
            (value.epoch(), value.version())
        }
        Err(Error::Empty | Error::TimedOut { .. } | Error::Transport(TransportError::Overtaken { .. })) => last,
        Err(error) if says_gone(&error) => {
            gone(case, "a shell that reads", &error, epoch > past)?;
            last
        }
        Err(error) => return Err(format!("read: {error}")),
    };
    if seen < last {
        return Err(format!("epoch and version {seen:?} after {last:?}"));
    }
    match shell.pin() {
        Ok(pinned) if number(&pinned)? != pinned.version() => {
            Err(format!("version {} in place has the value of another", pinned.version()))
        }
        Ok(pinned) => {
            // Time for the daemon to come round: it must leave the slot alone.
            std::thread::sleep(Duration::from_millis(1));
            number(&pinned)?;
            Ok(seen)
        }
        Err(Error::Transport(TransportError::NoPin(_) | TransportError::Overtaken { .. }) | Error::Empty) => Ok(seen),
        Err(error) if says_gone(&error) => gone(case, "a shell that pins", &error, epoch > past).map(|()| seen),
        Err(error) => Err(format!("pin: {error}")),
    }
}

fn ask_once(case: &Case, shell: &mut Shell<[u8]>, turn: u64, past: u64) -> Outcome {
    let (deadline, question, epoch) = (Instant::now() + CALL, pattern(turn, 100), shell.epoch());
    match case.within("command", CALL, || shell.command(&question, deadline))? {
        Ok(answer) if *answer == *question => Ok(()),
        Ok(_) => Err(format!("command {turn} got another one's answer")),
        Err(Error::TimedOut { .. } | Error::Unanswered | Error::CommandsFull { .. }) => Ok(()),
        Err(error) if says_gone(&error) => gone(case, "a shell that commands", &error, epoch > past),
        Err(error) => Err(format!("command: {error}")),
    }
}

/// Reads, pins and asks; it must get the one pin that there is.
fn read(place: &Place) -> Outcome {
    let begun = Instant::now();
    let mut shell = loop {
        let shell = Shell::<[u8]>::connect_with(NAME, &options(place)).told("connect")?;
        match shell.no_pin() {
            None => break shell,
            // Free a little after its last owner is gone.
            Some(_) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            Some(why) => return Err(format!("no pin: {why}")),
        }
    };
    for turn in 0..TURNS {
        let deadline = Instant::now() + PATIENCE;
        number(&shell.read(deadline).told("read")?)?;
        match shell.pin() {
            Ok(pinned) => {
                number(&pinned)?;
                std::thread::sleep(Duration::from_millis(1));
                number(&pinned)?;
            }
            Err(Error::Transport(TransportError::Overtaken { .. })) => {}
            Err(error) => return Err(format!("pin: {error}")),
        }
        let question = pattern(turn, 100);
        if *shell.command(&question, deadline).told("command")? != *question {
            return Err(format!("command {turn} got another one's answer"));
        }
        shell.changed(deadline).told("changed")?;
    }
    Ok(())
}

fn publish_for_a_shell(case: &mut Case) -> Outcome {
    let mut daemon = Daemon::<[u8]>::create(NAME, &config(&case.place, false)).told("creating the daemon")?;
    publish_next(&mut daemon)?;
    let mut neighbour = Shell::<[u8]>::connect_with(NAME, &case.place.options(16 << 10)).told("the neighbour")?;
    case.each(|case| {
        while !case.is_over() {
            case.patience("publishing")?;
            case.within("publish", Duration::ZERO, || publish_next(&mut daemon))??;
            answer(&daemon);
            let deadline = Instant::now() + CALL;
            match case.within("a neighbour's read", CALL, || neighbour.read(deadline))? {
                Ok(value) if number(&value)? == daemon.version() => {}
                Ok(value) => {
                    return Err(format!("version {} was read, {} is the latest", value.version(), daemon.version()));
                }
                Err(error) => return Err(format!("a neighbour's read: {error}")),
            }
        }
        Ok(())
    })
}
