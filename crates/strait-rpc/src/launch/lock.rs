//! At most one client starts a service at a time.
//!
//! The lock is `flock` on `<name>.launch` beside the service's socket. It cannot be the lock on the runtime directory itself: the
//! server takes that one to bind, while the client holds this one. Nor a byte-range lock there, which directories don't have;
//! nor an abstract socket, which other users can take first and which ends at the network namespace. So there is a file while
//! a server starts, and whoever holds the lock removes it before letting go. The kernel gives the lock back where its
//! holder dies; the empty file that it leaves then is taken over, and removed, by the next start.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};
use strait_sync::fail_point;
use strait_transport::Error;

/// Held while a server starts.
#[derive(Debug)]
pub(super) struct StartLock {
    file: OwnedFd,
    path: PathBuf,
}

impl StartLock {
    /// Takes the lock at `path` if nobody holds it.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>, Error> {
        Self::take(open(path)?, path)
    }

    fn take(file: OwnedFd, path: &Path) -> Result<Option<Self>, Error> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => fail_point!("launch.flocked"),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(io("flock", error)),
        }
        // Who held it may have removed it between our `open` and `flock`; then this is a lock on nothing.
        let ours = rustix::fs::fstat(&file).map_err(|error| io("fstat", error))?;
        match rustix::fs::lstat(path) {
            Ok(now) if (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino) => {
                Ok(Some(Self { file, path: path.to_owned() }))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io("lstat", error)),
        }
    }
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| io("opening the lock of a server's start", error))
}

impl Drop for StartLock {
    fn drop(&mut self) {
        fail_point!("launch.unlocking");
        let _ = rustix::fs::unlink(&self.path);
        fail_point!("launch.unlinked");
        // Closing would not do where another thread has forked meanwhile: the child's copy would hold the lock.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

fn io(operation: &'static str, source: Errno) -> Error {
    Error::Io { operation, source: Arc::new(source.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_no_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service.launch");
        let lock = StartLock::try_take(&path).unwrap().unwrap();
        assert!(StartLock::try_take(&path).unwrap().is_none());
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service.launch");
        let held = StartLock::try_take(&path).unwrap().unwrap();
        let too_early = open(&path).unwrap();
        drop(held);
        assert!(StartLock::take(too_early, &path).unwrap().is_none());
        let held = StartLock::try_take(&path).unwrap().unwrap();
        assert!(StartLock::take(open(&path).unwrap(), &path).unwrap().is_none());
        drop(held);
    }

    #[test]
    fn no_two_hold_it_although_each_removes_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service.launch");
        let held = std::sync::Mutex::new(());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut taken = 0;
                    while taken < 500 {
                        let Some(_lock) = StartLock::try_take(&path).unwrap() else {
                            std::thread::yield_now();
                            continue;
                        };
                        let _alone = held.try_lock().expect("two hold the lock");
                        taken += 1;
                    }
                });
            }
        });
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_holder_left_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service.launch");
        std::fs::write(&path, b"").unwrap();
        drop(StartLock::try_take(&path).unwrap().unwrap());
        assert!(!path.exists());
    }
}
