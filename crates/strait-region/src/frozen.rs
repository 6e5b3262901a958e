//! Memory that nobody can write any more.
//!
//! What `&[u8]` asks for, and who sees to it, in order of the ways in which memory could change:
//!
//! ```text
//! a new writable mapping, mprotect to one    refused by F_SEAL_WRITE (EPERM, EACCES)
//! a writable mapping from before the seal    the seal is refused while there is one, or one that could become one (EBUSY)
//! a page pinned for direct or ring I/O       the same
//! write(2), also by descriptors from before  EPERM
//! punching or zeroing a hole                 EPERM
//! shrinking, growing                         F_SEAL_SHRINK, F_SEAL_GROW
//! taking seals off                           the kernel has no such call
//! a page that is not there                   all are allocated, which is checked; nothing can take one away
//! ```

#![allow(unsafe_code)]

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
};

use memmap2::{MmapOptions, MmapRaw};
use strait_sync::{RawWords, Words, WordsMut};

use crate::{
    draft::FrozenDraft,
    error::{CreateError, OpenError},
    inspect,
    private_view::PrivateView,
};

/// Memory that nobody can write, whoever made it: it derefs to `&[u8]`, with no trust in anybody.
///
/// The kernel refuses every way to change it (`F_SEAL_WRITE | GROW | SHRINK | SEAL`), to the maker too. What was validated
/// once stays valid. It costs a memfd, a mapping and a descriptor to send for each, so it is for what is large or is
/// read by many.
///
/// It has no header: what the bytes mean is told beside the descriptor. They start at a page.
///
/// A forked child inherits it, and may read and drop it as a copy of its own.
///
/// ```
/// use strait_region::FrozenRegion;
///
/// let frozen = FrozenRegion::from_bytes("strait:example", b"for everybody")?;
/// let received = frozen.fd().try_clone_to_owned()?; // usually over a Unix socket
/// let opened = FrozenRegion::open(received, 1 << 20)?;
/// assert_eq!(&*opened, b"for everybody");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FrozenRegion {
    words: RawWords,
    map: MmapRaw,
    fd: OwnedFd,
}

impl FrozenRegion {
    /// Makes frozen memory with a copy of `bytes`. To fill it in place, take a [`FrozenDraft`].
    ///
    /// # Errors
    ///
    /// As for [`FrozenDraft::create`] and [`FrozenDraft::freeze`]: [`CreateError::FrozenLength`] where `bytes` is empty.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, CreateError> {
        let len_bytes = bytes.len() as u64;
        let draft = FrozenDraft::create(name, len_bytes)?;
        draft.copy_in(0, bytes);
        draft.freeze(len_bytes)
    }

    /// Checks that `fd` is frozen memory of at most `max_bytes` bytes, and maps it.
    ///
    /// In the order of [`PeerRegion::open`](crate::PeerRegion::open): a regular file that can have seals, on tmpfs, of 1 to
    /// `max_bytes` bytes with every page allocated, and with the seals `WRITE | GROW | SHRINK | SEAL` (and any others).
    /// Any descriptor may be given.
    ///
    /// # Errors
    ///
    /// The [`OpenError`] of the first check that fails; [`OpenError::Io`] where the kernel refuses to answer or to map.
    pub fn open(fd: OwnedFd, max_bytes: u64) -> Result<Self, OpenError> {
        let size_bytes = inspect::check_file(fd.as_fd(), max_bytes, &inspect::FROZEN)?;
        Self::map(fd, size_bytes).map_err(OpenError::io("mapping the frozen memory"))
    }

    /// Maps memory of `len_bytes` bytes that is known to be frozen.
    pub(crate) fn map(fd: OwnedFd, len_bytes: u64) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        // Fits: only 64-bit targets are supported, and all of it is allocated.
        options.len(len_bytes as usize);
        let map = match options.map_raw_read_only(fd.as_raw_fd()) {
            // Older kernels see a shared mapping of what was opened for writing as one that could be written.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => map_privately(&options, fd.as_fd())?,
            other => other?,
        };
        Self::new(fd, map)
    }

    fn new(fd: OwnedFd, map: MmapRaw) -> io::Result<Self> {
        let base = NonNull::new(map.as_mut_ptr()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // SAFETY: a mapping starts at a page, is readable for its whole length, and lives as long as `self`. Nobody writes.
        let words = unsafe { RawWords::new(base, map.len()) };
        Ok(Self { words, map, fd })
    }

    /// The descriptor, to send to anyone. Whoever gets it can read and map the memory, and nothing else.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// A mapping of the same memory whose writes stay private to it. What is not written stays as it is.
    ///
    /// # Errors
    ///
    /// [`OpenError::Io`] where the kernel refuses to map.
    pub fn private_view(&self) -> Result<PrivateView, OpenError> {
        PrivateView::map(self.fd(), self.len() as u64)
    }
}

/// A mapping that nobody can take for a writable one. Of memory that nobody writes it shows the same as a shared one.
fn map_privately(options: &MmapOptions, fd: BorrowedFd<'_>) -> io::Result<MmapRaw> {
    // SAFETY: nobody can change the file, and the result goes into a `MmapRaw` at once.
    Ok(unsafe { options.map_copy_read_only(fd.as_raw_fd()) }?.into())
}

impl Deref for FrozenRegion {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable for its whole length (every page is allocated, and no seal lets one go), is
        // not empty, and lives as long as `self`. For as long as it lives, no process can change the bytes, this one
        // neither: the seals WRITE, GROW, SHRINK and SEAL were set or checked before it was mapped, and see to each
        // of the ways at the top of this file.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.map.len()) }
    }
}

impl AsRef<[u8]> for FrozenRegion {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

// SAFETY: the mapping lives until drop and does not move with `self`; nobody writes it. A last word that is not whole is
// left out.
unsafe impl Words for FrozenRegion {
    #[inline]
    fn raw(&self) -> &RawWords {
        &self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_kernels_map_privately_shows_the_same_bytes() {
        let frozen = FrozenRegion::from_bytes("strait-region:test", b"the same").unwrap();
        let map = map_privately(MmapOptions::new().len(frozen.len()), frozen.fd()).unwrap();
        let private = FrozenRegion::new(frozen.fd().try_clone_to_owned().unwrap(), map).unwrap();
        assert_eq!((&*private, private.load(0)), (&*frozen, frozen.load(0)));
    }
}
