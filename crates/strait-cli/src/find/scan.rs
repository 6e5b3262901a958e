//! One look through the descriptors of all processes.

use std::{
    collections::BTreeMap,
    ffi::CStr,
    fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, fstatfs, openat, readlinkat, statat},
    io::Errno,
};

use super::{
    name::{self, Link},
    process::{Own, Process, ProcessDir, Unseen, hidepid},
};
use crate::failure::Failure;

/// `f_type` of tmpfs and of hugetlbfs, from statfs(2): no other memory is made by memfd_create(2).
const MEMORY: [u32; 2] = [0x0102_1994, 0x9584_58f6];

/// Which memory it is, whatever it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemoryId {
    device: u64,
    inode: u64,
    /// The user whom its maker acted for. Nobody else's memory gets this number.
    pub(crate) user_id: u32,
}

impl MemoryId {
    /// What a test calls memory.
    #[cfg(test)]
    pub(crate) fn of(inode: u64, user_id: u32) -> Self {
        Self { device: 0, inode, user_id }
    }
}

/// A process that holds a descriptor of memory.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(crate) memory: MemoryId,
    pub(crate) link: Link,
    pub(crate) process: Rc<Process>,
}

/// What could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blind {
    /// How many processes for which reason.
    pub(crate) unseen: BTreeMap<Unseen, usize>,
    /// The option by which /proc hides the processes of others, which nobody can count then.
    pub(crate) hidden_by: Option<String>,
}

/// What a look has found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) holdings: Vec<Holding>,
    pub(crate) blind: Blind,
}

/// Why nothing can be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error("cannot read {path}: {source}; /proc must be mounted where this command runs")]
    Proc { path: PathBuf, source: std::io::Error },
    #[error("no descriptor left to look with: raise `ulimit -n`")]
    NoDescriptor,
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        Self::DidNotHold(error.to_string())
    }
}

/// Looks at every process below `proc` (which is `/proc`), and shows `take` each memory that it finds.
///
/// `take` gets an `O_PATH` descriptor: nothing was opened yet, and that it leads to memory was asked, not believed.
pub(crate) fn scan(proc: &Path, take: &mut dyn FnMut(MemoryId, &Link, BorrowedFd<'_>)) -> Result<Scan, ScanError> {
    let unreadable = |source| ScanError::Proc { path: proc.to_owned(), source };
    let own = Own::read(proc).ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into()))?;
    let mut scan = Scan::default();
    for entry in fs::read_dir(proc).map_err(unreadable)? {
        let pid = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok());
        let Some(pid) = pid else { continue };
        match look_at(proc, pid, &mut scan.holdings, take) {
            Err(Errno::ACCESS | Errno::PERM) => {
                let why = ProcessDir::open(proc, pid).map_or(Some(Unseen::OtherUser), |dir| dir.why_unseen(&own));
                if let Some(why) = why {
                    *scan.blind.unseen.entry(why).or_default() += 1;
                }
            }
            Err(Errno::MFILE | Errno::NFILE) => return Err(ScanError::NoDescriptor),
            // Whatever else: it has ended meanwhile.
            Err(_) | Ok(()) => {}
        }
    }
    let mountinfo = fs::read(proc.join("self/mountinfo")).unwrap_or_default();
    scan.blind.hidden_by = hidepid(&String::from_utf8_lossy(&mountinfo));
    Ok(scan)
}

fn look_at(
    proc: &Path,
    pid: u32,
    holdings: &mut Vec<Holding>,
    take: &mut dyn FnMut(MemoryId, &Link, BorrowedFd<'_>),
) -> Result<(), Errno> {
    let dir = ProcessDir::open(proc, pid)?;
    let descriptors = dir.descriptors()?;
    let mut process = None;
    let first = holdings.len();
    for entry in Dir::read_from(&descriptors)? {
        let entry = entry?;
        let number = entry.file_name();
        // Many links, few of them ours: nothing is opened for the others.
        let Ok(target) = readlinkat(&descriptors, number, Vec::new()) else { continue };
        if name::read(target.as_bytes()) == Link::Other {
            continue;
        }
        if !may_write(&descriptors, number) {
            continue;
        }
        let Some((memory, link, handle)) = pin(&descriptors, number)? else { continue };
        if holdings[first..].iter().any(|holding| holding.memory == memory) {
            continue;
        }
        let Some(process) = process.get_or_insert_with(|| dir.process().map(Rc::new)) else { break };
        take(memory, &link, handle.as_fd());
        holdings.push(Holding { memory, link, process: process.clone() });
    }
    Ok(())
}

/// Whether a descriptor was opened for writing, as a maker's is: whoever cannot write only looks, as this command does.
fn may_write(descriptors: &OwnedFd, number: &CStr) -> bool {
    let link = statat(descriptors, number, AtFlags::SYMLINK_NOFOLLOW);
    link.is_ok_and(|link| Mode::from_raw_mode(link.st_mode).contains(Mode::WUSR))
}

/// Takes hold of what descriptor `number` leads to now, without opening it; `None` where that is no memory of ours (any
/// more).
///
/// Its process may put anything else in its place between two looks, and a pipe or a device can do much when it is
/// opened: what was taken hold of stays the same, and only then it is asked what it is.
fn pin(descriptors: &OwnedFd, number: &CStr) -> Result<Option<(MemoryId, Link, OwnedFd)>, Errno> {
    let handle = match openat(descriptors, number, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(error @ (Errno::MFILE | Errno::NFILE)) => return Err(error),
        Err(_) => return Ok(None),
        Ok(handle) => handle,
    };
    let (Ok(stat), Ok(file_system)) = (fstat(&handle), fstatfs(&handle)) else { return Ok(None) };
    // The type of the field depends on the target; the numbers of file systems have 32 bits.
    let is_memory =
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && MEMORY.contains(&(file_system.f_type as u32));
    if !is_memory {
        return Ok(None);
    }
    let Ok(target) = readlinkat(CWD, path(handle.as_fd()), Vec::new()) else { return Ok(None) };
    let link = name::read(target.as_bytes());
    let memory = MemoryId { device: stat.st_dev, inode: stat.st_ino, user_id: stat.st_uid };
    Ok((link != Link::Other).then_some((memory, link, handle)))
}

/// Opens for reading what `handle` has hold of.
pub(crate) fn open(handle: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(CWD, path(handle), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

/// Where this process finds its own descriptor.
fn path(handle: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use std::{ffi::CString, os::fd::AsFd};

    use rustix::fs::{FileType, MemfdFlags, memfd_create, mknodat};

    use super::*;

    /// What is taken hold of behind a descriptor of this process.
    fn pinned(fd: BorrowedFd<'_>) -> Option<Link> {
        let descriptors =
            openat(CWD, "/proc/self/fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let number = CString::new(fd.as_raw_fd().to_string()).unwrap();
        pin(&descriptors.unwrap(), &number).unwrap().map(|(_, link, _)| link)
    }

    #[test]
    fn only_memory_with_our_name_is_taken_hold_of() {
        let ours = memfd_create("strait:test", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(pinned(ours.as_fd()), Some(Link::Misnamed("strait:test".to_owned())));
        let other = memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(pinned(other.as_fd()), None);
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_a_device_and_a_directory_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        // Opening it for reading would wait for a writer: this does not open it.
        let pipe = openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for other in [pipe, fs::File::open("/dev/null").unwrap().into(), fs::File::open("/proc").unwrap().into()] {
            assert_eq!(pinned(other.as_fd()), None);
        }
    }

    #[test]
    fn a_proc_that_is_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = scan(dir.path(), &mut |_, _, _| ()).unwrap_err();
        assert!(error.to_string().contains("/proc must be mounted"), "{error}");
    }
}
