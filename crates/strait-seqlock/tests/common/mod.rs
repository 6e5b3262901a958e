//! What the tests share: values that can be checked in full, and a snapshot whose memory the test can write.
#![allow(dead_code, unreachable_pub, unsafe_code)]

#[cfg(not(strait_loom))]
pub mod mapped;

use std::{
    env,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use strait_seqlock::snapshot::{Geometry, HeapReader, Reader, Writer};
use strait_sync::Heap;

/// What a call may take beyond its deadline on a machine that does much else.
const GRACE: Duration = Duration::from_secs(2);

/// How many are killed: `STRAIT_STORM_ROUNDS`, or 1000.
pub fn storm_rounds() -> u64 {
    env::var("STRAIT_STORM_ROUNDS").map_or(1000, |rounds| rounds.parse().expect("a number"))
}

/// A call of one that survives ends by its deadline and a little more, whoever was killed meanwhile.
#[track_caller]
pub fn within<R>(deadline: Duration, call: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = call();
    assert!(start.elapsed() < deadline + GRACE, "a call took {:?}", start.elapsed());
    result
}

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

/// Length of version `version`, where the longest value has `max_bytes`.
pub fn len_of(version: u64, max_bytes: usize) -> usize {
    Random(version.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1).below(max_bytes + 1)
}

/// Fills `bytes`, from byte `start` of version `version` on, a multiple of 8.
pub fn fill(version: u64, start: usize, bytes: &mut [u8]) {
    for (index, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = version.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ ((start / 8 + index) as u64) << 40;
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

/// Version `version`, `len` bytes of it.
pub fn value(version: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(version, 0, &mut bytes);
    bytes
}

/// Checks that `bytes` are version `version`, whole.
#[track_caller]
pub fn check(version: u64, bytes: &[u8], max_bytes: usize) {
    assert_eq!(bytes.len(), len_of(version, max_bytes), "length of version {version}");
    assert!(bytes == value(version, bytes.len()), "version {version} of {} bytes is torn", bytes.len());
}

/// A memory and how the snapshot lies in it: the test plays one end, or both.
pub struct Bare {
    pub geometry: Geometry,
    pub memory: Arc<Heap>,
}

impl Bare {
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, memory: Arc::new(Heap::zeroed(geometry.end())) }
    }

    pub fn writer(&self) -> Writer<Arc<Heap>> {
        // SAFETY: the test makes one at a time, and writes by whole words only.
        unsafe { Writer::take_over(self.memory.clone(), self.geometry) }.unwrap()
    }

    pub fn reader(&self) -> HeapReader {
        Reader::new(self.memory.clone(), self.geometry).unwrap()
    }
}
