//! A peer that speaks the protocol by hand, byte by byte, as docs/PROTOCOL.md has it: to say what no good peer says.
#![allow(clippy::multiple_unsafe_ops_per_block)] // a message header is filled in field by field

use std::{
    io::{Read, Write},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use strait_region::Header;

use super::PATIENCE;

pub const CONTROL: u32 = 1 << 30;
pub const HELLO: u8 = 1;
pub const WELCOME: u8 = 2;
pub const REFUSE: u8 = 3;
pub const OFFER: u8 = 4;
pub const ACCEPT: u8 = 5;
pub const COMMIT: u8 = 6;
pub const DECLINE: u8 = 7;
pub const SWITCHED: u8 = 8;
pub const CLOSE: u8 = 10;

/// Bytes of the rings of [`super::options`].
pub const RING: u64 = 16 << 10;
pub const SESSION: [u8; 16] = *b"a raw session id";
/// The seals that a segment needs.
pub const SEALS: SealFlags =
    SealFlags::GROW.union(SealFlags::SHRINK).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// A frame: envelope and payload.
pub fn frame(control: bool, payload: &[u8]) -> Vec<u8> {
    let size = payload.len() as u32 | if control { CONTROL } else { 0 };
    let mut bytes = size.to_le_bytes().to_vec();
    bytes.extend_from_slice(&1u64.to_le_bytes());
    bytes.extend_from_slice(&strait_frame::checksum(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub fn data(payload: &[u8]) -> Vec<u8> {
    frame(false, payload)
}

/// What a good `Hello` (or `Welcome`) says; the fields may be changed.
#[derive(Clone, Copy)]
pub struct Greeting {
    pub kind: u8,
    pub version: u8,
    pub service: u8,
    pub codec: u8,
    pub flags: u32,
    pub schema: u64,
    pub max_in_flight: u32,
    pub align: u32,
    pub ring: u64,
}

impl Greeting {
    pub fn new(kind: u8) -> Self {
        Self { kind, version: 1, service: 0, codec: 0, flags: 7, schema: 0, max_in_flight: 64, align: 16, ring: RING }
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.version, self.service, self.codec];
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(&self.max_in_flight.to_le_bytes());
        bytes.extend_from_slice(&self.align.to_le_bytes());
        bytes.extend_from_slice(&self.ring.to_le_bytes());
        frame(true, &bytes)
    }
}

/// An `Offer` or `Accept`.
pub fn segment_frame(kind: u8, session: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&(8192 + RING).to_le_bytes());
    bytes.extend_from_slice(&session);
    frame(true, &bytes)
}

/// One side of a connection, by hand.
pub struct Raw {
    pub stream: UnixStream,
}

impl Raw {
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    pub fn connect(dir: &Path, name: &str) -> Self {
        Self::new(UnixStream::connect(dir.join(format!("{name}.sock"))).unwrap())
    }

    /// A client that has its `Welcome`.
    pub fn welcomed(dir: &Path, name: &str) -> Self {
        let mut raw = Self::connect(dir, name);
        raw.send(&Greeting::new(HELLO).frame());
        assert_eq!(raw.control()[0], WELCOME);
        raw
    }

    /// A server, for one client that is welcomed.
    pub fn serve(listener: &UnixListener) -> Self {
        let mut raw = Self::new(listener.accept().unwrap().0);
        assert_eq!(raw.control()[0], HELLO);
        raw.send(&Greeting::new(WELCOME).frame());
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send_with(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        send_with(&self.stream, bytes, fds);
    }

    /// The next frame: whether it is a control frame, its payload, and the descriptors that came with it.
    pub fn frame(&mut self) -> (bool, Vec<u8>, Vec<OwnedFd>) {
        let mut fds = Vec::new();
        let mut envelope = [0; 16];
        receive_with(&self.stream, &mut envelope, &mut fds);
        let word = u32::from_le_bytes(envelope[..4].try_into().unwrap());
        let mut payload = vec![0; (word & !CONTROL) as usize];
        receive_with(&self.stream, &mut payload, &mut fds);
        (word & CONTROL != 0, payload, fds)
    }

    /// As [`frame`](Self::frame), where something has come already.
    pub fn try_frame(&mut self) -> std::io::Result<(bool, Vec<u8>, Vec<OwnedFd>)> {
        self.stream.set_nonblocking(true)?;
        let is_there = rustix::net::recv(&self.stream, &mut [0u8; 1][..], rustix::net::RecvFlags::PEEK).is_ok();
        self.stream.set_nonblocking(false)?;
        if is_there { Ok(self.frame()) } else { Err(std::io::ErrorKind::WouldBlock.into()) }
    }

    /// The payload of the next control frame; messages before it are left out.
    pub fn control(&mut self) -> Vec<u8> {
        self.control_with().0
    }

    pub fn control_with(&mut self) -> (Vec<u8>, Vec<OwnedFd>) {
        loop {
            let (control, payload, fds) = self.frame();
            if control {
                return (payload, fds);
            }
        }
    }

    /// The next message.
    pub fn data(&mut self) -> Vec<u8> {
        let (control, payload, _) = self.frame();
        assert!(!control, "a control frame of kind {}", payload[0]);
        payload
    }

    /// Whether the peer has ended the connection, within the patience of tests.
    pub fn is_ended(&mut self) -> bool {
        let mut rest = [0; 256];
        loop {
            match self.stream.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }
}

/// Sends bytes with descriptors attached to the first of them.
pub fn send_with(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let fds: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut control = [0u64; 16];
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: plain data; all pointers set below outlive the call, and the control buffer has room for 14 descriptors.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut iov;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(size_of_val(&fds[..]) as u32) as _;
            let cmsg = libc::CMSG_FIRSTHDR(&header);
            (*cmsg).cmsg_level = libc::SOL_SOCKET;
            (*cmsg).cmsg_type = libc::SCM_RIGHTS;
            (*cmsg).cmsg_len = libc::CMSG_LEN(size_of_val(&fds[..]) as u32) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast(), libc::CMSG_DATA(cmsg), size_of_val(&fds[..]));
        }
        assert_eq!(libc::sendmsg(stream.as_raw_fd(), &header, libc::MSG_NOSIGNAL), bytes.len() as isize);
    }
}

fn receive_with(stream: &UnixStream, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        let mut control = [0u64; 16];
        let mut iov = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
        // SAFETY: plain data; all pointers outlive the call, and the descriptors that come are taken once.
        let received = unsafe {
            let mut header: libc::msghdr = std::mem::zeroed();
            header.msg_iov = &raw mut iov;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = size_of_val(&control) as _;
            let received = libc::recvmsg(stream.as_raw_fd(), &mut header, libc::MSG_CMSG_CLOEXEC);
            let cmsg = libc::CMSG_FIRSTHDR(&header);
            if !cmsg.is_null() && (*cmsg).cmsg_type == libc::SCM_RIGHTS {
                let count = ((*cmsg).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / 4;
                let place = libc::CMSG_DATA(cmsg).cast::<i32>();
                fds.extend((0..count).map(|index| OwnedFd::from_raw_fd(place.add(index).read_unaligned())));
            }
            received
        };
        assert!(received > 0, "the peer ended: {}", std::io::Error::last_os_error());
        filled += received as usize;
    }
}

/// The header that the other side expects of a segment.
pub fn header(session: [u8; 16]) -> Header {
    Header {
        kind: 1,
        layout_hash: strait_transport::LAYOUT_HASH,
        total_bytes: 8192 + RING,
        ring_capacity_bytes: RING,
        max_message_bytes: RING / 4 - 16,
        record_align_bytes: 16,
        session,
    }
}

/// A memfd that starts with `content`.
pub fn memfd(content: &[u8], bytes: u64, seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("strait-test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, bytes).unwrap();
    if bytes > 0 {
        fallocate(&fd, FallocateFlags::empty(), 0, bytes).unwrap();
        assert_eq!(rustix::io::pwrite(&fd, content, 0).unwrap(), content.len());
    }
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// A segment as a good peer makes it.
pub fn segment(session: [u8; 16]) -> OwnedFd {
    memfd(&header(session).encode(), 8192 + RING, SEALS)
}
