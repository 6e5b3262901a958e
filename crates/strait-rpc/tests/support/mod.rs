//! What several tests share: a runtime directory of their own, servers that end with their test, raw frames of the protocol.
#![allow(dead_code)]

use std::{
    fmt::Display,
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use strait_rpc::{Codec, Error, Options, Request, Rkyv, blocking};
use strait_transport::{Connection, Interest, Message, Transport};

/// The service that every test offers, in a directory of its own.
pub(crate) const NAME: &str = "service";

/// A runtime directory that goes with the test.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The options alone; the directory is left to the system's care.
    pub(crate) fn keep(self) -> Options {
        let options = self.options();
        let _ = self.0.keep();
        options
    }

    pub(crate) fn options(&self) -> Options {
        Options { runtime_dir: Some(self.0.path().join("run")), ..Options::default() }
    }
}

/// A blocking server in a thread; shuts down when dropped.
pub(crate) struct Running {
    pub(crate) handle: blocking::ServerHandle,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Running {
    /// Shuts the server down and returns what `serve` did.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        self.handle.shutdown();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves in a thread, with rkyv.
pub(crate) fn serve<Req, Resp, E>(
    options: &Options,
    handler: impl Fn(Request<Req>) -> Result<Resp, E> + Send + Sync + 'static,
) -> Running
where
    Rkyv: Codec<Req> + Codec<Resp>,
    E: Display + 'static,
    Req: 'static,
    Resp: 'static,
{
    serve_as::<Rkyv, _, _, _>(options, handler)
}

/// Serves in a thread, with any codec.
pub(crate) fn serve_as<C, Req, Resp, E>(
    options: &Options,
    handler: impl Fn(Request<Req, C>) -> Result<Resp, E> + Send + Sync + 'static,
) -> Running
where
    C: Codec<Req> + Codec<Resp>,
    E: Display + 'static,
    Req: 'static,
    Resp: 'static,
{
    let server = blocking::Server::<C>::bind_as(NAME, options).unwrap();
    let handle = server.handle();
    let thread = Some(std::thread::spawn(move || server.serve(handler)));
    Running { handle, thread }
}

/// Runs `test` in a thread of its own and fails, instead of hanging, where it takes longer than `limit`.
#[track_caller]
pub(crate) fn within<R: Send + 'static>(limit: Duration, test: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, waits) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = test();
        let _ = done.send(());
        result
    });
    match waits.recv_timeout(limit) {
        Ok(()) => thread.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(_) => unreachable!("it says so when it is done"),
            Err(panic) => std::panic::resume_unwind(panic),
        },
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not done within {limit:?}: it hangs"),
    }
}

/// Waits until `condition` holds; fails after 10 s.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: not after 10 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The bytes of an rpc message, as docs/PROTOCOL.md has them.
pub(crate) fn frame(kind: u8, call: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(call.to_le_bytes());
    bytes.extend(u64::MAX.to_le_bytes());
    bytes.extend(body);
    bytes
}

pub(crate) const REQUEST: u8 = 1;
pub(crate) const REPLY: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const CANCEL: u8 = 4;
pub(crate) const GO_AWAY: u8 = 5;
pub(crate) const ITEM: u8 = 7;
pub(crate) const CREDIT: u8 = 8;

/// The call id of an rpc message.
pub(crate) fn call_of(message: &[u8]) -> u32 {
    u32::from_le_bytes(message[4..8].try_into().unwrap())
}

/// The next message, within 10 s.
pub(crate) fn receive(connection: &mut Connection) -> Result<Message, strait_transport::Error> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match connection.try_recv()? {
            Some(message) => return Ok(message),
            None => {
                assert!(Instant::now() < deadline, "no message within 10 s");
                connection.wait_ready(Interest::DATA, Some(deadline))?;
            }
        }
    }
}

/// Sends, waiting for room.
pub(crate) fn send(connection: &mut Connection, bytes: &[u8]) -> Result<(), strait_transport::Error> {
    loop {
        match connection.send(bytes) {
            Ok(()) => return Ok(()),
            Err(strait_transport::SendError::Failed(error)) => return Err(error),
            Err(_) => connection.wait_ready(Interest::SPACE, None)?,
        };
    }
}
