//! One way by other means: another library, or the system alone.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    time::{Duration, Instant},
};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::{PATIENCE, Rate, check, count, fill};
use crate::{
    engine::{Peer, Role, Side},
    rpc::{Meeting, Outcome, unless_gone},
};

/// Sends one message; what is buffered goes out by itself.
pub type Send = Box<dyn FnMut(&[u8]) -> Outcome<()>>;

/// Takes one message, in order, and shows all of its bytes to the argument.
pub type Take = Box<dyn FnMut(&mut dyn FnMut(&[u8])) -> Outcome<()>>;

/// One way to carry messages from one process to another, none of them lost.
#[derive(Clone, Copy, Debug)]
pub struct OneWay {
    /// Its name in tables, which no other engine has.
    pub name: &'static str,
    /// The producer's end; is called again for a while where it fails, because the consumer may come later.
    pub produce: fn(&Meeting<'_>) -> Outcome<Send>,
    /// The consumer's end.
    pub consume: fn(&Meeting<'_>) -> Outcome<Take>,
}

impl OneWay {
    /// Runs one of its two processes; the consumer says how many it took.
    pub(super) fn run(&self, role: &Role) -> Outcome<Option<Rate>> {
        let meeting = Meeting::of(role);
        match role.side {
            Side::Server => self.send_all(&meeting).map(|()| None),
            Side::Client => self.take_all(role, &meeting).map(Some),
        }
    }

    fn send_all(&self, meeting: &Meeting<'_>) -> Outcome<()> {
        let patience = Instant::now() + PATIENCE;
        let mut send = loop {
            match (self.produce)(meeting) {
                Ok(send) => break send,
                Err(error) if Instant::now() > patience => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let mut message = vec![0; meeting.payload_bytes];
        for number in 0.. {
            fill(number, &mut message);
            if let Err(error) = send(&message) {
                return unless_gone(error);
            }
        }
        Ok(())
    }

    fn take_all(&self, role: &Role, meeting: &Meeting<'_>) -> Outcome<Rate> {
        let producer = Peer::start(role, role.meet.clone())?;
        let mut take = (self.consume)(meeting)?;
        let mut number = 0;
        count(role, &producer, || {
            let mut right = Err("no message".into());
            take(&mut |message| right = check(number, message, meeting.payload_bytes))?;
            right?;
            number += 1;
            Ok(1)
        })
    }
}

/// Bytes of the buffers of those that gather messages; a message that is larger goes out by itself.
const BUFFER_BYTES: usize = 64 << 10;

/// A Unix stream socket and a pipe, one system call per message, and with buffers at both ends.
pub(crate) const SYSTEM: [OneWay; 4] = [
    OneWay { name: "unix-stream", produce: |at| Ok(writer(connect(at)?)), consume: |at| Ok(reader(at, accept(at)?)) },
    OneWay {
        name: "unix-stream-buffered",
        produce: |at| Ok(writer(BufWriter::with_capacity(BUFFER_BYTES, connect(at)?))),
        consume: |at| Ok(reader(at, BufReader::with_capacity(BUFFER_BYTES, accept(at)?))),
    },
    OneWay { name: "pipe", produce: |at| Ok(writer(open(at)?)), consume: |at| Ok(reader(at, make(at)?)) },
    OneWay {
        name: "pipe-buffered",
        produce: |at| Ok(writer(BufWriter::with_capacity(BUFFER_BYTES, open(at)?))),
        consume: |at| Ok(reader(at, BufReader::with_capacity(BUFFER_BYTES, make(at)?))),
    },
];

fn connect(meeting: &Meeting<'_>) -> std::io::Result<UnixStream> {
    UnixStream::connect(meeting.dir.join("socket"))
}

fn accept(meeting: &Meeting<'_>) -> std::io::Result<UnixStream> {
    UnixListener::bind(meeting.dir.join("socket"))?.accept().map(|(socket, _)| socket)
}

fn open(meeting: &Meeting<'_>) -> std::io::Result<File> {
    File::options().write(true).open(meeting.dir.join("pipe"))
}

fn make(meeting: &Meeting<'_>) -> std::io::Result<File> {
    let path = meeting.dir.join("pipe");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)?;
    File::open(path)
}

fn writer(mut to: impl Write + 'static) -> Send {
    Box::new(move |message| Ok(to.write_all(message)?))
}

fn reader(meeting: &Meeting<'_>, mut from: impl Read + 'static) -> Take {
    let mut message = vec![0; meeting.payload_bytes];
    Box::new(move |look| {
        from.read_exact(&mut message)?;
        look(&message);
        Ok(())
    })
}
