//! What the tests share: headers, hand-made memfds, children.
#![allow(dead_code, unreachable_pub, clippy::multiple_unsafe_ops_per_block)]

pub mod child;
pub mod scratch;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use strait_region::{Expected, Header, OpenError, OwnRegion, PeerRegion};

pub const TOTAL_BYTES: u64 = 32 * 1024;
pub const SESSION: [u8; 16] = *b"a session of 16.";

pub const SEALS: SealFlags =
    SealFlags::GROW.union(SealFlags::SHRINK).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

pub fn header() -> Header {
    Header {
        kind: 7,
        layout_hash: 0xabcd,
        total_bytes: TOTAL_BYTES,
        ring_capacity_bytes: 16 * 1024,
        max_message_bytes: 4 * 1024 - 16,
        record_align_bytes: 16,
        session: SESSION,
    }
}

pub fn expected() -> Expected {
    Expected { kind: 7, layout_hash: 0xabcd, max_total_bytes: 1 << 20, session: Some(SESSION) }
}

pub fn own() -> OwnRegion {
    OwnRegion::create("strait-region:test", &header()).unwrap()
}

/// The descriptor as a peer would receive it.
pub fn sent(own: &OwnRegion) -> OwnedFd {
    own.fd().try_clone_to_owned().unwrap()
}

pub fn peer(own: &OwnRegion) -> PeerRegion {
    PeerRegion::open(sent(own), &expected()).unwrap()
}

/// A memfd that starts with `content`, of `bytes` bytes that are all allocated, with `seals`.
pub fn memfd(content: &[u8], bytes: u64, seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("strait-region:test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, bytes).unwrap();
    if bytes > 0 {
        fallocate(&fd, FallocateFlags::empty(), 0, bytes).unwrap();
    }
    assert_eq!(rustix::io::pwrite(&fd, content, 0).unwrap(), content.len());
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// A well-made memfd whose header is `header`.
pub fn memfd_with(header: &Header) -> OwnedFd {
    memfd(&header.encode(), TOTAL_BYTES, SEALS)
}

/// The error that opening `fd` ends with.
pub fn refusal(fd: impl Into<OwnedFd>) -> OpenError {
    let error = PeerRegion::open(fd.into(), &expected()).expect_err("this must not open");
    assert!(error.to_string().len() > 20, "an error says what was found and expected: {error}");
    error
}

/// Opens the file behind `fd` anew.
pub fn reopen(fd: impl AsFd, flags: rustix::fs::OFlags) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    rustix::fs::open(path, flags | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
}

/// Not root, and not whoever runs the tests.
pub const OTHER: u32 = 65_533;

pub fn can_drop_uid() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    eprintln!("skipped: only root can become another user");
    false
}

/// Gives up all rights for good. For a forked child.
pub fn become_other() {
    // SAFETY: system calls that change this process alone.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setgid(OTHER), 0);
        assert_eq!(libc::setuid(OTHER), 0);
    }
}

/// Runs `test` in a forked child and panics here where it panics, dies, or takes more than 20 seconds there.
///
/// What the child inherits is the state of the parent at the fork; only the forking thread goes on in it.
pub fn in_child(test: impl FnOnce()) {
    // SAFETY: the child runs nothing but `test` and `_exit`; it takes no lock that another thread of the parent may
    // hold but the allocator's, which the C library keeps usable across a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: sets a timer that ends this process.
        unsafe { libc::alarm(20) };
        // The hook would take locks; the panic is told by the status.
        std::panic::set_hook(Box::new(|info| {
            let line = info.location().map_or(0, std::panic::Location::line);
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(if line == 0 { 255 } else { 1 + (line % 254) as i32 }) }
        }));
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(0) };
    }
    assert!(pid > 0, "fork failed");
    let mut status = 0;
    // SAFETY: waits for the child from above; `status` is ours.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    let line = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) - 1 } else { -1 };
    assert_eq!(status, 0, "the child failed; its assertion is in line {line} (modulo 254), or -1 for a signal");
}
