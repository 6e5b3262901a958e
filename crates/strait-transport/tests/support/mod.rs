//! What the tests share: directories, pairs of ends, and waits that all have a deadline.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::type_complexity)]

pub mod child;
pub mod outside;
pub mod raw;
pub mod service;

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use strait_transport::{
    Connection, Error, HonestPeer, Interest, Listener, Message, Options, Receive, SendError, Transport, TransportKind,
    Wake, local,
};

/// No wait of a test is longer, unless it says so.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A runtime directory that goes with the test.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("strait-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn options(&self) -> Options {
        options(&self.path)
    }

    /// The names in the directory.
    pub fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Shared memory whatever the environment says; small rings, so that they fill and wrap.
pub fn options(dir: &Path) -> Options {
    Options { runtime_dir: Some(dir.to_owned()), ring_bytes: 16 << 10, shared_memory: true, ..Options::default() }
}

pub fn in_place() -> Receive {
    // SAFETY: both ends are in this test and go by the protocol.
    Receive::InPlace(unsafe { HonestPeer::assume() })
}

pub fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

/// Runs `test` in a thread and fails where it takes longer than `limit`.
pub fn within<T: Send + 'static>(limit: Duration, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = sender.send(test());
    });
    match receiver.recv_timeout(limit) {
        Ok(value) => {
            thread.join().unwrap();
            value
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not done within {limit:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// Waits until `ready` says so.
#[track_caller]
pub fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The next message, or how the connection ended. Fails where neither comes.
#[track_caller]
pub fn receive(connection: &mut Connection) -> Result<Message, Error> {
    let deadline = soon();
    loop {
        if let Some(message) = connection.try_recv()? {
            return Ok(message);
        }
        assert_ne!(connection.wait_ready(Interest::DATA, deadline)?, Wake::TimedOut, "nothing came");
    }
}

/// Sends one message, waiting for room.
#[track_caller]
pub fn send(connection: &mut Connection, bytes: &[u8]) -> Result<(), Error> {
    let deadline = soon();
    loop {
        match connection.send(bytes) {
            Ok(()) => return Ok(()),
            Err(SendError::Full) => {}
            Err(SendError::Failed(error)) => return Err(error),
            Err(other) => panic!("{other}"),
        }
        assert_ne!(connection.wait_ready(Interest::SPACE, deadline)?, Wake::TimedOut, "no room came");
    }
}

/// Receives until the connection ends, and says how.
#[track_caller]
pub fn end_of(connection: &mut Connection) -> Error {
    loop {
        if let Err(error) = receive(connection) {
            return error;
        }
    }
}

/// A service with one client: (client, server).
pub fn connected(client: &Options, server: &Options) -> (Connection, Connection) {
    let listener = Listener::bind("pair", server, None).unwrap();
    let accept = std::thread::spawn(move || listener.accept().unwrap().unwrap().handshake().unwrap());
    let client = Connection::connect("pair", client).unwrap();
    (client, accept.join().unwrap())
}

/// Sends messages to and fro until both ends are in shared memory.
#[track_caller]
pub fn upgrade(client: &mut Connection, server: &mut Connection) {
    for _ in 0..10 {
        exchange(client, server);
        if is_shared(client) && is_shared(server) {
            return;
        }
    }
    panic!("no upgrade: {:?}, {:?}", client.fallback_reason(), server.fallback_reason());
}

/// One message each way.
#[track_caller]
pub fn exchange(client: &mut Connection, server: &mut Connection) {
    send(client, b"ping").unwrap();
    assert_eq!(*receive(server).unwrap(), *b"ping");
    send(server, b"pong").unwrap();
    assert_eq!(*receive(client).unwrap(), *b"pong");
}

pub fn is_shared(connection: &Connection) -> bool {
    connection.transport() == TransportKind::Shared
}

/// Two ends in shared memory.
pub fn shared_pair(scratch: &Scratch) -> (Connection, Connection) {
    let (mut client, mut server) = connected(&scratch.options(), &scratch.options());
    upgrade(&mut client, &mut server);
    (client, server)
}

/// How many descriptors this process has open.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Segments that are mapped in this process.
pub fn mapped_segments() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("strait:ring:")).count()
}

/// Bytes that tell which message they are and how long it is.
pub fn pattern(number: u64, len: usize) -> Vec<u8> {
    (0..len).map(|index| (number.wrapping_mul(31).wrapping_add(index as u64 * 7) % 251) as u8).collect()
}
