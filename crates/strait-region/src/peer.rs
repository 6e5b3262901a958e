//! The region that another process made.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};

use strait_sync::{RawWords, Words};

use crate::{
    error::{Forked, OpenError},
    fork::ForkToken,
    header::Header,
    inspect,
    mapping::Mapping,
    options::{Options, Pages},
};

/// What the memory of a peer has to be.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The [`kind`](Header::kind).
    pub kind: u32,
    /// The [`layout_hash`](Header::layout_hash) of this build.
    pub layout_hash: u32,
    /// The most that is mapped, in bytes.
    pub max_total_bytes: u64,
    /// The session that was agreed on; `None` takes any, for tools that look on.
    pub session: Option<[u8; 16]>,
}

/// Memory that another process made, mapped for reading only.
///
/// It cannot shrink or get holes, and nobody but its maker can write it. The maker can do so at any time: each word is
/// input, loaded once and checked. In a forked child there is nothing behind the words: see
/// [`check_fork`](Self::check_fork).
///
/// Dropping it unmaps in the process that opened it, and leaks in a forked child.
#[derive(Debug)]
pub struct PeerRegion {
    mapping: Mapping,
    header: Header,
}

impl PeerRegion {
    /// Checks `fd`, maps it for reading, and closes it.
    ///
    /// In this order, before anything is mapped:
    /// 1. it is a regular file (asked in a way that never waits for a server, as one of a FUSE file system);
    /// 2. it can have seals, so it is memory of this kernel (the seals are read here, and judged at 5: what is found in
    ///    between cannot change any more where they are all there);
    /// 3. it is on tmpfs;
    /// 4. its size is a multiple of the page size, at least [`HEADER_BYTES`](crate::HEADER_BYTES), and at most
    ///    `expected.max_total_bytes`; every page is allocated;
    /// 5. its seals contain `GROW | SHRINK | FUTURE_WRITE | SEAL`;
    /// 6. its header, read once by pread(2), has the magic number, version, kind and layout hash, tells the true size, has
    ///    a capacity of 0 or a power of two that fits, a largest message and an alignment that can be, and the session.
    ///
    /// ```
    /// use strait_region::{Expected, OpenError, PeerRegion};
    ///
    /// let expected = Expected { kind: 1, layout_hash: 0, max_total_bytes: 1 << 20, session: None };
    /// let not_memory = std::fs::File::open("/dev/null").unwrap();
    /// let error = PeerRegion::open(not_memory.into(), &expected).unwrap_err();
    /// assert!(matches!(error, OpenError::NotRegular { .. }));
    /// ```
    ///
    /// # Errors
    ///
    /// The [`OpenError`] of the first check that fails; [`OpenError::Io`] where the kernel refuses to answer or to map.
    pub fn open(fd: OwnedFd, expected: &Expected) -> Result<Self, OpenError> {
        Self::open_with(fd, expected, &Options::new())
    }

    /// As [`open`](Self::open), with pages that are all mapped, or that stay in memory; with
    /// [`Pages::Huge`] memory of huge pages (on hugetlbfs) is taken too.
    ///
    /// # Errors
    ///
    /// As for `open`.
    pub fn open_with(fd: OwnedFd, expected: &Expected, options: &Options) -> Result<Self, OpenError> {
        let fork = ForkToken::current().map_err(OpenError::io("mapping the page that tells of forks"))?;
        let rules = if options.pages == Pages::Huge { &inspect::SEALED_OR_HUGE } else { &inspect::SEALED };
        let size_bytes = inspect::check_file(fd.as_fd(), expected.max_total_bytes, rules)?;
        let header = inspect::read_header(fd.as_fd())?;
        header.check(size_bytes, expected)?;
        // Fits: only 64-bit targets are supported.
        let mapping = Mapping::read_only(fd.as_fd(), size_bytes as usize, fork)
            .map_err(OpenError::io("mapping the memory of the peer"))?;
        let region = Self { mapping, header };
        options
            .apply(&region.mapping, || prefault_by_hand(&region))
            .map_err(|(what, source)| OpenError::io(what)(source))?;
        Ok(region)
    }

    /// The header as it was checked, from private memory.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether this process may use the region. Costs one relaxed load.
    ///
    /// A forked child must not touch the words: they are not mapped there, and something else may be at their addresses.
    ///
    /// # Errors
    ///
    /// [`Forked`] in a forked child of the process that opened the region.
    #[inline]
    pub fn check_fork(&self) -> Result<(), Forked> {
        self.mapping.fork().check()
    }
}

/// Reads each page once: for kernels that cannot do it by themselves (before 5.14).
fn prefault_by_hand(region: &PeerRegion) {
    for offset in (0..region.len_bytes()).step_by(rustix::param::page_size()) {
        region.load(offset);
    }
}

// SAFETY: the mapping lives until drop and does not move with `self`.
unsafe impl Words for PeerRegion {
    #[inline]
    fn raw(&self) -> &RawWords {
        self.mapping.words()
    }
}
