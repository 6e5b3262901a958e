//! Processes that run a test again with a role, and a file that they map, as words.
#![allow(unsafe_code, dead_code, unreachable_pub)]

use std::{
    env,
    fs::{File, OpenOptions},
    path::Path,
    process::{Child, Command, Stdio},
    ptr::NonNull,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use memmap2::{MmapOptions, MmapRaw};
use strait_sync::{RawWords, Words, WordsMut};

/// What a process does that is not the test itself.
pub const ROLE: &str = "STRAIT_MPMC_ROLE";
/// The file that the processes share.
pub const FILE: &str = "STRAIT_MPMC_FILE";

pub fn file(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

/// Runs `test` again, in a process that takes `role`.
pub fn spawn(test: &str, role: &str, path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FILE, path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A span of a mapped file; it keeps the mapping.
pub struct Mapping {
    raw: RawWords,
    _map: Arc<MmapRaw>,
}

// SAFETY: the mapping lives as long as `self` and does not move with it.
unsafe impl Words for Mapping {
    fn raw(&self) -> &RawWords {
        &self.raw
    }
}

// SAFETY: `map` maps it writable.
unsafe impl WordsMut for Mapping {}

impl Mapping {
    /// Bytes of the mapping, to be written by other means than words.
    ///
    /// # Safety
    ///
    /// While the slice is used, nobody else, here or in another process, accesses these bytes.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        // SAFETY: `as_ptr` has checked the bounds, `self` keeps the mapping, and the bytes are the caller's alone.
        unsafe { std::slice::from_raw_parts_mut(self.raw.as_ptr(offset, len).as_ptr(), len) }
    }
}

/// Maps `file` and cuts it in two: the first `bytes`, a multiple of 8, and the rest.
pub fn map(file: &File, bytes: usize) -> (Arc<Mapping>, Arc<Mapping>) {
    let map = Arc::new(MmapOptions::new().map_raw(file).unwrap());
    let cut = |at: usize, len: usize| {
        let start = NonNull::new(map.as_mut_ptr().wrapping_add(at)).unwrap();
        // SAFETY: page-aligned plus a multiple of 8; inside the mapping, which the result keeps; the test's file is never
        // truncated, and all access to it is by words.
        let raw = unsafe { RawWords::new(start, len) };
        Arc::new(Mapping { raw, _map: map.clone() })
    };
    assert!(bytes.is_multiple_of(8) && bytes <= map.len());
    (cut(0, bytes), cut(bytes, map.len() - bytes))
}

/// Numbers that look random and are the same for the same seed.
pub struct Random(pub u64);

impl Random {
    /// From the seed in `STRAIT_SEED`, or one that is new each time. Prints it: the harness shows that where the test fails.
    pub fn seeded() -> Self {
        let new = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = env::var("STRAIT_SEED").map_or_else(|_| new(), |seed| seed.parse().expect("a number"));
        println!("STRAIT_SEED={seed}");
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
