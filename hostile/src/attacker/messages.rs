//! Messages that lie, on the socket: envelopes, headers of each service, archives.

use std::io;

use strait::rkyv::{self, rancor};

use super::{
    Attacker,
    handshake::ended,
    offers::calls,
    wire::{Peer, frame_with, message},
};
use crate::types::{BARE, Order, QUEUE, SERVICES, STATE, STREAM};

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;

pub(super) fn service(name: &str) -> usize {
    SERVICES.iter().position(|service| *service == name).unwrap_or_default()
}

/// An rpc message.
fn rpc_message(kind: u8, flags: u8, method: u16, call: u32, deadline_ns: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, flags];
    bytes.extend_from_slice(&method.to_le_bytes());
    bytes.extend_from_slice(&call.to_le_bytes());
    bytes.extend_from_slice(&deadline_ns.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The archive of an order.
fn archive(id: u64) -> Vec<u8> {
    rkyv::to_bytes::<rancor::Error>(&Order::new(id)).map(|bytes| bytes.to_vec()).unwrap_or_default()
}

/// A request as a good client sends it.
pub(super) fn request(call: u32, id: u64) -> Vec<u8> {
    request_with(call, &archive(id))
}

fn request_with(call: u32, body: &[u8]) -> Vec<u8> {
    rpc_message(REQUEST, 0, 0, call, u64::MAX, body)
}

/// Envelopes that lie about size and checksum, among good messages.
pub(super) fn envelopes(attacker: &mut Attacker) -> io::Result<&'static str> {
    let service = attacker.any_service();
    let mut peer = attacker.welcomed(service)?;
    let good = request(1, 1);
    for _ in 0..attacker.rng.usize(1..20) {
        let bytes = match attacker.rng.u8(..4) {
            0 => frame_with(attacker.number() as u32, strait::frame::checksum(&good), &good),
            1 => frame_with(good.len() as u32, attacker.rng.u32(..), &good),
            2 => frame_with(attacker.rng.u32(..5000), 0, &vec![0; attacker.rng.usize(..5000)]),
            _ => message(&good),
        };
        attacker.mutations += 1;
        if peer.send(&bytes).is_err() {
            return Ok("hung up");
        }
    }
    rustix::net::shutdown(&peer.stream, rustix::net::Shutdown::Write)?;
    ended(&mut peer)
}

/// Good and bad messages of the attacker's making; then the end.
fn talk(
    attacker: &mut Attacker,
    name: &str,
    mut next: impl FnMut(&mut Attacker) -> Vec<u8>,
) -> io::Result<&'static str> {
    let mut peer = attacker.welcomed(service(name))?;
    for _ in 0..attacker.rng.usize(1..40) {
        let payload = next(attacker);
        attacker.mutations += 1;
        if peer.send(&message(&payload)).is_err() {
            return Ok("hung up");
        }
    }
    rustix::net::shutdown(&peer.stream, rustix::net::Shutdown::Write)?;
    ended(&mut peer)
}

/// Rpc headers of any kind, method, call and deadline.
pub(super) fn rpc(attacker: &mut Attacker) -> io::Result<&'static str> {
    talk(attacker, SERVICES[calls()], |attacker| {
        let kind = if attacker.rng.bool() { REQUEST } else { attacker.rng.u8(..10) };
        let flags = if attacker.rng.u8(..4) == 0 { attacker.rng.u8(..) } else { attacker.rng.u8(..4) };
        let method = [0, 0, 1, 0xFFFF, 0xFFFE, 0xFF00][attacker.rng.usize(..6)];
        let (call, deadline_ns) = (attacker.number() as u32 & 0xFF, attacker.number());
        let body = if attacker.rng.bool() { archive(1) } else { vec![0xFF; attacker.rng.usize(..100)] };
        let mut bytes = rpc_message(kind, flags, method, call, deadline_ns, &body);
        if attacker.rng.u8(..8) == 0 {
            attacker.spoil(&mut bytes);
            bytes.truncate(attacker.rng.usize(..=bytes.len()));
        }
        bytes
    })
}

/// An archive that is wrong in each position, one after the other: each is answered, by a number or by why not.
pub(super) fn archives(attacker: &mut Attacker) -> io::Result<&'static str> {
    let name = if attacker.rng.bool() { BARE } else { SERVICES[calls()] };
    let peer = attacker.welcomed(service(name))?;
    let good = archive(attacker.rng.u64(..));
    for at in 0..good.len() {
        let mut wrong = good.clone();
        wrong[at] = if attacker.rng.bool() { attacker.rng.u8(..) } else { wrong[at] ^ 1 << attacker.rng.u8(..8) };
        if attacker.rng.u8(..8) == 0 {
            wrong.truncate(at);
        }
        attacker.mutations += 1;
        peer.send(&message(&request_with(at as u32, &wrong)))?;
        is_answered(&peer, at as u32)?;
    }
    Ok("each answered")
}

/// Reads up to the answer to a call.
fn is_answered(peer: &Peer, call: u32) -> io::Result<()> {
    while let Some(frame) = peer.frame()? {
        let answers = matches!(frame.payload.first(), Some(&(REPLY | ERROR)));
        if !frame.control && answers && frame.payload.get(4..8) == Some(&call.to_le_bytes()[..]) {
            return Ok(());
        }
    }
    Err(io::Error::other("a request that cannot be read is answered, not hung up on"))
}

/// What a participant of a queue may say, in any order and with any numbers.
pub(super) fn queue(attacker: &mut Attacker) -> io::Result<&'static str> {
    let mut number = 0;
    talk(attacker, QUEUE, move |attacker| {
        number += 1;
        let join = number == 1 && attacker.rng.u8(..8) != 0;
        let kind = if join { 1 } else { attacker.rng.u8(..11) };
        let flags = attacker.rng.u8(..4);
        let mut bytes = vec![kind, flags, 0, 0];
        bytes.extend_from_slice(&(attacker.number() as u32).to_le_bytes());
        let id = if attacker.rng.bool() { number - 1 } else { attacker.number() };
        bytes.extend_from_slice(&if join { 0 } else { id }.to_le_bytes());
        if kind == 3 {
            bytes.extend(std::iter::repeat_n(9, attacker.rng.usize(..200)));
        }
        if join {
            bytes[4..8].copy_from_slice(&4u32.to_le_bytes());
        }
        bytes
    })
}

/// What a shell may say.
pub(super) fn state(attacker: &mut Attacker) -> io::Result<&'static str> {
    talk(attacker, STATE, |attacker| {
        let mut bytes = vec![attacker.rng.u8(..10), attacker.rng.u8(..6), attacker.rng.u8(..), 0];
        bytes.extend_from_slice(&attacker.rng.u32(..).to_le_bytes());
        for _ in 0..3 {
            bytes.extend_from_slice(&attacker.number().to_le_bytes());
        }
        bytes.extend(std::iter::repeat_n(1, attacker.rng.usize(..200)));
        if attacker.rng.u8(..8) == 0 {
            bytes.truncate(attacker.rng.usize(..=bytes.len()));
        }
        bytes
    })
}

/// What a producer of a stream may say.
pub(super) fn stream(attacker: &mut Attacker) -> io::Result<&'static str> {
    let mut sequence = 0u64;
    talk(attacker, STREAM, move |attacker| {
        let lie = attacker.rng.u8(..6) == 0;
        let mut bytes = if lie { attacker.number() } else { sequence }.to_le_bytes().to_vec();
        bytes.extend_from_slice(&if attacker.rng.u8(..6) == 0 { attacker.number() } else { 0 }.to_le_bytes());
        bytes.extend(std::iter::repeat_n(5, attacker.rng.usize(..300)));
        sequence += 1;
        if attacker.rng.u8(..16) == 0 {
            bytes.truncate(attacker.rng.usize(..16));
        }
        bytes
    })
}
