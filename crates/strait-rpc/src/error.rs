//! What a call can end in, other than its reply.

use std::{fmt, sync::Arc};

use strait_frame::DecodeError;
use strait_transport::{Blame, Error as TransportError};

/// Why a server answered a call with an error. A `u16` on the wire: a newer server may send one that this version
/// does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

impl Code {
    /// The handler returned an error; the message is what it said.
    pub const HANDLER: Self = Self(1);
    /// The handler panicked. The server goes on.
    pub const PANICKED: Self = Self(2);
    /// The server has too much to do.
    pub const BUSY: Self = Self(3);
    /// The server has no such method.
    pub const UNKNOWN_METHOD: Self = Self(4);
    /// The call's deadline had passed when the server came to it.
    pub const DEADLINE: Self = Self(5);
    /// The request was no value of the type that the server expects.
    pub const BAD_REQUEST: Self = Self(6);
    /// The reply could not be sent: too large, or not encodable.
    pub const BAD_REPLY: Self = Self(7);
    /// The caller cancelled the call, or its deadline passed while it ran: its handler was dropped.
    pub const CANCELLED: Self = Self(8);
    /// The server is shutting down; the call was not executed.
    pub const SHUTTING_DOWN: Self = Self(9);
}

#[cfg(any(feature = "spans", feature = "metrics"))]
impl Code {
    /// In a word, of a handful: numbers that this version does not know share one.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::HANDLER => "handler",
            Self::PANICKED => "panicked",
            Self::BUSY => "busy",
            Self::UNKNOWN_METHOD => "unknown_method",
            Self::DEADLINE => "deadline",
            Self::BAD_REQUEST => "bad_request",
            Self::BAD_REPLY => "bad_reply",
            Self::CANCELLED => "cancelled",
            Self::SHUTTING_DOWN => "shutting_down",
            _ => "other_code",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::HANDLER => "the handler failed",
            Self::PANICKED => "the handler panicked",
            Self::BUSY => "the server is busy",
            Self::UNKNOWN_METHOD => "the server has no such method",
            Self::DEADLINE => "the deadline had passed when the server came to the call",
            Self::BAD_REQUEST => "the server could not read the request",
            Self::BAD_REPLY => "the server could not send the reply",
            Self::CANCELLED => "the call was cancelled, or its time was over",
            Self::SHUTTING_DOWN => "the server is shutting down and did not execute the call",
            Self(code) => return write!(f, "the server answered with code {code}"),
        };
        f.write_str(text)
    }
}

/// What a call can end in, other than its reply. Cloneable, because the end of a connection ends all its calls.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection failed, could not be made, or is closed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server answered with an error.
    #[error("{code}: {message}")]
    Call {
        /// Which error.
        code: Code,
        /// The server's words.
        message: Arc<str>,
    },
    /// The deadline passed. A call that was sent may still be executed; its late reply is discarded.
    #[error("no reply came by the deadline")]
    Deadline,
    /// The server has said that it shuts down and takes no new calls. Nothing was sent.
    #[error("the server is shutting down and takes no new calls")]
    ShuttingDown,
    /// The service has no such method, or means something else by it. Nothing was sent.
    #[error("method {name:?}: {what}")]
    Method {
        /// The method's name.
        name: Arc<str>,
        /// What is wrong.
        what: Arc<str>,
    },
    /// Too many events wait for a client already. Nothing was sent.
    #[error("too many events wait for this client already: it does not read them")]
    Full,
    /// The reply is not the JSON that was asked for.
    #[error("the reply cannot be read as JSON: {what}")]
    Json {
        /// What is wrong.
        what: Arc<str>,
    },
    /// The reply is no value of the type that the client expects.
    #[error("the reply cannot be read: {0}")]
    Decode(Arc<DecodeError>),
    /// The server is not running and could not be started. Nothing was sent.
    #[cfg(not(strait_loom))]
    #[error(transparent)]
    Launch(Arc<crate::LaunchError>),
    /// A thread could not be kept on its processor.
    #[cfg(not(strait_loom))]
    #[error(transparent)]
    Pin(#[from] strait_transport::PinError),
    /// There was no connection, and none could be made. Nothing was sent.
    #[error("no connection could be made, so nothing was sent; {}", last_words(.last))]
    NotConnected {
        /// What the last attempt came to; `None` where the first has not ended yet.
        last: Option<Arc<Error>>,
    },
    /// The connection ended during the call, which may or may not have been executed.
    #[error("the connection was lost during the call, which may or may not have been executed: {source}{}", afterwards(.then))]
    Lost {
        /// How the connection ended.
        source: TransportError,
        /// Where the call was to be made again: why that failed.
        then: Option<Arc<Error>>,
    },
}

fn last_words(last: &Option<Arc<Error>>) -> String {
    match last {
        Some(error) => format!("the last attempt: {error}"),
        None => "the first attempt has not ended".into(),
    }
}

fn afterwards(then: &Option<Arc<Error>>) -> String {
    then.as_ref().map_or_else(String::new, |error| format!("; then: {error}"))
}

#[cfg(not(strait_loom))]
impl From<crate::LaunchError> for Error {
    fn from(error: crate::LaunchError) -> Self {
        match error {
            crate::LaunchError::Connect(error) => Self::Transport(error),
            error => Self::Launch(Arc::new(error)),
        }
    }
}

#[cfg(any(feature = "spans", feature = "metrics"))]
impl Error {
    /// In a word, of a handful.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Call { code, .. } => code.label(),
            Self::Deadline => "deadline",
            Self::ShuttingDown => "shutting_down",
            Self::Transport(TransportError::PeerGone) => "peer_gone",
            Self::Transport(TransportError::Closed) => "closed",
            Self::Transport(TransportError::Corrupt { .. }) => "corrupt",
            Self::Transport(TransportError::TooLarge { .. }) => "too_large",
            Self::Transport(TransportError::Encode(_)) => "encode",
            _ => "transport",
        }
    }
}

impl Error {
    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Transport(error) => error.blame(),
            Self::Call { code: Code::BAD_REQUEST, .. } => Blame::Usage,
            Self::Method { .. } => Blame::Usage,
            #[cfg(not(strait_loom))]
            Self::Pin(_) => Blame::Usage,
            Self::Call { .. } | Self::Deadline | Self::ShuttingDown | Self::Full => Blame::Peer,
            Self::Decode(_) | Self::Json { .. } => Blame::Corrupt,
            #[cfg(not(strait_loom))]
            Self::Launch(error) => error.blame(),
            Self::NotConnected { last } => last.as_ref().map_or(Blame::Peer, |error| error.blame()),
            Self::Lost { source, .. } => source.blame(),
        }
    }
}
