//! What a descriptor from somebody else is asked before it is mapped.
//!
//! Each question either needs no answer from a file server, or is asked only when it is sure that there is none.

use std::os::fd::BorrowedFd;

use rustix::{
    fs::{AtFlags, FileType, SealFlags, StatxFlags, fcntl_get_seals, fstat, fstatfs, statx},
    io::{Errno, pread, retry_on_intr},
};

use crate::{
    error::OpenError,
    header::{HEADER_BYTES, HEADER_ENCODED_BYTES, Header},
    seals,
};

/// `f_type` of tmpfs, from statfs(2).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// `f_type` of hugetlbfs.
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// `st_blocks` counts these, whatever the file system's own blocks are.
const STAT_BLOCK_BYTES: u64 = 512;

/// What memory has to be.
pub(crate) struct Rules {
    /// `f_type` of the file systems that are taken.
    file_systems: &'static [u64],
    /// The seals that must be there; others may be.
    seals: SealFlags,
    /// What is asked of the size.
    check_size: fn(u64) -> Result<(), OpenError>,
}

/// A region that its maker may write.
pub(crate) const SEALED: Rules = Rules { file_systems: &[TMPFS_MAGIC], seals: seals::REQUIRED, check_size };

/// The same on huge pages, where the user has asked for them.
pub(crate) const SEALED_OR_HUGE: Rules = Rules { file_systems: &[TMPFS_MAGIC, HUGETLBFS_MAGIC], ..SEALED };

/// Memory that nobody can write, of any size but none.
pub(crate) const FROZEN: Rules = Rules { seals: seals::FROZEN, check_size: check_not_empty, ..SEALED };

/// Checks the file behind `fd`; returns its size in bytes, which cannot change any more.
///
/// The seals are read before anything else about the memory, though they are judged last: seals only ever come on, so
/// whatever is found after they were all there stays true. The other way round, a peer could shrink the memory after
/// its size was seen, and seal it then.
pub(crate) fn check_file(fd: BorrowedFd<'_>, max_bytes: u64, rules: &Rules) -> Result<u64, OpenError> {
    check_file_while(fd, max_bytes, rules, || ())
}

/// [`check_file`], with `meanwhile` between the look at the size and the judgement: what a test puts there, a peer may
/// do at that moment.
fn check_file_while(
    fd: BorrowedFd<'_>,
    max_bytes: u64,
    rules: &Rules,
    meanwhile: impl FnOnce(),
) -> Result<u64, OpenError> {
    check_regular(fd)?;
    let seals = read_seals(fd)?;
    // From here on the file is known to be memory of this kernel, and there is nobody to wait for.
    check_file_system(fd, rules.file_systems)?;
    let size_bytes = check_extent(fd, max_bytes, rules.check_size)?;
    meanwhile();
    check_seals(seals, rules.seals)?;
    Ok(size_bytes)
}

fn read_seals(fd: BorrowedFd<'_>) -> Result<SealFlags, OpenError> {
    match fcntl_get_seals(fd) {
        Err(Errno::INVAL) => Err(OpenError::NotSealable),
        // Any other error is about the descriptor, not about the file: one opened with O_PATH, for example.
        other => other.map_err(OpenError::io("reading the seals")),
    }
}

fn check_seals(found: SealFlags, required: SealFlags) -> Result<(), OpenError> {
    let missing = required.difference(found);
    if missing.is_empty() {
        return Ok(());
    }
    Err(OpenError::Unsealed { found: seals::names(found), missing: seals::names(missing) })
}

/// Asks for the type alone, from what the kernel knows already: a server that does not answer cannot hold us up.
pub(crate) fn check_regular(fd: BorrowedFd<'_>) -> Result<(), OpenError> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let mode =
        statx(fd, c"", flags, StatxFlags::TYPE).map_err(OpenError::io("asking for the type of the file"))?.stx_mode;
    check_type(FileType::from_raw_mode(mode.into()))
}

/// Checks that `found` is the type of a regular file.
pub(crate) fn check_type(found: FileType) -> Result<(), OpenError> {
    let found = match found {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        _ => "a kernel object without a file",
    };
    Err(OpenError::NotRegular { found })
}

fn check_file_system(fd: BorrowedFd<'_>, taken: &[u64]) -> Result<(), OpenError> {
    // Its type depends on the target; the numbers of file systems have 32 bits.
    let found = fstatfs(fd).map_err(OpenError::io("asking for the file system"))?.f_type as u32;
    let found = u64::from(found);
    if taken.contains(&found) { Ok(()) } else { Err(OpenError::NotTmpfs { found }) }
}

/// Checks size and allocation; returns the size in bytes.
pub(crate) fn check_extent(
    fd: BorrowedFd<'_>,
    max_bytes: u64,
    check_size: fn(u64) -> Result<(), OpenError>,
) -> Result<u64, OpenError> {
    let stat = fstat(fd).map_err(OpenError::io("asking for the size of the memory"))?;
    // Neither is negative where the kernel answers.
    let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
    let allocated_bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(STAT_BLOCK_BYTES);
    check_size(size_bytes)?;
    if size_bytes > max_bytes {
        return Err(OpenError::TooLarge { bytes: size_bytes, max: max_bytes });
    }
    if allocated_bytes < size_bytes {
        return Err(OpenError::Holes { allocated_bytes, size_bytes });
    }
    Ok(size_bytes)
}

/// Checks that `size_bytes` can be the size of a region.
pub(crate) fn check_size(size_bytes: u64) -> Result<(), OpenError> {
    let page_bytes = rustix::param::page_size() as u64;
    if size_bytes < HEADER_BYTES as u64 || !size_bytes.is_multiple_of(page_bytes) {
        return Err(OpenError::Size { found: size_bytes, page_bytes });
    }
    Ok(())
}

/// Checks that there is anything to map.
fn check_not_empty(size_bytes: u64) -> Result<(), OpenError> {
    if size_bytes == 0 { Err(OpenError::Empty) } else { Ok(()) }
}

/// Reads the header of a file whose type was checked, once.
pub(crate) fn read_header(fd: BorrowedFd<'_>) -> Result<Header, OpenError> {
    let mut bytes = [0; HEADER_ENCODED_BYTES];
    let found = retry_on_intr(|| pread(fd, &mut bytes, 0)).map_err(OpenError::io("reading the header"))?;
    Header::read(&bytes[..found])
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};

    use crate::{error::OpenError, seals};

    #[test]
    fn memory_that_shrinks_after_its_size_was_seen_is_refused_though_it_is_sealed_then() {
        let fd = memfd_create("strait-region:test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        fallocate(&fd, FallocateFlags::empty(), 0, 1 << 16).unwrap();
        let checked = super::check_file_while(fd.as_fd(), 1 << 20, &super::SEALED, || {
            ftruncate(&fd, 0).unwrap();
            fcntl_add_seals(&fd, seals::REQUIRED).unwrap();
        });
        assert!(matches!(checked, Err(OpenError::Unsealed { .. })), "{checked:?}");
    }
}
