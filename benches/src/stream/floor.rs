//! The floor of a stream: a bare shared ring of slots, each with one commit word, and no checks at all.
//!
//! `floor-ring` fills messages in the ring and sums them up there; `floor-ring-copy` copies them in and out, as whoever does
//! not trust its peer must. With `-crc`, the producer puts the message's CRC32 beside the commit word, and the consumer compares it
//! with that of what it reads.

use std::{
    error::Error,
    fs::{File, OpenOptions},
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};

use super::{Rate, check, count, fill, ring_bytes};
use crate::engine::{Peer, Role};

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

/// The consumer's position lies alone before the slots.
const HEAD_BYTES: usize = 256;
/// Slots begin on a line; a message begins behind its commit word and its checksum, as it does in a record.
const LINE: usize = 64;
const COMMIT_BYTES: usize = 16;
const CRC_AT: usize = 8;

struct Ring {
    memory: MmapRaw,
    payload_bytes: usize,
    stride: usize,
    slots: u64,
}

impl Ring {
    fn bytes(payload_bytes: usize) -> usize {
        HEAD_BYTES + ring_bytes(payload_bytes) as usize
    }

    fn map(file: &File, payload_bytes: usize) -> std::io::Result<Self> {
        let stride = (COMMIT_BYTES + payload_bytes).next_multiple_of(LINE);
        let memory = MmapOptions::new().len(Self::bytes(payload_bytes)).map_raw(file)?;
        Ok(Self { memory, payload_bytes, stride, slots: ring_bytes(payload_bytes) / stride as u64 })
    }

    #[allow(unsafe_code)]
    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset + len <= self.memory.len());
        // SAFETY: inside the mapping by the assertion.
        unsafe { self.memory.as_mut_ptr().add(offset) }
    }

    #[allow(unsafe_code)]
    #[inline]
    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: mapped for as long as `self`, aligned (offsets are multiples of 64), and only ever accessed as an atomic.
        unsafe { AtomicU64::from_ptr(self.at(offset, 8).cast()) }
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        self.word(0)
    }

    #[inline]
    fn slot(&self, number: u64) -> usize {
        HEAD_BYTES + (number % self.slots) as usize * self.stride
    }

    /// The bytes of a message. Between its commit and the head's step over it they are the consumer's, else the producer's.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    #[inline]
    fn message(&self, slot: usize) -> &mut [u8] {
        let first = self.at(slot + COMMIT_BYTES, self.payload_bytes);
        // SAFETY: inside the mapping; the other process leaves it alone by the rule above, and each side holds one at a time.
        unsafe { std::slice::from_raw_parts_mut(first, self.payload_bytes) }
    }
}

/// Whether messages are copied in and out, and whether they have checksums.
fn work_of(name: &str) -> (bool, bool) {
    (name.starts_with(COPIED), name.ends_with("-crc"))
}

fn wait(mut until: impl FnMut() -> bool) {
    while !until() {
        std::hint::spin_loop();
    }
}

pub(super) fn produce(role: &Role) -> Result<(), Box<dyn Error>> {
    let file = OpenOptions::new().read(true).write(true).open(&role.meet)?;
    let ring = Ring::map(&file, role.engine.payload_bytes)?;
    let mut private = vec![0; ring.payload_bytes];
    let (copies, sums) = work_of(&role.engine.name);
    let mut head = 0;
    for number in 0.. {
        if number - head == ring.slots {
            wait(|| {
                // ORDERING: Acquire; pairs with the consumer's Release store: it has read the slots before.
                head = ring.head().load(Ordering::Acquire);
                number - head < ring.slots
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
    memory.set_len(Ring::bytes(role.engine.payload_bytes) as u64)?;
    let ring = Ring::map(&memory, role.engine.payload_bytes)?;
    let meet = format!("/proc/{}/fd/{}", std::process::id(), memory.as_fd().as_raw_fd());
    let producer = Peer::start(role, meet)?;
    let mut private = vec![0; ring.payload_bytes];
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
        check(number, message, ring.payload_bytes)?;
        number += 1;
        // ORDERING: Release; pairs with the producer's Acquire load: this slot was read.
        ring.head().store(number, Ordering::Release);
        Ok(1)
    })
}
