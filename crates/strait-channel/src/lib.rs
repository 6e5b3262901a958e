//! Streams, published state and work queues over strait connections.
#![forbid(unsafe_code)]

pub mod queue;
pub mod state;
pub mod stream;

pub use strait_frame::{Codec, Postcard, Raw, Rkyv};
pub use strait_transport::{
    Error, HonestPeer, Limits, Options, Receive, Refusal, SendError, TransportKind, ValidArchives,
};

/// The examples of the README, so that they are checked.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
