//! The region that this process made.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};

use strait_sync::{RawWords, Words, WordsMut, fail_point};

use crate::{
    error::{CreateError, Forked, OpenError},
    fork::ForkToken,
    header::Header,
    inspect,
    mapping::Mapping,
    memfd,
    options::Options,
    private_view::PrivateView,
    process_fd::ProcessFd,
};

/// Memory that this process made: it alone writes, others may map it for reading.
///
/// The words cover the whole region, with the header in the first [`HEADER_BYTES`](crate::HEADER_BYTES). In a forked child
/// there is nothing behind them: see [`check_fork`](Self::check_fork).
///
/// Dropping it unmaps and closes in the process that made it, and leaks in a forked child. Peers keep what they have mapped.
#[derive(Debug)]
pub struct OwnRegion {
    mapping: Mapping,
    fd: ProcessFd,
    header: Header,
}

impl OwnRegion {
    /// Makes a region of `header.total_bytes` bytes, zeroed but for the header.
    ///
    /// In this order: checks the header as a peer would, creates a memfd that can be sealed and not be executed, allocates
    /// all of it, maps it so that children do not inherit it, writes the header, and seals it with
    /// `GROW | SHRINK | FUTURE_WRITE | SEAL`. `name` is for people (`/proc/<pid>/maps`), at most 249 bytes, and need not be
    /// unique.
    ///
    /// The memory counts for this process and its cgroup at once. Where the cgroup has less, the kernel acts as it does
    /// for any memory: it may end the process.
    ///
    /// ```
    /// use strait_region::{Header, OwnRegion};
    ///
    /// let header = Header {
    ///     kind: 1,
    ///     layout_hash: 0,
    ///     total_bytes: 1 << 16,
    ///     ring_capacity_bytes: 0,
    ///     max_message_bytes: 0,
    ///     record_align_bytes: 16,
    ///     session: [0; 16],
    /// };
    /// let region = OwnRegion::create("strait:example", &header)?;
    /// assert_eq!(region.header(), &header);
    /// # Ok::<(), strait_region::CreateError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CreateError::Header`] where no peer would open the result; [`CreateError::TooLarge`] and
    /// [`CreateError::FileSizeLimit`] before anything is allocated; [`CreateError::NameTooLong`] and
    /// [`CreateError::NameWithNul`]; [`CreateError::Io`] with what the kernel said for the rest: no descriptor left, no
    /// address space left, no memory left, a kernel before 5.1. Nothing stays behind.
    pub fn create(name: &str, header: &Header) -> Result<Self, CreateError> {
        Self::create_with(name, header, &Options::new())
    }

    /// As [`create`](Self::create), with huge pages, pages that are all present, or pages that stay in memory.
    ///
    /// ```
    /// use strait_region::{Header, Options, OwnRegion, Pages};
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
    /// let options = Options::new().pages(Pages::Transparent).prefault(true);
    /// let region = OwnRegion::create_with("strait:example", &header, &options)?;
    /// # Ok::<(), strait_region::CreateError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for `create`, and with [`Pages::Huge`](crate::Pages::Huge) [`CreateError::HugeSize`] and
    /// [`CreateError::NoHugePages`].
    pub fn create_with(name: &str, header: &Header, options: &Options) -> Result<Self, CreateError> {
        inspect::check_size(header.total_bytes).map_err(CreateError::Header)?;
        header.check_fields().map_err(CreateError::Header)?;
        let fork = ForkToken::current().map_err(CreateError::io("mapping the page that tells of forks"))?;
        let fd = memfd::create(name, header.total_bytes, options.pages)?;
        // Fits: only 64-bit targets are supported, and the kernel has just allocated that much.
        let mapping = Mapping::read_write(fd.as_fd(), header.total_bytes as usize, fork)
            .map_err(CreateError::io("mapping the memfd"))?;
        let region = Self { mapping, fd: ProcessFd::new(fd, fork), header: header.clone() };
        fail_point!("region.mapped");
        options
            .apply(&region.mapping, || prefault_by_hand(&region))
            .map_err(|(what, source)| CreateError::io(what)(source))?;
        region.copy_in(0, &header.encode());
        fail_point!("region.written");
        memfd::seal(region.fd())?;
        fail_point!("region.sealed");
        Ok(region)
    }

    /// The sealed memfd, safe to send to anyone: whoever gets it can read and map it, and write nothing.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The header, from private memory.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// A mapping of the same memory whose writes stay private to it.
    ///
    /// # Errors
    ///
    /// [`OpenError::Forked`] in a forked child, [`OpenError::Io`] where the kernel refuses to map.
    pub fn private_view(&self) -> Result<PrivateView, OpenError> {
        self.check_fork()?;
        PrivateView::map(self.fd(), self.header.total_bytes)
    }

    /// Whether this process may use the region. Costs one relaxed load.
    ///
    /// A forked child must not touch the words: they are not mapped there, and something else may be at their addresses.
    ///
    /// # Errors
    ///
    /// [`Forked`] in a forked child of the process that made the region.
    #[inline]
    pub fn check_fork(&self) -> Result<(), Forked> {
        self.mapping.fork().check()
    }
}

/// Writes each page as it is: for kernels that cannot do it by themselves (before 5.14).
fn prefault_by_hand(region: &OwnRegion) {
    for offset in (0..region.len_bytes()).step_by(rustix::param::page_size()) {
        let value = region.load(offset);
        // Nobody else has the memory yet; were it otherwise, the exchange would leave the other's value.
        let _ = region.compare_exchange(offset, value, value);
    }
}

// SAFETY: the mapping lives until drop and does not move with `self`.
unsafe impl Words for OwnRegion {
    #[inline]
    fn raw(&self) -> &RawWords {
        self.mapping.words()
    }
}

// SAFETY: `create` mapped the memory for reading and writing.
unsafe impl WordsMut for OwnRegion {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn prefaulting_by_hand_maps_all_pages_and_changes_no_word() {
        let header = Header {
            kind: 1,
            layout_hash: 0,
            total_bytes: 1 << 16,
            ring_capacity_bytes: 0,
            max_message_bytes: 0,
            record_align_bytes: 16,
            session: [0; 16],
        };
        let region = OwnRegion::create("strait-region:test", &header).unwrap();
        // ORDERING: Relaxed; one thread.
        region.store(8192, 7, Ordering::Relaxed);
        prefault_by_hand(&region);
        assert_eq!((region.load(8192), region.load(12288)), (7, 0));
        let start = format!("{:x}-", region.raw().as_ptr(0, 0).as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let resident = maps.split_once(&start).unwrap().1.lines().find(|line| line.starts_with("Rss:")).unwrap();
        assert_eq!(resident.split_whitespace().nth(1), Some("64"), "all of its kilobytes: {resident}");
    }
}
