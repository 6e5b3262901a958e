//! Slots for plain types in two memories, each of which one side writes and the other only reads.
//!
//! ```text
//! memory of the producer                        memory of the consumer
//!   control: tail · space ticket · closed         control: head · data ticket · closed
//!   slots:   +-------+-------+-------+-------+
//!            | value | value | value | value |
//!            +-------+-------+-------+-------+
//! ```
//!
//! For two processes that do not trust each other, as [`records`](crate::records) are; for values of one size, which need no header.
//! A value is copied in and out by whole words, and any bytes are a value (`FromBytes`): so whatever the peer writes, and
//! whenever it does, what comes out is a value or [`Corrupt`](crate::Corrupt), and nothing here is `unsafe`.
//!
//! # The rules
//!
//! Those of [`slots`](super), and:
//!
//! 1. *Believed where possible.* A position of the peer's is loaded once, then an acquire fence, then it must lie between the
//!    one before and what this end's own position allows. Where it does not, the end is poisoned: it says so ever after.
//! 2. *Flags are only flags.* A peer that says that it is gone is believed. Nothing else follows from it.
//! 3. *One writer a word.* A control block has a word for each of the two ends that its owner may be, one in a ring each way.
//!
//! `tests/loom_shared.rs` checks them on the code itself.

mod consumer;
mod error;
mod geometry;
#[cfg(feature = "alloc")]
mod heap;
mod producer;

pub use consumer::Consumer;
pub use error::{PopError, PushError};
pub use geometry::{Geometry, control};
#[cfg(feature = "alloc")]
pub use heap::{HeapConsumer, HeapProducer, channel, channel_at};
pub use producer::Producer;
