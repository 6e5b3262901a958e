//! What the start of a server can end in.

use std::{io, process::ExitStatus, sync::Arc, time::Duration};

use strait_transport::{Blame, Error as TransportError};

/// Why [`Launch`](crate::Launch) has no connection to give. Cloneable, as [`Error`](crate::Error) is.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Connecting failed in a way that a start would not mend, or the start could not be prepared. No server was started,
    /// unless one was and then refused.
    #[error(transparent)]
    Connect(#[from] TransportError),
    /// The program could not be run.
    #[error("the server's program {program} cannot be run: {source}")]
    Spawn {
        /// The program, as it was given.
        program: Arc<str>,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The server ended before anybody could connect, and did not call that a success.
    #[error("the server did not start ({status}); {}", said(output))]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The last 4 KiB of what it wrote on its standard output and error.
        output: Arc<str>,
    },
    /// The server took too long. It was killed, unless it had gone into the background.
    #[error("the server did not answer within {after:?} of its start; {}", said(output))]
    TimedOut {
        /// The [timeout](crate::Launch::timeout).
        after: Duration,
        /// The last 4 KiB of what it wrote on its standard output and error.
        output: Arc<str>,
    },
    /// Another client has been starting the server all the time. This one started nothing.
    #[error(
        "another client has been starting the server for {after:?} and is not done; try again, or raise the timeout"
    )]
    Busy {
        /// The [timeout](crate::Launch::timeout).
        after: Duration,
    },
}

impl LaunchError {
    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Connect(error) => error.blame(),
            Self::Spawn { .. } => Blame::Usage,
            Self::Exited { .. } | Self::TimedOut { .. } | Self::Busy { .. } => Blame::Peer,
        }
    }
}

fn said(output: &str) -> String {
    match output.trim_end() {
        "" => "it wrote nothing".into(),
        text => format!("it wrote:\n{text}"),
    }
}
