//! A plain value whose bytes are accessed by relaxed atomics alone.

#![allow(unsafe_code)]

#[cfg(strait_loom)]
pub(super) use modelled::Storage;

#[cfg(not(strait_loom))]
use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering},
};

#[cfg(not(strait_loom))]
use strait_sync::{load_words, store_words};

#[cfg(not(strait_loom))]
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A value, aligned for words.
///
/// Its bytes are eight at a time an `AtomicU64`, and at most one `AtomicU32`, `AtomicU16` and `AtomicU8` at the end:
/// each byte is always accessed as part of the same one. What pads the storage itself is never accessed.
#[cfg(not(strait_loom))]
#[repr(C, align(8))]
pub(super) struct Storage<T> {
    value: UnsafeCell<T>,
}

// SAFETY: shared access is by atomics alone, and copies plain values; the value goes where the storage goes.
#[cfg(not(strait_loom))]
unsafe impl<T: Send> Sync for Storage<T> {}

/// Moves what is left of a value of type `$value` behind its whole words, by `$move!(atomic type, integer type, offset)` for each
/// part.
#[cfg(not(strait_loom))]
macro_rules! each_part {
    ($value:ty, $move:ident) => {
        let (size, mut at) = (size_of::<$value>(), size_of::<$value>() & !7);
        if size & 4 != 0 {
            $move!(AtomicU32, u32, at);
            at += 4;
        }
        if size & 2 != 0 {
            $move!(AtomicU16, u16, at);
            at += 2;
        }
        if size & 1 != 0 {
            $move!(AtomicU8, u8, at);
        }
    };
}

#[cfg(not(strait_loom))]
impl<T> Storage<T> {
    pub(super) const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value) }
    }
}

#[cfg(not(strait_loom))]
impl<T: FromBytes + IntoBytes + Immutable> Storage<T> {
    /// Copies the value out, maybe torn: any bytes are a `T`.
    #[inline]
    pub(super) fn load(&self) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: valid for writes of a `T`.
        unsafe { self.copy_to(value.as_mut_ptr()) };
        // SAFETY: all of its bytes were written, and any bytes are a `T`.
        unsafe { value.assume_init() }
    }

    /// Copies the value over `value`, maybe torn.
    #[inline]
    pub(super) fn load_into(&self, value: &mut T) {
        // SAFETY: valid for writes of a `T`; any bytes are one.
        unsafe { self.copy_to(value) }
    }

    /// Writes all bytes of `copy`.
    ///
    /// # Safety
    ///
    /// `copy` is valid for writes of a `T`.
    #[inline]
    unsafe fn copy_to(&self, copy: *mut T) {
        let source: *const u8 = self.value.get().cast();
        let destination: *mut u8 = copy.cast();
        // ORDERING: Relaxed: racy by design; ordered by the acquire load in `SeqLock::begin` and the fence in `is_still`.
        // SAFETY: as many words as lie inside the value and the copy; the storage is aligned to 8, initialised, as `T` has no
        // padding, inside an `UnsafeCell`, and accessed by atomics alone.
        unsafe { load_words(source.cast(), destination.cast(), size_of::<T>() / 8) };
        macro_rules! load {
            ($atomic:ty, $integer:ty, $at:expr) => {
                // SAFETY: the part lies inside the value.
                let part = unsafe { source.add($at) };
                // SAFETY: aligned, as the storage is and as the offset is a multiple of its size; initialised, as `T`
                // has no padding; inside an `UnsafeCell`, and accessed by this atomic alone.
                let part = unsafe { &*part.cast::<$atomic>() };
                // ORDERING: Relaxed: racy by design; as above.
                let bits = part.load(Ordering::Relaxed);
                // SAFETY: the part lies inside the copy, too.
                let place = unsafe { destination.add($at) };
                // SAFETY: as above; the copy is ours, and need not be aligned.
                unsafe { place.cast::<$integer>().write_unaligned(bits) };
            };
        }
        each_part!(T, load);
    }

    /// Copies `value` in. For one writer at a time; two would leave a mixture.
    #[inline]
    pub(super) fn store(&self, value: &T) {
        let source: *const u8 = core::ptr::from_ref(value).cast();
        let destination: *const u8 = self.value.get().cast();
        // ORDERING: Relaxed: racy by design; ordered by the fence and the release store in `Writer::write`.
        // SAFETY: as in `copy_to`; there is one writer.
        unsafe { store_words(source.cast(), destination.cast(), size_of::<T>() / 8) };
        macro_rules! store {
            ($atomic:ty, $integer:ty, $at:expr) => {
                // SAFETY: the part lies inside the value.
                let place = unsafe { source.add($at) };
                // SAFETY: as above; initialised, as `T` has no padding; need not be aligned.
                let bits = unsafe { place.cast::<$integer>().read_unaligned() };
                // SAFETY: the part lies inside the storage, too.
                let part = unsafe { destination.add($at) };
                // SAFETY: as in `copy_to`.
                let part = unsafe { &*part.cast::<$atomic>() };
                // ORDERING: Relaxed: as above.
                part.store(bits, Ordering::Relaxed);
            };
        }
        each_part!(T, store);
    }
}

/// Under loom: words of its own, as its atomics are no plain memory.
#[cfg(strait_loom)]
mod modelled {
    use core::marker::PhantomData;

    use strait_sync::{Heap, Words, WordsMut};
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    pub(in super::super) struct Storage<T> {
        words: Heap,
        value: PhantomData<T>,
    }

    impl<T: FromBytes + IntoBytes + Immutable> Storage<T> {
        pub(in super::super) fn new(value: T) -> Self {
            let words = Heap::zeroed(size_of::<T>());
            words.copy_in(0, value.as_bytes());
            Self { words, value: PhantomData }
        }

        pub(in super::super) fn load(&self) -> T {
            let mut value = T::new_zeroed();
            self.words.copy_out_racing(0, value.as_mut_bytes());
            value
        }

        pub(in super::super) fn load_into(&self, value: &mut T) {
            self.words.copy_out_racing(0, value.as_mut_bytes());
        }

        pub(in super::super) fn store(&self, value: &T) {
            self.words.copy_in(0, value.as_bytes());
        }
    }
}
