//! Why a named region was not made, opened or removed.

use std::{io, path::PathBuf};

use crate::error::{CreateError, Forked, OpenError};

/// What a call about a named region ends with, where it does not end well. Nothing is left mapped, open or named by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamedError {
    /// The name cannot be one.
    #[error("{name:?} cannot be the name of a region: {why}")]
    Name {
        /// What was asked for.
        name: String,
        /// What is wrong with it, and what is expected.
        why: &'static str,
    },
    /// The directory cannot be opened.
    #[error("cannot open the directory {path:?} for regions: {source}")]
    Place {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such name.
    #[error("there is no region named {name:?}: its owner has not started or is gone")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The owner of that name lives.
    #[error("the region {name:?} is in use by its owner, which says that it is process {pid}: stop that one first")]
    InUse {
        /// The name.
        name: String,
        /// What the owner has noted down as its process id, in its own namespace. A hint for people.
        pid: u64,
    },
    /// That name was to outlive its owner.
    #[error("the region {name:?} was kept by its owner: open it, or remove it before making it anew")]
    Persistent {
        /// The name.
        name: String,
    },
    /// The name belongs to something that is no region. It was left alone.
    #[error("{name:?} is there and is no region of strait: {source}")]
    Foreign {
        /// The name.
        name: String,
        /// What tells so.
        source: OpenError,
    },
    /// Somebody else's file.
    #[error("{name:?} belongs to user {found}, expected {expected}, the user of this process")]
    Owner {
        /// The name.
        name: String,
        /// User id of the file.
        found: u32,
        /// Effective user id of this process.
        expected: u32,
    },
    /// A file that others than its owner may write.
    #[error("{name:?} has the mode {found:04o}, expected one in which neither group nor others may write, as 0600")]
    Mode {
        /// The name.
        name: String,
        /// The permission bits.
        found: u32,
    },
    /// Others were faster again and again.
    #[error("others were at the name {name:?} whenever it was looked at, {attempts} times running: try again later")]
    Contended {
        /// The name.
        name: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The memory could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The memory is not what was expected.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The process was forked since the region was made or opened.
    #[error(transparent)]
    Forked(#[from] Forked),
    /// The kernel refused.
    #[error("{operation} failed: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl NamedError {
    /// For `map_err`: the kernel's refusal of `operation`.
    pub(crate) fn io<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { operation, source: source.into() }
    }
}
