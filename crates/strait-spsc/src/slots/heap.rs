//! A ring of slots on the heap, for two ends inside one process.

#![allow(unsafe_code)]

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use core::{
    alloc::Layout,
    cell::UnsafeCell,
    fmt,
    mem::{ManuallyDrop, MaybeUninit},
    ptr::NonNull,
};

use strait_sync::primitive::Arc;

use super::{
    capacity,
    consumer::Consumer,
    error::CapacityError,
    producer::Producer,
    ring::Ring,
    storage::{Slots, Storage},
};

/// Says that an end's ring lies on the heap and that it never sleeps. See [`channel`].
pub struct OnHeap<T> {
    /// Taken out when it is dropped. `Arc` drops what is last by reference, and an end whose parts are referred to is kept in
    /// memory instead of registers, for as long as it lives: measured, half the speed of small values.
    shared: ManuallyDrop<Arc<Shared<T>>>,
}

impl<T> Drop for OnHeap<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: taken once, here, and not used after.
        drop(unsafe { ManuallyDrop::take(&mut self.shared) });
    }
}

struct Shared<T> {
    ring: Ring,
    slots: Slots<T>,
    /// What `slots` points to.
    _values: Values<T>,
}

/// The memory of the slots; freed without a look at what is in them.
struct Values<T>(NonNull<[UnsafeCell<MaybeUninit<T>>]>);

impl<T> Values<T> {
    /// `capacity` slots. They begin on a cache line of their own, so that values as long as a line lie in one each.
    fn uninit(capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        let first = match layout.size() {
            0 => NonNull::dangling(),
            _ => {
                // SAFETY: the layout's size is not zero.
                let memory = unsafe { alloc(layout) };
                NonNull::new(memory.cast()).unwrap_or_else(|| handle_alloc_error(layout))
            }
        };
        // A slot needs no initialisation: it is an `UnsafeCell` of a `MaybeUninit`.
        Self(NonNull::slice_from_raw_parts(first, capacity))
    }

    fn layout(capacity: usize) -> Layout {
        let slots = Layout::array::<UnsafeCell<MaybeUninit<T>>>(capacity);
        slots.and_then(|slots| slots.align_to(LINE_BYTES)).expect("slots of at most isize::MAX bytes")
    }
}

impl<T> Drop for Values<T> {
    fn drop(&mut self) {
        let layout = Self::layout(self.0.len());
        if layout.size() > 0 {
            // SAFETY: allocated in `uninit` with this very layout, and freed once.
            unsafe { dealloc(self.0.as_ptr().cast(), layout) };
        }
    }
}

/// Cache lines are fetched in pairs.
const LINE_BYTES: usize = 128;

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if crate::storage::unwinding() {
            return;
        }
        let (head, tail) = (self.ring.head(), self.ring.tail());
        // SAFETY: the slots are freed after this. Both ends are gone, so what lies between the positions that they have
        // shown is filled and nobody's.
        unsafe { self.slots.drop_values(head, tail.wrapping_sub(head) as usize) };
    }
}

// SAFETY: values are handed from one thread to another, which `T: Send` allows; never is one seen by two at a time.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; each slot is accessed by the one end that it belongs to.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> fmt::Debug for OnHeap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnHeap").field("ring", &self.shared.ring).finish_non_exhaustive()
    }
}

impl<T> OnHeap<T> {
    /// An empty ring, twice: for either end.
    pub(super) fn pair(capacity: usize, position: u64) -> Result<(Self, Self), CapacityError> {
        let values = Values::uninit(capacity::check(capacity)?);
        let slots = Slots::new(values.0);
        let shared = Arc::new(Shared { ring: Ring::with_both_ends(position), slots, _values: values });
        let of = |shared| Self { shared: ManuallyDrop::new(shared) };
        Ok((of(shared.clone()), of(shared)))
    }
}

// SAFETY: the `Arc` keeps the ring and its slots where they are; `pair` makes two of these, and its callers one end of each.
unsafe impl<T> Storage<T> for OnHeap<T> {
    #[inline]
    fn ring(&self) -> &Ring {
        &self.shared.ring
    }

    #[inline]
    fn slots(&self) -> Slots<T> {
        self.shared.slots.clone()
    }
}

/// A ring of `capacity` slots on the heap. Neither end ever waits.
///
/// # Errors
///
/// [`CapacityError`] where the capacity is not a power of two.
///
/// # Panics
///
/// If the slots are more than `isize::MAX` bytes. Where memory runs out, the process ends as with any allocation.
///
/// ```
/// use strait_spsc::slots::{PopError, channel};
///
/// let (mut producer, mut consumer) = channel(64)?;
/// producer.try_push("hello".to_owned())?;
/// assert_eq!(consumer.try_pop()?, "hello");
/// assert_eq!(consumer.try_pop(), Err(PopError::Empty));
/// drop(producer);
/// assert_eq!(consumer.try_pop(), Err(PopError::Abandoned));
///
/// assert_eq!(
///     channel::<u8>(100).unwrap_err().to_string(),
///     "a capacity of 100 slots is not a power of two; take 64 or 128",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel<T>(capacity: usize) -> Result<(Producer<T>, Consumer<T>), CapacityError> {
    channel_at(capacity, 0)
}

/// A ring that begins at `position`. For tests of what happens where positions wrap.
///
/// # Errors
///
/// As [`channel`].
#[doc(hidden)]
pub fn channel_at<T>(capacity: usize, position: u64) -> Result<(Producer<T>, Consumer<T>), CapacityError> {
    let (one, other) = OnHeap::pair(capacity, position)?;
    // SAFETY: a new ring; this is its one producer.
    let producer = unsafe { Producer::new(one) };
    // SAFETY: as above; its one consumer.
    Ok((producer, unsafe { Consumer::new(other) }))
}
