//! A stream over a socket that a child inherits: the child dies or stops under its parent, or the parent under its child.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use strait::stream::{Consumer, Endpoint, Producer};

use super::{
    Role,
    stream::{MESSAGES, check, config, consume_with, produce_with},
};
use crate::{
    case::{Case, Outcome, PATIENCE, Told},
    journal::Journal,
    place::Place,
    plan::Plan,
    victim::Victim,
};

pub(super) const ROLES: &[Role] = &[
    Role { name: "parent", play: consume_from_a_child, survive: outlive_a_parent },
    Role { name: "child", play: produce, survive: outlive_a_child },
];

const HEIR: (&str, &str) = ("inherit", "child");
const JOURNAL: &str = "journal";

/// Produces for its parent; ends by itself where that is gone.
fn produce(place: &Place) -> Outcome {
    let journal = Journal::open(&place.data(), JOURNAL)?;
    journal.note("pid", std::process::id().into())?;
    let producer = Producer::inherit(&config(place)).told("inherit")?;
    produce_with(producer, &journal)
}

/// Spawns a child and receives all that it produces.
fn consume_from_a_child(place: &Place) -> Outcome {
    let mut command = Victim::command(HEIR, place, &Plan::Trace, "trace of the heir")?;
    // Its end by an error is what is wanted where this process is killed.
    command.stderr(Stdio::null());
    let (mut child, mut consumer) = Consumer::spawn(command, &config(place)).told("spawn")?;
    let mut next = 0;
    while let Some(message) = consumer.recv_timeout(PATIENCE).told("recv")? {
        check(&message, next)?;
        next += 1;
    }
    child.wait().told("waiting for the child")?;
    if next == MESSAGES { Ok(()) } else { Err(format!("the stream ended after {next} messages")) }
}

fn outlive_a_parent(case: &mut Case) -> Outcome {
    case.each(|case| {
        while !case.is_over() {
            case.patience("a parent")?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })?;
    // The survivor is the child: nobody waits for ever for a parent that is gone.
    let begun = Instant::now();
    for pid in Journal::read(&case.place.data(), JOURNAL, "pid") {
        while is_this_program(pid) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("child {pid} does not end although its parent is gone"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

/// Whether a process runs this program; one that has ended runs none.
pub(super) fn is_this_program(pid: u64) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| Some(program) == std::env::current_exe().ok())
}

fn outlive_a_child(case: &mut Case) -> Outcome {
    let config = config(&case.place);
    let mut noted = 0;
    case.each_spawned(HEIR, |case, command| {
        let spawned = case.within("spawn", Place::HANDSHAKE, || Consumer::spawn(command, &config))?;
        let (child, mut consumer) = match spawned {
            Ok(spawned) => spawned,
            // It died in the handshake, or was stopped for longer than that may take; then it was killed.
            Err(error) if error.is_peer_gone() || error.is_timeout() => return Ok(()),
            Err(error) => return Err(format!("spawn: {error}")),
        };
        case.adopt(child);
        let (received, error) = consume_with(case, &mut consumer)?;
        if let Some(error) = &error {
            case.gone("a parent", error)?;
        }
        let sent = Journal::read(&case.place.data(), JOURNAL, "sent");
        let last = sent.get(noted..).and_then(<[u64]>::last).copied().unwrap_or(0);
        noted = sent.len();
        if received < last || (error.is_none() && received != MESSAGES) {
            return Err(format!("{last} messages were sent, {received} came, and then {error:?}"));
        }
        Ok(())
    })
}
