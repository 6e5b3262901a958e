//! Files that processes map: writable in the one whose memory it is, read-only in the others.

use std::{fs::File, path::Path, ptr::NonNull};

use memmap2::{MmapOptions, MmapRaw};
use strait_sync::{RawWords, Words, WordsMut};

/// A mapped file.
pub struct Mapped {
    words: RawWords,
    _map: MmapRaw,
}

impl Mapped {
    fn new(map: MmapRaw) -> Self {
        let base = NonNull::new(map.as_mut_ptr()).unwrap();
        // SAFETY: the mapping is as long as it says, aligned to a page, and lives as long as the words do.
        let words = unsafe { RawWords::new(base, map.len()) };
        Self { words, _map: map }
    }

    pub fn read_only(path: &Path) -> Self {
        Self::new(MmapOptions::new().map_raw_read_only(&File::open(path).unwrap()).unwrap())
    }
}

// SAFETY: the mapping does not move, and lives as long as `self`.
unsafe impl Words for Mapped {
    fn raw(&self) -> &RawWords {
        &self.words
    }
}

/// The same, mapped for writing too.
pub struct Own(Mapped);

impl Own {
    pub fn writable(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        Self(Mapped::new(MmapOptions::new().map_raw(&file).unwrap()))
    }
}

// SAFETY: as for `Mapped`.
unsafe impl Words for Own {
    fn raw(&self) -> &RawWords {
        self.0.raw()
    }
}

// SAFETY: mapped writable.
unsafe impl WordsMut for Own {}
