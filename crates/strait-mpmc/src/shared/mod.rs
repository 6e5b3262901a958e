//! A queue in memory that processes share, which outlives the death of any of them.
//!
//! Every participant maps the memory writable and has a line of its own in it: with who it is, what it counts, and its *journal*, the
//! positions that it may have claimed. One that dies between claim and end leaves its cell stuck, and its journal says
//! which one. [`SharedQueue::recover`] then skips or frees that cell, once the caller has said that the participant is dead.
//!
//! ```
//! use std::sync::Arc;
//! use strait_mpmc::shared::{Geometry, Identity, SharedQueue};
//! use strait_sync::Heap; // any memory that is `WordsMut`; processes share a mapping
//!
//! let geometry = Geometry::new(64, 32, 8)?; // 64 messages of up to 32 bytes, 8 participants
//! let memory = Arc::new(Heap::zeroed(geometry.total_bytes() as usize));
//!
//! let queue = SharedQueue::create(memory.clone(), geometry)?; // one process makes it
//! let mut producer = queue.attach(Identity::current())?;
//! producer.try_push(b"hello")?;
//!
//! let mut consumer = SharedQueue::open(memory)?.attach(Identity::current())?; // others open it
//! let mut buffer = [0; 32];
//! let len = consumer.try_pop(&mut buffer)?;
//! assert_eq!(&buffer[..len], b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The protocol
//!
//! Cells and cursors are those of Vyukov's queue. For the claim of position `p` in a queue of `n` cells, cell `p % n` has the
//! sequence `p` when it is free, `p + 1` when it is full, the same with a tombstone when its producer died, `p + n` when it is free
//! for the next lap.
//!
//! 1. *Intent first.* A participant writes the positions that it is about to claim into its journal, and then claims them by moving
//!    the cursor. Whoever sees (acquire) that the cursor has passed `p` therefore sees `p` in the journal of the one who claimed it.
//! 2. *Cleared last.* The journal is cleared, or names other positions, only after the cells are full (or free). Each of those is
//!    a release store: whoever sees a later journal sees the cells as they then are.
//! 3. *Recovery* of a position takes, in this order: a participant that is proven dead and whose journal names it; a cursor that
//!    has passed it; a cell that is still as it was claimed; no participant that is not proven dead whose journal names it. Then one
//!    compare-and-swap of the cell's sequence.
//! 4. By 1 the claimer is among those whose journal names the position, or by 2 the cell has changed and the swap fails. So the
//!    claimer is dead, and nobody else will touch the cell. The swap works once, however many recover at a time.
//! 5. A dead participant's line is given to others only once nothing that its journal names is stuck.
//!
//! `tests/loom_shared.rs` runs this code with deaths at every step, and with each of these rules broken.

#[cfg(feature = "std")]
mod blocking;
mod claim;
mod error;
mod journal;
mod layout;
mod participant;
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod process;
mod queue;
mod recovery;
mod stats;
mod typed;

#[cfg(strait_loom)]
pub use claim::Step;
pub use error::{AttachError, Corrupt, GeometryError, OpenError, PopError, PushError, Violation};
pub use layout::Geometry;
pub use participant::{Identity, Participant, ParticipantInfo};
pub use queue::SharedQueue;
pub use recovery::{Liveness, Recovered};
#[cfg(feature = "alloc")]
pub(crate) use stats::refused;
pub use stats::{ParticipantStats, SharedStats};
