//! A descriptor that only the process that made it closes, and a description of one's own.

#![allow(unsafe_code)]

use std::{
    io,
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags};

use crate::fork::ForkToken;

/// A descriptor that a forked child leaks: its number may belong to another file there by then.
#[derive(Debug)]
pub(crate) struct ProcessFd {
    fd: ManuallyDrop<OwnedFd>,
    fork: ForkToken,
}

impl ProcessFd {
    /// `fd` as a descriptor of the process that `fork` is of.
    pub(crate) fn new(fd: OwnedFd, fork: ForkToken) -> Self {
        Self { fd: ManuallyDrop::new(fd), fork }
    }

    /// The descriptor, for a new owner. Not in a forked child.
    pub(crate) fn into_owned(self) -> OwnedFd {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped and not used again, so the descriptor has one owner.
        unsafe { ManuallyDrop::take(&mut this.fd) }
    }

    /// Whether this is a forked child of the process that made it.
    pub(crate) fn is_forked(&self) -> bool {
        self.fork.is_forked()
    }
}

impl AsFd for ProcessFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for ProcessFd {
    fn drop(&mut self) {
        if !self.is_forked() {
            // SAFETY: `self` is going, nobody uses the descriptor after this.
            unsafe { ManuallyDrop::drop(&mut self.fd) }
        }
    }
}

/// Opens the file behind `fd` anew: the result shares the file with `fd`, and neither locks nor position.
pub(crate) fn reopen(fd: BorrowedFd<'_>, access: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::open(path, access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?)
}
