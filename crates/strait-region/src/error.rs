//! What can go wrong, one variant for each refusal.

use std::{fmt, io};

/// Why a region could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The name is longer than the kernel takes.
    #[error("the name of the memory has {bytes} bytes, the kernel takes at most {max}: choose a shorter one")]
    NameTooLong {
        /// Length of the name in bytes.
        bytes: usize,
        /// The longest name in bytes.
        max: usize,
    },
    /// The name has a NUL byte in it.
    #[error("the name of the memory has a NUL byte at {at}: names end there for the kernel")]
    NameWithNul {
        /// Index of the first NUL byte.
        at: usize,
    },
    /// No peer would open a region with this header.
    #[error("no peer would open memory with this header: {0}")]
    Header(#[source] OpenError),
    /// More memory than the machine has.
    #[error("{bytes} bytes are more than the memory of this machine ({max} bytes): ask for a smaller ring")]
    TooLarge {
        /// What was asked for, in bytes.
        bytes: u64,
        /// The machine's memory in bytes.
        max: u64,
    },
    /// More than the limit for files, which counts for memfds too and whose excess would be a deadly signal.
    #[error("{bytes} bytes are more than RLIMIT_FSIZE allows ({max} bytes): raise it (`ulimit -f`) or ask for less")]
    FileSizeLimit {
        /// What was asked for, in bytes.
        bytes: u64,
        /// The soft limit in bytes.
        max: u64,
    },
    /// Huge pages were asked for, and the size is not a multiple of theirs.
    #[error("{bytes} bytes are no multiple of a huge page ({page_bytes} bytes): round up, or take ordinary pages")]
    HugeSize {
        /// What was asked for, in bytes.
        bytes: u64,
        /// The size of a huge page in bytes.
        page_bytes: u64,
    },
    /// The machine has not set aside enough huge pages.
    #[error(
        "{needed} huge pages of 2 MiB are needed and {free} are free: reserve them (`sysctl vm.nr_hugepages=<n>`), or take ordinary pages"
    )]
    NoHugePages {
        /// Pages that the region needs.
        needed: u64,
        /// Pages that were free just after the refusal, as the kernel shows them.
        free: u64,
    },
    /// A frozen region of no bytes, or of more than there is room for.
    #[error("a frozen region of {bytes} bytes, expected 1 to {max}")]
    FrozenLength {
        /// What was asked for, in bytes.
        bytes: u64,
        /// The most there is room for, in bytes.
        max: u64,
    },
    /// Somebody else can still write memory that was to be frozen.
    #[error("the memory cannot be frozen: another process has mapped or pinned it, though it was sent to nobody")]
    StillMapped,
    /// The process was forked since the memory was made.
    #[error(transparent)]
    Forked(#[from] Forked),
    /// The kernel refused.
    #[error("{operation} failed: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a descriptor was not opened as a peer's region. Nothing was mapped, and the descriptor is closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a file at all.
    #[error("this is {found}, expected memory: a memfd, or the file of a named region")]
    NotRegular {
        /// What it is, with its article.
        found: &'static str,
    },
    /// A file that cannot carry seals.
    #[error("the file cannot be sealed, expected a memfd that was made with MFD_ALLOW_SEALING")]
    NotSealable,
    /// Sealed, but not memory of the ordinary kind.
    #[error("the file system is of type {found:#x}, expected tmpfs (0x1021994): huge-page memfds are not taken here")]
    NotTmpfs {
        /// `f_type` of statfs(2).
        found: u64,
    },
    /// The size is not that of a region.
    #[error("the memory has {found} bytes, expected a multiple of {page_bytes} and at least {}", crate::HEADER_BYTES)]
    Size {
        /// The size in bytes.
        found: u64,
        /// The page size in bytes.
        page_bytes: u64,
    },
    /// There are no bytes.
    #[error("the memory has no bytes, expected at least one")]
    Empty,
    /// More than this side is ready to map.
    #[error(
        "the memory has {bytes} bytes, at most {max} are accepted: raise the limit or ask the peer for a smaller ring"
    )]
    TooLarge {
        /// The size in bytes.
        bytes: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// Pages are missing, and reading one could be a deadly signal.
    #[error("only {allocated_bytes} of {size_bytes} bytes are allocated: the maker has to fallocate all of it")]
    Holes {
        /// Bytes that the kernel has allocated.
        allocated_bytes: u64,
        /// The size in bytes.
        size_bytes: u64,
    },
    /// Seals are missing.
    #[error(
        "the memory has the seals {found} and lacks {missing}: the maker has to add them before it sends the memory"
    )]
    Unsealed {
        /// The seals that are there, as `GROW|SHRINK`, or `none`.
        found: String,
        /// The seals that are missing, in the same form.
        missing: String,
    },
    /// Fewer bytes than a header has.
    #[error("the header has {found} bytes, expected {expected}")]
    Truncated {
        /// Bytes that were there.
        found: usize,
        /// Bytes of a header.
        expected: usize,
    },
    /// Not a header of strait.
    #[error("the header starts with {found:#018x}, expected {expected:#018x}: this is not memory of strait")]
    Magic {
        /// The first eight bytes, little-endian.
        found: u64,
        /// The magic number.
        expected: u64,
    },
    /// A header of another version.
    #[error("the header has version {found}, expected {expected}: both sides need the same release")]
    Version {
        /// The header's version.
        found: u32,
        /// The version of this build.
        expected: u32,
    },
    /// Memory for another purpose.
    #[error("the memory is of kind {found}, expected {expected}")]
    Kind {
        /// The header's kind.
        found: u32,
        /// The kind that was asked for.
        expected: u32,
    },
    /// The two sides place things differently.
    #[error(
        "the layout hash is {found:#010x}, expected {expected:#010x}: the two sides were built from different layouts"
    )]
    LayoutHash {
        /// The header's hash.
        found: u32,
        /// The hash of this build.
        expected: u32,
    },
    /// The header does not tell the memory's size.
    #[error("the header speaks of {found} bytes, expected {expected}, the size of the memory")]
    TotalBytes {
        /// What the header says.
        found: u64,
        /// The size of the memory in bytes.
        expected: u64,
    },
    /// The ring's capacity cannot be.
    #[error("the ring capacity is {found} bytes, expected 0 or a power of two of at most {max}")]
    RingCapacity {
        /// What the header says.
        found: u64,
        /// What has room beside the header page.
        max: u64,
    },
    /// The largest message is larger than the ring.
    #[error("the largest message is {found} bytes, expected at most the ring's {max}")]
    MaxMessage {
        /// What the header says.
        found: u64,
        /// The ring's capacity in bytes.
        max: u64,
    },
    /// An alignment of records that is not in use.
    #[error("records are aligned to {found} bytes, expected 16 or 64")]
    Alignment {
        /// What the header says.
        found: u32,
    },
    /// Memory of another session.
    #[error("the memory belongs to session {}, expected {}: it is stale or was swapped", Hex(found), Hex(expected))]
    Session {
        /// The header's session.
        found: [u8; 16],
        /// The session that was agreed on.
        expected: [u8; 16],
    },
    /// The process was forked since the region that is to be mapped again was made or opened.
    #[error(transparent)]
    Forked(#[from] Forked),
    /// The kernel refused.
    #[error("{operation} failed: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why something could not be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The alignment is none.
    #[error("an alignment of {found} bytes, expected a power of two")]
    Alignment {
        /// What was asked for, in bytes.
        found: u64,
    },
    /// The end would lie beyond what a file can have.
    #[error("{len_bytes} bytes aligned to {align_bytes} after the first {used_bytes} are more than {max} in all")]
    TooLarge {
        /// Bytes placed so far.
        used_bytes: u64,
        /// Bytes to place.
        len_bytes: u64,
        /// Their alignment.
        align_bytes: u64,
        /// The largest end of a layout, in bytes.
        max: u64,
    },
}

/// The process was forked since the handle was made, and the handle belongs to the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this handle belongs to the parent process, its memory is not mapped here: make a new one in this process")]
pub struct Forked;

/// Shows bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8; 16]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl CreateError {
    /// For `map_err`: the kernel's refusal of `operation`.
    pub(crate) fn io<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { operation, source: source.into() }
    }
}

impl OpenError {
    /// For `map_err`: the kernel's refusal of `operation`.
    pub(crate) fn io<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { operation, source: source.into() }
    }
}
