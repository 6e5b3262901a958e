//! Streams, published state and work queues over strait connections.
#![forbid(unsafe_code)]

pub mod queue;

pub use strait_frame::{Codec, Postcard, Raw, Rkyv};
pub use strait_transport::{Error, HonestPeer, Limits, Options, Receive, SendError, TransportKind, ValidArchives};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
