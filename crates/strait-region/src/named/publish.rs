//! A file that gets its name last.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fchmod, linkat, openat},
    io::Errno,
};

use strait_sync::fail_point;

use super::{
    error::NamedError,
    stale::{self, Kept},
};
use crate::{fork::ForkToken, memfd};

/// How often a name is tried to be had before others have to be called faster.
const ATTEMPTS: u32 = 64;

/// A file in `directory` without a name, of `total_bytes` bytes that are all allocated. It goes when it is closed.
pub(super) fn nameless(directory: BorrowedFd<'_>, total_bytes: u64) -> Result<OwnedFd, NamedError> {
    let mode = Mode::RUSR | Mode::WUSR;
    let fd = openat(directory, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)
        .map_err(NamedError::io("making a file without a name (O_TMPFILE: not every file system has it)"))?;
    // Whatever the umask is.
    fchmod(&fd, mode).map_err(NamedError::io("setting the mode of the region"))?;
    fail_point!("named.opened");
    memfd::allocate(fd.as_fd(), total_bytes).map_err(NamedError::io("allocating the memory of the region"))?;
    fail_point!("named.allocated");
    Ok(fd)
}

/// Gives the nameless file `fd` the name `name`, in the place of a stale one.
pub(super) fn link(
    fd: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    name: &str,
    fork: ForkToken,
) -> Result<(), NamedError> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    for _ in 0..ATTEMPTS {
        match linkat(CWD, &path, directory, name, AtFlags::SYMLINK_FOLLOW) {
            Err(Errno::EXIST) => stale::remove(directory, name, Kept::Keep, fork)?,
            other => return other.map_err(NamedError::io("giving the region its name")),
        };
    }
    Err(NamedError::Contended { name: name.to_owned(), attempts: ATTEMPTS })
}
