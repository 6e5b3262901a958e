//! What the system offers without any library: a Unix stream socket and two pipes, with messages of a length that both ends know.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::others::{Call, Meeting, Outcome, RoundTrip};

/// Sleeping in the kernel, and polling without sleeping.
pub(super) const WAYS: [RoundTrip; 3] = [
    RoundTrip { name: "unix-stream", serve: serve_socket, connect: connect_socket },
    RoundTrip { name: "unix-stream-polled", serve: serve_polled, connect: connect_polled },
    RoundTrip { name: "pipe", serve: serve_pipe, connect: connect_pipe },
];

fn serve_socket(meeting: &Meeting<'_>) -> Outcome<()> {
    let (mut socket, _) = UnixListener::bind(meeting.dir.join("socket"))?.accept()?;
    let mut buffer = vec![0; meeting.payload_bytes];
    loop {
        socket.read_exact(&mut buffer)?;
        socket.write_all(&buffer)?;
    }
}

fn connect_socket(meeting: &Meeting<'_>) -> Outcome<Call> {
    let mut socket = UnixStream::connect(meeting.dir.join("socket"))?;
    let mut buffer = vec![0; meeting.payload_bytes];
    Ok(Box::new(move |payload, reply| {
        socket.write_all(payload)?;
        socket.read_exact(&mut buffer)?;
        reply(&buffer);
        Ok(())
    }))
}

/// A socket that is never waited for.
struct Polled(UnixStream);

impl Polled {
    fn new(socket: UnixStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match self.0.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_exact(&mut self, mut bytes: &mut [u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match self.0.read(bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes = &mut bytes[read..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn serve_polled(meeting: &Meeting<'_>) -> Outcome<()> {
    let (socket, _) = UnixListener::bind(meeting.dir.join("socket"))?.accept()?;
    let mut socket = Polled::new(socket)?;
    let mut buffer = vec![0; meeting.payload_bytes];
    loop {
        socket.read_exact(&mut buffer)?;
        socket.write_all(&buffer)?;
    }
}

fn connect_polled(meeting: &Meeting<'_>) -> Outcome<Call> {
    let mut socket = Polled::new(UnixStream::connect(meeting.dir.join("socket"))?)?;
    let mut buffer = vec![0; meeting.payload_bytes];
    Ok(Box::new(move |payload, reply| {
        socket.write_all(payload)?;
        socket.read_exact(&mut buffer)?;
        reply(&buffer);
        Ok(())
    }))
}

fn serve_pipe(meeting: &Meeting<'_>) -> Outcome<()> {
    let [ask, answer] = ["ask", "answer"].map(|name| meeting.dir.join(name));
    // In this order: a client that finds the first finds the second too.
    for path in [&answer, &ask] {
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?;
    }
    let (mut ask, mut answer) = (File::open(ask)?, File::options().write(true).open(answer)?);
    let mut buffer = vec![0; meeting.payload_bytes];
    loop {
        ask.read_exact(&mut buffer)?;
        answer.write_all(&buffer)?;
    }
}

fn connect_pipe(meeting: &Meeting<'_>) -> Outcome<Call> {
    let mut ask = File::options().write(true).open(meeting.dir.join("ask"))?;
    let mut answer = File::open(meeting.dir.join("answer"))?;
    let mut buffer = vec![0; meeting.payload_bytes];
    Ok(Box::new(move |payload, reply| {
        ask.write_all(payload)?;
        answer.read_exact(&mut buffer)?;
        reply(&buffer);
        Ok(())
    }))
}
