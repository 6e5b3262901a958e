//! Who owns a name, and who is about to remove it: locks that the kernel releases when their holder dies.
//!
//! They are locks of the open file description (`F_OFD_SETLK`) on single bytes of the file, not flock(2): that one is the
//! [`WriterLock`](crate::WriterLock)'s, and the owner of a name need not be the writer of its memory. The two kinds do not
//! meet on local file systems.

#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::fs::OFlags;

use crate::{
    fork::ForkToken,
    process_fd::{ProcessFd, reopen},
};

/// What is locked: a byte of the file, of which only the number matters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// Made the file. Taken before the file has a name, and never again.
    Owner = 0,
    /// Looks whether the name is stale.
    Sweeper = 1,
}

/// A lock on a file, held until drop or death.
#[derive(Debug)]
pub(super) struct Lease {
    fd: ProcessFd,
    role: Role,
}

impl Lease {
    /// Takes the lock for `role` on the file behind `fd`, on a description of its own; `None` where somebody holds it.
    pub(super) fn take(fd: BorrowedFd<'_>, role: Role, fork: ForkToken) -> io::Result<Option<Self>> {
        let fd = ProcessFd::new(reopen(fd, OFlags::RDWR)?, fork);
        match ask(fd.as_fd(), role, libc::F_OFD_SETLK, libc::F_WRLCK) {
            Ok(_) => Ok(Some(Self { fd, role })),
            // Both are allowed by POSIX.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a description other than that of `fd` holds the lock for `role`.
    pub(super) fn is_held(fd: BorrowedFd<'_>, role: Role) -> io::Result<bool> {
        Ok(ask(fd, role, libc::F_OFD_GETLK, libc::F_WRLCK)? != libc::F_UNLCK)
    }

    /// The file.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether this is a forked child of the process that took it.
    pub(super) fn is_forked(&self) -> bool {
        self.fd.is_forked()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_forked() {
            // Explicitly, because a forked child may keep the description open. What fails is made up for by the close.
            let _ = ask(self.fd(), self.role, libc::F_OFD_SETLK, libc::F_UNLCK);
        }
    }
}

/// Asks fcntl(2) for `kind` of lock on the byte of `role`; returns the kind that it answers.
fn ask(fd: BorrowedFd<'_>, role: Role, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::c_int> {
    // The kernel's constants are small, their types differ between targets.
    let mut lock = libc::flock {
        l_type: kind as _,
        l_whence: libc::SEEK_SET as _,
        l_start: role as libc::off_t,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: `lock` is ours and of the type that both commands take; neither waits.
    let answer = unsafe { libc::fcntl(fd.as_raw_fd(), command, &mut lock) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(lock.l_type.into()) }
}
