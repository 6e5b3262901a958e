//! What stands in for the kernel under loom: a socket, what sleeps on it, and memory that travels over it.
//!
//! All that is above (frames, the handshake, the switch, the rings) is the code that runs between processes. Five files
//! here take the place of five elsewhere: `board` of `counters/board.rs`, `event` of `event.rs`, `fds` of `socket/fds.rs`, `segment` of `segment.rs`, `waiting`
//! of `waiting.rs`.

use std::sync::Arc;

pub use crate::voice::Voice;
use crate::{
    Connection, Options,
    handshake::Settled,
    options::max_message_bytes,
    socket::{fds, framed::Framed},
    transport::MessageLimits,
    unix::Unix,
    waiting::Link,
};

/// A client and a server after `Welcome`, on a modelled socket that holds `socket_bytes` each way, about to upgrade to rings of
/// `ring_bytes`.
pub fn pair(socket_bytes: usize, ring_bytes: u64, options: &Options) -> (Connection, Connection) {
    let max_bytes = max_message_bytes(ring_bytes);
    let settled = Settled {
        framing: crate::options::Framing { checksum: options.checksum, timestamp: options.timestamp },
        limits: MessageLimits { max_send_bytes: max_bytes, max_receive_bytes: max_bytes },
        max_in_flight: options.max_in_flight,
        own_ring_bytes: ring_bytes,
        peer_ring_bytes: ring_bytes,
        record_align_bytes: options.record_align_bytes,
        shared_memory: options.shared_memory,
        trace_context: options.trace_context,
        huge_pages: options.huge_pages,
        prefault: options.prefault,
    };
    let (client, server) = fds::pair(socket_bytes);
    let framed = |socket| Framed::new(Arc::new(Link::new(socket)), options.limits.max_control_bytes);
    let client = Unix::client(framed(client), settled, "model".into(), options.receive, options.shared_memory);
    let server = Unix::server(framed(server), settled, "model".into(), options.receive, options.shared_memory);
    (Connection::unix(client, options, None), Connection::unix(server, options, None))
}
