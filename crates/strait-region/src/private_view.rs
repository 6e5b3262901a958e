//! A mapping whose writes nobody else sees.

#![allow(unsafe_code)]

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr::NonNull,
};

use memmap2::{MmapOptions, MmapRaw};
use strait_sync::{RawWords, Words, WordsMut};

use crate::{error::OpenError, inspect, peer::Expected};

/// Memory of a region, to be written without anybody noticing: the kernel copies a page when it is first written here
/// (`MAP_PRIVATE`).
///
/// Made by `private_view` of [`OwnRegion`](crate::OwnRegion), [`NamedRegion`](crate::NamedRegion),
/// [`NamedView`](crate::NamedView) and [`FrozenRegion`](crate::FrozenRegion), or from the descriptor of a peer by
/// [`open`](Self::open).
///
/// It is **not** a snapshot. A page that was not written here still shows what others write into the region, also while
/// it is being read; only a written page stays as it is, and it was copied while others may have been writing. So words are
/// input here too, to be loaded once and checked, except over a [`FrozenRegion`](crate::FrozenRegion), which nobody changes.
///
/// Memory for the copies is taken when a page is first written, as for any private memory, and counts for the process
/// that writes. In a forked child it is what a heap would be: a copy of its own. Dropping it unmaps.
#[derive(Debug)]
pub struct PrivateView {
    words: RawWords,
    _map: MmapRaw,
}

impl PrivateView {
    /// Checks `fd` as [`PeerRegion::open`](crate::PeerRegion::open) does, and maps it. The descriptor stays the caller's.
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    /// use strait_region::{Expected, HEADER_BYTES, Header, OwnRegion, PrivateView};
    /// use strait_sync::{Words, WordsMut};
    ///
    /// # let header = Header {
    /// #     kind: 1,
    /// #     layout_hash: 0,
    /// #     total_bytes: 1 << 16,
    /// #     ring_capacity_bytes: 0,
    /// #     max_message_bytes: 0,
    /// #     record_align_bytes: 16,
    /// #     session: [0; 16],
    /// # };
    /// let own = OwnRegion::create("strait:example", &header)?;
    /// let expected = Expected { kind: 1, layout_hash: 0, max_total_bytes: 1 << 20, session: None };
    /// let view = PrivateView::open(own.fd(), &expected)?;
    /// view.store(HEADER_BYTES, 7, Ordering::Relaxed);
    /// assert_eq!((view.load(HEADER_BYTES), own.load(HEADER_BYTES)), (7, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for `PeerRegion::open`.
    pub fn open(fd: impl AsFd, expected: &Expected) -> Result<Self, OpenError> {
        let fd = fd.as_fd();
        let size_bytes = inspect::check_file(fd, expected.max_total_bytes, &inspect::SEALED)?;
        inspect::read_header(fd)?.check(size_bytes, expected)?;
        Self::map(fd, size_bytes)
    }

    /// Maps the first `len_bytes` bytes of `fd`, which has that many and keeps them.
    pub(crate) fn map(fd: BorrowedFd<'_>, len_bytes: u64) -> Result<Self, OpenError> {
        let mut options = MmapOptions::new();
        // Fits: the region is mapped already, or was checked against a limit of memory; only 64-bit targets are supported.
        options.len(len_bytes as usize);
        // SAFETY: the file may change while it is mapped; the result goes into a `MmapRaw` at once, which makes no
        // references to the bytes, and is accessed by atomic words alone.
        let map = unsafe { options.map_copy(fd.as_raw_fd()) };
        let map = MmapRaw::from(map.map_err(OpenError::io("mapping the memory privately"))?);
        let Some(base) = NonNull::new(map.as_mut_ptr()) else {
            return Err(OpenError::io("mapping the memory privately")(std::io::ErrorKind::AddrNotAvailable));
        };
        // SAFETY: a mapping starts at a page, is readable and writable for its whole length, and lives as long as `self`;
        // nothing else here uses its addresses.
        let words = unsafe { RawWords::new(base, map.len()) };
        Ok(Self { words, _map: map })
    }
}

// SAFETY: the mapping lives until drop and does not move with `self`.
unsafe impl Words for PrivateView {
    #[inline]
    fn raw(&self) -> &RawWords {
        &self.words
    }
}

// SAFETY: `map` mapped the memory for reading and writing.
unsafe impl WordsMut for PrivateView {}
