//! Variable-length records: the record is its own commit word.
//!
//! ```text
//!        released            committed                     free
//!   +---------------+----------------------------+---------------------+
//!   |               | record | record | padding  | 0 |                 |
//!   +---------------+----------------------------+---------------------+
//!                  head                         tail: the word here is 0
//! ```
//!
//! The consumer polls one word, the first of the next record. When it is set, the record is there: there is no separate
//! tail to read, so a small message arrives in the very cache line that announces it.
//!
//! # The rules
//!
//! Positions are bytes since the ring began, `u64`, and wrap. A is the alignment of records (16 or 64), al(n) rounds n up to it,
//! word(p) is the 64-bit word at position p. Only whole-word atomics touch a record's first two words.
//!
//! 1. *Invariant.* Before anything is published that leads a reader to position p, word(p) is 0 or is part of that same
//!    publication.
//! 2. *Claim(max).* A record does not cross the end of the buffer: where it would, padding goes before it. A claim needs
//!    `tail + padding + al(16 + max) + A <= head + capacity`: the last A are for the 0 of rule 4. It writes nothing shared.
//!    Padding may go before any record: see [`Producer::set_rewind`].
//! 3. *Stage(n).* Writes the record's two words behind the payload, all but the first word of the batch, which may be the
//!    padding's.
//! 4. *Publish.* word(end of the batch) = 0, then the first word with `Release`. One commit is a batch of one.
//! 5. *Receive.* A word that is set, then an acquire fence, then the checks of [`Violation`](crate::Violation).
//! 6. *Release.* head is stored with `Release`, and is the end of the longest run of records that nobody reads any more. The
//!    producer loads it, fences with acquire, and only then writes there.
//! 7. *End.* The word is clear, then `closed` is set, then (after an acquire fence) the word is still clear.
//!
//! Why 1 holds: a reader is led to p only by what ends at p. Within a batch, p is where the next record of the batch begins,
//! and that is part of the publication; at the end of the batch, rule 4 has cleared word(p); and nobody but the producer
//! writes there, which does so next by publishing it. A dropped claim may have scribbled over free space, but its payload
//! begins at least 16 bytes after the polled word.
//!
//! `tests/loom_records.rs` checks all of this on the code itself and shows that each rule is needed: for each there is a
//! mutant that breaks it, and a failure that loom finds.

mod consumer;
mod grant;
#[cfg(feature = "alloc")]
mod guard;
#[cfg(feature = "alloc")]
mod heap;
mod layout;
#[cfg(feature = "alloc")]
mod log;
mod memories;
mod parking;
mod producer;
mod record;

pub use consumer::Consumer;
pub use grant::Grant;
#[cfg(feature = "alloc")]
pub use guard::Guard;
#[cfg(feature = "alloc")]
pub use heap::{HeapConsumer, HeapGuard, HeapProducer, Side, channel, channel_at, duplex};
pub use layout::{Geometry, Meta, RECORD_HEADER_BYTES, control};
pub use producer::Producer;
pub use record::Record;
