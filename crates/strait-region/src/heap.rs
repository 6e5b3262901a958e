//! The region of a single process.

/// The in-process region: for two ends inside one process, and for tests.
///
/// Nobody else can reach it, so it has no header, no seals and no fork rule: a forked child gets its own copy.
pub use strait_sync::Heap;
