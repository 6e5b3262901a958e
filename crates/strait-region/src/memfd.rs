//! Making a memfd: create, allocate, seal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{FallocateFlags, MemfdFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create},
    io::{Errno, retry_on_intr},
    process::{Resource, getrlimit},
    system::sysinfo,
};

use strait_sync::fail_point;

use crate::{
    error::CreateError,
    options::{HUGE_PAGE_BYTES, Pages, free_huge_pages},
    seals,
};

/// The longest name that memfd_create(2) takes.
const NAME_BYTES_MAX: usize = 249;

/// What is allocated by one system call. On older kernels any signal makes the kernel undo the whole call, so one call
/// must be short beside the time between two signals of a profiler; and a huge page should fit in.
const ALLOCATE_BYTES: u64 = 2 << 20;

/// Creates a memfd named `name` of `total_bytes` bytes, all of them allocated.
pub(crate) fn create(name: &str, total_bytes: u64, pages: Pages) -> Result<OwnedFd, CreateError> {
    if let Some(at) = name.bytes().position(|byte| byte == 0) {
        return Err(CreateError::NameWithNul { at });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(CreateError::NameTooLong { bytes: name.len(), max: NAME_BYTES_MAX });
    }
    let huge = pages == Pages::Huge;
    if huge && !total_bytes.is_multiple_of(HUGE_PAGE_BYTES) {
        return Err(CreateError::HugeSize { bytes: total_bytes, page_bytes: HUGE_PAGE_BYTES });
    }
    check_limits(total_bytes)?;
    let kind = if huge { MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB } else { MemfdFlags::empty() };
    let fd = open(kind, |flags| memfd_create(name, flags)).map_err(CreateError::io("memfd_create"))?;
    fail_point!("region.created");
    match allocate(fd.as_fd(), total_bytes) {
        Err(Errno::NOSPC | Errno::NOMEM) if huge => {
            Err(CreateError::NoHugePages { needed: total_bytes / HUGE_PAGE_BYTES, free: free_huge_pages() })
        }
        other => other.map_err(CreateError::io("allocating the memory of the memfd")).map(|()| fd),
    }
}

/// Gives the empty file `fd` its size and all its memory.
pub(crate) fn allocate(fd: BorrowedFd<'_>, total_bytes: u64) -> Result<(), Errno> {
    retry_on_intr(|| ftruncate(fd, total_bytes))?;
    fail_point!("region.sized");
    for start in (0..total_bytes).step_by(ALLOCATE_BYTES as usize) {
        let len = ALLOCATE_BYTES.min(total_bytes - start);
        retry_on_intr(|| fallocate(fd, FallocateFlags::empty(), start, len))?;
    }
    Ok(())
}

/// Refuses what could not end well: the kernel would try to find the memory until it has to kill somebody, and tells of
/// the limit for files by a deadly signal.
pub(crate) fn check_limits(total_bytes: u64) -> Result<(), CreateError> {
    let system = sysinfo();
    // The type of `totalram` depends on the target.
    #[allow(clippy::useless_conversion)]
    let max = u64::from(system.totalram).saturating_mul(u64::from(system.mem_unit));
    if total_bytes > max {
        return Err(CreateError::TooLarge { bytes: total_bytes, max });
    }
    match getrlimit(Resource::Fsize).current {
        Some(max) if total_bytes > max => Err(CreateError::FileSizeLimit { bytes: total_bytes, max }),
        _ => Ok(()),
    }
}

/// Calls `create` with `kind` and the flags of a region; `NOEXEC_SEAL` is left out where the kernel does not know it (before 6.3).
fn open<T>(kind: MemfdFlags, mut create: impl FnMut(MemfdFlags) -> Result<T, Errno>) -> Result<T, Errno> {
    let flags = kind | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match create(flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => create(flags),
        other => other,
    }
}

/// Seals `fd`: from here on only mappings that exist already can write it.
pub(crate) fn seal(fd: impl AsFd) -> Result<(), CreateError> {
    fcntl_add_seals(fd, seals::REQUIRED).map_err(CreateError::io("sealing the memfd (FUTURE_WRITE needs Linux 5.1)"))
}

/// Freezes `fd`: from here on nobody can write it, and it stays as it is.
pub(crate) fn freeze(fd: impl AsFd) -> Result<(), CreateError> {
    match fcntl_add_seals(fd, seals::FROZEN) {
        Err(Errno::BUSY) => Err(CreateError::StillMapped),
        other => other.map_err(CreateError::io("freezing the memfd")),
    }
}

#[cfg(test)]
mod tests {
    use rustix::{fs::MemfdFlags, io::Errno};

    /// The flags of each call, and the answer of a kernel that says `refusal` to NOEXEC_SEAL.
    fn flags_tried(refusal: Option<Errno>) -> (Vec<MemfdFlags>, Result<(), Errno>) {
        let mut tried = Vec::new();
        let answer = super::open(MemfdFlags::empty(), |flags| {
            tried.push(flags);
            match refusal {
                Some(errno) if flags.contains(MemfdFlags::NOEXEC_SEAL) => Err(errno),
                _ => Ok(()),
            }
        });
        (tried, answer)
    }

    const SEALABLE: MemfdFlags = MemfdFlags::CLOEXEC.union(MemfdFlags::ALLOW_SEALING);
    const ALL: MemfdFlags = SEALABLE.union(MemfdFlags::NOEXEC_SEAL);

    #[test]
    fn a_new_kernel_is_asked_once() {
        assert_eq!(flags_tried(None), (vec![ALL], Ok(())));
    }

    #[test]
    fn without_noexec_seal_the_memory_can_still_be_sealed() {
        assert_eq!(flags_tried(Some(Errno::INVAL)), (vec![ALL, SEALABLE], Ok(())));
    }

    #[test]
    fn other_refusals_are_final() {
        assert_eq!(flags_tried(Some(Errno::MFILE)), (vec![ALL], Err(Errno::MFILE)));
    }
}
