//! Mapped words, and the rule for dropping them.

#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
};

use memmap2::{Advice, MmapOptions, MmapRaw};
use strait_sync::RawWords;

use crate::fork::ForkToken;

/// A shared mapping of a whole memfd or file.
///
/// Children do not inherit it (`MADV_DONTFORK`), so a child that unmapped the same addresses could hit something of its own:
/// dropped in a forked child, it leaks.
#[derive(Debug)]
pub(crate) struct Mapping {
    words: RawWords,
    map: Option<MmapRaw>,
    fork: ForkToken,
    writable: bool,
}

impl Mapping {
    /// Maps the first `len_bytes` bytes of `fd` for reading and writing.
    ///
    /// The caller has made sure that the file has that many and keeps them.
    pub(crate) fn read_write(fd: BorrowedFd<'_>, len_bytes: usize, fork: ForkToken) -> io::Result<Self> {
        Self::new(MmapOptions::new().len(len_bytes).map_raw(fd.as_raw_fd())?, fork, true)
    }

    /// As [`read_write`](Self::read_write), for reading only.
    pub(crate) fn read_only(fd: BorrowedFd<'_>, len_bytes: usize, fork: ForkToken) -> io::Result<Self> {
        Self::new(MmapOptions::new().len(len_bytes).map_raw_read_only(fd.as_raw_fd())?, fork, false)
    }

    fn new(map: MmapRaw, fork: ForkToken, writable: bool) -> io::Result<Self> {
        // A fork in the moment before this gives the child a mapping that nothing in it knows: it only keeps the memory.
        map.advise(Advice::DontFork)?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // SAFETY: a mapping starts at a page, is readable for its whole length (the callers map files of which every
        // page is allocated, and kept by seals or, for named regions, by peers that the user vouches for), and is
        // unmapped only when `self` is dropped. Nothing else here uses its addresses, and `WordsMut` is implemented
        // only over `read_write`.
        let words = unsafe { RawWords::new(base, map.len()) };
        Ok(Self { words, map: Some(map), fork, writable })
    }

    /// The mapping, for advice to the kernel. Not in a forked child.
    pub(crate) fn map(&self) -> Option<&MmapRaw> {
        if self.fork.is_forked() { None } else { self.map.as_ref() }
    }

    /// Whether the words can be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// The mapped words.
    #[inline]
    pub(crate) fn words(&self) -> &RawWords {
        &self.words
    }

    /// The process that the mapping belongs to.
    #[inline]
    pub(crate) fn fork(&self) -> &ForkToken {
        &self.fork
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.fork.is_forked() {
            std::mem::forget(self.map.take());
        }
    }
}
