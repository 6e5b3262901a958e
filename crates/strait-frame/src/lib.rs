//! Frames for messages between processes: a 16-byte envelope with a CRC32, and codecs that write straight into memory
//! someone else provides (a record in a ring, a buffer) and read it where it lies. No file descriptor, no thread, no
//! clock unless asked.
//!
//! ```
//! # #[cfg(all(feature = "std", feature = "rkyv"))] {
//! use rkyv::{Archive, Serialize, util::AlignedVec};
//! use strait_frame::{Codec, ENVELOPE_BYTES, Envelope, Rkyv, Sink, now_micros};
//!
//! #[derive(Archive, Serialize)]
//! struct Tick { symbol: String, prices: Vec<f64> }
//! let tick = Tick { symbol: "EURUSD".into(), prices: vec![1.0841, 1.0842] };
//!
//! // Sending: encode behind the room for the envelope, then seal what was written.
//! let mut record = AlignedVec::<16>::new();
//! record.resize(1024, 0);
//! let (head, body) = record.split_first_chunk_mut::<ENVELOPE_BYTES>().unwrap();
//! let mut sink = Sink::new(body);
//! Rkyv::encode(&tick, &mut sink).unwrap();
//! let len = sink.len();
//! *head = Envelope::seal(&body[..len], now_micros(), true).unwrap().encode();
//!
//! // Receiving: envelope, copy, checksum, validation, and from there on plain field access.
//! let (head, rest) = record.split_first_chunk::<ENVELOPE_BYTES>().unwrap();
//! let envelope = Envelope::decode(head, 65_520, 0).unwrap();
//! let mut message = AlignedVec::<16>::new();
//! message.extend_from_slice(&rest[..envelope.size as usize]);
//! envelope.verify(&message).unwrap();
//! let tick = <Rkyv as Codec<Tick>>::open(message).unwrap();
//! assert_eq!(tick.symbol, "EURUSD");
//! assert_eq!(tick.prices[1], 1.0842);
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **Any bytes are answered.** [`Envelope::decode`] and [`Codec::open`] return a value or a typed error that says
//!   what was found and what was expected, for every input: no panic, no read outside the bytes, no recursion deeper
//!   than [`MAX_DEPTH`]. (For rkyv bytes that come with a [`ValidArchives`] token this is its maker's promise.)
//! - **One meaning per envelope.** What `decode` accepts, `encode` turns into the same 16 bytes.
//! - **No allocation once warm**: rkyv and raw encoding and opening their messages allocate nothing (scratch memory is
//!   kept per thread). A value with `Rc`, `Arc` or hash maps is the exception.
//! - **Nothing is truncated.** A sink that overflowed refuses all further writes, and the encoder fails.
//! - **A view is a value**: it owns its bytes, may be moved, stored and sent, and is checked once.
//!
//! # Non-guarantees
//!
//! - CRC32 finds accidents, every flipped bit and every burst of up to 32 bits. Anyone can compute it: it authenticates
//!   nobody.
//! - Validation makes reading *safe*, not *right*: a changed archive may well be a valid archive of another value.
//! - Don't take `Rc`, `Arc` or hash maps inside rkyv types from peers that you don't trust. Crafted ones were a way to
//!   memory errors until rkyv 0.8.17 (RUSTSEC-2026-0233, -0234, -0235), which is the least version this crate accepts.
//! - Don't take rkyv vectors of zero-sized elements from them either: their length is whatever the bytes say, and
//!   validation counts up to it. An optimised build removes that loop, a debug build was seen to take 70 s for one
//!   vector. (The postcard codec has a limit there.)
//! - A decoded postcard value may need more memory than its bytes, up to the size of an element for each byte.
//! - [`Codec::schema`] catches mistakes and proves nothing.
//!
//! # Trade-offs
//!
//! | codec | bytes | reading | take it for |
//! |---|---|---|---|
//! | [`Raw`] | yours | as they are | bytes that have a format already |
//! | [`Rkyv`] | aligned, some padding | in place, validated once | large messages, few fields read, lowest latency |
//! | [`Postcard`] | fewest | decoded, allocates | small messages, types that only have serde |
//!
//! Encoding into a fixed span means guessing its size: claim [`Codec::size_hint`], and after [`EncodeError::TooLarge`]
//! once more what [`Codec::encoded_len`] counts. Counting costs one more pass, for values that outgrow the hint only.
//!
//! # Features
//!
//! All are on by default and additive. `rkyv` and `postcard` are codecs with their dependencies; they are separate
//! because most programs use one. `std` adds `now_micros`, the checksum's faster paths and an arena per thread. Without
//! it the crate is `no_std` with `alloc`.
//!
//! # Safety
//!
//! `unsafe` is in one file, `view`. A `View` (feature `rkyv`) reads without checks what was validated before, which is
//! sound because [`StableBytes`], an unsafe trait, promises that the bytes stay as they were. `View::new_unchecked`
//! skips the validation and is `unsafe` itself. [`Codec::open`] of rkyv skips it for bytes that come with a
//! [`ValidArchives`] token, which only `unsafe` makes. Everything else denies `unsafe_code`.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod codec;
mod envelope;
mod error;
#[cfg(feature = "postcard")]
mod limited;
#[cfg(feature = "postcard")]
mod postcard;
mod raw;
#[cfg(feature = "rkyv")]
mod refusal;
#[cfg(feature = "rkyv")]
mod rkyv;
mod schema;
mod sink;
mod view;

pub use codec::{Codec, MAX_DEPTH, Postcard, Raw, Rkyv};
#[cfg(feature = "std")]
pub use envelope::now_micros;
pub use envelope::{CONTROL_BIT, ENVELOPE_BYTES, Envelope, MAX_PAYLOAD_BYTES, REFUSED_BIT, checksum};
pub use error::{DecodeError, EncodeError, FrameError};
#[cfg(feature = "postcard")]
pub use postcard::Decoded;
pub use raw::RawBytes;
#[cfg(feature = "rkyv")]
pub use refusal::RkyvError;
#[cfg(feature = "rkyv")]
pub use rkyv::{RkyvSerializer, RkyvValidator};
pub use schema::fnv1a;
pub use sink::Sink;
pub use strait_sync::ValidArchives;
pub use view::StableBytes;
#[cfg(feature = "rkyv")]
pub use view::View;

#[cfg(all(doctest, feature = "std", feature = "rkyv"))]
#[doc = include_str!("../README.md")]
struct Readme;
