//! Offers of memory that is not what it should be. Each is declined, and the connection works on.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{SealFlags, fcntl_add_seals, ftruncate};

use super::{
    Attacker, memory,
    memory::{SEALS, TOTAL, borrowed, memfd},
    wire::{ACCEPT, DECLINE, EXTRA, OFFER, Peer, SESSION, control, message, segment},
};
use crate::types::{CALLS, SERVICES};

/// The service whose answers tell whether a connection works on.
pub(super) fn calls() -> usize {
    SERVICES.iter().position(|name| *name == CALLS).unwrap_or_default()
}

/// Offers `fds` and sees what comes of it: an answer to the offer, and an answer to a call behind it.
fn offer(attacker: &mut Attacker, fds: &[OwnedFd], session: [u8; 16]) -> io::Result<&'static str> {
    let peer = attacker.welcomed(calls())?;
    // In pieces that the kernel takes.
    peer.send_with(&control(&segment(OFFER, 0, TOTAL, session)), &borrowed(fds))?;
    attacker.mutations += 1;
    outcome(attacker, &peer)
}

fn outcome(attacker: &Attacker, peer: &Peer) -> io::Result<&'static str> {
    let Some(frame) = peer.control()? else { return Ok("hung up") };
    match frame.payload.first() {
        Some(&DECLINE) => {
            let order = super::messages::request(1, attacker.mutations);
            peer.send(&message(&order))?;
            loop {
                match peer.frame()? {
                    Some(frame) if !frame.control => return Ok("declined, and served on"),
                    Some(_) => {}
                    None => return Err(io::Error::other("a connection that was declined memory did not work on")),
                }
            }
        }
        Some(&ACCEPT) => Ok("accepted"),
        other => Err(io::Error::other(format!("an answer to an offer that is none: {other:?}"))),
    }
}

/// So many descriptors, with a frame that has one, or none.
pub(super) fn descriptors(attacker: &mut Attacker) -> io::Result<&'static str> {
    let count = [0, 2, 4, 5, 200][attacker.rng.usize(..5)];
    let fds = (0..count).map(|_| memfd(b"", 4096, false)).collect::<io::Result<Vec<_>>>()?;
    let peer = match attacker.rng.u8(..4) {
        0 => {
            let peer = attacker.connect(calls())?;
            peer.send_with(&control(&attacker.hello(calls()).payload()), &borrowed(&fds))?;
            attacker.mutations += 1;
            peer
        }
        1 => {
            let peer = attacker.welcomed(calls())?;
            peer.send_with(&message(&super::messages::request(1, 7)), &borrowed(&fds))?;
            attacker.mutations += 1;
            peer
        }
        2 => {
            let peer = attacker.welcomed(calls())?;
            for fd in &fds {
                peer.send_with(&control(&segment(EXTRA, 3, 8192, SESSION)), &[fd.as_fd()])?;
                attacker.mutations += 1;
            }
            peer
        }
        _ => return offer(attacker, &fds, SESSION),
    };
    rustix::net::shutdown(&peer.stream, rustix::net::Shutdown::Write)?;
    if peer.ends_within(super::PATIENCE) { Ok("hung up at the end") } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// Memory with a seal less, shorter, longer, without pages; or that is changed once it was sent.
pub(super) fn memory(attacker: &mut Attacker) -> io::Result<&'static str> {
    let content = memory::header().encode();
    let seal = [SealFlags::GROW, SealFlags::SHRINK, SealFlags::FUTURE_WRITE, SealFlags::SEAL][attacker.rng.usize(..4)];
    let (bytes, sparse, seals) = match attacker.rng.u8(..5) {
        0 => (TOTAL, false, SealFlags::empty()),
        1 => (TOTAL, false, SEALS.difference(seal)),
        2 => ([0, 1, 4095, 4096, TOTAL - 4096, TOTAL - 1][attacker.rng.usize(..6)], false, SEALS),
        3 => ([TOTAL + 1, TOTAL + 4096, 1 << 30][attacker.rng.usize(..3)], true, SEALS),
        _ => (TOTAL, true, SEALS),
    };
    let fd = memfd(&content, bytes, sparse)?;
    fcntl_add_seals(&fd, seals)?;
    let again = fd.try_clone()?;
    let outcome = offer(attacker, &[fd], SESSION)?;
    // It was not mapped: what happens to it now is nobody's concern.
    for len in [0, TOTAL * 2, TOTAL] {
        let _ = ftruncate(&again, len);
    }
    if outcome == "accepted" {
        Err(io::Error::other("memory that is not sealed, whole or of its size was taken"))
    } else {
        Ok(outcome)
    }
}

/// Good memory whose header has a byte or a field that is wrong.
pub(super) fn header(attacker: &mut Attacker) -> io::Result<&'static str> {
    const FIELDS: [(usize, usize); 9] = [(0, 8), (8, 4), (12, 4), (16, 4), (20, 4), (24, 8), (32, 8), (40, 8), (48, 8)];
    let mut content = memory::header().encode();
    let (at, len) = FIELDS[attacker.rng.usize(..FIELDS.len())];
    content[at..at + len].copy_from_slice(&attacker.number().to_le_bytes()[..len]);
    let unchanged = content == memory::header().encode();
    let fd = memfd(&content, TOTAL, false)?;
    fcntl_add_seals(&fd, SEALS)?;
    match offer(attacker, &[fd], SESSION)? {
        "accepted" if !unchanged => Err(io::Error::other("memory with a wrong header was taken")),
        outcome => Ok(outcome),
    }
}

/// Anything that has a descriptor; and another connection's session.
pub(super) fn foreign(attacker: &mut Attacker) -> io::Result<&'static str> {
    let fd: OwnedFd = match attacker.rng.u8(..8) {
        0 => File::open("/dev/null")?.into(),
        1 => File::open("/dev/zero")?.into(),
        2 => File::open("/proc/self/status")?.into(),
        3 => File::open("/")?.into(),
        4 => io::pipe()?.0.into(),
        5 => std::os::unix::net::UnixStream::pair()?.0.into(),
        6 => rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?,
        _ => {
            let fd = memfd(&memory::header().encode(), TOTAL, false)?;
            fcntl_add_seals(&fd, SEALS)?;
            return match offer(attacker, &[fd], *b"another session.")? {
                "accepted" => Err(io::Error::other("memory of another session was taken")),
                outcome => Ok(outcome),
            };
        }
    };
    match offer(attacker, &[fd], SESSION)? {
        "accepted" => Err(io::Error::other("something was taken for memory")),
        outcome => Ok(outcome),
    }
}
