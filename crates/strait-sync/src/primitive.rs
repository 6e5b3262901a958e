//! The loom switch: atomics, locks and threads as the rest of strait imports them.
//!
//! Under `--cfg strait_loom` these are loom's, elsewhere those of `core`, `alloc` and `std`. The cfg is not called `loom`,
//! because tokio's own `cfg(loom)` would take its network types away.

pub use core::sync::atomic::Ordering;

#[cfg(not(strait_loom))]
pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
#[cfg(strait_loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};

#[cfg(all(feature = "alloc", not(strait_loom)))]
pub use alloc::sync::Arc;
#[cfg(strait_loom)]
pub use loom::sync::Arc;

#[cfg(strait_loom)]
pub use loom::sync::{Condvar, MutexGuard};
#[cfg(all(feature = "std", not(strait_loom)))]
pub use std::sync::{Condvar, MutexGuard};

/// The order of a load that has a fence behind it where more is needed: relaxed. ThreadSanitizer sees no fences, so under a sanitizer the
/// load is acquire, what the fence makes of it: a store that lacks its release is still found, a missing fence is the models' to find.
// ORDERING: pairs, through the fence behind it, with what the place of use names: the release store or fence whose writes it waits for.
pub const FENCED_LOAD: Ordering = if cfg!(strait_sanitize) { Ordering::Acquire } else { Ordering::Relaxed };

/// Tells the processor that this is a spin; under loom, lets another thread run.
#[inline]
pub fn spin_hint() {
    #[cfg(strait_loom)]
    loom::thread::yield_now();
    #[cfg(not(strait_loom))]
    core::hint::spin_loop();
}

/// A lock for a few instructions, local to the process and never placed in shared memory.
///
/// `std`'s (or loom's) mutex without its poisoning: the code under it does not panic, and where the standard library
/// is absent it is a spin lock.
///
/// ```
/// let counter = strait_sync::primitive::Mutex::new(1);
/// *counter.lock() += 1;
/// assert_eq!(*counter.lock(), 2);
/// ```
#[derive(Debug, Default)]
pub struct Mutex<T> {
    #[cfg(strait_loom)]
    inner: loom::sync::Mutex<T>,
    #[cfg(all(feature = "std", not(strait_loom)))]
    inner: std::sync::Mutex<T>,
    #[cfg(all(not(feature = "std"), not(strait_loom)))]
    inner: spin::Mutex<T>,
}

#[cfg(any(feature = "std", strait_loom))]
impl<T> Mutex<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        #[cfg(strait_loom)]
        let inner = loom::sync::Mutex::new(value);
        #[cfg(not(strait_loom))]
        let inner = std::sync::Mutex::new(value);
        Self { inner }
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the lock if nobody holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(guard),
            // As `lock`: who took `None` for "held" would wait for nobody.
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(all(not(feature = "std"), not(strait_loom)))]
pub use spin::MutexGuard;

#[cfg(all(not(feature = "std"), not(strait_loom)))]
impl<T> Mutex<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self { inner: spin::Mutex::new(value) }
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.inner.lock()
    }

    /// Takes the lock if nobody holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.inner.try_lock()
    }
}

#[cfg(all(test, feature = "std", not(strait_loom)))]
mod tests {
    use super::Mutex;

    #[test]
    fn a_lock_whose_holder_panicked_is_taken_by_either_way() {
        let mutex = Mutex::new(7);
        std::thread::scope(|threads| {
            let panics = threads.spawn(|| {
                let _held = mutex.lock();
                panic!("with the lock held");
            });
            assert!(panics.join().is_err());
        });
        assert_eq!(*mutex.lock(), 7);
        assert!(mutex.try_lock().is_some_and(|value| *value == 7));
        let held = mutex.lock();
        assert!(mutex.try_lock().is_none());
        drop(held);
    }
}
