//! The latest value, in N slots: bytes of any length up to a limit, one writer, readers that only load.
//!
//! # The protocol
//!
//! The writer's memory holds a control block and N slots. Version n is the n-th value that was published, from 1.
//!
//! ```text
//! write                                        read
//!   n = latest.version + 1                       (n, k) = latest          (Relaxed), fence(Acquire)
//!   k = a slot: not the latest, not pinned       slot k: sequence == 2n?  (Relaxed)   later: again
//!   slot k: sequence = 2n - 1   (Relaxed)        slot k: length, bytes    (Relaxed)
//!   fence(Release)                               fence(Acquire)
//!   slot k: length, bytes       (Relaxed)        slot k: sequence == 2n?  (Relaxed)   no: again
//!   slot k: sequence = 2n       (Relaxed)
//!   latest = (n, k)             (Release)
//! ```
//!
//! 1. *A slot that `latest` leads to is complete.* The release store of `latest` comes after all of the slot's, and
//!    pairs with the reader's first fence. So a reader that finds a sequence below 2n has found a writer that lies.
//! 2. *A torn copy is noticed.* Who reads a word of a later value sees, by the writer's release fence and its own
//!    acquire fence, that value's odd number or a later one.
//! 3. *A dead writer leaves the last value.* It only ever wrote to slots that `latest` does not lead to. Its successor
//!    begins at `latest`, and has nothing to repair: a slot that was left half written is just the next one to be
//!    written to.
//! 4. *A claim that is dropped leaves no trace* for the same reason.
//!
//! A copying read is overtaken only where N - 1 values are published during one copy, and another is begun.
//!
//! # Pins
//!
//! A reader with a pin shows the slot that it reads in its *hazard word*, in memory of its own, which the writer reads.
//!
//! ```text
//! pin                                          write, before it chooses a slot
//!   (n, k) = latest
//!   hazard = k + 1      (Release)
//!   fence(SeqCst)                                fence(SeqCst)
//!   latest == (n, k)?   no: again                each hazard  (Relaxed), fence(Acquire): not that slot
//!   …read in place…
//!   hazard = 0          (Release)
//! ```
//!
//! 5. *A pinned slot is left alone.* While `latest` leads to k, nobody writes there. Once another value is published,
//!    the two fences are ordered: if the reader's comes first, the writer sees the hazard; if the writer's does, the
//!    reader's second look sees the newer value, and it tries again. Without that second look the reader may hold a
//!    slot that is being written to.
//! 6. *The writer always finds a slot.* With P pins there are at least P + 3 slots: P may be pinned and one is the
//!    latest. A hazard word costs at most the slot that it names, whatever stands there; one that names none costs
//!    nothing.
//! 7. *What was read in place is not overwritten before it was read.* The release store of the hazard pairs with the
//!    acquire fence after the scan. A guard that is forgotten just stays: the next pin replaces its hazard, by a
//!    release store too.
//!
//! 8. *A pin that is granted beside the writer holds from the first.* Its place in the table is filled and let go of before
//!    the reader is told, and that before the reader's fence; so a writer whose fence comes later finds it filled. A
//!    place that the writer finds locked is being granted, and its reader was not told yet, or being revoked, and its
//!    reader is gone. Therefore nobody else ever locks one.
//!
//! Each fence and each second look is taken away by a mutant in `tests/loom_snapshot.rs` or `tests/loom_pins.rs`.

mod claim;
#[cfg(feature = "alloc")]
mod heap;
mod layout;
#[cfg(feature = "alloc")]
mod pin;
mod pins;
mod reader;
#[cfg(feature = "std")]
mod wait;
mod writer;

pub use claim::Claim;
#[cfg(feature = "alloc")]
pub use heap::{HeapPinnedReader, HeapPins, HeapReader, HeapWriter, channel, channel_with};
pub use layout::{Geometry, control};
#[cfg(feature = "alloc")]
pub use pin::{Pinned, PinnedReader};
pub use pins::{NoPins, Pins};
#[cfg(feature = "alloc")]
pub use pins::{PinId, PinTable};
pub use reader::{Reader, ReaderStats, Snapshot};
pub use writer::{Writer, WriterStats};
