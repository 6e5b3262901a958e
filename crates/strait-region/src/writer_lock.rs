//! At most one writer, by the kernel's word.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

use strait_sync::fail_point;

use crate::{
    fork::ForkToken,
    process_fd::{ProcessFd, reopen},
};

/// The right to be the only writer of a region, for as long as it is held.
///
/// Works on memfds, sealed or not, and on named regions. The kernel gives it free when the holder drops it or dies,
/// however it dies; a holder that is merely stopped keeps it, for however long. There is no taking over.
///
/// It is an flock(2) on a description of its own: the memory is opened anew through `/proc`, so neither the region's
/// descriptor nor one that was sent or duplicated shares the lock, and taking it twice in one process fails too.
///
/// It is advisory: it keeps writers of good faith from each other. Whoever can open the memory, a reader too, can take
/// the lock, and so keep writers from it; whoever can write it can do so without the lock.
///
/// A forked child inherits the description behind the guard (until it runs another program): a drop in the parent
/// unlocks all the same, a drop in the child does nothing, but after the parent's *death* the lock stays taken until such
/// children end too. A child is not the holder, see [`is_held`](Self::is_held).
///
/// ```
/// use strait_region::{Header, OwnRegion, WriterLock, WriterLockError};
///
/// # let header = Header {
/// #     kind: 1,
/// #     layout_hash: 0,
/// #     total_bytes: 1 << 16,
/// #     ring_capacity_bytes: 0,
/// #     max_message_bytes: 0,
/// #     record_align_bytes: 16,
/// #     session: [0; 16],
/// # };
/// let region = OwnRegion::create("strait:example", &header)?;
/// let lock = WriterLock::try_acquire(region.fd())?;
/// let second = WriterLock::try_acquire(region.fd());
/// assert!(matches!(second, Err(WriterLockError::WriterTaken)));
/// drop(lock);
/// WriterLock::try_acquire(region.fd())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock is free again when this is dropped"]
pub struct WriterLock {
    fd: ProcessFd,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriterLockError {
    /// Somebody else is the writer.
    #[error("the memory has a writer already: it ends when that process drops its lock or dies")]
    WriterTaken,
    /// The kernel refused.
    #[error("{operation} failed: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl WriterLock {
    /// Takes the lock on the memory behind `region`, or says at once that it is taken.
    ///
    /// # Errors
    ///
    /// [`WriterLockError::WriterTaken`]; [`WriterLockError::Io`] where the memory cannot be opened anew: no `/proc`, no
    /// descriptor left, or memory that this user may not read.
    pub fn try_acquire(region: impl AsFd) -> Result<Self, WriterLockError> {
        let io = |operation| move |source| WriterLockError::Io { operation, source };
        let fork = ForkToken::current().map_err(io("mapping the page that tells of forks"))?;
        let fd: OwnedFd =
            reopen(region.as_fd(), OFlags::RDONLY).map_err(io("opening the memory anew through /proc/self/fd"))?;
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                fail_point!("writer_lock.taken");
                Ok(Self { fd: ProcessFd::new(fd, fork) })
            }
            Err(Errno::WOULDBLOCK) => Err(WriterLockError::WriterTaken),
            Err(errno) => Err(io("locking the memory")(errno.into())),
        }
    }

    /// Whether this process holds the lock: not so in a forked child.
    pub fn is_held(&self) -> bool {
        !self.fd.is_forked()
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        if self.is_held() {
            // Explicitly, because a forked child may keep the description open. What fails is made up for by the close.
            fail_point!("writer_lock.leaving");
            let _ = flock(&self.fd, FlockOperation::Unlock);
        }
    }
}
