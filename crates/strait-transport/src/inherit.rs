//! Connections to a child that one spawns: no name, no path, one inherited descriptor.
//!
//! The parent makes a pair of sockets and keeps one end. The other stays open in the child alone, whose environment has its
//! number and its cookie, the kernel's own number for that very socket; everywhere else it is closed by `exec`. From there on it
//! is a connection like any other: the child says `Hello`, the parent answers.
//!
//! ```no_run
//! use std::process::Command;
//! use strait_transport::{Options, inherit};
//!
//! // In the parent:
//! let (mut child, connection) = inherit::spawn(Command::new("worker"), &Options::default())?;
//! // In the child:
//! let connection = inherit::adopt(&Options::default())?;
//! # Ok::<(), strait_transport::Error>(())
//! ```

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use rustix::{
    io::FdFlags,
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt},
};

use strait_sync::fail_point;

use crate::{connect::Opening, connection::Connection, error::Error, options::Options};

/// The variable that tells a child of its descriptor: `NUMBER:COOKIE`, both decimal.
pub const VARIABLE: &str = "STRAIT_INHERITED";

/// What such a connection is called in logs and in the names of its segments.
const SERVICE: &str = "inherited";

/// The standard streams' descriptors are below.
const FIRST_FD: i32 = 3;

/// Whether the descriptor of this process was adopted.
static ADOPTED: AtomicBool = AtomicBool::new(false);

/// Spawns `command` with a socket of its own and waits for the child's [`adopt`], at most `limits.handshake_timeout`.
///
/// The command is consumed: what it tells the child holds once. Its child may replace itself (`exec`), and what it runs then
/// adopts the connection; a child of the child cannot.
///
/// # Errors
///
/// [`Error::Option`]; [`Error::Io`] where nothing could be spawned. [`Error::PeerGone`] where the child ended first,
/// [`Error::TimedOut`], [`Error::Refused`] with what it was told: then the child was killed and waited for.
pub fn spawn(command: Command, options: &Options) -> Result<(Child, Connection), Error> {
    let deadline = Instant::now() + options.limits.handshake_timeout;
    let (child, mut opening) = start(command, options, false)?;
    match opening.block(deadline, Opening::advance_server) {
        Ok(connection) => Ok((child, connection)),
        Err(error) => Err(reap(child, error)),
    }
}

/// As [`spawn`], for async use on the current tokio runtime. A future that is dropped leaves the child without its connection.
///
/// # Errors
///
/// As [`spawn`].
#[cfg(feature = "tokio")]
pub async fn spawn_async(command: Command, options: &Options) -> Result<(Child, Connection), Error> {
    let (child, mut opening) = start(command, options, true)?;
    let handshake = std::future::poll_fn(|cx| opening.poll(cx, Opening::advance_server));
    let timeout = Error::TimedOut { what: "the handshake" };
    match tokio::time::timeout(options.limits.handshake_timeout, handshake).await.unwrap_or(Err(timeout)) {
        Ok(connection) => Ok((child, connection)),
        Err(error) => Err(reap(child, error)),
    }
}

/// Takes over the connection that this process was spawned with. Works once.
///
/// # Errors
///
/// [`Error::Usage`] where this process was not spawned by [`spawn`], or has adopted it already; [`Error::OtherUser`],
/// [`Error::Refused`], [`Error::PeerGone`] and [`Error::TimedOut`] as of any connection.
pub fn adopt(options: &Options) -> Result<Connection, Error> {
    let deadline = Instant::now() + options.limits.handshake_timeout;
    let mut opening = adopted(options, false)?;
    opening.block(deadline, Opening::advance_client)
}

/// As [`adopt`], for async use on the current tokio runtime.
///
/// # Errors
///
/// As [`adopt`].
#[cfg(feature = "tokio")]
pub async fn adopt_async(options: &Options) -> Result<Connection, Error> {
    let mut opening = adopted(options, true)?;
    let handshake = std::future::poll_fn(|cx| opening.poll(cx, Opening::advance_client));
    let timeout = Error::TimedOut { what: "the handshake" };
    tokio::time::timeout(options.limits.handshake_timeout, handshake).await.unwrap_or(Err(timeout))
}

fn start(mut command: Command, options: &Options, is_async: bool) -> Result<(Child, Opening), Error> {
    options.check()?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (own, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| Error::io("socketpair", error))?;
    // Before the child can write: its first bytes are to carry its pidfd.
    let _ = crate::socket::fds::set_pass_pidfd(own.as_fd(), true);
    // Out of the way of the standard streams, which the child gets anew.
    let theirs = rustix::io::fcntl_dupfd_cloexec(&theirs, FIRST_FD).map_err(|error| Error::io("fcntl", error))?;
    let cookie = sockopt::socket_cookie(&theirs).map_err(|error| Error::io("getsockopt(SO_COOKIE)", error))?;
    let number = theirs.as_raw_fd();
    command.env(VARIABLE, format!("{number}:{cookie}"));
    let keep_open = move || {
        #[allow(unsafe_code)]
        // SAFETY: runs in the child between fork and exec, where the parent's `theirs` is open under this number; nobody
        // closes it there before `exec`.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(fd, FdFlags::empty()).map_err(io::Error::from)
    };
    #[allow(unsafe_code)]
    // SAFETY: the closure makes one system call; it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(keep_open);
    }
    let mut child = command.spawn().map_err(|error| Error::io("spawning the child", error))?;
    drop(theirs);
    fail_point!("inherit.spawned");
    match Opening::accepted(own, is_async, SERVICE.into(), options.clone(), None) {
        Ok(opening) => Ok((child, opening)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Ends a child that has no connection.
fn reap(mut child: Child, error: Error) -> Error {
    let _ = child.kill();
    let _ = child.wait();
    error
}

fn adopted(options: &Options, is_async: bool) -> Result<Opening, Error> {
    options.check()?;
    let value = std::env::var(VARIABLE).map_err(|_| {
        Error::Usage("this process was not spawned with a connection: start it with `inherit::spawn` in its parent")
    })?;
    // ORDERING: Relaxed; a flag that guards no other memory.
    if ADOPTED.swap(true, Ordering::Relaxed) {
        return Err(Error::Usage("the inherited connection was adopted already: it can be once"));
    }
    let socket = take(&value).ok_or(Error::Usage(
        "the inherited descriptor is not the socket that the parent passed: it was closed, or belongs to this process's parent",
    ))?;
    fail_point!("inherit.adopted");
    Opening::greeting(socket, is_async, SERVICE.into(), options.clone())
}

/// The socket that `value` names, if this process has that very one.
fn take(value: &str) -> Option<OwnedFd> {
    let (number, cookie) = value.split_once(':')?;
    let (number, cookie): (i32, u64) = (number.parse().ok()?, cookie.parse().ok()?);
    if number < FIRST_FD {
        return None;
    }
    #[allow(unsafe_code)]
    // SAFETY: only asked what it is; where nothing is open under the number, each question is answered by an error.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let is_ours = sockopt::socket_cookie(fd) == Ok(cookie)
        && sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(fd) == Ok(SocketType::STREAM);
    if !is_ours {
        return None;
    }
    rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC).ok()?;
    #[allow(unsafe_code)]
    // SAFETY: the number is open and is the socket that the parent made for this process, as its cookie says, and no other
    // socket has that while the system runs; it comes here once, by `ADOPTED`.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_socket_that_was_passed_is_taken() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, _other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let (number, cookie) = (one.as_raw_fd(), sockopt::socket_cookie(&one).unwrap());
        for wrong in ["", "7", "x:y", "0:0", "999999:1", &format!("{number}:{}", cookie + 1000), &format!("1:{cookie}")]
        {
            assert!(take(wrong).is_none(), "{wrong}");
        }
        let taken = take(&format!("{number}:{cookie}")).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        std::mem::forget(one); // `taken` owns it now
    }
}
