//! Memory that is being filled, to be frozen.

#![allow(unsafe_code)]

use std::os::fd::AsFd;

use rustix::{fs::ftruncate, io::retry_on_intr};
use strait_sync::{RawWords, Words, WordsMut, fail_point};

use crate::{
    error::{CreateError, Forked},
    fork::ForkToken,
    frozen::FrozenRegion,
    mapping::Mapping,
    memfd,
    options::Pages,
    process_fd::ProcessFd,
};

/// Memory that this process fills and then freezes into a [`FrozenRegion`].
///
/// Its descriptor is given to nobody before that. In a forked child there is nothing behind the words, as for
/// [`OwnRegion`](crate::OwnRegion).
///
/// ```
/// use strait_region::FrozenDraft;
/// use strait_sync::WordsMut;
///
/// let draft = FrozenDraft::create("strait:example", 4096)?; // room for what it may become
/// draft.copy_in(0, b"thirteen byte");
/// let frozen = draft.freeze(13)?;                            // what it has become
/// assert_eq!(&*frozen, b"thirteen byte");
/// # Ok::<(), strait_region::CreateError>(())
/// ```
#[derive(Debug)]
pub struct FrozenDraft {
    mapping: Mapping,
    fd: ProcessFd,
}

impl FrozenDraft {
    /// Makes zeroed memory for at least `capacity_bytes` bytes: rounded up to whole pages, all of them allocated.
    ///
    /// `name` is for people, at most 249 bytes, and need not be unique.
    ///
    /// # Errors
    ///
    /// As for [`OwnRegion::create`](crate::OwnRegion::create), but for the header's; [`CreateError::FrozenLength`] where
    /// `capacity_bytes` is 0.
    pub fn create(name: &str, capacity_bytes: u64) -> Result<Self, CreateError> {
        if capacity_bytes == 0 {
            return Err(CreateError::FrozenLength { bytes: 0, max: i64::MAX as u64 });
        }
        // What would overflow is more than any machine has, and refused as that.
        let capacity_bytes =
            capacity_bytes.checked_next_multiple_of(rustix::param::page_size() as u64).unwrap_or(u64::MAX);
        let fork = ForkToken::current().map_err(CreateError::io("mapping the page that tells of forks"))?;
        let fd = memfd::create(name, capacity_bytes, Pages::Ordinary)?;
        // Fits: only 64-bit targets are supported, and the kernel has just allocated that much.
        let mapping = Mapping::read_write(fd.as_fd(), capacity_bytes as usize, fork)
            .map_err(CreateError::io("mapping the memfd"))?;
        Ok(Self { mapping, fd: ProcessFd::new(fd, fork) })
    }

    /// Whether this process may use the memory. Costs one relaxed load.
    ///
    /// # Errors
    ///
    /// [`Forked`] in a forked child of the process that made it.
    #[inline]
    pub fn check_fork(&self) -> Result<(), Forked> {
        self.mapping.fork().check()
    }

    /// Gives up writing: cuts the memory to its first `len_bytes` bytes, unmaps it, and seals it with
    /// `WRITE | GROW | SHRINK | SEAL`.
    ///
    /// # Errors
    ///
    /// [`CreateError::FrozenLength`] where `len_bytes` is 0 or more than there is room for; [`CreateError::StillMapped`] where
    /// the kernel finds that somebody could still write (another process that went through `/proc`, say);
    /// [`CreateError::Forked`] in a forked child. The memory is gone then.
    pub fn freeze(self, len_bytes: u64) -> Result<FrozenRegion, CreateError> {
        self.check_fork()?;
        let max = self.len_bytes() as u64;
        if len_bytes == 0 || len_bytes > max {
            return Err(CreateError::FrozenLength { bytes: len_bytes, max });
        }
        let Self { mapping, fd } = self;
        drop(mapping);
        fail_point!("frozen.unmapped");
        retry_on_intr(|| ftruncate(&fd, len_bytes)).map_err(CreateError::io("cutting the memory to its length"))?;
        fail_point!("frozen.cut");
        memfd::freeze(&fd)?;
        fail_point!("frozen.frozen");
        FrozenRegion::map(fd.into_owned(), len_bytes).map_err(CreateError::io("mapping the frozen memory"))
    }
}

// SAFETY: the mapping lives until drop and does not move with `self`.
unsafe impl Words for FrozenDraft {
    #[inline]
    fn raw(&self) -> &RawWords {
        self.mapping.words()
    }
}

// SAFETY: `create` mapped the memory for reading and writing.
unsafe impl WordsMut for FrozenDraft {}
