//! Round trips by other ways: another library, or the system alone.
//!
//! Each does the same work as strait's engines: the caller hands over a payload that was filled anew, the other process copies
//! all of it into its answer, and the caller compares all of that.

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use super::{WARM_UP, check};
use crate::{
    engine::{Engine, Measured, Peer, Role, Samples, Side},
    wake,
};

/// What can go wrong in either process.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Sends a payload, waits for the answer and shows all of its bytes to the second argument.
pub type Call = Box<dyn FnMut(&[u8], &mut dyn FnMut(&[u8])) -> Outcome<()>>;

/// A client or consumer that has measured long enough goes: that is the end, not a failure.
pub(crate) fn unless_gone(error: Box<dyn Error>) -> Outcome<()> {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.downcast_ref::<std::io::Error>() {
        Some(io) if matches!(io.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) => Ok(()),
        _ => Err(error),
    }
}

/// Where the two processes of one run find each other.
#[derive(Clone, Copy, Debug)]
pub struct Meeting<'a> {
    /// A directory of their own. It exists, and is removed after the run.
    pub dir: &'a Path,
    /// Length of every payload, in bytes.
    pub payload_bytes: usize,
}

/// One way to carry a request and its answer between two processes.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrip {
    /// Its name in tables, which no other engine has.
    pub name: &'static str,
    /// Serves until the process is killed.
    pub serve: fn(&Meeting<'_>) -> Outcome<()>,
    /// Connects to the server; is called again for a while where it fails, because the server has only just been started.
    pub connect: fn(&Meeting<'_>) -> Outcome<Call>,
}

impl RoundTrip {
    pub(super) fn engine(&self, payload_bytes: usize) -> Engine {
        Engine { scenario: "rpc".into(), name: self.name.into(), payload_bytes }
    }

    /// Runs one of its two processes.
    pub(crate) fn run(&self, role: &Role) -> Outcome<Option<Measured>> {
        std::fs::create_dir_all(&role.meet)?;
        let meeting = Meeting { dir: Path::new(&role.meet), payload_bytes: role.engine.payload_bytes };
        match role.side {
            Side::Server => (self.serve)(&meeting).or_else(unless_gone).map(|()| None),
            Side::Client => self.measure(role, &meeting).map(Some),
        }
    }

    fn measure(&self, role: &Role, meeting: &Meeting<'_>) -> Outcome<Measured> {
        let _server = Peer::start(role, role.meet.clone())?;
        let patience = Instant::now() + Duration::from_secs(10);
        let mut call = loop {
            match (self.connect)(meeting) {
                Ok(call) => break call,
                Err(error) if Instant::now() > patience => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut payload = vec![0u8; meeting.payload_bytes];
        let mut once = |turn: u64| {
            payload.fill(turn as u8);
            let mut same = Err("no reply".into());
            call(&payload, &mut |reply| same = check(reply, &payload))?;
            same
        };
        for turn in 0..WARM_UP.min((64 << 20) / meeting.payload_bytes).max(20) as u64 {
            once(turn)?;
        }
        let mut samples = Samples::collect(role.millis);
        for turn in 0u64.. {
            wake::rest(role);
            let begin = Instant::now();
            let same = once(turn);
            let more = samples.add(begin);
            same?;
            if !more {
                break;
            }
        }
        Ok(samples.summed_up(self.name.into()))
    }
}
