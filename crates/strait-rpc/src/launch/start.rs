//! The way from "nobody serves here" to a connection, one step per attempt to connect.

use std::{
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use strait_transport::{Connection, Error as TransportError, Options, Refusal};

use super::{Launch, error::LaunchError, lock::StartLock, process::ServerProcess};
use strait_sync::fail_point;

/// What a client that wants to connect has come to. It neither connects nor sleeps by itself, so that threads and tasks
/// share it.
///
/// ```text
/// Looking --nobody serves, lock is free--> Locked --still nobody--> Started --connected--> done
///    |                                       ^                         |
///    +--lock is another's--> Waiting --------+                         +--ended badly, or late--> failed
/// ```
pub(super) struct Start<'a> {
    launch: &'a Launch,
    options: &'a Options,
    lock_path: PathBuf,
    state: State,
    /// When the wait for the other client's start, or for the own one, began.
    since: Instant,
    pause: Duration,
}

enum State {
    /// Before the first attempt.
    Looking,
    /// Another client starts the server, or somebody serves and is not ready for us.
    Waiting,
    Locked(StartLock),
    Started {
        /// Behind the lock, so that nobody else starts one meanwhile.
        _lock: StartLock,
        server: ServerProcess,
        /// Its end, once that was bad. Another attempt follows: it may have ended because somebody else serves by now.
        failed: Option<ExitStatus>,
    },
}

impl<'a> Start<'a> {
    /// First and last pause between two attempts.
    const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

    pub(super) fn new(launch: &'a Launch, name: &str, options: &'a Options) -> Result<Self, TransportError> {
        let socket = strait_transport::socket_path(name, options.runtime_dir.as_deref())?;
        let lock_path = socket.with_extension("launch");
        Ok(Self { launch, options, lock_path, state: State::Looking, since: Instant::now(), pause: Duration::ZERO })
    }

    /// The options for the next attempt: its handshake must not take longer than the start may.
    pub(super) fn options(&self) -> Options {
        let mut options = self.options.clone();
        if let State::Started { .. } = self.state {
            let left = self.launch.timeout.saturating_sub(self.since.elapsed());
            options.limits.handshake_timeout = options.limits.handshake_timeout.min(left);
        }
        options
    }

    /// Takes what an attempt to connect came to. `None`: sleep for a [`pause`](Self::pause), then try again.
    pub(super) fn step(
        &mut self,
        attempt: Result<Connection, TransportError>,
    ) -> Result<Option<Connection>, LaunchError> {
        let error = match attempt {
            Ok(connection) => {
                fail_point!("launch.connected");
                return Ok(Some(connection));
            }
            Err(error) => error,
        };
        let nobody = matches!(error, TransportError::NoServer { .. });
        if !nobody && (matches!(self.state, State::Looking) || !may_pass(&error)) {
            return Err(error.into());
        }
        let is_late = self.since.elapsed() >= self.launch.timeout;
        match &mut self.state {
            State::Started { server, failed, .. } => {
                if let Some(status) = *failed {
                    return Err(match error {
                        // By somebody else who serves.
                        TransportError::Refused(_) => error.into(),
                        _ => LaunchError::Exited { status, output: server.output() },
                    });
                }
                *failed = server.ended().filter(|status| !status.success());
                if failed.is_some() {
                    self.pause = Duration::ZERO;
                } else if is_late {
                    server.kill();
                    return Err(LaunchError::TimedOut { after: self.launch.timeout, output: server.output() });
                }
            }
            State::Locked(_) if nobody => {
                fail_point!("launch.starting");
                let server = ServerProcess::spawn((self.launch.command)(), self.launch.log.as_deref())?;
                fail_point!("launch.started");
                if let State::Locked(lock) = std::mem::replace(&mut self.state, State::Waiting) {
                    self.state = State::Started { _lock: lock, server, failed: None };
                }
                (self.since, self.pause) = (Instant::now(), Duration::ZERO);
            }
            State::Looking | State::Waiting if nobody => match StartLock::try_take(&self.lock_path)? {
                Some(lock) => {
                    fail_point!("launch.locked");
                    // Who had the lock before may have been done only just now: one more look, with the lock.
                    self.state = State::Locked(lock);
                    self.pause = Duration::ZERO;
                }
                None if is_late => return Err(LaunchError::Busy { after: self.launch.timeout }),
                None => self.state = State::Waiting,
            },
            // Somebody serves, and is too busy or not there yet.
            State::Looking | State::Locked(_) | State::Waiting if is_late => return Err(error.into()),
            State::Looking | State::Locked(_) | State::Waiting => self.state = State::Waiting,
        }
        Ok(None)
    }

    /// How long to sleep before the next attempt: nothing at first, then longer and longer.
    pub(super) fn pause(&mut self) -> Duration {
        let (first, last) = Self::PAUSES;
        let next = (self.pause * 2).clamp(first, last);
        std::mem::replace(&mut self.pause, next)
    }
}

/// Whether an error may be gone when a server that just starts has come further, or that server's end will say more. All who
/// waited for it connect at once.
fn may_pass(error: &TransportError) -> bool {
    use TransportError as E;
    matches!(error, E::PeerGone | E::Closed | E::TimedOut { .. } | E::Refused(Refusal::Busy { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Result<Connection, TransportError> {
        Err(TransportError::NoServer { path: "service.sock".into() })
    }

    #[test]
    fn a_server_that_failed_is_reported_only_after_another_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { runtime_dir: Some(dir.path().join("run")), ..Options::default() };
        let launch = Launch::command("false", [""; 0]);
        let mut start = Start::new(&launch, "service", &options).unwrap();
        assert!(matches!(start.step(nobody()), Ok(None)));
        assert!(matches!(start.state, State::Locked(_)));
        loop {
            assert!(matches!(start.step(nobody()), Ok(None)));
            if matches!(start.state, State::Started { failed: Some(_), .. }) {
                break;
            }
            std::thread::sleep(start.pause());
        }
        assert_eq!(start.pause(), Duration::ZERO);
        assert!(matches!(start.step(nobody()), Err(LaunchError::Exited { .. })));
    }

    #[test]
    fn what_may_pass_is_an_error_unless_somebody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { runtime_dir: Some(dir.path().join("run")), ..Options::default() };
        let launch = Launch::new(|| panic!("nobody may be started")).timeout(Duration::from_millis(20));
        let mut start = Start::new(&launch, "service", &options).unwrap();
        assert!(matches!(
            start.step(Err(TransportError::PeerGone)),
            Err(LaunchError::Connect(TransportError::PeerGone))
        ));
        let _other = StartLock::try_take(&start.lock_path).unwrap().unwrap();
        assert!(matches!(start.step(nobody()), Ok(None)));
        assert!(matches!(start.step(Err(TransportError::PeerGone)), Ok(None)));
        std::thread::sleep(launch.timeout);
        assert!(matches!(
            start.step(Err(TransportError::PeerGone)),
            Err(LaunchError::Connect(TransportError::PeerGone))
        ));
        assert!(matches!(start.step(nobody()), Err(LaunchError::Busy { .. })));
    }
}
