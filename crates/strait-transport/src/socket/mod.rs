//! The Unix stream socket: bytes, descriptors and frames.

#[cfg(not(strait_loom))]
pub(crate) mod fds;
#[cfg(strait_loom)]
#[path = "../modelled/fds.rs"]
pub(crate) mod fds;
pub(crate) mod framed;

#[cfg(not(strait_loom))]
pub use fds::passes_pidfds;
