//! Single-producer single-consumer rings: [`records`] of any length whose first word is the commit, and typed [`slots`].
//!
//! A ring of records lies in memory that two threads, or two processes, share. One end writes records of any length, the other
//! reads them in order. Neither ever waits inside this crate, neither makes a system call, and neither believes a word of
//! what the other one writes.
//!
//! ```
//! use strait_spsc::records::{Meta, channel};
//!
//! let (mut producer, mut consumer) = channel(4096)?;
//!
//! let mut grant = producer.try_claim(64)?; // room for at most 64 bytes
//! grant.as_mut_slice()[..5].copy_from_slice(b"hello");
//! grant.commit(5, Meta::default()); // now the other end sees it
//!
//! let record = consumer.next()?.expect("just committed");
//! let mut words = [0; 8];
//! record.copy_to(&mut words);
//! assert_eq!(&words[0].to_le_bytes()[..record.len()], b"hello");
//! drop(record); // gives the space back
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A ring of slots holds values of one type: of any type between two threads, of plain types between two processes.
//!
//! ```
//! use strait_spsc::slots::{PopError, channel};
//!
//! let (mut producer, mut consumer) = channel(64)?; // slots
//! producer.try_push("hello".to_owned())?;
//! assert_eq!(consumer.try_pop()?, "hello");
//! assert_eq!(consumer.try_pop(), Err(PopError::Empty));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! Of records, and of [`slots::shared`]:
//!
//! - Each end writes only its own memory; the other's may be mapped read-only.
//! - Every call returns: no locks in shared memory, no loop whose length the peer decides. A stopped or dead peer makes a
//!   ring full or empty, nothing else.
//! - Whatever the peer writes, the answer is a record, nothing, or [`Corrupt`]; never a panic and never undefined behaviour.
//!   A handle that has seen [`Corrupt`] returns it for ever.
//! - A [`records::Grant`] that is dropped leaves no trace.
//!
//! Of slots for any type:
//!
//! - A value is dropped exactly once, by whoever has it: also where a drop panics, an iterator is leaked or an end goes.
//! - A [`slots::Chunk`] or [`slots::ReadChunk`] that is dropped leaves no trace.
//!
//! # Non-guarantees
//!
//! - Nothing wakes a sleeping peer, but for [`slots::blocking_channel`] inside a process. The handles show and read tickets; who
//!   sleeps on what is decided above.
//! - Nobody tells a producer of records that its consumer is gone: it finds the ring full. Death is for the kernel to report.
//! - A record's bytes are the peer's. What they mean, and whether they are intact, is decided above.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `alloc` | by `std` | rings on the heap, [`records::Guard`] |
//! | `std` | yes | [`slots::blocking_channel`]; the standard library's mutex in the release log instead of a spin lock |
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod error;
pub mod records;
pub mod slots;
mod storage;

#[cfg(feature = "alloc")]
pub use error::TooManyHeld;
pub use error::{ClaimError, Corrupt, GeometryError, Violation};

/// The examples of the README, so that they are run.
#[cfg(all(doctest, feature = "alloc"))]
#[doc = include_str!("../README.md")]
struct Readme;
