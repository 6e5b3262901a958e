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
    /// What a payload is answered with.
    pub answer: Answer,
}

impl<'a> Meeting<'a> {
    /// That of a role's two processes.
    pub(crate) fn of(role: &'a Role) -> Self {
        let Engine { payload_bytes, .. } = role.engine;
        Self { dir: Path::new(&role.meet), payload_bytes, answer: Answer::of(role) }
    }

    /// Length of every answer, in bytes.
    pub fn answer_bytes(&self) -> usize {
        self.answer.bytes(self.payload_bytes)
    }
}

/// Engines whose answers are 8 bytes have this at the end of their names.
pub(crate) const SHORT: &str = "-short";

/// What a payload is answered with. Either way all of it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With itself.
    Echo,
    /// With the sum of its words, 8 bytes.
    Sum,
}

impl Answer {
    /// What a role's engine answers.
    pub(crate) fn of(role: &Role) -> Self {
        if role.engine.name.ends_with(SHORT) { Self::Sum } else { Self::Echo }
    }

    /// The answer to `payload`; a sum is put into `room`.
    pub fn to<'a>(self, payload: &'a [u8], room: &'a mut [u8; 8]) -> &'a [u8] {
        if self == Self::Echo {
            return payload;
        }
        let words = payload.as_chunks::<8>().0;
        let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
        *room = sum.to_ne_bytes();
        room
    }

    /// Length of the answer to a payload of so many bytes.
    pub(crate) fn bytes(self, payload_bytes: usize) -> usize {
        if self == Self::Echo { payload_bytes } else { 8 }
    }
}

/// One way to carry a request and its answer between two processes.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrip {
    /// Its name in tables, which no other engine has.
    pub name: &'static str,
    /// How many clients one server takes at a time.
    pub max_clients: usize,
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
        let meeting = Meeting::of(role);
        match role.side {
            Side::Server => (self.serve)(&meeting).or_else(unless_gone).map(|()| None),
            Side::Client => self.measure(role, &meeting).map(Some),
        }
    }

    /// A connected client; each turn fills the payload anew, calls, and compares the answer.
    pub(crate) fn client(&self, meeting: &Meeting<'_>) -> Outcome<impl FnMut(u64) -> Outcome<()> + use<>> {
        let patience = Instant::now() + Duration::from_secs(10);
        let mut call = loop {
            match (self.connect)(meeting) {
                Ok(call) => break call,
                Err(error) if Instant::now() > patience => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let (mut payload, answer) = (vec![0u8; meeting.payload_bytes], meeting.answer);
        Ok(move |turn: u64| {
            payload.fill(turn as u8);
            let mut same = Err("no reply".into());
            call(&payload, &mut |reply| same = check(reply, answer.to(&payload, &mut [0; 8])))?;
            same
        })
    }

    fn measure(&self, role: &Role, meeting: &Meeting<'_>) -> Outcome<Measured> {
        let server = Peer::start(role, role.meet.clone())?;
        let mut once = self.client(meeting)?;
        for turn in 0..WARM_UP.min((64 << 20) / meeting.payload_bytes).max(20) as u64 {
            once(turn)?;
        }
        let processes = server.both();
        let mut samples = Samples::collect(role.millis, &processes)?;
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
        Ok(samples.summed_up(self.name.into())?)
    }
}
