//! Connections for the attacker. It is another user, whom every server turns away: what opens its connections is the victim's own
//! user, as a parent does that hands a sandbox its sockets.

use std::{
    io::{self, IoSlice, IoSliceMut, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// As many descriptors as the kernel takes in one message (`SCM_MAX_FD`).
const MAX_FDS: usize = 253;
const SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// Sends `bytes` with descriptors attached to the first of them; how many bytes went.
pub(crate) fn send_with(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// Receives bytes, and the descriptors that came with them; 0 is the end.
pub(crate) fn receive_with(stream: &UnixStream, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(received.bytes)
}

/// Answers each byte, the number of a service, with a connection to it; until the other end is gone.
pub(crate) fn serve(mut attacker: UnixStream, directory: PathBuf) {
    let mut wish = [0];
    while attacker.read_exact(&mut wish).is_ok() {
        let name = crate::types::SERVICES[usize::from(wish[0]) % crate::types::SERVICES.len()];
        let connected = UnixStream::connect(directory.join(format!("{name}.sock")));
        let sent = match &connected {
            Ok(stream) => send_with(&attacker, b"y", &[stream.as_fd()]),
            Err(_) => send_with(&attacker, b"n", &[]),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The attacker's end of it.
pub(crate) fn connect(broker: &UnixStream, service: usize) -> io::Result<UnixStream> {
    send_with(broker, &[service as u8], &[])?;
    let mut fds = Vec::new();
    if receive_with(broker, &mut [0], &mut fds)? == 0 {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the broker is gone"));
    }
    fds.pop().map(UnixStream::from).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
}
