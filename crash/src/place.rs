//! Where the processes of a case meet.

use std::{path::PathBuf, time::Duration};

use strait::{Options, transport::Limits};

/// The name of every service.
pub(crate) const NAME: &str = "crash";

/// A directory of its own for each case.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    dir: PathBuf,
}

impl Place {
    /// A handshake takes no longer, whoever is stopped in it.
    pub(crate) const HANDSHAKE: Duration = Duration::from_secs(1);

    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Where services have their names.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Regions and files of the processes.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Options of a connection with rings of `ring_bytes`.
    pub(crate) fn options(&self, ring_bytes: u64) -> Options {
        let limits = Limits { handshake_timeout: Self::HANDSHAKE, ..Limits::default() };
        Options { ring_bytes, runtime_dir: Some(self.runtime_dir()), limits, ..Options::default() }
    }
}
