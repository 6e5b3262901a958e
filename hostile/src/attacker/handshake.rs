//! Lies before and instead of a handshake.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    Attacker,
    wire::{CONTROL, PATIENCE, Peer, REFUSE, WELCOME, control, frame_with, message},
};
use crate::types::HANDSHAKE;

/// What the victim says to a first frame.
fn answer(peer: &Peer) -> io::Result<&'static str> {
    Ok(match peer.control()?.and_then(|frame| frame.payload.first().copied()) {
        None => "hung up",
        Some(WELCOME) => "let in",
        Some(REFUSE) => "refused",
        Some(_) => return Err(io::Error::other("an answer to Hello that is none")),
    })
}

/// One field of a `Hello` is any number.
pub(super) fn field(attacker: &mut Attacker) -> io::Result<&'static str> {
    const FIELDS: [(usize, usize); 9] = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 4), (8, 8), (16, 4), (20, 4), (24, 8)];
    let service = attacker.any_service();
    let mut payload = attacker.hello(service).payload();
    let (at, len) = FIELDS[attacker.rng.usize(..FIELDS.len())];
    payload[at..at + len].copy_from_slice(&attacker.number().to_le_bytes()[..len]);
    attacker.mutations = 1;
    let peer = attacker.connect(service)?;
    peer.send(&control(&payload))?;
    answer(&peer)
}

/// Bytes of the frame are wrong, its length is, or there is something else altogether.
pub(super) fn bytes(attacker: &mut Attacker) -> io::Result<&'static str> {
    let service = attacker.any_service();
    let payload = attacker.hello(service).payload();
    let mut bytes = control(&payload);
    match attacker.rng.u8(..5) {
        0 => {
            bytes = vec![0; attacker.rng.usize(..3000)];
            attacker.rng.fill(&mut bytes);
        }
        1 => bytes.truncate(attacker.rng.usize(..bytes.len())),
        2 => bytes = frame_with(attacker.number() as u32, strait::frame::checksum(&payload), &payload),
        3 => bytes = frame_with(payload.len() as u32 | CONTROL, attacker.rng.u32(..), &payload),
        _ => attacker.spoil(&mut bytes),
    }
    attacker.mutations = attacker.mutations.max(1);
    let peer = attacker.connect(service)?;
    peer.send(&bytes)?;
    rustix::net::shutdown(&peer.stream, rustix::net::Shutdown::Write)?;
    answer(&peer)
}

/// Eight that begin and say no more: each is let go when its time is up.
pub(super) fn stalls(attacker: &mut Attacker) -> io::Result<&'static str> {
    let mut peers = Vec::new();
    for _ in 0..8 {
        let service = attacker.any_service();
        let peer = attacker.connect(service)?;
        let hello = control(&attacker.hello(service).payload());
        // A service that is busy is rid of it by now.
        let _ = peer.send(&hello[..attacker.rng.usize(..hello.len())]);
        attacker.mutations += 1;
        peers.push((peer, Instant::now()));
    }
    for (peer, start) in peers {
        // Nobody promises that this process gets a processor just then: half of the patience is for that.
        let left = (HANDSHAKE + PATIENCE / 2).saturating_sub(start.elapsed());
        if !peer.ends_within(left) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a handshake without an end"));
        }
    }
    Ok("hung up in time")
}

/// More than a server takes.
pub(super) fn crowd(attacker: &mut Attacker) -> io::Result<&'static str> {
    let service = attacker.any_service();
    let mut peers = Vec::new();
    for _ in 0..100 {
        attacker.mutations += 1;
        match attacker.connect(service) {
            Ok(peer) => peers.push(peer),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => break,
            Err(error) => return Err(error),
        }
    }
    let mut refused = false;
    for peer in &peers {
        peer.stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        refused |= matches!(answer(peer), Ok("refused"));
    }
    Ok(if refused { "some refused as busy" } else { "all taken" })
}

/// Control frames that have no place where they come.
pub(super) fn out_of_turn(attacker: &mut Attacker) -> io::Result<&'static str> {
    let service = attacker.any_service();
    let mut peer = if attacker.rng.bool() { attacker.connect(service)? } else { attacker.welcomed(service)? };
    peer.stream.set_write_timeout(Some(PATIENCE))?;
    for _ in 0..attacker.rng.usize(1..12) {
        let kind = attacker.rng.u8(..12);
        let mut payload = vec![kind];
        let len = [0, 31, 23, 1000][attacker.rng.usize(..4)];
        payload.extend(std::iter::repeat_with(|| attacker.rng.u8(..)).take(len));
        attacker.mutations += 1;
        if peer.send(&control(&payload)).is_err() {
            return Ok("hung up");
        }
    }
    rustix::net::shutdown(&peer.stream, rustix::net::Shutdown::Write)?;
    ended(&mut peer)
}

/// Whoever says no more is let go, whatever it has said.
pub(super) fn ended(peer: &mut Peer) -> io::Result<&'static str> {
    if peer.ends_within(PATIENCE) { Ok("hung up") } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// Messages, or small frames, as fast as they go, before anything is settled.
pub(super) fn flood(attacker: &mut Attacker) -> io::Result<&'static str> {
    let service = attacker.any_service();
    let peer = attacker.connect(service)?;
    let one = match attacker.rng.u8(..3) {
        0 => message(&[7; 100]),
        1 => control(&[10]),
        _ => control(&[7; 1025]),
    };
    let many = one.repeat(64);
    let end = Instant::now() + HANDSHAKE + PATIENCE;
    while Instant::now() < end {
        attacker.mutations += 64;
        if peer.send(&many).is_err() {
            return Ok("hung up");
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "it takes a flood for ever"))
}
