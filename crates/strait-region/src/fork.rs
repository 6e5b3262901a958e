//! Knowing that one is a forked child.
//!
//! One page per process carries a number; `MADV_WIPEONFORK` makes the kernel give every child the same page with zeroes in
//! it. A [`ForkToken`] keeps the number that it found, and belongs to another process where the page now says something
//! else:
//!
//! ```text
//! parent                      page 1|pid     its tokens: 1|pid                      valid
//! child, right after fork     page 0         the parent's tokens                    forked
//! child, after current()      page 2|pid     the parent's tokens forked, its own    valid
//! ```
//!
//! The number is a counter, which goes up by one in each generation that asks for a token, and the process id: the
//! counter alone could come out the same on both sides of a fork that happens while another thread asks for the first one.
//!
//! No lock is involved, so a fork in the middle of anything here leaves nothing locked in the child.

#![allow(unsafe_code)]

use std::{
    io,
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::error::Forked;

/// The first word of the page, or null until somebody asks. The page stays for as long as the process.
static FLAG: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());

/// How many numbers were given out in this process and those before it.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// Remembers in which process it was made.
///
/// A child that runs in its parent's memory (vfork(2)) counts as its parent.
///
/// ```
/// use strait_region::ForkToken;
/// let token = ForkToken::current()?;
/// assert!(token.check().is_ok() && !token.is_forked());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ForkToken {
    flag: &'static AtomicU64,
    generation: u64,
}

impl ForkToken {
    /// A token of the process that calls.
    ///
    /// # Errors
    ///
    /// Where the first token of a process finds no memory for the page, or a kernel without `MADV_WIPEONFORK` (before Linux
    /// 4.14).
    pub fn current() -> io::Result<Self> {
        let flag = flag()?;
        // ORDERING: Relaxed; the number guards nothing, and is compared only with what this process found there itself.
        let mut generation = flag.load(Ordering::Relaxed);
        if generation == 0 {
            // ORDERING: Relaxed; only the number itself matters.
            let count = GENERATIONS.fetch_add(1, Ordering::Relaxed) + 1;
            let pid = rustix::process::getpid().as_raw_nonzero().get();
            let fresh = count << 32 | u64::from(pid.unsigned_abs());
            // ORDERING: Relaxed, as above; whoever comes second takes the number of the first.
            generation = match flag.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => fresh,
                Err(other) => other,
            };
        }
        Ok(Self { flag, generation })
    }

    /// Whether this is a forked child of the process that made the token. Costs one relaxed load.
    #[inline]
    pub fn is_forked(&self) -> bool {
        // ORDERING: Relaxed; this process sees the number that it found in `current`, or one that a fork left there.
        self.flag.load(Ordering::Relaxed) != self.generation
    }

    /// As [`is_forked`](Self::is_forked), for `?`.
    ///
    /// # Errors
    ///
    /// [`Forked`] in a child.
    #[inline]
    pub fn check(&self) -> Result<(), Forked> {
        if self.is_forked() { Err(Forked) } else { Ok(()) }
    }
}

/// The flag of this process, mapped when it is first asked for.
fn flag() -> io::Result<&'static AtomicU64> {
    // ORDERING: Acquire; pairs with the exchange in `publish`: the page is mapped before its address is known.
    let known = FLAG.load(Ordering::Acquire);
    let page = match NonNull::new(known) {
        Some(page) => page,
        None => publish(map_page()?),
    };
    // SAFETY: a page that is in `FLAG` is mapped, zeroed by the kernel, aligned, and never unmapped; it is only accessed
    // atomically.
    Ok(unsafe { page.as_ref() })
}

/// A fresh page that a fork wipes.
fn map_page() -> io::Result<NonNull<AtomicU64>> {
    let (bytes, access) = (rustix::param::page_size(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: a mapping at an address of the kernel's choice touches no memory that is in use.
    let page = unsafe { mmap_anonymous(null_mut(), bytes, access, MapFlags::PRIVATE) }?;
    // SAFETY: the range is the mapping from above, and this advice changes nothing but what a child will see.
    let advised = unsafe { madvise(page, bytes, Advice::LinuxWipeOnFork) };
    match (advised, NonNull::new(page.cast())) {
        (Ok(()), Some(page)) => Ok(page),
        (advised, _) => {
            // SAFETY: the mapping from above, which nobody else knows.
            unsafe { munmap(page, bytes) }?;
            Err(advised.err().unwrap_or(rustix::io::Errno::NOMEM).into())
        }
    }
}

/// Makes `page` the flag of this process, or frees it and returns the one that another thread was faster with.
fn publish(page: NonNull<AtomicU64>) -> NonNull<AtomicU64> {
    // ORDERING: AcqRel; Release pairs with the load in `flag`, Acquire with the exchange of a faster thread.
    let exchanged = FLAG.compare_exchange(null_mut(), page.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
    match exchanged.err().and_then(NonNull::new) {
        None => page,
        Some(faster) => {
            // SAFETY: the mapping that the caller made and that nobody else knows.
            // A page that could not be unmapped would only stay.
            let _ = unsafe { munmap(page.as_ptr().cast(), rustix::param::page_size()) };
            faster
        }
    }
}
