//! What the tests share: payloads that can be checked in full, and a ring whose memory the test can write.
#![allow(dead_code, unreachable_pub, unsafe_code)]

#[cfg(not(strait_loom))]
pub mod mapped;

use std::{
    env,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use strait_spsc::records::{Consumer, Geometry, HeapConsumer, HeapProducer, Meta, Producer, Record, control};
use strait_sync::{Heap, HonestPeer};

/// A small generator of numbers that are the same for the same seed (xorshift64*).
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// From the seed in `STRAIT_SEED`, or one that is new each time. Prints it: the harness shows that where the test fails.
    pub fn seeded() -> Self {
        let new = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = env::var("STRAIT_SEED").map_or_else(|_| new(), |seed| seed.parse().expect("a number"));
        println!("STRAIT_SEED={seed}");
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Word `index` of message `number`. It looks like the commit of a short record.
fn word(number: u64, index: usize) -> [u8; 8] {
    let word = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (index as u64) << 40;
    (word & !0x7FFF_FFE0 | 0x8000_0000).to_le_bytes()
}

/// Fills `bytes` as message `number` is to be filled.
pub fn fill(number: u64, bytes: &mut [u8]) {
    for (index, chunk) in bytes.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&word(number, index)[..chunk.len()]);
    }
}

pub fn meta(number: u64) -> Meta {
    Meta { timestamp: number ^ 0xF0F0_F0F0_0F0F_0F0F, checksum: !number as u32 }
}

#[track_caller]
pub fn check_bytes(number: u64, bytes: &[u8]) {
    for (index, chunk) in bytes.chunks(8).enumerate() {
        assert_eq!(chunk, &word(number, index)[..chunk.len()], "word {index} of message {number}");
    }
}

/// Copies a record out and checks all of it.
#[track_caller]
pub fn check_copy<O: strait_sync::WordsMut, P: strait_sync::Words>(
    number: u64,
    record: &Record<'_, O, P>,
    words: &mut [u64],
) {
    assert_eq!(record.meta(), meta(number), "meta of message {number}");
    record.copy_to(words);
    let bytes = bytes_of(&words[..record.len().div_ceil(8)]);
    check_bytes(number, &bytes[..record.len()]);
}

pub fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: any words are valid bytes, eight times as many.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

pub fn trust() -> HonestPeer {
    // SAFETY: used where the producer is the real one.
    unsafe { HonestPeer::assume() }
}

/// Two memories and how the ring lies in the first: the test plays one of the two peers.
pub struct Bare {
    pub ring: Geometry,
    pub ours: Arc<Heap>,
    pub theirs: Arc<Heap>,
}

impl Bare {
    pub fn new(capacity_bytes: u64, align_bytes: u64) -> Self {
        let ring = Geometry::new(0, control::BYTES, capacity_bytes, align_bytes).unwrap();
        let ours = Arc::new(Heap::zeroed(control::BYTES + capacity_bytes as usize));
        Self { ring, ours, theirs: Arc::new(Heap::zeroed(control::BYTES)) }
    }

    pub fn producer(&self, position: u64) -> HeapProducer {
        let (ours, theirs) = (self.ours.clone(), self.theirs.clone());
        // SAFETY: the test makes one producer, and writes the memory by whole words only.
        unsafe { Producer::starting_at(ours, self.ring, theirs, 0, position) }.unwrap()
    }

    pub fn consumer(&self, position: u64) -> HeapConsumer {
        let (ours, theirs) = (self.ours.clone(), self.theirs.clone());
        // SAFETY: the test makes one consumer, and writes the memory by whole words only.
        unsafe { Consumer::starting_at(theirs, 0, ours, self.ring, position) }.unwrap()
    }

    /// Writes a word of the ring, as a hostile producer would.
    pub fn poke(&self, position: u64, word: u64) {
        use strait_sync::WordsMut;
        let offset = self.ring.data() + (position % self.ring.capacity_bytes()) as usize;
        self.ours.store(offset, word, std::sync::atomic::Ordering::Release);
    }

    /// Writes the consumer's head, as a hostile consumer would.
    pub fn poke_head(&self, head: u64) {
        use strait_sync::WordsMut;
        self.theirs.store(control::HEAD, head, std::sync::atomic::Ordering::Release);
    }
}
