//! Bytes and descriptors over a Unix stream socket.
//!
//! Source: unix(7), cmsg(3). `libc` instead of rustix, because rustix does not know `SCM_PIDFD` and its `ucred` cannot hold
//! the pid 0 that the kernel reports for a peer in another pid namespace.

#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use crate::error::Error;

const SO_PASSPIDFD: libc::c_int = 76;
const SCM_PIDFD: libc::c_int = 0x04;

/// Descriptors that one `recvmsg` may bring. More is a lying peer: the kernel closes what has no room and says so.
const MAX_RIGHTS: usize = 4;
const CONTROL_BYTES: usize = {
    // SAFETY: `CMSG_SPACE` computes a size from a size.
    let rights = unsafe { libc::CMSG_SPACE((MAX_RIGHTS * size_of::<libc::c_int>()) as u32) };
    // SAFETY: as above.
    let pidfd = unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) };
    (rights + pidfd) as usize
};

#[repr(C, align(16))]
struct Control([u8; CONTROL_BYTES]);

/// A descriptor that came with bytes.
pub(crate) type Fd = OwnedFd;
/// A descriptor that goes with bytes.
pub(crate) type FdRef<'a> = BorrowedFd<'a>;

/// What one `recvmsg` brought besides bytes.
#[derive(Debug, Default)]
pub(crate) struct Ancillary {
    /// Descriptors that the peer sent.
    pub(crate) fds: Vec<OwnedFd>,
    /// A descriptor of the process that sent the bytes.
    pub(crate) pidfd: Option<OwnedFd>,
    /// The kernel had to drop descriptors: too many, or none left here.
    pub(crate) truncated: bool,
}

/// Asks the kernel to attach the sender's pidfd to what arrives (Linux 6.5; elsewhere an error that may be ignored).
pub(crate) fn set_pass_pidfd(socket: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let value: libc::c_int = on.into();
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSPIDFD,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tries whether the kernel attaches the sender's pidfd to what comes over a socket, on a pair of sockets made for that. Without it
/// (before Linux 6.5) the death of a peer is learned from the hang-up of its socket alone.
///
/// # Errors
///
/// [`Error::Io`] with what the kernel said.
pub fn passes_pidfds() -> Result<(), Error> {
    let (ours, _theirs) = UnixStream::pair().map_err(|error| Error::io("socketpair", error))?;
    set_pass_pidfd(ours.as_fd(), true).map_err(|error| Error::io("setsockopt(SO_PASSPIDFD)", error))
}

/// Sends bytes, without blocking and without a signal, with at most one descriptor attached to the first of them.
///
/// Returns how many bytes went; the descriptor went with them if there was at least one.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: `msghdr` is plain data for which all zeroes is a valid empty value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    if let Some(fd) = fd {
        let raw = fd.as_raw_fd();
        header.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: computes a size from a size.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of_val(&raw) as u32) } as _;
        // SAFETY: `header` points to `control`, which has room for one header and one descriptor.
        let cmsg = unsafe { libc::CMSG_FIRSTHDR(&header) };
        // SAFETY: `cmsg` is not null, because the control length above fits a header.
        let cmsg = unsafe { &mut *cmsg };
        cmsg.cmsg_level = libc::SOL_SOCKET;
        cmsg.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: computes a size from a size.
        cmsg.cmsg_len = unsafe { libc::CMSG_LEN(size_of_val(&raw) as u32) } as _;
        // SAFETY: `cmsg` is a valid header in `control`.
        let data = unsafe { libc::CMSG_DATA(cmsg) };
        // SAFETY: `control` has room for one descriptor behind the header; it may be unaligned.
        unsafe { data.cast::<libc::c_int>().write_unaligned(raw) };
    }
    loop {
        // SAFETY: `header` points to `iov` and `control`, which outlive the call.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Receives bytes and whatever came with them, without blocking. 0 bytes is the end of the stream.
pub(crate) fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8], ancillary: &mut Ancillary) -> io::Result<usize> {
    let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: `msghdr` is plain data for which all zeroes is a valid empty value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES as _;
    let received = loop {
        // SAFETY: `header` points to `iov` over `bytes` and to `control`, all of which outlive the call.
        let received =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(received) {
            Ok(received) => break received,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    take_ancillary(&header, ancillary);
    Ok(received)
}

/// Receives bytes alone, without blocking. 0 bytes is the end of the stream.
pub(crate) fn receive_bytes(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    let (_, received) = rustix::net::recv(socket, bytes, rustix::net::RecvFlags::DONTWAIT)?;
    Ok(received)
}

/// Whether the kernel had no memory for a byte: it may have some in a moment.
pub(crate) fn lacks_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Takes ownership of each descriptor at once, so that none can leak.
fn take_ancillary(header: &libc::msghdr, ancillary: &mut Ancillary) {
    ancillary.truncated |= header.msg_flags & libc::MSG_CTRUNC != 0;
    // SAFETY: the kernel has filled in the control buffer that `header` points to.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: `CMSG_FIRSTHDR` and `CMSG_NXTHDR` return null or a header inside the buffer.
        let cmsg = unsafe { &*next };
        // SAFETY: computes a size from a size.
        let overhead = unsafe { libc::CMSG_LEN(0) } as usize;
        // SAFETY: `cmsg` is a valid header inside the buffer.
        let data = unsafe { libc::CMSG_DATA(cmsg) };
        let count = (cmsg.cmsg_len as usize).saturating_sub(overhead) / size_of::<libc::c_int>();
        let known = cmsg.cmsg_level == libc::SOL_SOCKET && matches!(cmsg.cmsg_type, libc::SCM_RIGHTS | SCM_PIDFD);
        for index in 0..if known { count } else { 0 } {
            // SAFETY: the kernel's length says that so many descriptors lie here.
            let place = unsafe { data.cast::<libc::c_int>().add(index) };
            // SAFETY: as above; possibly unaligned.
            let raw = unsafe { place.read_unaligned() };
            if raw < 0 {
                continue; // a pidfd of a process that is gone already
            }
            // SAFETY: the kernel has just installed this descriptor for us, and nobody else knows it.
            let fd = unsafe { OwnedFd::from_raw_fd(raw) };
            if cmsg.cmsg_type == libc::SCM_RIGHTS {
                ancillary.fds.push(fd);
            } else {
                ancillary.pidfd.get_or_insert(fd);
            }
        }
        // SAFETY: `header` and `next` belong together as above.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

/// Who is at the other end, as the kernel recorded it when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    /// 0 where the peer lives in another pid namespace. For logs only.
    pub(crate) pid: i32,
}

/// Reads `SO_PEERCRED`.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of_val(&found) as libc::socklen_t;
    // SAFETY: pointer and length describe `found`, which outlives the call; all bit patterns are valid for it.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut found).cast(), &raw mut len)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Credentials { uid: found.uid, pid: found.pid })
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn bytes_and_one_descriptor_arrive_together() {
        let (left, right) = UnixStream::pair().unwrap();
        let (marker, mut back) = UnixStream::pair().unwrap();
        assert_eq!(send(left.as_fd(), b"hello", Some(marker.as_fd())).unwrap(), 5);
        let mut ancillary = Ancillary::default();
        let mut bytes = [0; 16];
        assert_eq!(receive(right.as_fd(), &mut bytes, &mut ancillary).unwrap(), 5);
        assert_eq!(ancillary.fds.len(), 1);
        assert!(!ancillary.truncated);
        let sent = UnixStream::from(ancillary.fds.pop().unwrap());
        io::Write::write_all(&mut &sent, b"x").unwrap();
        let mut one = [0];
        io::Read::read_exact(&mut back, &mut one).unwrap();
        assert_eq!(&one, b"x");
    }

    #[test]
    fn the_senders_pidfd_comes_with_its_bytes() {
        let (left, right) = UnixStream::pair().unwrap();
        if set_pass_pidfd(right.as_fd(), true).is_err() {
            eprintln!("skipped: this kernel has no SO_PASSPIDFD");
            return;
        }
        send(left.as_fd(), b"a", None).unwrap();
        let mut ancillary = Ancillary::default();
        assert_eq!(receive(right.as_fd(), &mut [0; 4], &mut ancillary).unwrap(), 1);
        assert!(ancillary.pidfd.is_some());
        set_pass_pidfd(right.as_fd(), false).unwrap();
        send(left.as_fd(), b"b", None).unwrap();
        let mut ancillary = Ancillary::default();
        receive(right.as_fd(), &mut [0; 4], &mut ancillary).unwrap();
        assert!(ancillary.pidfd.is_none());
    }

    #[test]
    fn a_pair_of_sockets_belongs_to_this_process() {
        let (left, _right) = UnixStream::pair().unwrap();
        let found = credentials(left.as_fd()).unwrap();
        assert_eq!(found.uid, rustix::process::geteuid().as_raw());
        assert_eq!(found.pid, std::process::id() as i32);
    }
}
