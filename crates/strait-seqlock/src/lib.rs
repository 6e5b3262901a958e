//! Latest values in shared memory: one writer, any number of readers that neither slow it down nor write to its memory.
//!
//! - [`SeqLock`]: a small plain value inside a process, also in a static. No allocator.
//! - [`snapshot`]: bytes of any length, or plain values, between threads or processes. Readers only load, so a
//!   read-only mapping is enough; the last complete value outlives its writer, wherever it died.
//! - Pins: a few readers may borrow a value in place instead of copying it, and keep it while the writer goes on.
//!
//! ```
//! use strait_seqlock::{SeqLock, snapshot};
//!
//! let lock = SeqLock::new([1u64, 2]);
//! lock.writer().expect("the only one").write([3, 4]);
//! assert_eq!(lock.read(), [3, 4]);
//!
//! let (mut writer, mut reader) = snapshot::channel(4096)?;
//! writer.write(b"sunny")?;
//! let mut buffer = [0; 64];
//! let snapshot = reader.read_into(&mut buffer)?;
//! assert_eq!((&buffer[..snapshot.len_bytes], snapshot.version), (&b"sunny"[..], 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - A value is whole: never a mixture of two, never a part.
//! - A write is wait-free, whatever readers do, and wherever they were killed.
//! - What a writer in another process may do to its memory ends as a typed error in the reader: never a panic, never a
//!   hang, and, where it reads by copying, never undefined behaviour.
//!
//! # Non-guarantees
//!
//! - Readers see the latest value, not each one.
//! - A copying read can be overtaken without end by a writer that writes faster than the reader copies; it gives up
//!   after a bounded number of attempts and says so. More slots, or a pin, help.
//! - Nobody learns here that the writer is gone. Death is for the kernel to report.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `alloc` | by `std` | snapshots on the heap, reads into a `Vec`, pins |
//! | `std` | yes | waiting for a change, by futex; `io::Write` for [`snapshot::Claim`] |
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod error;
mod seqlock;
pub mod snapshot;

#[cfg(feature = "std")]
pub use error::WaitError;
pub use error::{Contended, Corrupt, GeometryError, ReadError, TakeOverError, TooLong, Violation};
#[cfg(feature = "alloc")]
pub use error::{GrantError, NoPin, PinError};
pub use seqlock::{SeqLock, Writer};

/// The examples of the README, so that they are run.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
