//! Which pages a region is made of, and whether they are there from the start.

use std::io;

use memmap2::Advice;

use crate::mapping::Mapping;

/// Size of the huge pages that [`Pages::Huge`] takes, in bytes.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// What the kernel shows of them.
const FREE_HUGE_PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

/// The pages of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pages {
    /// The ordinary ones, of usually 4 KiB.
    #[default]
    Ordinary,
    /// Ordinary ones that the kernel may join into huge ones (`MADV_HUGEPAGE`). A wish: it has an effect only where
    /// `/sys/kernel/mm/transparent_hugepage/shmem_enabled` allows it, and it never fails.
    Transparent,
    /// Huge pages of 2 MiB that the administrator has reserved (`MFD_HUGETLB`). The size of the region must be a multiple of
    /// [`HUGE_PAGE_BYTES`], and the peer has to open it with this option too.
    Huge,
}

/// How a region is made or opened: [`OwnRegion::create_with`](crate::OwnRegion::create_with),
/// [`PeerRegion::open_with`](crate::PeerRegion::open_with).
///
/// ```
/// use strait_region::{Options, Pages};
/// let options = Options::new().pages(Pages::Transparent).prefault(true);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) pages: Pages,
    prefault: bool,
    lock: bool,
}

impl Options {
    /// Ordinary pages, mapped when they are first touched.
    pub const fn new() -> Self {
        Self { pages: Pages::Ordinary, prefault: false, lock: false }
    }

    /// Takes `pages`.
    #[must_use]
    pub const fn pages(mut self, pages: Pages) -> Self {
        self.pages = pages;
        self
    }

    /// Whether all pages are mapped at once, so that no first touch has to ask the kernel later. The memory itself is
    /// allocated in any case.
    #[must_use]
    pub const fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    /// Whether the pages stay in memory and are never swapped out (mlock(2)). Counts against `RLIMIT_MEMLOCK`; above that
    /// limit the region is not made.
    #[must_use]
    pub const fn lock(mut self, lock: bool) -> Self {
        self.lock = lock;
        self
    }

    /// Applies them to a fresh mapping; `prefault` touches each page where the kernel cannot. An error says what failed.
    pub(crate) fn apply(&self, mapping: &Mapping, prefault: impl FnOnce()) -> Result<(), (&'static str, io::Error)> {
        let Some(map) = mapping.map() else { return Ok(()) };
        if self.pages == Pages::Transparent {
            // A wish.
            let _ = map.advise(Advice::HugePage);
        }
        if self.lock {
            map.lock().map_err(|error| ("locking the memory (RLIMIT_MEMLOCK may be too low)", error))?;
        }
        if self.prefault {
            let advice = if mapping.is_writable() { Advice::PopulateWrite } else { Advice::PopulateRead };
            match map.advise(advice) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => prefault(),
                other => other.map_err(|error| ("mapping all pages", error))?,
            }
        }
        Ok(())
    }
}

/// Free huge pages of this machine; 0 where the kernel does not tell.
pub(crate) fn free_huge_pages() -> u64 {
    let text = std::fs::read_to_string(FREE_HUGE_PAGES).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
