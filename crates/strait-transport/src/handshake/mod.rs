//! From a connected socket to two rings: `Hello` to `Welcome`, then `Offer` to `Switched`.
//!
//! ```text
//! client                                   server
//!   Hello      ------------------------->    checks version, service, codec, schema, ring
//!              <-------------------------  Welcome (settled)   or   Refuse (why), closed
//!   first messages <------ socket ------>  first messages
//!   Offer + fd ------------------------->    checks and maps the client's segment
//!              <-------------------------  Accept + fd         or   Decline (why): stays on the socket
//!   maps the server's segment
//!   Commit     ------------------------->    reads the client's ring from here on
//!   (or Decline: stays on the socket)
//!   reads the server's ring from here on  <-  Switched
//!   Close      <------ either side, ------>  Close
//! ```
//!
//! `Commit` and `Switched` are each side's last bytes on the socket that are not doorbells: a side writes its ring and rings
//! its doorbell only once they are flushed, and reads the peer's ring only once it has read the peer's. So messages keep
//! their order across the switch, none is sent twice and none is lost.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod server;

use crate::{
    options::{Framing, Options, max_message_bytes},
    transport::MessageLimits,
};
use frames::{Greeting, VERSION};

/// What `Hello` and `Welcome` have settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) framing: Framing,
    pub(crate) limits: MessageLimits,
    pub(crate) max_in_flight: u32,
    pub(crate) own_ring_bytes: u64,
    pub(crate) peer_ring_bytes: u64,
    /// Of both rings.
    pub(crate) record_align_bytes: u32,
    pub(crate) shared_memory: bool,
    /// Whether requests may carry a trace context.
    pub(crate) trace_context: bool,
    /// Of the own segment.
    pub(crate) huge_pages: bool,
    /// Of the own segment.
    pub(crate) prefault: bool,
}

/// What this side brings.
fn greeting(options: &Options) -> Greeting {
    Greeting {
        version: VERSION,
        service: options.service,
        codec: options.codec,
        checksum: options.checksum,
        timestamp: options.timestamp,
        shared_memory: options.shared_memory,
        trace_context: options.trace_context,
        schema: options.schema,
        max_in_flight: options.max_in_flight,
        record_align_bytes: options.record_align_bytes,
        ring_bytes: options.ring_bytes,
    }
}

/// What follows from the settled `Welcome` and both rings.
fn settle(welcome: &Greeting, options: &Options, peer_ring_bytes: u64) -> Settled {
    let own_ring_bytes = options.ring_bytes;
    Settled {
        framing: Framing { checksum: welcome.checksum, timestamp: welcome.timestamp },
        limits: MessageLimits {
            max_send_bytes: max_message_bytes(own_ring_bytes),
            max_receive_bytes: max_message_bytes(peer_ring_bytes),
        },
        max_in_flight: welcome.max_in_flight,
        own_ring_bytes,
        peer_ring_bytes,
        record_align_bytes: welcome.record_align_bytes,
        shared_memory: welcome.shared_memory,
        trace_context: welcome.trace_context,
        huge_pages: options.huge_pages,
        prefault: options.prefault,
    }
}

fn is_ring(ring_bytes: u64, max_bytes: u64) -> bool {
    ring_bytes.is_power_of_two() && (crate::options::MIN_RING_BYTES..=max_bytes).contains(&ring_bytes)
}
