//! What can go wrong around a published state.

use std::path::PathBuf;

use strait_frame::DecodeError;
use strait_transport::Error as TransportError;

/// What can go wrong around a published state.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection, the memory or the options.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A setting outside its range.
    #[error("state setting {field} is {found}, expected {expected}")]
    Config {
        /// The field of [`Config`](super::Config).
        field: &'static str,
        /// What was given.
        found: String,
        /// The range.
        expected: &'static str,
    },
    /// The value is longer than the daemon's memory has room for. Nothing was published.
    #[error("the value takes {need} bytes, the state has room for {max}: raise `max_value_bytes`")]
    ValueTooLarge {
        /// Its bytes.
        need: usize,
        /// The limit.
        max: usize,
    },
    /// The value, command or answer could not be encoded. Nothing was published or sent.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
    /// The bytes of a value, a command or an answer are no value of the type.
    #[error("the bytes are no value of this type: {0}")]
    Decode(DecodeError),
    /// A command or an answer of another type than it was opened as.
    #[error(
        "{what} has codec {} and schema {:#018x}, expected codec {} and schema {:#018x} (0 raw, 1 rkyv, 2 postcard; \
         0 and 0 are plain bytes): use the same types on both sides",
        found.0, found.1, expected.0, expected.1
    )]
    OtherType {
        /// The command or the answer.
        what: &'static str,
        /// Its codec and schema.
        found: (u8, u64),
        /// Those of the type that it was opened as.
        expected: (u8, u64),
    },
    /// Nothing was published yet.
    #[error("the daemon has published nothing yet")]
    Empty,
    /// The deadline passed.
    #[error("{what} did not come by the deadline")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
    },
    /// As many commands of this shell as the daemon takes are without an answer. The command was not executed.
    #[error("{commands} commands of this shell are without an answer, which is the daemon's limit: try again later")]
    CommandsFull {
        /// The limit.
        commands: u64,
    },
    /// The daemon let the command go without an answer.
    #[error("the daemon gave no answer to the command")]
    Unanswered,
    /// The daemon is gone. Whether it has executed the command is not known; it is not sent again.
    #[error("the daemon is gone; what was sent to it is not sent again")]
    DaemonGone,
    /// The checkpoint cannot be used.
    #[error("the checkpoint {} cannot be used: {why}; move it away to begin without it", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        why: String,
    },
}
