//! What an outcome of a call says about the call, and about its connection.
//!
//! Of a call that failed there are three things to know. Was it executed? Only an error that *proves* that it was not counts as
//! no. Is the connection over? Then nothing more is sent on it. Would it help to call again? That alone is not
//! enough: what may have been executed is sent again only where the caller said that this is safe.

use std::sync::Arc;

use strait_transport::{Blame, Error as TransportError, Refusal};

use crate::error::{Code, Error};

/// What may be sent again after the connection was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// A call that was certainly not executed. Any other ends in [`Error::Lost`].
    #[default]
    NotExecuted,
    /// Also one that may have been executed: doing it twice is the same as doing it once. Until its deadline.
    Idempotent,
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The server has answered, so it is well.
    Answered,
    /// It failed, and the connection is as good as before.
    Failed,
    /// It was not executed, and this server takes no more calls.
    TurnedAway,
    /// The connection ended during the call.
    Lost {
        /// Whether another connection may do better.
        passes: bool,
    },
}

impl Fate {
    pub(super) fn of<T>(outcome: &Result<T, Error>) -> Self {
        match outcome {
            Err(Error::ShuttingDown | Error::Call { code: Code::SHUTTING_DOWN, .. }) => Self::TurnedAway,
            Ok(_) | Err(Error::Call { .. }) => Self::Answered,
            Err(Error::Transport(error)) => match error {
                // What the caller did wrong ends nothing, but for holding too many messages. The child of a fork can't connect anew
                // here: who did so for the parent is not there.
                TransportError::TooLarge { .. } | TransportError::Encode(_) => Self::Failed,
                TransportError::Forked | TransportError::Usage(_) => Self::Failed,
                error => Self::Lost { passes: matches!(error.blame(), Blame::Peer | Blame::Io) },
            },
            Err(_) => Self::Failed,
        }
    }
}

/// Whether an attempt to connect that failed like this may succeed later.
pub(super) fn may_connect_later(error: &Error) -> bool {
    use TransportError as E;
    match error {
        Error::Transport(E::Refused(refusal)) => matches!(refusal, Refusal::Busy { .. } | Refusal::ShuttingDown),
        Error::Transport(E::OtherUser { .. }) => false,
        Error::Transport(error) => matches!(error.blame(), Blame::Peer | Blame::Io),
        _ => false,
    }
}

/// What happened to a call before.
#[derive(Default)]
pub(super) struct History {
    /// How the first connection that may have executed it was lost.
    lost: Option<TransportError>,
}

impl History {
    /// Takes note of a call that may have been executed.
    pub(super) fn lost(&mut self, source: TransportError) {
        self.lost.get_or_insert(source);
    }

    /// The error with which the call ends: one that says "not executed" is wrong where an earlier attempt may have been.
    pub(super) fn ends_in(self, error: Error) -> Error {
        match self.lost {
            Some(source) if error.was_not_executed() => Error::Lost { source, then: Some(Arc::new(error)) },
            _ => error,
        }
    }
}

impl Error {
    /// Whether this error proves that the call was not executed, so that it is safe to make it again whatever it does.
    /// `false` is no proof of the opposite: nobody knows.
    ///
    /// ```
    /// use strait_rpc::Error;
    /// assert!(Error::ShuttingDown.was_not_executed());
    /// assert!(!Error::Deadline.was_not_executed());
    /// ```
    pub fn was_not_executed(&self) -> bool {
        use TransportError as E;
        match self {
            Self::ShuttingDown | Self::Launch(_) | Self::NotConnected { .. } => true,
            Self::Call { code, .. } => {
                matches!(
                    *code,
                    Code::SHUTTING_DOWN | Code::DEADLINE | Code::BAD_REQUEST | Code::UNKNOWN_METHOD | Code::BUSY
                )
            }
            // Either nothing could be sent, or there was no connection yet. Not `Closed` and the like: they end connections.
            Self::Transport(error) => matches!(
                error,
                E::TooLarge { .. }
                    | E::Encode(_)
                    | E::Name { .. }
                    | E::Option { .. }
                    | E::NoServer { .. }
                    | E::RuntimeDir { .. }
                    | E::Refused(_)
                    | E::OtherUser { .. }
            ),
            Self::Method { .. } | Self::Full | Self::Pin(_) => true,
            Self::Deadline | Self::Decode(_) | Self::Json { .. } | Self::Lost { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(code: Code) -> Error {
        Error::Call { code, message: "".into() }
    }

    fn io() -> TransportError {
        TransportError::Io { operation: "send", source: Arc::new(std::io::Error::other("no")) }
    }

    #[test]
    fn only_proof_counts_as_not_executed() {
        let not_executed = [
            Error::ShuttingDown,
            Error::NotConnected { last: None },
            call(Code::SHUTTING_DOWN),
            call(Code::BUSY),
            call(Code::DEADLINE),
            call(Code::BAD_REQUEST),
            call(Code::UNKNOWN_METHOD),
            TransportError::TooLarge { need: 2, max: 1 }.into(),
            TransportError::NoServer { path: "a".into() }.into(),
            TransportError::Refused(Refusal::ShuttingDown).into(),
        ];
        for error in not_executed {
            assert!(error.was_not_executed(), "{error:?}");
        }
        let may_have_been = [
            Error::Deadline,
            Error::Lost { source: TransportError::PeerGone, then: Some(Arc::new(Error::ShuttingDown)) },
            call(Code::HANDLER),
            call(Code::PANICKED),
            call(Code::BAD_REPLY),
            call(Code::CANCELLED),
            call(Code(999)),
            TransportError::PeerGone.into(),
            TransportError::Closed.into(),
            TransportError::Corrupt { what: "".into() }.into(),
            TransportError::TimedOut { what: "" }.into(),
            TransportError::Forked.into(),
            io().into(),
        ];
        for error in may_have_been {
            assert!(!error.was_not_executed(), "{error:?}");
        }
    }

    #[test]
    fn what_is_sent_again_unasked_was_not_executed() {
        for error in [Error::ShuttingDown, call(Code::SHUTTING_DOWN)] {
            assert!(error.was_not_executed());
            assert_eq!(Fate::of::<()>(&Err(error)), Fate::TurnedAway);
        }
    }

    #[test]
    fn an_outcome_tells_whether_its_connection_is_over() {
        let lost = |passes| Fate::Lost { passes };
        let cases = [
            (call(Code::HANDLER), Fate::Answered),
            (call(Code::DEADLINE), Fate::Answered),
            (Error::Deadline, Fate::Failed),
            (TransportError::TooLarge { need: 2, max: 1 }.into(), Fate::Failed),
            (TransportError::Forked.into(), Fate::Failed),
            (TransportError::PeerGone.into(), lost(true)),
            (TransportError::Closed.into(), lost(true)),
            (io().into(), lost(true)),
            (TransportError::Corrupt { what: "".into() }.into(), lost(false)),
            (TransportError::TooManyHeld { held_bytes: 2, max_bytes: 1 }.into(), lost(false)),
        ];
        for (error, fate) in cases {
            assert_eq!(Fate::of::<()>(&Err(error)), fate);
        }
        assert_eq!(Fate::of(&Ok(())), Fate::Answered);
    }

    #[test]
    fn a_call_that_may_have_been_executed_never_ends_in_an_error_that_denies_it() {
        let mut history = History::default();
        history.lost(TransportError::PeerGone);
        history.lost(TransportError::Closed);
        match history.ends_in(Error::NotConnected { last: None }) {
            Error::Lost { source: TransportError::PeerGone, then: Some(then) } => {
                assert!(matches!(*then, Error::NotConnected { .. }));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(History::default().ends_in(Error::ShuttingDown), Error::ShuttingDown));
    }
}
