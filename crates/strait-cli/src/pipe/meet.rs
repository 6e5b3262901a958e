//! How the two ends meet, whichever starts first.

use std::time::{Duration, Instant};

use strait::{
    stream::{Binding, Config, Endpoint, Error},
    transport::Error as Below,
};

use super::{Common, Duplex};
use crate::{failure::Failure, output, service::not_connected};

/// Who waits longer than this is told for what.
const QUIET_WAIT: Duration = Duration::from_secs(1);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(10);

/// The sender's side: connects as soon as there is a receiver.
pub(super) fn receiver(common: &Common, config: &Config) -> Result<Duplex, Failure> {
    let (begin, name) = (Instant::now(), &common.service.name);
    let mut told = common.quiet;
    loop {
        match Duplex::connect(name, config) {
            Ok(stream) => return Ok(stream),
            // None yet; or one that has taken another sender meanwhile.
            Err(Error::Connection(Below::NoServer { .. } | Below::PeerGone | Below::Closed)) => {}
            Err(error) => return Err(no_stream(name, error)),
        }
        let waited = begin.elapsed();
        if waited >= common.wait() {
            return Err(nobody(common, "recv"));
        }
        if waited >= QUIET_WAIT && !told {
            told = true;
            waiting(common, "recv");
        }
        std::thread::sleep(RETRY.min(common.wait() - waited));
    }
}

/// The receiver's side: listens until a sender has come, and no longer.
pub(super) fn sender(common: &Common, config: &Config) -> Result<Duplex, Failure> {
    let name = &common.service.name;
    let binding: Binding<Duplex> = Duplex::bind(name, config).map_err(|error| match error {
        Error::Connection(Below::NameTaken { path }) => Failure::DidNotHold(format!(
            "somebody listens at {} already: another `strait pipe recv {name}`, or a service; choose another name",
            path.display()
        )),
        error => no_stream(name, error),
    })?;
    let first = if common.quiet { common.wait() } else { common.wait().min(QUIET_WAIT) };
    let mut accepted = binding.accept_timeout(first);
    if first < common.wait() && accepted.as_ref().is_err_and(Error::is_timeout) {
        waiting(common, "send");
        accepted = binding.accept_timeout(common.wait() - first);
    }
    match accepted {
        Err(error) if error.is_timeout() => Err(nobody(common, "send")),
        accepted => accepted.map_err(|error| no_stream(name, error)),
    }
}

fn waiting(common: &Common, other: &str) {
    let (name, seconds) = (&common.service.name, common.wait);
    output::complain(format_args!("waiting for `strait pipe {other} {name}`, {seconds} s at most"));
}

fn nobody(common: &Common, other: &str) -> Failure {
    let (name, seconds) = (&common.service.name, common.wait);
    Failure::DidNotHold(format!(
        "nobody came within {seconds} s: run `strait pipe {other} {name}` as the same user, or wait longer (--wait)"
    ))
}

fn no_stream(name: &str, error: Error) -> Failure {
    match error {
        Error::Refused { .. } => {
            Failure::DidNotHold(format!("{name} is no pipe: a service of another kind listens under that name"))
        }
        Error::Connection(error) => not_connected(&error),
        error => Failure::DidNotHold(error.to_string()),
    }
}
