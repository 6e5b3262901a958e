//! Mapped memory for strait: memfds that their maker seals before anyone sees them, and that the other side maps only
//! after every check; and frozen, named and private memory beside them.
//!
//! An [`OwnRegion`] is read-write and belongs to one process; whoever receives its descriptor opens it as a
//! [`PeerRegion`], which is read-only. Both are rows of words ([`Words`](strait_sync::Words)), as is [`Heap`] inside one
//! process.
//!
//! | kind | who can write | in place as `&[u8]` | survives its maker | trust needed to open |
//! |---|---|---|---|---|
//! | [`OwnRegion`], opened as [`PeerRegion`] | its maker alone | no, words only | while anybody has it open | none |
//! | [`FrozenRegion`] | nobody, ever again | **yes**, for anybody | while anybody has it open | none |
//! | [`NamedRegion`], opened as such or as [`NamedView`] | every process of the same user | no, words only | the name: until it is swept; or kept by [`persist`](NamedRegion::persist) | [`HonestPeer`](strait_sync::HonestPeer) |
//! | [`PrivateView`] of any of them | this process, for itself | no, words only | yes | as the region |
//! | [`Heap`] | this process | no, words only | no | none |
//!
//! A [`WriterLock`] on any of them says who is its one writer.
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
//! - No reference and no slice to bytes that anybody can write is ever made. A [`FrozenRegion`] is a slice, because nobody can.
//! - The name of a [`NamedRegion`] is never taken from an owner that lives, and never kept by one that is dead.
//!
//! # Non-guarantees
//!
//! - The maker may change every byte at any time, the header's too. [`PeerRegion::header`] is a private copy of what was
//!   checked; everything else is input that has to be loaded once and checked.
//! - Memory with a name is not sealed: a peer that truncates it ends this process with `SIGBUS`. Opening it asks for
//!   [`HonestPeer`](strait_sync::HonestPeer).
//! - In a forked child the regions of the parent are not mapped: touching their words there is a fault or worse. Whoever
//!   may run in a child calls `check_fork` first, which costs one relaxed load.
//!
//! # How it works
//!
//! The rules are in the modules: who checks what and in which order in [`PeerRegion::open`], how memory is made in
//! [`OwnRegion::create`], what keeps frozen memory as it is in [`FrozenRegion`], what becomes of names whose owner was
//! killed in [`NamedRegion`], how a child knows that it is one in [`ForkToken`]. The bytes of the header are in [`Header`].
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("strait-region needs Linux: memfds, their seals and MADV_WIPEONFORK are found nowhere else");

mod draft;
mod error;
mod fork;
mod frozen;
mod header;
mod heap;
mod inspect;
mod layout;
mod mapping;
mod memfd;
mod named;
mod options;
mod own;
mod peer;
mod private_view;
mod process_fd;
mod seals;
mod writer_lock;

pub use draft::FrozenDraft;
pub use error::{CreateError, Forked, LayoutError, OpenError};
pub use fork::ForkToken;
pub use frozen::FrozenRegion;
pub use header::{HEADER_BYTES, HEADER_ENCODED_BYTES, Header};
pub use heap::Heap;
pub use layout::LayoutCursor;
pub use named::{NamedError, NamedRegion, NamedView, Place, Swept, sweep};
pub use options::{HUGE_PAGE_BYTES, Options, Pages};
pub use own::OwnRegion;
pub use peer::{Expected, PeerRegion};
pub use private_view::PrivateView;
pub use writer_lock::{WriterLock, WriterLockError};
