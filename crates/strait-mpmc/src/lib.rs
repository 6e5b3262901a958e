//! Bounded queues for many producers and many consumers.
//!
//! [`Queue`] is for the threads of one process; [`Blocking`] is the same to sleep on; [`shared`] is for processes that map the
//! same memory, and outlives the death of any of them.
//!
//! ```
//! use strait_mpmc::Queue;
//!
//! let queue = Queue::new(64)?;
//! std::thread::scope(|scope| {
//!     for producer in 0..2 {
//!         let queue = &queue;
//!         scope.spawn(move || (0..16).for_each(|job| queue.try_push((producer, job)).unwrap()));
//!     }
//! });
//! assert_eq!(std::iter::from_fn(|| queue.try_pop().ok()).count(), 32);
//! # Ok::<(), strait_mpmc::CapacityError>(())
//! ```
//!
//! # Guarantees
//!
//! - Each value that is pushed is popped once, or dropped once with the queue. The values of one producer are popped in the order in
//!   which it pushed them.
//! - Positions are 63 bits and do not come round.
//! - Between processes: what a dead participant had claimed is given back by [`shared::SharedQueue::recover`], on proof of its
//!   death and never on a timeout; every message lost with it is counted. Garbage in shared words is a typed error.
//!
//! # Non-guarantees
//!
//! - **Not lock-free.** No call waits for another inside `try_*`; but a thread that is stopped between its claim and its end, some
//!   ten instructions and the copy of the payload, blocks those behind it until it goes on: consumers find the queue empty, and
//!   a lap later producers find it full. Between processes that lasts until the claimer continues or is recovered as dead.
//! - **Participants of a shared queue trust each other**: all map it writable. What they cannot do to each other is undefined
//!   behaviour; they can spoil, forge and lose messages.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `alloc` | by `std` | [`Queue`] |
//! | `std` | yes | [`Blocking`], the blocking calls of [`shared`], [`shared::process`] |
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "std")]
mod blocking;
#[cfg_attr(not(feature = "alloc"), allow(dead_code))]
mod cell;
#[cfg(feature = "alloc")]
mod error;
#[cfg(feature = "std")]
mod event;
#[cfg(feature = "alloc")]
mod queue;
pub mod shared;
#[cfg(feature = "alloc")]
mod stats;

#[cfg(feature = "std")]
pub use blocking::Blocking;
#[cfg(feature = "alloc")]
pub use error::{CapacityError, PopError, PushError};
#[cfg(feature = "alloc")]
pub use queue::Queue;
#[cfg(feature = "alloc")]
pub use stats::{Counted, Stats};

/// The examples of the README, so that they are run.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
