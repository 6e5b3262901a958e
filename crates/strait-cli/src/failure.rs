//! Why a command did not succeed, and the exit code that says so.

use std::{fmt, process::ExitCode};

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It ran, and what was asked for did not hold: exit code 1.
    DidNotHold(String),
    /// It was asked for something that it does not have: exit code 2.
    Usage(String),
}

impl Failure {
    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::DidNotHold(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }

    /// What was tried did not work, and why.
    pub(crate) fn because(tried: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::DidNotHold(format!("{tried}: {why}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DidNotHold(why) | Self::Usage(why) => f.write_str(why),
        }
    }
}
