//! What is to become of a victim.

use std::{process::Command, time::Duration};

use rustix::process::Signal;

/// What is to become of a victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: it tells which points it comes to.
    Trace,
    /// It ends, or stops, itself at a point: `POINT:ACTION:PASS`, as `strait_sync::fail_point` reads it.
    AtPoint(String),
    /// It is ended, or stopped, so long after its start.
    After(Signal, Duration),
}

impl Plan {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "trace" {
            return Some(Self::Trace);
        }
        let parts: Vec<&str> = text.split(':').collect();
        let [point, action, number] = parts[..] else { return None };
        let number: u64 = number.parse().ok()?;
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            _ => return None,
        };
        Some(match point {
            "after" => Self::After(signal, Duration::from_micros(number)),
            _ => Self::AtPoint(text.to_owned()),
        })
    }

    /// Tells the process that `command` starts.
    pub(crate) fn tell(&self, command: &mut Command, log: &std::path::Path) {
        command.env_remove("STRAIT_FAIL").env_remove("STRAIT_FAIL_LOG");
        match self {
            Self::Trace => drop(command.env("STRAIT_FAIL_LOG", log)),
            Self::AtPoint(plan) => drop(command.env("STRAIT_FAIL", plan).env("STRAIT_FAIL_LOG", log)),
            Self::After(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_as_they_are_written() {
        assert_eq!(Plan::parse("trace"), Some(Plan::Trace));
        assert_eq!(Plan::parse("after:kill:7"), Some(Plan::After(Signal::KILL, Duration::from_micros(7))));
        let plan = Plan::parse("ring.claimed:stop:3").unwrap();
        assert_eq!(plan, Plan::AtPoint("ring.claimed:stop:3".to_owned()));
        for wrong in ["", "ring.claimed", "ring.claimed:hurt:1", "ring.claimed:kill:x", "a:kill:1:2"] {
            assert_eq!(Plan::parse(wrong), None, "{wrong}");
        }
    }
}
