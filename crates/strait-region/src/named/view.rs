//! A named region that is only read.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};

use strait_sync::{RawWords, Words};

use super::{error::NamedError, has_owner};
use crate::{
    error::{Forked, OpenError},
    header::Header,
    mapping::Mapping,
    private_view::PrivateView,
    process_fd::ProcessFd,
};

/// Memory with a name, mapped for reading only. Made by
/// [`NamedRegion::open_read_only`](super::NamedRegion::open_read_only).
///
/// Everything that is said there about truncation and forked children holds here.
#[derive(Debug)]
pub struct NamedView {
    mapping: Mapping,
    fd: ProcessFd,
    header: Header,
}

impl NamedView {
    pub(super) fn new(mapping: Mapping, fd: ProcessFd, header: Header) -> Self {
        Self { mapping, fd, header }
    }

    /// As [`NamedRegion::has_owner`](super::NamedRegion::has_owner).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn has_owner(&self) -> Result<bool, NamedError> {
        has_owner(&self.fd)
    }

    /// As [`NamedRegion::private_view`](super::NamedRegion::private_view).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn private_view(&self) -> Result<PrivateView, OpenError> {
        self.check_fork()?;
        PrivateView::map(self.fd.as_fd(), self.header.total_bytes)
    }

    /// The file, for a [`WriterLock`](crate::WriterLock): to ask whether there is a writer.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The header as it was checked, from private memory.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether this process may use the region. Costs one relaxed load.
    ///
    /// # Errors
    ///
    /// [`Forked`] in a forked child of the process that opened the region.
    #[inline]
    pub fn check_fork(&self) -> Result<(), Forked> {
        self.mapping.fork().check()
    }
}

// SAFETY: the mapping lives until drop and does not move with `self`.
unsafe impl Words for NamedView {
    #[inline]
    fn raw(&self) -> &RawWords {
        self.mapping.words()
    }
}
