//! Mapped memory for strait: memfds that their maker seals before anyone sees them, and that the other side maps only
//! after every check.
//!
//! An [`OwnRegion`] is read-write and belongs to one process; whoever receives its descriptor opens it as a
//! [`PeerRegion`], which is read-only. Both are rows of words ([`Words`](strait_sync::Words)), as is [`Heap`] inside one
//! process.
//!
//! ```
//! use std::sync::atomic::Ordering;
//! use strait_region::{Expected, HEADER_BYTES, Header, OwnRegion, PeerRegion};
//! use strait_sync::{Words, WordsMut};
//!
//! let header = Header {
//!     kind: 1,
//!     layout_hash: 0x5eed,
//!     total_bytes: 128 * 1024,
//!     ring_capacity_bytes: 64 * 1024,
//!     max_message_bytes: 16 * 1024 - 16,
//!     record_align_bytes: 16,
//!     session: *b"0123456789abcdef",
//! };
//! let own = OwnRegion::create("strait:example", &header)?;
//!
//! // The descriptor usually travels over a Unix socket.
//! let received = own.fd().try_clone_to_owned()?;
//! let expected = Expected { kind: 1, layout_hash: 0x5eed, max_total_bytes: 1 << 20, session: Some(header.session) };
//! let peer = PeerRegion::open(received, &expected)?;
//! assert_eq!(peer.header(), &header);
//!
//! own.store(HEADER_BYTES, 42, Ordering::Release);
//! assert_eq!(peer.load(HEADER_BYTES), 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - What is open as a [`PeerRegion`] cannot shrink, cannot get holes and can be written by nobody but its maker: the
//!   seals that say so were checked, and they cannot be taken off.
//! - A descriptor of any kind and a header of any bytes lead to a region or to an [`OpenError`]: never to a panic, to a
//!   fault, or to a wait for whoever serves the file.
//! - All memory of a region is there when [`OwnRegion::create`] returns; running out is an error then, not a signal later.
//! - No reference and no slice to mapped bytes is ever made.
//!
//! # Non-guarantees
//!
//! - The maker may change every byte at any time, the header's too. [`PeerRegion::header`] is a private copy of what was
//!   checked; everything else is input that has to be loaded once and checked.
//! - In a forked child the regions of the parent are not mapped: touching their words there is a fault or worse. Whoever
//!   may run in a child calls `check_fork` first, which costs one relaxed load.
//!
//! # How it works
//!
//! The rules are in the modules: who checks what and in which order in [`PeerRegion::open`], how memory is made in
//! [`OwnRegion::create`], how a child knows that it is one in [`ForkToken`]. The bytes of the header are in [`Header`].
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("strait-region needs Linux: memfds, their seals and MADV_WIPEONFORK are found nowhere else");

mod error;
mod fork;
mod header;
mod heap;
mod inspect;
mod layout;
mod mapping;
mod memfd;
mod own;
mod peer;
mod seals;

pub use error::{CreateError, Forked, LayoutError, OpenError};
pub use fork::ForkToken;
pub use header::{HEADER_BYTES, HEADER_ENCODED_BYTES, Header};
pub use heap::Heap;
pub use layout::LayoutCursor;
pub use own::OwnRegion;
pub use peer::{Expected, PeerRegion};
