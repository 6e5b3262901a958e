//! What the models share.
#![allow(dead_code, unreachable_pub, unsafe_code)]

use strait_transport::{Connection, Error, HonestPeer, Interest, Options, Receive, SendError, Transport, local};

/// Bytes of a ring: 8 units of 16.
const RING: u64 = 128;

/// What stands for the number of an empty message.
pub const EMPTY: u8 = u8::MAX;

/// How a stream that was closed in good order ends.
pub const END: &str = "closed";

pub fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.max_branches = 20_000;
    model.check(test);
}

pub fn pair(in_place: bool) -> (Connection, Connection) {
    let receive = if in_place {
        // SAFETY: both ends are in the model and go by the protocol.
        Receive::InPlace(unsafe { HonestPeer::assume() })
    } else {
        Receive::Copied
    };
    let options = Options { receive, timestamp: false, checksum: false, ..Options::default() };
    local::ends(RING, &options).unwrap()
}

/// A message of `size` bytes; of an empty one nothing but its coming can be told.
pub fn numbered(number: u8, size: usize) -> Vec<u8> {
    vec![number; size]
}

/// The number of the next message (255 for an empty one), or how the stream ended.
pub fn receive(connection: &mut Connection) -> Result<u8, &'static str> {
    loop {
        match connection.try_recv() {
            Ok(Some(message)) => return Ok(message.first().copied().unwrap_or(EMPTY)),
            Ok(None) => {
                connection.wait_ready(Interest::DATA, None).unwrap();
            }
            Err(Error::Closed) => return Err(END),
            Err(Error::PeerGone) => return Err("gone"),
            Err(other) => panic!("{other}"),
        }
    }
}

pub fn recv_all(connection: &mut Connection) -> (Vec<u8>, &'static str) {
    let mut received = Vec::new();
    loop {
        match receive(connection) {
            Ok(number) => received.push(number),
            Err(end) => return (received, end),
        }
    }
}

pub fn send(connection: &mut Connection, bytes: &[u8]) {
    loop {
        match connection.send(bytes) {
            Ok(()) => return,
            Err(SendError::Full) => {
                connection.wait_ready(Interest::SPACE, None).unwrap();
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Runs a mutant that aborts after its deadlock (destructors find loom gone) in a process of its own, and panics with
/// what it said.
pub fn in_own_process(test: &str, mutant: impl FnOnce()) {
    const CHILD: &str = "STRAIT_LOOM_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return mutant();
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(!output.status.success(), "the mutant lives");
    let said = String::from_utf8_lossy(&output.stderr);
    panic!("{}", said.lines().find(|line| line.starts_with("deadlock")).unwrap_or(&said));
}
