//! Messages of one plain type.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use strait_sync::WordsMut;

use super::{
    error::{PopError, PushError},
    participant::Participant,
};

impl<M: WordsMut> Participant<M> {
    /// Pushes `value` as its bytes. `T` is plain: without padding and without pointers, as zerocopy's derives check.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use strait_mpmc::shared::{Geometry, Identity, SharedQueue};
    /// # let geometry = Geometry::new(2, 8, 1)?;
    /// # let memory = Arc::new(strait_sync::Heap::zeroed(geometry.total_bytes() as usize));
    /// # let mut participant = SharedQueue::create(memory, geometry)?.attach(Identity::current())?;
    /// participant.try_push_value(&[1u32, 2])?;
    /// assert_eq!(participant.try_pop_value::<[u32; 2]>()?, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`try_push`](Participant::try_push).
    #[inline]
    pub fn try_push_value<T: IntoBytes + Immutable>(&mut self, value: &T) -> Result<(), PushError> {
        self.try_push(value.as_bytes())
    }

    /// Pops a value of a plain type, whose size must be that of a slot.
    ///
    /// # Errors
    ///
    /// As for [`try_pop`](Participant::try_pop), with [`PopError::BufferTooShort`] where `T` is smaller than a slot, and
    /// [`PopError::WrongLength`] where the message was not as long as `T`.
    #[inline]
    pub fn try_pop_value<T: FromBytes + IntoBytes>(&mut self) -> Result<T, PopError> {
        let mut value = T::new_zeroed();
        let len = self.try_pop(value.as_mut_bytes())?;
        if len != size_of::<T>() {
            return Err(PopError::WrongLength { len, expected: size_of::<T>() });
        }
        Ok(value)
    }
}
