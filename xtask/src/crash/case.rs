//! One run of the program that plays the scenarios.

use std::{
    fmt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{failure::Failure, run};

/// A process that may die, in the scenario that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Role {
    pub(super) scenario: String,
    pub(super) name: String,
}

impl Role {
    /// All that the program plays.
    pub(super) fn all(program: &Path) -> Result<Vec<Self>, Failure> {
        let roles = run::output(Command::new(program).arg("roles"))?;
        let roles = roles.lines().filter_map(|line| line.split_once(' '));
        Ok(roles.map(|(scenario, name)| Self { scenario: scenario.to_owned(), name: name.to_owned() }).collect())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.scenario, self.name)
    }
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Trace,
    AtPoint { point: String, kill: bool, pass: u64 },
    After { kill: bool, micros: u64 },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = |kill: &bool| if *kill { "kill" } else { "stop" };
        match self {
            Self::Trace => f.write_str("trace"),
            Self::AtPoint { point, kill, pass } => write!(f, "{point}:{}:{pass}", signal(kill)),
            Self::After { kill, micros } => write!(f, "after:{}:{micros}", signal(kill)),
        }
    }
}

/// A role, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) role: Role,
    pub(super) action: Action,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.action)
    }
}

/// A case that held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The process was killed or stopped, as planned.
    pub(super) struck: bool,
    /// The most that a survivor's call was late by.
    pub(super) late: Duration,
    /// The points that it came to, each with a number of passes.
    pub(super) trace: Vec<(String, u64)>,
}

impl Case {
    /// Runs it; the error says what did not hold.
    pub(super) fn run(&self, program: &Path, late: Duration) -> Result<Held, String> {
        let output = self
            .command(program, late)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} could not be started: {error}", program.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "\n    ");
            return Err(format!("{} ({})", if said.is_empty() { "it said nothing" } else { &said }, output.status));
        }
        Held::read(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "its report cannot be read".to_owned())
    }

    fn command(&self, program: &Path, late: Duration) -> Command {
        let mut command = Command::new(program);
        command.args(["case", &self.role.scenario, &self.role.name, &self.action.to_string()]);
        command.arg(late.as_millis().to_string());
        command
    }

    /// The command as one would type it.
    pub(super) fn shown(&self, program: &Path, late: Duration) -> String {
        let command = self.command(program, late);
        let program = program.strip_prefix(run::root()).unwrap_or(program).display().to_string();
        let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
        std::iter::once(program).chain(args).collect::<Vec<_>>().join(" ")
    }
}

impl Held {
    /// Reads the program's report: `struck BOOL late_us N`, then a line `POINT PASS` for each point.
    fn read(report: &str) -> Option<Self> {
        let mut lines = report.lines();
        let words: Vec<&str> = lines.next()?.split(' ').collect();
        let ["struck", struck, "late_us", late] = words[..] else { return None };
        let trace = lines
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(point, pass)| Some((point.to_owned(), pass.parse().ok()?)));
        Some(Self {
            struck: struck.parse().ok()?,
            late: Duration::from_micros(late.parse().ok()?),
            trace: trace.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        let held = Held::read("struck true late_us 1500\nring.claimed 1\nring.claimed 2\n").unwrap();
        assert_eq!((held.struck, held.late), (true, Duration::from_micros(1500)));
        assert_eq!(held.trace, [("ring.claimed".to_owned(), 1), ("ring.claimed".to_owned(), 2)]);
        assert_eq!(Held::read(""), None);
        assert_eq!(Held::read("struck maybe late_us 1"), None);
    }

    #[test]
    fn a_case_is_shown_as_the_program_takes_it() {
        let action = Action::AtPoint { point: "ring.claimed".into(), kill: false, pass: 3 };
        let role = Role { scenario: "rpc".into(), name: "server".into() };
        let case = Case { role, action };
        assert_eq!(case.to_string(), "rpc server ring.claimed:stop:3");
        assert_eq!(case.shown(Path::new("p"), Duration::from_secs(2)), "p case rpc server ring.claimed:stop:3 2000");
        assert_eq!(Action::After { kill: true, micros: 7 }.to_string(), "after:kill:7");
    }
}
