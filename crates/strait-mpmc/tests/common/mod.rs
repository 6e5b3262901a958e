//! A file that several processes map, as words.
#![allow(unsafe_code, dead_code, unreachable_pub)]

use std::{fs::File, ptr::NonNull, sync::Arc};

use memmap2::{MmapOptions, MmapRaw};
use strait_sync::{RawWords, Words, WordsMut};

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

/// Numbers that look random and are the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
