//! Regions with a name, for processes that share no socket: POSIX shared memory, or files.
//!
//! ```text
//! create    file without a name (O_TMPFILE) -> size, memory, lease, header -> link: the name is there, whole and owned
//! open      whose is it, who may write it, size, header -> map
//! drop      owner: unlink, give the lease up; others: unmap
//! kill -9   the kernel gives the lease up; the name stays, stale, until create or sweep finds it
//! ```
//!
//! The lease is in `lease`, what makes a name stale in `stale`.

#![allow(unsafe_code)]

mod error;
mod lease;
mod place;
mod publish;
mod record;
mod stale;
mod sweep;
mod view;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{AtFlags, OFlags, unlinkat},
    io::Errno,
};
use strait_sync::{HonestPeer, RawWords, Words, WordsMut, fail_point};

pub use self::{
    error::NamedError,
    place::Place,
    sweep::{Swept, sweep},
    view::NamedView,
};
use self::{
    lease::{Lease, Role},
    stale::Kept,
};
use crate::{
    error::{CreateError, Forked, OpenError},
    fork::ForkToken,
    header::Header,
    inspect,
    mapping::Mapping,
    memfd,
    peer::Expected,
    private_view::PrivateView,
    process_fd::ProcessFd,
};

/// Memory with a name, mapped for reading and writing: made here, or by an honest peer.
///
/// Memory with a name cannot be sealed. Every process of the same user that opens it may write all of it, and **may cut it
/// off**: a truncated file ends whoever touches the missing pages with the signal `SIGBUS`. That is why opening asks for
/// [`HonestPeer`]. Where a descriptor can be sent, [`OwnRegion`](crate::OwnRegion) is the better choice.
///
/// The process that made it owns the name: it removes it on drop, unless told to [`persist`](Self::persist). Where it is
/// killed, the name stays and is *stale*; the next [`create`](Self::create) of that name replaces it, and
/// [`sweep`] removes it. An owner that lives, a stopped one too, is never taken for dead: it holds a lock that only
/// its end releases.
///
/// In a forked child there is nothing behind the words, see [`check_fork`](Self::check_fork); a drop there leaks and removes
/// nothing. A forked child inherits the lock, though, so that a killed owner's name is stale only when such children
/// have ended too, or run another program.
///
/// ```
/// use std::sync::atomic::Ordering;
/// use strait_region::{Expected, HEADER_BYTES, Header, NamedRegion, Place};
/// use strait_sync::{HonestPeer, Words, WordsMut};
///
/// let header = Header {
///     kind: 1,
///     layout_hash: 0x5eed,
///     total_bytes: 1 << 16,
///     ring_capacity_bytes: 0,
///     max_message_bytes: 0,
///     record_align_bytes: 16,
///     session: [0; 16],
/// };
/// let name = format!("strait-region-doctest-{}", std::process::id());
/// let owner = NamedRegion::create(&Place::shm(), &name, &header)?;
///
/// // In another process of the same user:
/// let expected = Expected { kind: 1, layout_hash: 0x5eed, max_total_bytes: 1 << 20, session: None };
/// // SAFETY: whoever opens this name runs this program, which neither truncates it nor writes out of turn.
/// let honest = unsafe { HonestPeer::assume() };
/// let reader = NamedRegion::open_read_only(&Place::shm(), &name, &expected, honest)?;
///
/// owner.store(HEADER_BYTES, 42, Ordering::Release);
/// assert_eq!(reader.load(HEADER_BYTES), 42);
/// # Ok::<(), strait_region::NamedError>(())
/// ```
#[derive(Debug)]
pub struct NamedRegion {
    // Before the others, so that the name is gone before the memory is.
    name: Option<OwnedName>,
    mapping: Mapping,
    fd: ProcessFd,
    header: Header,
}

/// A name that this process removes when it is done.
#[derive(Debug)]
struct OwnedName {
    directory: ProcessFd,
    name: String,
    lease: Lease,
    persistent: bool,
}

impl NamedRegion {
    /// Makes a region of `header.total_bytes` bytes named `name`, zeroed but for the header, with the mode 0600.
    ///
    /// It gets its name only when it is whole, so nobody opens half a region. A stale region of that name is removed.
    /// Of several processes that try at once, one gets the name; the others get [`NamedError::InUse`]. `name` is 1 to 255 bytes
    /// without `/`.
    ///
    /// # Errors
    ///
    /// [`NamedError::InUse`] where an owner lives, [`NamedError::Persistent`] where one wanted the region to stay,
    /// [`NamedError::Foreign`], [`NamedError::Owner`] and [`NamedError::Mode`] where the name is of something that is not
    /// ours to remove; [`NamedError::Create`] as for [`OwnRegion::create`](crate::OwnRegion::create);
    /// [`NamedError::Name`], [`NamedError::Place`], [`NamedError::Contended`]; [`NamedError::Io`] with what the kernel said
    /// for the rest. Nothing stays behind.
    pub fn create(place: &Place, name: &str, header: &Header) -> Result<Self, NamedError> {
        place::check_name(name)?;
        inspect::check_size(header.total_bytes).map_err(CreateError::Header)?;
        header.check_fields().map_err(CreateError::Header)?;
        memfd::check_limits(header.total_bytes)?;
        let fork = fork_token()?;
        let directory = place.open()?;
        // A first look, before memory is taken for nothing.
        stale::remove(directory.as_fd(), name, Kept::Keep, fork)?;

        let fd = publish::nameless(directory.as_fd(), header.total_bytes)?;
        let lease =
            Lease::take(fd.as_fd(), Role::Owner, fork).map_err(NamedError::io("taking the lease on the region"))?;
        let lease = lease.ok_or(Errno::BUSY).map_err(NamedError::io("taking the lease on the region"))?;
        fail_point!("named.leased");
        // Fits: only 64-bit targets are supported, and the kernel has just allocated that much.
        let mapping = Mapping::read_write(fd.as_fd(), header.total_bytes as usize, fork)
            .map_err(NamedError::io("mapping the region"))?;
        let mut region = Self { name: None, mapping, fd: ProcessFd::new(fd, fork), header: header.clone() };
        region.copy_in(0, &header.encode());
        record::write_pid(&region);
        fail_point!("named.written");
        publish::link(region.fd(), directory.as_fd(), name, fork)?;
        fail_point!("named.linked");
        let directory = ProcessFd::new(directory, fork);
        region.name = Some(OwnedName { directory, name: name.to_owned(), lease, persistent: false });
        Ok(region)
    }

    /// Opens the region named `name` for reading and writing.
    ///
    /// Checks before anything is mapped: a regular file (no link is followed) of this process's effective user, which
    /// neither group nor others may write; a size that is a multiple of the page size, at least
    /// [`HEADER_BYTES`](crate::HEADER_BYTES) and at most `expected.max_total_bytes`, with every page allocated; and the
    /// header, as [`PeerRegion::open`](crate::PeerRegion::open) does.
    ///
    /// These checks find mistakes. What they found can be undone by any process that opens the same name, and that is
    /// what `honest` vouches for: that none does. A peer that truncates the file ends this process with `SIGBUS` as
    /// soon as it touches a page that is gone; one that writes out of turn changes words, which are input as ever.
    ///
    /// A stale region opens too, for what is in it: see [`has_owner`](Self::has_owner).
    ///
    /// # Errors
    ///
    /// [`NamedError::NotFound`]; [`NamedError::Owner`], [`NamedError::Mode`] and [`NamedError::Open`] for the first check that
    /// fails; [`NamedError::Name`], [`NamedError::Place`]; [`NamedError::Io`] where the kernel refuses to answer or to map.
    pub fn open(place: &Place, name: &str, expected: &Expected, honest: HonestPeer) -> Result<Self, NamedError> {
        let (fd, header, fork) = open_checked(place, name, expected, honest, OFlags::RDWR)?;
        let mapping = Mapping::read_write(fd.as_fd(), header.total_bytes as usize, fork)
            .map_err(NamedError::io("mapping the region"))?;
        Ok(Self { name: None, mapping, fd: ProcessFd::new(fd, fork), header })
    }

    /// As [`open`](Self::open), for reading only: this side cannot write by mistake.
    ///
    /// # Errors
    ///
    /// As for `open`.
    pub fn open_read_only(
        place: &Place,
        name: &str,
        expected: &Expected,
        honest: HonestPeer,
    ) -> Result<NamedView, NamedError> {
        let (fd, header, fork) = open_checked(place, name, expected, honest, OFlags::RDONLY)?;
        let mapping = Mapping::read_only(fd.as_fd(), header.total_bytes as usize, fork)
            .map_err(NamedError::io("mapping the region"))?;
        Ok(NamedView::new(mapping, ProcessFd::new(fd, fork), header))
    }

    /// Removes the name of a region whose owner is gone, also one that was [persisted](Self::persist). Who has it open keeps
    /// the memory. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`NamedError::InUse`] where the owner lives; [`NamedError::Foreign`], [`NamedError::Owner`] and [`NamedError::Mode`]
    /// where it is not ours to remove; [`NamedError::Name`], [`NamedError::Place`], [`NamedError::Contended`],
    /// [`NamedError::Io`].
    pub fn remove(place: &Place, name: &str) -> Result<bool, NamedError> {
        place::check_name(name)?;
        let fork = fork_token()?;
        stale::remove(place.open()?.as_fd(), name, Kept::Remove, fork)
    }

    /// Makes the name outlive this process: neither drop nor [`sweep`] removes it, and [`create`](Self::create) refuses
    /// to replace it. [`remove`](Self::remove) does, once this process is done with it. Does nothing where this process does
    /// not own the name.
    pub fn persist(&mut self) {
        if let Some(name) = &mut self.name
            && !name.lease.is_forked()
        {
            name.persistent = true;
            fail_point!("named.persisting");
            record::write_persistent(self);
            fail_point!("named.persisted");
        }
    }

    /// Whether this process made the region and owns its name.
    pub fn is_owner(&self) -> bool {
        self.name.as_ref().is_some_and(|name| !name.lease.is_forked())
    }

    /// Whether the process that made the region lives and has not dropped it. Once `false`, it stays so. The kernel is asked
    /// each time.
    ///
    /// # Errors
    ///
    /// [`NamedError::Forked`] in a forked child; [`NamedError::Io`] where the file system has no such locks.
    pub fn has_owner(&self) -> Result<bool, NamedError> {
        has_owner(&self.fd)
    }

    /// A mapping of the same memory whose writes stay private to it. Truncation ends it as it does the region.
    ///
    /// # Errors
    ///
    /// [`OpenError::Forked`] in a forked child, [`OpenError::Io`] where the kernel refuses to map.
    pub fn private_view(&self) -> Result<PrivateView, OpenError> {
        self.check_fork()?;
        PrivateView::map(self.fd(), self.header.total_bytes)
    }

    /// The file, for a [`WriterLock`](crate::WriterLock). It is not sealed: whoever gets it may write and truncate.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The header, from private memory.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether this process may use the region. Costs one relaxed load.
    ///
    /// # Errors
    ///
    /// [`Forked`] in a forked child of the process that made or opened the region.
    #[inline]
    pub fn check_fork(&self) -> Result<(), Forked> {
        self.mapping.fork().check()
    }
}

impl Drop for OwnedName {
    fn drop(&mut self) {
        if self.persistent || self.lease.is_forked() {
            return;
        }
        // The lock is held, so no other process of ours replaces the file in between. Where the name is gone or another's
        // already, nothing is to be done; where the kernel refuses, the name is stale and swept by the next.
        let directory = self.directory.as_fd();
        if let Ok(true) = place::is_named(directory, &self.name, self.lease.fd()) {
            fail_point!("named.removing");
            let _ = unlinkat(directory, &self.name, AtFlags::empty());
            fail_point!("named.removed");
        }
    }
}

fn fork_token() -> Result<ForkToken, NamedError> {
    ForkToken::current().map_err(NamedError::io("mapping the page that tells of forks"))
}

fn has_owner(fd: &ProcessFd) -> Result<bool, NamedError> {
    if fd.is_forked() {
        return Err(Forked.into());
    }
    Lease::is_held(fd.as_fd(), Role::Owner).map_err(NamedError::io("asking whether the owner lives"))
}

/// Opens and checks; what is mapped afterwards is as long as the header says.
fn open_checked(
    place: &Place,
    name: &str,
    expected: &Expected,
    _honest: HonestPeer,
    access: OFlags,
) -> Result<(OwnedFd, Header, ForkToken), NamedError> {
    place::check_name(name)?;
    let fork = fork_token()?;
    let fd = place::open_file(place.open()?.as_fd(), name, access)?;
    let size_bytes = inspect::check_extent(fd.as_fd(), expected.max_total_bytes, inspect::check_size)?;
    let header = inspect::read_header(fd.as_fd())?;
    header.check(size_bytes, expected)?;
    Ok((fd, header, fork))
}

// SAFETY: the mapping lives until drop and does not move with `self`.
unsafe impl Words for NamedRegion {
    #[inline]
    fn raw(&self) -> &RawWords {
        self.mapping.words()
    }
}

// SAFETY: `create` and `open` mapped the memory for reading and writing.
unsafe impl WordsMut for NamedRegion {}
