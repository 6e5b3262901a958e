//! Typed slots: a ring of values of one type, each in a slot of its own.
//!
//! ```text
//!     free     filled: the consumer's          free: the producer's
//!   +--------+-------------------------------+----------------------+
//!   |        | value | value | value | value |                      |
//!   +--------+-------------------------------+----------------------+
//!           head                            tail
//! ```
//!
//! | where | whose values | made by |
//! |---|---|---|
//! | on the heap, two threads | any type | [`channel`]; [`blocking_channel`] for ends that can also sleep |
//! | in a value or a `static`, no allocator | any type | [`Inline`] |
//! | in two memories, two processes | plain types | [`shared`] |
//!
//! The first two are one algorithm, over two places to keep the slots. The third moves bytes past a peer that it does not
//! believe, and has rules of its own.
//!
//! # The rules
//!
//! Positions count slots since the ring began, are `u64`, and wrap; a slot is found by masking its position.
//!
//! 1. *Own position.* Each end goes by a position of its own, in private memory, and shows the other a copy: the producer
//!    `tail`, the consumer `head`. Of the other's it remembers what it last read, and reads it again only where that is not
//!    enough.
//! 2. *Push.* Where `tail - head < capacity` the slot at the tail is free. The value is moved in, then `tail` is stored with
//!    `Release`. A chunk is the same with many slots and one store.
//! 3. *Pop.* Where `head != tail`, after an `Acquire` load of `tail`, the value at the head is moved out, then `head` is stored
//!    with `Release`. The producer loads it with `Acquire` before it writes there.
//! 4. *Once.* The consumer's own position passes a value before the value is dropped, and shows that afterwards. So a value is
//!    dropped once, also where the drop panics or an iterator is leaked. What is left is dropped by whoever is last.
//! 5. *End.* An end that goes shows it with `Release`. An end looks at that only where it would be refused anyhow. A consumer that
//!    finds nothing and then the producer gone looks once more, and only then says that it was
//!    [`Abandoned`](PopError::Abandoned).
//!
//! `tests/loom_slots.rs` checks them on the code itself, and shows by mutants that each ordering and each look is needed.

#[cfg(feature = "std")]
mod blocking;
mod capacity;
mod chunk;
mod consumer;
mod error;
#[cfg(feature = "alloc")]
mod heap;
#[cfg(not(strait_loom))] // loom's atomics cannot be made in a `const`
mod inline;
mod pace;
mod producer;
mod read_chunk;
mod ring;
pub mod shared;
mod stats;
mod storage;

#[cfg(feature = "std")]
pub use blocking::{BlockingConsumer, BlockingProducer, Parking, blocking_channel};
pub use chunk::Chunk;
pub use consumer::Consumer;
pub use error::{CapacityError, ChunkError, PopError, PushError};
#[cfg(feature = "alloc")]
pub use heap::{OnHeap, channel, channel_at};
#[cfg(not(strait_loom))]
pub use inline::{Inline, InlineConsumer, InlineProducer};
pub use producer::Producer;
pub use read_chunk::{ReadChunk, Taken};
pub use stats::{PopStats, PushStats};
pub use storage::Storage;
