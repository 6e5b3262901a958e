//! What can go wrong on a connection, and who is to blame.

use std::{io, path::PathBuf, sync::Arc};

use strait_frame::EncodeError;

/// Who has to act on an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller: an argument, a name, an order of calls.
    Usage,
    /// The bytes that came from the peer cannot be true.
    Corrupt,
    /// The peer: gone, refusing, too slow.
    Peer,
    /// The operating system.
    Io,
}

/// Why a server refused a connection, as it travels in a `Refuse` frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The protocol versions differ.
    #[error("the server speaks protocol version {server}, this client speaks {client}")]
    Version {
        /// The server's version.
        server: u64,
        /// The client's version.
        client: u64,
    },
    /// The socket belongs to another kind of service.
    #[error("the server offers service kind {server}, this client asked for {client} (1 is rpc)")]
    Service {
        /// What the server offers.
        server: u64,
        /// What the client asked for.
        client: u64,
    },
    /// The sides encode differently.
    #[error("the server speaks codec {server}, this client speaks {client} (0 raw, 1 rkyv, 2 postcard)")]
    Codec {
        /// The server's codec.
        server: u64,
        /// The client's codec.
        client: u64,
    },
    /// The message types differ.
    #[error(
        "the server's message types have schema {server:#018x}, this client's {client:#018x}: \
         build both from the same request and reply types"
    )]
    Schema {
        /// The server's schema.
        server: u64,
        /// The client's schema.
        client: u64,
    },
    /// A ring of that size is outside the server's limits.
    #[error("the client asked for a ring of {client} bytes, the server allows a power of two up to {server}")]
    RingBytes {
        /// The server's limit.
        server: u64,
        /// What the client asked for.
        client: u64,
    },
    /// The server has as many clients, or handshakes, as it takes.
    #[error("the server already has {server} connections, which is its limit; try again later or raise `max_clients`")]
    Busy {
        /// The limit.
        server: u64,
    },
    /// The server serves another user only.
    #[error("the server runs as user {server} and serves no other, this client runs as {client}")]
    User {
        /// The server's user id.
        server: u64,
        /// The client's user id.
        client: u64,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A reason that this version does not know.
    #[error("the server gave reason {code}, which this version does not know")]
    Unknown {
        /// The code on the wire.
        code: u16,
    },
}

/// What can go wrong on a connection. Cloneable, so that every call in flight can be told the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A service name that cannot be a file name.
    #[error("{name:?} is not a service name: {expected}")]
    Name {
        /// What was given.
        name: String,
        /// What a name looks like.
        expected: &'static str,
    },
    /// No server listens under this name.
    #[error("no server listens at {}: start it, or check the name and XDG_RUNTIME_DIR", path.display())]
    NoServer {
        /// The socket's path.
        path: PathBuf,
    },
    /// Another server listens under this name.
    #[error("another server already listens at {}: stop it, or choose another name", path.display())]
    NameTaken {
        /// The socket's path.
        path: PathBuf,
    },
    /// The runtime directory is not safe to use.
    #[error("the runtime directory {} is not usable: {why}", path.display())]
    RuntimeDir {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what was expected.
        why: String,
    },
    /// The server refused.
    #[error("the server refused the connection: {0}")]
    Refused(Refusal),
    /// The peer runs under another account.
    #[error("the peer runs as user {found}, expected {expected}")]
    OtherUser {
        /// This process's user.
        expected: u32,
        /// The peer's.
        found: u32,
    },
    /// An option outside its range.
    #[error("option {option} is {found}, expected {expected}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was given.
        found: String,
        /// The range.
        expected: &'static str,
    },
    /// A message that is longer than the connection takes. Nothing was sent.
    #[error(
        "the message takes {need} bytes or more, this connection takes {max}: enlarge ring_bytes (a message may be a quarter of it)"
    )]
    TooLarge {
        /// Bytes needed, as far as known.
        need: usize,
        /// Bytes possible.
        max: usize,
    },
    /// The message could not be encoded. Nothing was sent.
    #[error("the message cannot be encoded: {0}")]
    Encode(Arc<EncodeError>),
    /// A deadline passed.
    #[error("{what} did not finish by its deadline")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
    },
    /// One message did not match its checksum; it was discarded and the connection goes on.
    #[error(
        "a message of {size} bytes does not match its checksum (expected {expected:#010x}, found {found:#010x}); it was discarded"
    )]
    Checksum {
        /// Payload length in bytes.
        size: usize,
        /// The checksum in the envelope.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// The peer sent or wrote something that cannot be true. The connection is poisoned.
    #[error("corrupt input from the peer: {what}")]
    Corrupt {
        /// What, where, and what was found.
        what: Arc<str>,
    },
    /// A value was overtaken by newer ones each time that it was copied. Read again.
    #[error("the writer published anew during each of {attempts} attempts to copy its value: read again")]
    Overtaken {
        /// Attempts made.
        attempts: u32,
    },
    /// A published value cannot be read in place. Read a copy.
    #[cfg(not(strait_loom))]
    #[error("the value cannot be read in place: {0}; read a copy")]
    NoPin(crate::NoPin),
    /// Too many in-place messages are held (more than half the ring).
    #[error(
        "in-place messages hold {held_bytes} bytes of the ring, the limit is {max_bytes}: drop some, or receive copies"
    )]
    TooManyHeld {
        /// Bytes that would be held.
        held_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The peer closed the connection in good order.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer died, or dropped the connection without closing it.
    #[error("the peer is gone")]
    PeerGone,
    /// This process is a forked child of the one that owns the connection.
    #[error("this connection belongs to the parent process: connect anew after fork")]
    Forked,
    /// A call that does not fit the connection, such as an async wait on a blocking one.
    #[error("{0}")]
    Usage(&'static str),
    /// A system call failed.
    #[error("{operation} failed: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl Error {
    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Name { .. }
            | Self::Option { .. }
            | Self::NameTaken { .. }
            | Self::RuntimeDir { .. }
            | Self::TooLarge { .. }
            | Self::Encode(_)
            | Self::TooManyHeld { .. }
            | Self::Forked
            | Self::Usage(_) => Blame::Usage,
            Self::Checksum { .. } | Self::Corrupt { .. } => Blame::Corrupt,
            Self::NoServer { .. }
            | Self::Refused(_)
            | Self::OtherUser { .. }
            | Self::TimedOut { .. }
            | Self::Overtaken { .. }
            | Self::Closed
            | Self::PeerGone => Blame::Peer,
            #[cfg(not(strait_loom))]
            Self::NoPin(crate::NoPin::NotAsked) => Blame::Usage,
            #[cfg(not(strait_loom))]
            Self::NoPin(_) => Blame::Peer,
            Self::Io { .. } => Blame::Io,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        let what: String = what.into();
        tracing::warn!(target: "strait", what, "corrupt input");
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn io(operation: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Io { operation, source: Arc::new(source.into()) }
    }
}

impl From<strait_frame::FrameError> for Error {
    fn from(error: strait_frame::FrameError) -> Self {
        Self::corrupt(error.to_string())
    }
}

/// Why a message was not taken for sending.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room now. Wait for [`Interest::SPACE`](crate::Interest::SPACE) and try again.
    #[error("there is no room for the message now")]
    Full,
    /// The encoder needs more than it was given: claim `need` bytes and try again.
    #[error("the encoder needs more than the {claimed} bytes that were claimed")]
    Short {
        /// What was claimed.
        claimed: usize,
    },
    /// It failed. Nothing was sent.
    #[error(transparent)]
    Failed(#[from] Error),
}
