//! The Unix stream socket: bytes, descriptors and frames.

pub(crate) mod fds;
pub(crate) mod framed;
