//! Streams, published state and work queues over strait connections.
#![forbid(unsafe_code)]

mod meters;
pub mod queue;
pub mod state;
pub mod stream;

pub use strait_frame::{Codec, Postcard, Raw, Rkyv};
pub use strait_transport::{
    Error, HonestPeer, Limits, Options, Receive, Refusal, SendError, TransportKind, ValidArchives,
};

/// A codec's name, for people who are told that theirs was refused.
fn codec_name(id: u8) -> &'static str {
    match id {
        0 => "raw",
        1 => "rkyv",
        2 => "postcard",
        3 => "plain",
        _ => "unknown",
    }
}

/// The examples of the README, so that they are checked.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
