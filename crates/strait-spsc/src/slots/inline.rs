//! A ring whose slots lie in the value itself, for where there is no allocator.

#![allow(unsafe_code)]

use core::{cell::UnsafeCell, fmt, mem::MaybeUninit, ptr::NonNull};

use super::{
    consumer::Consumer,
    producer::Producer,
    ring::Ring,
    storage::{Slots, Storage},
};

/// A ring of `N` slots, inline: on the stack, in a `static`, inside another type. `N` is a power of two.
///
/// Its ends borrow it. What is left in it when they are dropped is there for the next ones, and dropped with it.
///
/// ```
/// use strait_spsc::slots::Inline;
///
/// static RING: Inline<u32, 16> = Inline::new();
///
/// let (mut producer, mut consumer) = RING.try_split().expect("nobody else has split it");
/// assert!(RING.try_split().is_none(), "one producer, one consumer");
/// let pushing = std::thread::spawn(move || producer.try_push(7).unwrap());
/// pushing.join().unwrap();
/// assert_eq!(consumer.try_pop(), Ok(7));
/// ```
///
/// Another number of slots does not compile:
///
/// ```compile_fail,E0080
/// static RING: strait_spsc::slots::Inline<u32, 12> = strait_spsc::slots::Inline::new();
/// ```
#[repr(C)]
pub struct Inline<T, const N: usize> {
    ring: Ring,
    slots: [UnsafeCell<MaybeUninit<T>>; N],
}

/// The pushing end of an [`Inline`] ring.
pub type InlineProducer<'a, T, const N: usize> = Producer<T, &'a Inline<T, N>>;
/// The popping end of an [`Inline`] ring.
pub type InlineConsumer<'a, T, const N: usize> = Consumer<T, &'a Inline<T, N>>;

// SAFETY: values are handed from one thread to another, which `T: Send` allows; never is one seen by two at a time.
unsafe impl<T: Send, const N: usize> Sync for Inline<T, N> {}

// SAFETY: the ring stays where it is while it is borrowed. Ends are made by `Inline::ends` alone, by whose contract there is one
// of each.
unsafe impl<T, const N: usize> Storage<T> for &Inline<T, N> {
    #[inline]
    fn ring(&self) -> &Ring {
        &self.ring
    }

    #[inline]
    fn slots(&self) -> Slots<T> {
        Slots::new(NonNull::from(&self.slots))
    }
}

impl<T, const N: usize> Inline<T, N> {
    /// An empty ring.
    pub const fn new() -> Self {
        const { assert!(N.is_power_of_two(), "the capacity of a ring is a power of two") };
        Self { ring: Ring::without_ends(), slots: [const { UnsafeCell::new(MaybeUninit::uninit()) }; N] }
    }

    /// The two ends, for as long as the ring is borrowed.
    ///
    /// Where a consumer was leaked ([`core::mem::forget`]), so is what was left in the ring: nobody knows how much of it the
    /// consumer has taken.
    ///
    /// ```
    /// use strait_spsc::slots::Inline;
    /// let mut ring = Inline::<_, 4>::new();
    /// let (mut producer, consumer) = ring.split();
    /// producer.try_push("left").unwrap();
    /// drop((producer, consumer));
    /// let (_, mut consumer) = ring.split();
    /// assert_eq!(consumer.try_pop(), Ok("left"));
    /// ```
    pub fn split(&mut self) -> (InlineProducer<'_, T, N>, InlineConsumer<'_, T, N>) {
        self.evict();
        self.ring.enter();
        // SAFETY: the ring was borrowed exclusively, so earlier ends are gone or leaked.
        unsafe { self.ends() }
    }

    /// The two ends, or `None` where ends of this ring still live. For a ring in a `static`.
    ///
    /// Where an end was leaked ([`core::mem::forget`]), it lives for ever.
    pub fn try_split(&self) -> Option<(InlineProducer<'_, T, N>, InlineConsumer<'_, T, N>)> {
        // SAFETY: `enter` lets two in where none were.
        self.ring.enter().then(|| unsafe { self.ends() })
    }

    /// # Safety
    ///
    /// The caller has let two new ends in, and no other ones are used any more.
    unsafe fn ends(&self) -> (InlineProducer<'_, T, N>, InlineConsumer<'_, T, N>) {
        // SAFETY: the one producer, by the caller's contract.
        let producer = unsafe { Producer::new(self) };
        // SAFETY: the one consumer, by the caller's contract.
        (producer, unsafe { Consumer::new(self) })
    }

    /// Forgets ends that were leaked, and with a consumer what it may have taken.
    fn evict(&mut self) {
        if !self.ring.evict() {
            self.ring.forget_values();
        }
    }
}

impl<T, const N: usize> Default for Inline<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Drop for Inline<T, N> {
    fn drop(&mut self) {
        self.evict();
        let (head, tail) = (self.ring.head(), self.ring.tail());
        let slots = (&*self).slots();
        // SAFETY: there are no ends any more, so what lies between the positions that they have shown is filled and nobody's.
        unsafe { slots.drop_values(head, tail.wrapping_sub(head) as usize) };
    }
}

impl<T, const N: usize> fmt::Debug for Inline<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inline").field("ring", &self.ring).finish_non_exhaustive()
    }
}
