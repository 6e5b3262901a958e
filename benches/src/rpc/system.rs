//! What the system offers without any library: a Unix stream socket and two pipes, with messages of a length that both ends know.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::others::{Call, Meeting, Outcome, RoundTrip, unless_gone};

/// Sleeping in the kernel, and polling without sleeping.
pub(super) const WAYS: [RoundTrip; 3] = [
    RoundTrip { name: "unix-stream", max_clients: usize::MAX, serve: serve_socket, connect: connect_socket },
    RoundTrip { name: "unix-stream-polled", max_clients: 1, serve: serve_polled, connect: connect_polled },
    RoundTrip { name: "pipe", max_clients: 1, serve: serve_pipe, connect: connect_pipe },
];

/// Sends each message back.
fn echo(meeting: &Meeting<'_>, mut from: impl Read, mut to: impl Write) -> Outcome<()> {
    let mut buffer = vec![0; meeting.payload_bytes];
    loop {
        from.read_exact(&mut buffer)?;
        to.write_all(meeting.answer.to(&buffer, &mut [0; 8]))?;
    }
}

/// Sends a message, and takes the one that comes back.
fn call(meeting: &Meeting<'_>, mut to: impl Write + 'static, mut from: impl Read + 'static) -> Call {
    let mut buffer = vec![0; meeting.answer_bytes()];
    Box::new(move |payload, reply| {
        to.write_all(payload)?;
        from.read_exact(&mut buffer)?;
        reply(&buffer);
        Ok(())
    })
}

fn accept(meeting: &Meeting<'_>) -> std::io::Result<UnixStream> {
    UnixListener::bind(meeting.dir.join("socket"))?.accept().map(|(socket, _)| socket)
}

fn connect(meeting: &Meeting<'_>) -> std::io::Result<UnixStream> {
    UnixStream::connect(meeting.dir.join("socket"))
}

/// A thread for each client.
fn serve_socket(meeting: &Meeting<'_>) -> Outcome<()> {
    let listener = UnixListener::bind(meeting.dir.join("socket"))?;
    std::thread::scope(|threads| {
        for socket in listener.incoming() {
            let socket = socket?;
            threads.spawn(move || {
                if let Err(error) = echo(meeting, &socket, &socket).or_else(unless_gone) {
                    eprintln!("error: unix-stream: {error}");
                }
            });
        }
        Ok(())
    })
}

fn connect_socket(meeting: &Meeting<'_>) -> Outcome<Call> {
    let socket = connect(meeting)?;
    Ok(call(meeting, socket.try_clone()?, socket))
}

/// A socket that is never waited for.
struct Polled(UnixStream);

impl Polled {
    fn new(socket: UnixStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    fn until<R>(mut attempt: impl FnMut() -> std::io::Result<R>) -> std::io::Result<R> {
        loop {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                done => return done,
            }
        }
    }
}

impl Read for Polled {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        Self::until(|| self.0.read(bytes))
    }
}

impl Write for Polled {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Self::until(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn serve_polled(meeting: &Meeting<'_>) -> Outcome<()> {
    let socket = accept(meeting)?;
    echo(meeting, Polled::new(socket.try_clone()?)?, Polled::new(socket)?)
}

fn connect_polled(meeting: &Meeting<'_>) -> Outcome<Call> {
    let socket = connect(meeting)?;
    Ok(call(meeting, Polled::new(socket.try_clone()?)?, Polled::new(socket)?))
}

fn serve_pipe(meeting: &Meeting<'_>) -> Outcome<()> {
    let [ask, answer] = ["ask", "answer"].map(|name| meeting.dir.join(name));
    // In this order: a client that finds the first finds the second too.
    for path in [&answer, &ask] {
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?;
    }
    echo(meeting, File::open(ask)?, File::options().write(true).open(answer)?)
}

fn connect_pipe(meeting: &Meeting<'_>) -> Outcome<Call> {
    let ask = File::options().write(true).open(meeting.dir.join("ask"))?;
    Ok(call(meeting, ask, File::open(meeting.dir.join("answer"))?))
}
