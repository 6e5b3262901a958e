//! Places for the latest value.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use mmap_sync::{locks::LockDisabled, synchronizer::Synchronizer};
use strait_benches::primitives::{
    Bench, Kind,
    latest::{Buffer, Latest, Read, Write, all},
    snapshot::SNAPSHOT_BYTES,
};

pub fn peers() -> Vec<Bench> {
    let mut benches = all::<SeqLock<8>>(Kind::Peer, "seqlock", 64, true);
    benches.extend(all::<SeqLock<512>>(Kind::Peer, "seqlock", 4096, true));
    for bytes in SNAPSHOT_BYTES {
        benches.extend(all::<Swap>(Kind::Peer, "snapshot", bytes, true));
        benches.extend(all::<MmapSync>(Kind::Peer, "snapshot", bytes, true));
    }
    benches
}

/// A sequence lock over so many words.
struct SeqLock<const WORDS: usize>;

struct SeqLockHandle<const WORDS: usize>(Arc<seqlock::SeqLock<[u64; WORDS]>>);

impl<const WORDS: usize> Latest for SeqLock<WORDS> {
    const NAME: &'static str = "seqlock";
    type Writer = SeqLockHandle<WORDS>;
    type Reader = SeqLockHandle<WORDS>;

    fn open(first: &[u64], readers: usize) -> Result<(Self::Writer, Vec<Self::Reader>), String> {
        let first = first.try_into().map_err(|_| format!("it is made for {WORDS} words"))?;
        let lock = Arc::new(seqlock::SeqLock::new(first));
        let readers = (0..readers).map(|_| SeqLockHandle(lock.clone())).collect();
        Ok((SeqLockHandle(lock), readers))
    }
}

impl<const WORDS: usize> Write for SeqLockHandle<WORDS> {
    #[inline]
    fn write(&mut self, words: &[u64]) {
        self.0.lock_write().copy_from_slice(words);
    }
}

impl<const WORDS: usize> Read for SeqLockHandle<WORDS> {
    #[inline]
    fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
        see(&self.0.read());
        true
    }
}

/// A pointer that is swapped; each value is allocated, and read in place.
struct Swap;

struct SwapHandle(Arc<ArcSwap<Buffer>>);

impl Latest for Swap {
    const NAME: &'static str = "arc-swap";
    type Writer = SwapHandle;
    type Reader = SwapHandle;

    fn open(first: &[u64], readers: usize) -> Result<(SwapHandle, Vec<SwapHandle>), String> {
        let swap = Arc::new(ArcSwap::from_pointee(Buffer::of(first)));
        let readers = (0..readers).map(|_| SwapHandle(swap.clone())).collect();
        Ok((SwapHandle(swap), readers))
    }
}

impl Write for SwapHandle {
    #[inline]
    fn write(&mut self, words: &[u64]) {
        self.0.store(Arc::new(Buffer::of(words)));
    }
}

impl Read for SwapHandle {
    #[inline]
    fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
        see(self.0.load().words());
        true
    }
}

/// Two mapped files, read in place by readers that count themselves; the writer waits for them, at most so long.
struct MmapSync;

const GRACE: Duration = Duration::from_millis(100);
/// How long the writer sleeps before it looks again whether readers have gone. Its default is a second: a busy writer would
/// write once.
const SLEEP_NANOS: u64 = 1_000;

struct MmapSyncHandle {
    synchronizer: Synchronizer<wyhash::WyHash, LockDisabled, 1024, SLEEP_NANOS>,
    /// Removed with the last handle.
    _directory: Arc<tempfile::TempDir>,
}

impl Latest for MmapSync {
    const NAME: &'static str = "mmap-sync";
    type Writer = MmapSyncHandle;
    type Reader = MmapSyncHandle;

    fn open(first: &[u64], readers: usize) -> Result<(MmapSyncHandle, Vec<MmapSyncHandle>), String> {
        // In memory, as ours is.
        let shared_memory = PathBuf::from("/dev/shm");
        let directory = tempfile::tempdir_in(shared_memory).map_err(|error| format!("no directory for it: {error}"))?;
        let directory = Arc::new(directory);
        let handle = || MmapSyncHandle {
            synchronizer: Synchronizer::with_params(directory.path().join("value").as_os_str()),
            _directory: directory.clone(),
        };
        let mut writer = handle();
        writer.try_write(first)?;
        Ok((writer, (0..readers).map(|_| handle()).collect()))
    }
}

impl MmapSyncHandle {
    fn try_write(&mut self, words: &[u64]) -> Result<(), String> {
        // It serialises values of types with an owner; the copy is part of using it.
        let written = self.synchronizer.write(&words.to_vec(), GRACE);
        written.map(drop).map_err(|error| format!("cannot write: {error}"))
    }
}

impl Write for MmapSyncHandle {
    #[inline]
    fn write(&mut self, words: &[u64]) {
        self.try_write(words).expect("the first one was written");
    }
}

impl Read for MmapSyncHandle {
    #[inline]
    fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
        // SAFETY: the file was written by this very program, as this type.
        match unsafe { self.synchronizer.read::<Vec<u64>>(false) } {
            Ok(value) => {
                see(value.as_slice());
                true
            }
            Err(_) => false,
        }
    }
}
