//! What a socket's first bytes lead to: control frames alone, then each side of a handshake over a real pair of sockets.

use std::time::Duration;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use strait::{
    Options,
    transport::{Connection, Error, Transport, fuzz},
};

/// More than a socket's buffer takes at once tells nothing new.
const MAX_BYTES: usize = 32 << 10;

pub(crate) fn body(bytes: &[u8]) {
    let Some((&side, bytes)) = bytes.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    fuzz::control_frame(bytes);
    let mut options = Options { ring_bytes: 4096, shared_memory: side & 2 != 0, ..Options::default() };
    options.limits.handshake_timeout = Duration::from_secs(5);
    let begin = if side & 1 == 0 { fuzz::serve } else { fuzz::greet };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("two descriptors");
    rustix::io::write(&theirs, bytes).expect("an empty socket takes this much");
    shutdown(&theirs, Shutdown::Write).expect("a socket that is open");
    check(begin(ours, &options));
    drop(theirs);
}

/// Whatever was said: a connection that ends with an error, or no connection.
fn check(outcome: Result<Connection, Error>) {
    let mut connection = match outcome {
        Ok(connection) => connection,
        Err(error) => return typed(&error),
    };
    for _ in 0..=MAX_BYTES {
        match connection.try_recv() {
            Ok(Some(message)) => assert!(message.len() <= 4096),
            Ok(None) => panic!("the peer has ended, and nothing says so"),
            Err(Error::Checksum { .. }) => {}
            Err(error) => return typed(&error),
        }
    }
    panic!("more messages than there were bytes");
}

/// The errors that a peer can cause.
fn typed(error: &Error) {
    use Error::{Checksum, Closed, Corrupt, Option, PeerGone, Refused};
    // `Option`: a server may bring a ring beyond this side's limit. `Checksum`: of a message where a greeting belongs.
    let foreseen = matches!(error, Checksum { .. } | Closed | Corrupt { .. } | Option { .. } | PeerGone | Refused(_));
    assert!(foreseen, "{error:?}");
}
