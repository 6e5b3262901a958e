//! The name of a service, and where its socket lies.

use std::path::PathBuf;

use strait::{Options, transport};

use crate::failure::Failure;

/// Which service.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Service {
    /// Its name: its socket is `$XDG_RUNTIME_DIR/strait/NAME.sock`.
    #[arg(value_name = "NAME", value_parser = named)]
    pub(crate) name: String,
    /// Where sockets lie, instead of the directory that the environment gives.
    #[arg(long, value_name = "DIRECTORY")]
    runtime_dir: Option<PathBuf>,
}

impl Service {
    /// How to connect to it.
    pub(crate) fn options(&self) -> Options {
        Options { runtime_dir: self.runtime_dir.clone(), ..Options::default() }
    }
}

fn named(name: &str) -> Result<String, transport::Error> {
    transport::check_name(name).map(|()| name.to_owned())
}

/// A connection that could not be had: the wrong words are wrong use, all else did not hold.
pub(crate) fn not_connected(error: &transport::Error) -> Failure {
    match error {
        transport::Error::Name { .. } | transport::Error::Option { .. } => Failure::Usage(error.to_string()),
        _ => Failure::DidNotHold(error.to_string()),
    }
}
