//! Files that two processes map: writable where they are one's own, read-only where they are the peer's.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    ptr::NonNull,
};

use memmap2::{MmapOptions, MmapRaw};
use strait_sync::{RawWords, Words, WordsMut};

/// A mapped file.
pub struct Mapped {
    raw: RawWords,
    _map: MmapRaw,
}

impl Mapped {
    fn new(map: MmapRaw) -> Self {
        let base = NonNull::new(map.as_mut_ptr()).unwrap();
        // SAFETY: the map is page aligned, keeps its address until it is dropped, and is only accessed through this.
        let raw = unsafe { RawWords::new(base, map.len()) };
        Self { raw, _map: map }
    }
}

// SAFETY: the map lives as long as `self`, at the same address.
unsafe impl Words for Mapped {
    fn raw(&self) -> &RawWords {
        &self.raw
    }
}

/// A file that is mapped writable.
pub struct Own(Mapped);

// SAFETY: as for `Mapped`.
unsafe impl Words for Own {
    fn raw(&self) -> &RawWords {
        self.0.raw()
    }
}

// SAFETY: it is mapped writable.
unsafe impl WordsMut for Own {}

pub fn own(directory: &Path, name: &str) -> Own {
    let file = OpenOptions::new().read(true).write(true).open(directory.join(name)).unwrap();
    Own(Mapped::new(MmapOptions::new().map_raw(&file).unwrap()))
}

pub fn peers(directory: &Path, name: &str) -> Mapped {
    let file = File::open(directory.join(name)).unwrap();
    Mapped::new(MmapOptions::new().map_raw_read_only(&file).unwrap())
}

/// Makes the file anew, all zero.
pub fn make(directory: &Path, name: &str, len_bytes: usize) {
    File::create(directory.join(name)).unwrap().set_len(len_bytes as u64).unwrap();
}
