//! All of it together: a connection to a process of its own, and a look at that process from outside.

use std::{
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use strait::{
    Options, TransportKind,
    transport::{Connection, Interest, Transport, Wake},
};

use super::finding::Finding;
use crate::partner::{self, Task};

/// More than enough to move to shared memory.
const MESSAGES: u32 = 200;
const TIMEOUT: Duration = Duration::from_secs(5);

const CONNECTION: &str = "a connection to another process";
const CONNECTION_WHY: &str = "the whole way: socket, descriptors, sealed memory, the move to it, messages both ways";
const OUTSIDE: &str = "its segments, seen from outside";
const OUTSIDE_WHY: &str = "`strait top` and `strait ls` find memory by the descriptors of the processes that hold it";

pub(super) fn check() -> Vec<Finding> {
    let options = Options {
        limits: strait::transport::Limits { handshake_timeout: TIMEOUT, ..Default::default() },
        ..Options::default()
    };
    let asked = options.shared_memory;
    let (mut child, mut connection) = match partner::start(Task::Echo, None, &options) {
        Ok(started) => started,
        Err(failure) => {
            let change = "see the lines above; RUST_LOG=strait=debug in a program of yours says more";
            return vec![Finding::fails(CONNECTION, failure.to_string(), CONNECTION_WHY, change)];
        }
    };
    let talked = talk(&mut connection);
    let finding = match (talked, connection.transport()) {
        (Err(error), _) => Finding::fails(CONNECTION, error, CONNECTION_WHY, "see the lines above"),
        (Ok(()), TransportKind::Shared) => Finding::ok(
            CONNECTION,
            format!("{MESSAGES} messages there and back, through shared memory"),
            CONNECTION_WHY,
        ),
        (Ok(()), _) if !asked => {
            Finding::better(CONNECTION, "stays on its socket", CONNECTION_WHY, "unset STRAIT_DISABLE_SHM")
        }
        (Ok(()), _) => {
            let reason = connection.fallback_reason().unwrap_or("without a reason").to_owned();
            Finding::fails(
                CONNECTION,
                format!("stays on its socket: {reason}"),
                CONNECTION_WHY,
                "docs/TROUBLESHOOTING.md has the reasons",
            )
        }
    };
    let mut findings = vec![finding];
    if connection.transport() == TransportKind::Shared {
        findings.push(outside(&child));
    }
    drop(connection);
    partner::end(&mut child);
    findings
}

/// Sends messages that differ, and compares what comes back.
fn talk(connection: &mut Connection) -> Result<(), String> {
    let deadline = Instant::now() + TIMEOUT;
    for turn in 0..MESSAGES {
        let sent = turn.to_le_bytes();
        connection.send(&sent).map_err(|error| error.to_string())?;
        let echo = loop {
            if let Some(message) = connection.try_recv().map_err(|error| error.to_string())? {
                break message;
            }
            match connection.wait_ready(Interest::DATA, Some(deadline)).map_err(|error| error.to_string())? {
                Wake::TimedOut => return Err(format!("message {turn} had no answer within {} s", TIMEOUT.as_secs())),
                _ => continue,
            }
        };
        if *echo != sent {
            return Err(format!("message {turn} came back as {} other bytes", echo.len()));
        }
    }
    Ok(())
}

/// Looks for the partner's segment as another process would.
fn outside(child: &Child) -> Finding {
    let directory = format!("/proc/{}/fd", child.id());
    match segments(Path::new(&directory)) {
        Err(error) => {
            let change = "look as root; in a container share the pid namespace, and let the sandbox allow it";
            Finding::better(OUTSIDE, format!("{directory}: {error}"), OUTSIDE_WHY, change)
        }
        Ok(0) => Finding::better(
            OUTSIDE,
            "nothing to be seen",
            OUTSIDE_WHY,
            "update: the partner holds its memory otherwise",
        ),
        Ok(count) => Finding::ok(OUTSIDE, format!("visible, {count} of them"), OUTSIDE_WHY),
    }
}

fn segments(directory: &Path) -> std::io::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory)? {
        let link = std::fs::read_link(entry?.path());
        count += usize::from(link.is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:strait:")));
    }
    Ok(count)
}
