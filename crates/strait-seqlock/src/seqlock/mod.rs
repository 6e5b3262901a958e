//! A sequence lock: one small value inside a process, one writer, any number of readers that write nothing.
//!
//! ```text
//! writer                              reader
//!   sequence = odd       (Relaxed)      before = sequence   (Acquire)   odd: again
//!   fence(Release)
//!   words of the value   (Relaxed)      words of the value  (Relaxed)
//!                                       fence(Acquire)
//!   sequence = even      (Release)      sequence == before? (Relaxed)   no: again
//! ```
//!
//! *No torn value.* If a reader sees one word of a new value, the writer's fence and the reader's make it see the odd
//! number too, or a later one, and it reads again. If it sees one word of an older value than the one that `before`
//! belongs to, the acquire of `before` did not do what it does. Take a fence away, or the second look, and loom finds
//! the torn value (`tests/loom_seqlock.rs`). Source: Boehm, "Can seqlocks get along with programming language memory
//! models?" (2012).

mod storage;

use core::fmt;

use strait_sync::{
    Backoff, mutant,
    primitive::{AtomicBool, AtomicU64, Ordering, fence},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::error::Contended;
use storage::Storage;

/// A small value that one writer changes and any number of readers copy, without any lock on the way of a reader.
///
/// `T` is plain: any bit pattern is one, and none of its bytes is padding (zerocopy's `FromBytes`, `IntoBytes`). The
/// value lies inside, nothing is allocated, and [`new`](Self::new) is `const`, so a static can be one:
///
/// ```
/// use strait_seqlock::SeqLock;
///
/// static POSITION: SeqLock<[f64; 3]> = SeqLock::new([0.0; 3]);
///
/// let mut writer = POSITION.writer().expect("there is no other writer now");
/// writer.write([1.0, 2.0, 3.0]);
/// assert_eq!(POSITION.read(), [1.0, 2.0, 3.0]);
/// assert!(POSITION.writer().is_none());
/// ```
///
/// *Progress.* A write is wait-free. A read is not: it fails, or tries again, while the value is written to; a writer
/// that is stopped in the middle of a write stops the readers, too. So this is for threads of one process, which die
/// together. Between processes, or for values of more than some hundred bytes, use a [`snapshot`](crate::snapshot).
///
/// A type that is not plain is refused; not every byte is a `bool`:
///
/// ```compile_fail,E0277
/// let lock = strait_seqlock::SeqLock::new(true);
/// ```
pub struct SeqLock<T> {
    /// Odd while the value is written to.
    sequence: AtomicU64,
    value: Storage<T>,
    /// Whether there is a [`Writer`].
    taken: AtomicBool,
}

impl<T> SeqLock<T> {
    /// How many attempts [`try_read`](Self::try_read) makes.
    pub const ATTEMPTS: u32 = 64;
}

impl<T: FromBytes + IntoBytes + Immutable> SeqLock<T> {
    /// Holds `value`.
    #[cfg(not(strait_loom))]
    pub const fn new(value: T) -> Self {
        Self { sequence: AtomicU64::new(0), value: Storage::new(value), taken: AtomicBool::new(false) }
    }

    /// Holds `value`.
    #[cfg(strait_loom)]
    pub fn new(value: T) -> Self {
        Self { sequence: AtomicU64::new(0), value: Storage::new(value), taken: AtomicBool::new(false) }
    }

    /// Copies the value; reads again for as long as it is written to.
    ///
    /// Returns as soon as one attempt meets no write. For a bound, see [`try_read`](Self::try_read).
    #[inline]
    pub fn read(&self) -> T {
        match self.attempt() {
            Some(value) => value,
            None => self.read_slow(),
        }
    }

    #[cold]
    fn read_slow(&self) -> T {
        let backoff = Backoff::new();
        loop {
            wait(&backoff);
            if let Some(value) = self.attempt() {
                return value;
            }
        }
    }

    /// Like [`read`](Self::read), over `value`: saves the move of what is returned. Values of 4 KiB are read ten times as fast
    /// (measured: docs/BENCHMARKS.md).
    ///
    /// ```
    /// # let lock = strait_seqlock::SeqLock::new([7u64; 512]);
    /// let mut value = [0; 512];
    /// lock.read_into(&mut value);
    /// assert_eq!(value, [7; 512]);
    /// ```
    #[inline]
    pub fn read_into(&self, value: &mut T) {
        let backoff = Backoff::new();
        while !self.attempt_into(value) {
            wait(&backoff);
        }
    }

    /// Copies the value; gives up after [`ATTEMPTS`](Self::ATTEMPTS) that each met a write.
    ///
    /// # Errors
    ///
    /// [`Contended`] where it gave up.
    ///
    /// ```
    /// # let lock = strait_seqlock::SeqLock::new(7u32);
    /// assert_eq!(lock.try_read()?, 7);
    /// # Ok::<(), strait_seqlock::Contended>(())
    /// ```
    #[inline]
    pub fn try_read(&self) -> Result<T, Contended> {
        match self.attempt() {
            Some(value) => Ok(value),
            None => self.try_read_slow(),
        }
    }

    #[cold]
    fn try_read_slow(&self) -> Result<T, Contended> {
        let backoff = Backoff::new();
        for _ in 1..Self::ATTEMPTS {
            wait(&backoff);
            if let Some(value) = self.attempt() {
                return Ok(value);
            }
        }
        Err(Contended { attempts: Self::ATTEMPTS })
    }

    /// One attempt; `None` where it met a write.
    #[inline]
    fn attempt(&self) -> Option<T> {
        let before = self.begin()?;
        let value = self.value.load();
        self.is_still(before).then_some(value)
    }

    /// One attempt; returns whether it met no write. Where it did, `value` is torn.
    #[inline]
    fn attempt_into(&self, value: &mut T) -> bool {
        self.begin().is_some_and(|before| {
            self.value.load_into(value);
            self.is_still(before)
        })
    }

    /// The sequence, where nobody writes.
    #[inline]
    fn begin(&self) -> Option<u64> {
        // ORDERING: Acquire; pairs with the release store in `Writer::write`: no word is older than this number.
        let before = self.sequence.load(Ordering::Acquire);
        before.is_multiple_of(2).then_some(before)
    }

    /// Whether nobody has written since the sequence was `before`, so that what was read since is whole.
    #[inline]
    fn is_still(&self, before: u64) -> bool {
        // ORDERING: Acquire; pairs with the release fence in `Writer::write`: who read a word of a newer value sees its
        // number.
        mutant!(seqlock_no_acquire_fence, fence(Ordering::Acquire), ());
        // ORDERING: Relaxed; the fence above orders it after the words.
        let after = mutant!(seqlock_no_recheck, self.sequence.load(Ordering::Relaxed), before);
        before == after
    }

    /// The number of values that were written since [`new`](Self::new). One load: for whoever asks whether there is a
    /// new one.
    #[inline]
    pub fn version(&self) -> u64 {
        // ORDERING: Relaxed; nothing is read by it. What a read after this returns is at least as new.
        self.sequence.load(Ordering::Relaxed) / 2
    }

    /// The writer, where there is none now. It can be had again when it was dropped.
    pub fn writer(&self) -> Option<Writer<'_, T>> {
        // ORDERING: Acquire; pairs with the release store in the drop of the last `Writer`: its writes come before
        // those of this one.
        let taken = self.taken.swap(true, Ordering::Acquire);
        // ORDERING: Relaxed; only the writer writes it, and that is this one now.
        (!taken).then(|| Writer { lock: self, sequence: self.sequence.load(Ordering::Relaxed) })
    }
}

/// Between two attempts: a hint, later the processor.
fn wait(backoff: &Backoff) {
    #[cfg(not(strait_loom))]
    backoff.snooze();
    #[cfg(strait_loom)]
    {
        let _ = backoff;
        strait_sync::primitive::spin_hint();
    }
}

impl<T: FromBytes + IntoBytes + Immutable + Default> Default for SeqLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: FromBytes + IntoBytes + Immutable + fmt::Debug> fmt::Debug for SeqLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeqLock").field("value", &self.try_read()).finish_non_exhaustive()
    }
}

/// The one who may write to a [`SeqLock`].
///
/// It cannot be cloned, because there is one:
///
/// ```compile_fail,E0599
/// let lock = strait_seqlock::SeqLock::new(7u32);
/// let writer = lock.writer().unwrap();
/// let second = writer.clone();
/// ```
pub struct Writer<'a, T> {
    lock: &'a SeqLock<T>,
    /// The lock's, which only this writer changes.
    sequence: u64,
}

impl<T: FromBytes + IntoBytes + Immutable> Writer<'_, T> {
    /// Writes `value`. Wait-free.
    #[inline]
    pub fn write(&mut self, value: T) {
        let lock = self.lock;
        // ORDERING: Relaxed; the fence orders it before the words.
        lock.sequence.store(self.sequence + 1, Ordering::Relaxed);
        // ORDERING: Release; pairs with the acquire fence in `is_still`: who reads a word of this value sees the odd
        // number.
        mutant!(seqlock_no_release_fence, fence(Ordering::Release), ());
        lock.value.store(&value);
        self.sequence += 2;
        // ORDERING: Release; pairs with the acquire load in `begin`: who sees this number sees the whole value.
        let order = mutant!(seqlock_relaxed_end, Ordering::Release, Ordering::Relaxed);
        lock.sequence.store(self.sequence, order);
    }

    /// The value as it is. Never waits: nobody else writes.
    #[inline]
    pub fn read(&self) -> T {
        self.lock.value.load()
    }
}

impl<T> Drop for Writer<'_, T> {
    fn drop(&mut self) {
        // ORDERING: Release; pairs with the acquire swap in `SeqLock::writer`.
        self.lock.taken.store(false, Ordering::Release);
    }
}

impl<T> fmt::Debug for Writer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
