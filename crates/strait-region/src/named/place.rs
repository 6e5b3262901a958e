//! Where regions have their names.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat},
    io::Errno,
};

use super::error::NamedError;
use crate::inspect;

/// The longest name in bytes, as in any directory.
const NAME_BYTES_MAX: usize = 255;

/// A directory in which regions have names: the one of POSIX shared memory, or any other.
///
/// ```
/// use strait_region::Place;
/// let memory = Place::shm();
/// let disk = Place::directory("/var/lib/example");
/// # let _ = (memory, disk);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// POSIX shared memory: the region `prices` is what `shm_open("/prices", ..)` opens. Lives in memory, until it is removed
    /// or the machine restarts.
    pub fn shm() -> Self {
        // shm_overview(7): on Linux a shared memory object is a file here, for every C library.
        Self::directory("/dev/shm")
    }

    /// Files in the directory at `path`, which exists. On a disk the kernel writes changes back in its own time, so such
    /// a region is not a database: after a crash of the *machine* it may hold anything.
    ///
    /// The file system has to support files without a name (`O_TMPFILE`), links and fallocate(2): tmpfs, ext4, xfs, btrfs and
    /// f2fs do; those over a network do not. Where it compresses, or copies on write as btrfs does, memory that was allocated can
    /// still be missing later: a region may then be refused as having holes, and a full disk is a `SIGBUS`. Whoever may rename files in the directory has a say in what is opened:
    /// it should belong to the user of the program.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn open(&self) -> Result<OwnedFd, NamedError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.path, flags, Mode::empty())
            .map_err(|errno| NamedError::Place { path: self.path.clone(), source: errno.into() })
    }
}

/// Checks that `name` can be that of a file in a directory.
pub(super) fn check_name(name: &str) -> Result<(), NamedError> {
    let why = match name {
        "" => "it is empty",
        "." | ".." => "it means a directory",
        _ if name.len() > NAME_BYTES_MAX => "it has more than 255 bytes",
        _ if name.contains('/') => "it has a `/`, and the directory is told by the place",
        _ if name.contains('\0') => "it has a NUL byte, and names end there for the kernel",
        _ => return Ok(()),
    };
    Err(NamedError::Name { name: name.to_owned(), why })
}

/// Opens the file `name`, after checking that it is a regular one of this user, which nobody else may write.
///
/// Asked before it is opened, so that no device and no pipe is; and again of what was opened.
pub(super) fn open_file(directory: BorrowedFd<'_>, name: &str, access: OFlags) -> Result<OwnedFd, NamedError> {
    let not_found = |errno| match errno {
        Errno::NOENT => NamedError::NotFound { name: name.to_owned() },
        other => NamedError::io("opening the file of the region")(other),
    };
    let before = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(not_found)?;
    inspect::check_type(FileType::from_raw_mode(before.st_mode))?;
    check_whose(name, &before)?;
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty()).map_err(not_found)?;
    inspect::check_regular(fd.as_fd())?;
    check_whose(name, &fstat(&fd).map_err(NamedError::io("asking whose the file is"))?)?;
    Ok(fd)
}

fn check_whose(name: &str, stat: &rustix::fs::Stat) -> Result<(), NamedError> {
    let expected = rustix::process::geteuid().as_raw();
    if stat.st_uid != expected {
        return Err(NamedError::Owner { name: name.to_owned(), found: stat.st_uid, expected });
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.intersects(Mode::WGRP | Mode::WOTH) {
        return Err(NamedError::Mode { name: name.to_owned(), found: mode.bits() });
    }
    Ok(())
}

/// Whether `name` is still, or again, the name of the file behind `fd`.
pub(super) fn is_named(directory: BorrowedFd<'_>, name: &str, fd: BorrowedFd<'_>) -> Result<bool, NamedError> {
    let asking = "asking which file has the name";
    let file = fstat(fd).map_err(NamedError::io(asking))?;
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (file.st_dev, file.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(NamedError::io(asking)(errno)),
    }
}
