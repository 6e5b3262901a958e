//! The floor of a stream: a bare shared ring of slots, each with one commit word, and no checks at all.
//!
//! `floor-ring` fills messages in the ring and sums them up there; `floor-ring-copy` copies them in and out, as whoever does
//! not trust its peer must. With `-crc`, the producer puts the message's CRC32 beside the commit word, and the consumer compares it
//! with that of what it reads.

use std::{
    error::Error,
    fs::{File, OpenOptions},
    os::fd::{AsFd, AsRawFd},
    sync::atomic::Ordering,
};

use super::{Rate, check, count, fill, ring_bytes};
use crate::{
    bare_ring::{CRC_AT, Ring, wait},
    engine::{Peer, Role},
};

pub(super) const IN_PLACE: &str = "floor-ring";
pub(super) const COPIED: &str = "floor-ring-copy";
pub(super) const IN_PLACE_CRC: &str = "floor-ring-crc";
pub(super) const COPIED_CRC: &str = "floor-ring-copy-crc";

/// Whether an engine is one of the floors.
pub(super) fn is_floor(name: &str) -> bool {
    name.starts_with(IN_PLACE)
}

/// The floor that does the same work as an engine: in place or copied, with a checksum at both ends or without.
pub(super) fn like(name: &str) -> &'static str {
    if is_floor(name) {
        return COPIED;
    }
    let sums = name.starts_with("strait-") && !name.contains("-nosum");
    match (name.contains("-inplace"), sums) {
        (true, false) => IN_PLACE,
        (true, true) => IN_PLACE_CRC,
        (false, false) => COPIED,
        (false, true) => COPIED_CRC,
    }
}

/// Whether messages are copied in and out, and whether they have checksums.
fn work_of(name: &str) -> (bool, bool) {
    (name.starts_with(COPIED), name.ends_with("-crc"))
}

pub(super) fn produce(role: &Role) -> Result<(), Box<dyn Error>> {
    let file = OpenOptions::new().read(true).write(true).open(&role.meet)?;
    let ring = Ring::map(&file, role.engine.payload_bytes, ring_bytes(role.engine.payload_bytes))?;
    let mut private = vec![0; ring.payload_bytes()];
    let (copies, sums) = work_of(&role.engine.name);
    let mut head = 0;
    for number in 0.. {
        if number - head == ring.slots() {
            wait(|| {
                // ORDERING: Acquire; pairs with the consumer's Release store: it has read the slots before.
                head = ring.head().load(Ordering::Acquire);
                number - head < ring.slots()
            });
        }
        let slot = ring.slot(number);
        if copies {
            fill(number, &mut private);
            ring.message(slot).copy_from_slice(&private);
        } else {
            fill(number, ring.message(slot));
        }
        if sums {
            let crc = crc32fast::hash(if copies { &private } else { ring.message(slot) });
            // ORDERING: Relaxed; the commit word, stored next, publishes it.
            ring.word(slot + CRC_AT).store(u64::from(crc), Ordering::Relaxed);
        }
        // ORDERING: Release; pairs with the consumer's Acquire load: the message is written.
        ring.word(slot).store(number + 1, Ordering::Release);
    }
    Ok(())
}

pub(super) fn consume(role: &Role) -> Result<Rate, Box<dyn Error>> {
    let memory = File::from(rustix::fs::memfd_create("strait-bench", rustix::fs::MemfdFlags::CLOEXEC)?);
    let bytes = ring_bytes(role.engine.payload_bytes);
    memory.set_len(Ring::memory_bytes(bytes))?;
    let ring = Ring::map(&memory, role.engine.payload_bytes, bytes)?;
    let meet = format!("/proc/{}/fd/{}", std::process::id(), memory.as_fd().as_raw_fd());
    let producer = Peer::start(role, meet)?;
    let mut private = vec![0; ring.payload_bytes()];
    let (copies, sums) = work_of(&role.engine.name);
    let mut number = 0;
    count(role, &producer, || {
        let slot = ring.slot(number);
        // ORDERING: Acquire; pairs with the producer's Release store.
        wait(|| ring.word(slot).load(Ordering::Acquire) == number + 1);
        let message = if copies {
            private.copy_from_slice(ring.message(slot));
            &private[..]
        } else {
            ring.message(slot)
        };
        // ORDERING: Relaxed; the Acquire load of the commit word above made it visible.
        if sums && u64::from(crc32fast::hash(message)) != ring.word(slot + CRC_AT).load(Ordering::Relaxed) {
            return Err("a wrong checksum".into());
        }
        check(number, message, ring.payload_bytes())?;
        number += 1;
        // ORDERING: Release; pairs with the producer's Acquire load: this slot was read.
        ring.head().store(number, Ordering::Release);
        Ok(1)
    })
}
