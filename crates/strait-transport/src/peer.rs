//! Who the peer is: the same user, or nobody we talk to.

use std::os::fd::BorrowedFd;

use crate::{
    error::Error,
    socket::fds::{Credentials, credentials},
};

/// What the kernel shows for a user that this namespace does not know.
const OVERFLOW_UID: u32 = 65534;

/// Checks that the peer runs as the same user, and returns who it is.
pub(crate) fn check_same_user(socket: BorrowedFd<'_>) -> Result<Credentials, Error> {
    let found = credentials(socket).map_err(|error| Error::io("getsockopt(SO_PEERCRED)", error))?;
    let expected = rustix::process::geteuid().as_raw();
    if found.uid != expected || found.uid == OVERFLOW_UID {
        tracing::warn!(target: "strait", expected, found = found.uid, "refused a peer of another user");
        return Err(Error::OtherUser { expected, found: found.uid });
    }
    Ok(found)
}
