//! Connections between two processes of one host that start on a Unix socket and upgrade themselves to shared memory.
//!
//! One trait, [`Transport`], framed messages both ways; one type, [`Connection`], whatever it runs over: a socket, rings in
//! sealed shared memory, or rings inside the process. No file descriptor, pid or address is part of the interface.
//!
//! ```
//! use strait_transport::{Connection, Interest, Listener, Options, Transport};
//!
//! let dir = std::env::temp_dir().join(format!("strait-doc-{}", std::process::id()));
//! let options = Options { runtime_dir: Some(dir.clone()), ..Options::default() };
//! let listener = Listener::bind("echo", &options, None)?;
//! let server = std::thread::spawn(move || -> Result<(), strait_transport::Error> {
//!     let mut connection = listener.accept()?.unwrap().handshake()?;
//!     for _ in 0..100 {
//!         let message = loop {
//!             match connection.try_recv()? {
//!                 Some(message) => break message,
//!                 None => connection.wait_ready(Interest::DATA, None)?,
//!             };
//!         };
//!         connection.send(&message).unwrap();
//!     }
//!     Ok(())
//! });
//! let mut connection = Connection::connect("echo", &options)?;
//! for turn in 0..100u32 {
//!     connection.send(&turn.to_le_bytes()).unwrap();
//!     let echo = loop {
//!         match connection.try_recv()? {
//!             Some(message) => break message,
//!             None => connection.wait_ready(Interest::DATA, None)?,
//!         };
//!     };
//!     assert_eq!(*echo, turn.to_le_bytes());
//! }
//! assert_eq!(connection.transport(), strait_transport::TransportKind::Shared);
//! server.join().unwrap()?;
//! # std::fs::remove_dir(dir).unwrap();
//! # Ok::<(), strait_transport::Error>(())
//! ```
//!
//! Guarantees, non-guarantees and trade-offs: the crate's README. The bytes: docs/PROTOCOL.md.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("strait-transport needs Linux: memfd, seals, SCM_RIGHTS and pidfds have no counterpart elsewhere");

mod buffer;
#[cfg(not(strait_loom))]
mod connect;
mod connection;
mod counters;
mod error;
#[cfg(not(strait_loom))]
mod event;
#[cfg(strait_loom)]
#[path = "modelled/event.rs"]
mod event;
mod foreign;
#[cfg(not(strait_loom))]
#[doc(hidden)]
pub mod fuzz;
#[cfg_attr(strait_loom, allow(dead_code))]
mod handshake;
#[cfg(not(strait_loom))]
pub mod inherit;
mod limits;
#[cfg(not(strait_loom))]
mod listener;
pub mod local;
mod message;
mod meters;
#[cfg(strait_loom)]
pub mod modelled;
#[cfg(not(strait_loom))]
pub mod observe;
mod options;
#[cfg(not(strait_loom))]
mod owner;
#[cfg(not(strait_loom))]
mod peer;
#[cfg(not(strait_loom))]
mod pin;
mod ring;
#[cfg(not(strait_loom))]
mod runtime_dir;
#[cfg(not(strait_loom))]
mod segment;
#[cfg(strait_loom)]
#[path = "modelled/segment.rs"]
mod segment;
mod shared;
mod socket;
#[cfg(not(strait_loom))]
mod state;
mod stats;
mod transport;
mod unix;
mod voice;
mod wait_set;
#[cfg(not(strait_loom))]
mod waiting;
#[cfg(strait_loom)]
#[path = "modelled/waiting.rs"]
mod waiting;

pub use connection::Connection;
#[cfg(not(strait_loom))]
pub use counters::LiveStats;
pub use error::{Blame, Error, Refusal, SendError};
#[doc(hidden)]
pub use foreign::is_obeyed;
pub use limits::Limits;
#[cfg(not(strait_loom))]
pub use listener::{Incoming, Listener, socket_path};
pub use message::{Message, TransportKind};
pub use options::{CODEC_ANY, MIN_RING_BYTES, Options, Receive};
#[cfg(not(strait_loom))]
pub use pin::{PinError, pin_current_thread};
#[cfg(not(strait_loom))]
pub use runtime_dir::{MAX_NAME_BYTES, check_name, inspect_runtime_dir};
#[cfg(not(strait_loom))]
#[doc(hidden)]
pub use segment::LAYOUT_HASH;
#[cfg(not(strait_loom))]
pub use socket::passes_pidfds;
#[cfg(not(strait_loom))]
pub use state::{
    NoPin, PIN_SEGMENT_BYTES, PinnedState, StateMemory, StateReader, StateRegion, StateStats, StateWriter,
};
pub use stats::{ErrorCode, Stats};
pub use strait_sync::{HonestPeer, ValidArchives};
pub use transport::{Fill, Interest, MessageLimits, Sleep, Transport, Wake};
pub use wait_set::WaitSet;
#[cfg(not(strait_loom))]
pub use waiting::Interrupt;
