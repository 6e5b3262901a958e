//! The ground floor of strait: the pieces that every shared-memory primitive stands on.
//!
//! Words in memory that two threads or two processes share, a sleeper's ticket, a futex between processes, bounded
//! spinning, and the switch that lets [loom](https://docs.rs/loom) run the very same code.
//!
//! ```
//! use core::sync::atomic::Ordering;
//! use strait_sync::{Heap, Words, WordsMut};
//!
//! let memory = Heap::zeroed(256);
//! memory.store(128, 7, Ordering::Release);
//! assert_eq!(memory.load(128), 7);
//! ```
//!
//! # Guarantees
//!
//! - Every access to a word is one relaxed (or release) access of 64 bits at an offset that is a multiple of 8. A load never
//!   writes, so it works on memory that is mapped read-only.
//! - An offset outside the memory is a panic of the caller's own making, never an access: offsets that a peer can
//!   choose must be checked before they get here, and the crates above do.
//! - [`Ringer`] and [`Sleeper`] lose no wake-up (loom models, with mutants that remove each fence).
//!
//! # Non-guarantees
//!
//! - Words are not a protocol: what they mean, who may write which one and what follows from a value is decided above.
//! - Only 64-bit little-endian targets are supported, and only Linux is tested.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("strait's shared layouts are 64-bit little-endian: other targets are not supported");

#[cfg(feature = "alloc")]
extern crate alloc;

mod backoff;
mod copy;
pub mod fail_point;
#[cfg(feature = "std")]
mod futex;
#[cfg(feature = "alloc")]
mod heap;
pub mod mutant;
pub mod primitive;
#[cfg(feature = "std")]
pub mod process;
mod ticket;
mod trust;
mod words;

pub use backoff::Backoff;
#[cfg(feature = "std")]
pub use backoff::Spin;
pub use copy::{load_words, store_words};
#[cfg(feature = "std")]
pub use futex::{FutexWait, wait, wake};
#[cfg(feature = "alloc")]
pub use heap::Heap;
#[cfg(feature = "std")]
pub use ticket::{Parked, Parker, Unparker};
pub use ticket::{Ringer, Sleeper};
pub use trust::{HonestPeer, ValidArchives};
pub use words::{RawWords, Words, WordsMut};
