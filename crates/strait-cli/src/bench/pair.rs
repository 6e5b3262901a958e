//! The two ends: where they run, and how they come to talk.

use std::{fmt, process::Child};

use strait::{
    Options,
    transport::{Connection, Limits, pin_current_thread},
};

use super::PATIENCE;
use crate::{
    cpus,
    failure::Failure,
    partner::{self, Task},
};

/// The processors of the two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cpus {
    /// One for each.
    Pinned { ours: usize, theirs: usize },
    /// Wherever the scheduler likes.
    Free { why: &'static str, count: usize },
}

impl Cpus {
    pub(super) fn choose(no_pin: bool) -> Self {
        let allowed = cpus::allowed();
        match (no_pin, allowed.as_slice()) {
            (false, [ours, others @ ..]) if !others.is_empty() => {
                // Two threads of one core share its caches: that is not the distance that two processes have as a rule.
                let apart = others.iter().find(|other| !siblings(*ours).contains(other));
                Self::Pinned { ours: *ours, theirs: *apart.unwrap_or(&others[0]) }
            }
            (true, _) => Self::Free { why: "as was asked", count: allowed.len() },
            _ => Self::Free { why: "there is one processor", count: allowed.len() },
        }
    }

    /// Keeps this thread on its processor.
    pub(super) fn pin_this_end(&self) -> Result<(), Failure> {
        match self {
            Self::Pinned { ours, .. } => {
                pin_current_thread(*ours).map_err(|error| Failure::because("cannot pin", error))
            }
            Self::Free { .. } => Ok(()),
        }
    }

    pub(super) fn theirs(&self) -> Option<usize> {
        match self {
            Self::Pinned { theirs, .. } => Some(*theirs),
            Self::Free { .. } => None,
        }
    }

    /// Whether two threads run at once.
    pub(super) fn are_two(&self) -> bool {
        !matches!(self, Self::Free { count: 0..=1, .. })
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned { ours, theirs } => write!(f, "one end on processor {ours}, the other on {theirs}"),
            Self::Free { why, .. } => write!(f, "not pinned: {why}"),
        }
    }
}

/// The threads of the core that `cpu` belongs to.
fn siblings(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    cpus::listed(&std::fs::read_to_string(path).unwrap_or_default())
}

/// A partner and the connection to it.
pub(super) struct Pair {
    pub(super) connection: Connection,
    child: Child,
}

impl Pair {
    pub(super) fn start(task: Task, cpus: &Cpus, options: &Options) -> Result<Self, Failure> {
        let limits = Limits { handshake_timeout: PATIENCE, ..options.limits.clone() };
        let (child, connection) = partner::start(task, cpus.theirs(), &Options { limits, ..options.clone() })?;
        Ok(Self { connection, child })
    }

    /// Ends the connection, and waits for the partner's end.
    pub(super) fn end(self) {
        let Self { connection, mut child } = self;
        drop(connection);
        partner::end(&mut child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_no_pins_gets_none() {
        assert!(matches!(Cpus::choose(true), Cpus::Free { why: "as was asked", .. }));
        if cpus::allowed().len() > 1 {
            assert!(matches!(Cpus::choose(false), Cpus::Pinned { ours, theirs } if ours != theirs));
        }
    }
}
