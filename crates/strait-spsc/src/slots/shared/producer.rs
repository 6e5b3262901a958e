//! The pushing end.

use core::fmt;

use strait_sync::{
    Ringer, Sleeper, Words, WordsMut, fail_point, mutant,
    primitive::{Ordering, fence},
};
use zerocopy::{Immutable, IntoBytes};

use super::{
    error::PushError,
    geometry::{Geometry, check_control, control},
};
use crate::{
    error::{Corrupt, GeometryError, Violation},
    slots::PushStats,
    storage::unwinding,
};

/// The pushing end of a ring of `T`. Writes `Own`, where the slots are; reads the consumer's head from `Peer`.
///
/// Dropping it ends the stream. It is not cloned, because a ring has one producer:
///
/// ```compile_fail,E0599
/// let (producer, _consumer) = strait_spsc::slots::shared::channel::<u64>(8).unwrap();
/// let second = producer.clone();
/// ```
///
/// A type with padding, or with bytes that are no value, is refused:
///
/// ```compile_fail,E0277
/// strait_spsc::slots::shared::channel::<(u8, u64)>(8);
/// ```
pub struct Producer<T, Own: WordsMut, Peer: Words> {
    own: Own,
    ring: Geometry<T>,
    peer: Peer,
    peer_control: usize,
    /// Where the next value goes: this end's own position, of which the memory gets a copy.
    tail: u64,
    /// The consumer's position as last read and believed.
    head: u64,
    poison: Option<Corrupt>,
    full: u64,
    high_water: u64,
    sleeper: Sleeper,
    ringer: Ringer,
}

impl<T: IntoBytes + Immutable, Own: WordsMut, Peer: Words> Producer<T, Own, Peer> {
    /// Makes the pushing end of the ring that lies in `own` as `ring` says. The consumer's control block is at offset
    /// `peer_control` in `peer`. Both control blocks are zero at the start.
    ///
    /// There must be one producer for a ring. Two would mix their values up, and make the consumer call the ring corrupt; they
    /// would do no worse, which is why this is safe.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] where the ring or the control block is not inside its memory, or not aligned there.
    pub fn new(own: Own, ring: Geometry<T>, peer: Peer, peer_control: usize) -> Result<Self, GeometryError> {
        Self::starting_at(own, ring, peer, peer_control, 0)
    }

    /// Like [`new`](Self::new), but begins at `position`, and shows that as its tail. For tests of what happens where
    /// positions wrap.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[doc(hidden)]
    pub fn starting_at(
        own: Own,
        ring: Geometry<T>,
        peer: Peer,
        peer_control: usize,
        position: u64,
    ) -> Result<Self, GeometryError> {
        ring.check(&own)?;
        check_control(peer_control, &peer)?;
        // ORDERING: Relaxed; the other end is made to begin here, and reads nothing that was written before.
        own.store(ring.control() + control::TAIL, position, Ordering::Relaxed);
        Ok(Self {
            own,
            ring,
            peer,
            peer_control,
            tail: position,
            head: position,
            poison: None,
            full: 0,
            high_water: 0,
            sleeper: Sleeper::default(),
            ringer: Ringer::default(),
        })
    }

    /// Pushes a copy of `value`. The consumer sees it at once.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] where there is no free slot now, `Abandoned` where there is none and the consumer says that it is gone,
    /// `Corrupt` where its head is impossible, then and ever after.
    #[inline]
    pub fn try_push(&mut self, value: &T) -> Result<(), PushError> {
        self.push_slice(core::slice::from_ref(value)).map(|_| ())
    }

    /// Pushes copies of as many of `values` as there are free slots, all at once. Returns how many: at least one, where there
    /// are values.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push).
    ///
    /// ```
    /// use strait_spsc::slots::shared::{PushError, channel};
    /// let (mut producer, mut consumer) = channel::<u32>(4)?;
    /// assert_eq!(producer.push_slice(&[1, 2, 3, 4, 5, 6])?, 4);
    /// assert_eq!(producer.try_push(&5), Err(PushError::Full));
    /// let mut popped = [0; 3];
    /// assert_eq!(consumer.pop_slice(&mut popped)?, 3);
    /// assert_eq!((popped, consumer.try_pop()?), ([1, 2, 3], 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn push_slice(&mut self, values: &[T]) -> Result<usize, PushError> {
        if let Some(corrupt) = self.poison {
            return Err(corrupt.into());
        }
        let count = values.len().min(self.free(values.len())?);
        if count == 0 && !values.is_empty() {
            self.full += 1;
            return Err(if self.is_abandoned() { PushError::Abandoned } else { PushError::Full });
        }
        for value in &values[..count] {
            self.own.copy_in(self.ring.slot(self.tail), value.as_bytes());
            fail_point!("slots.filled");
            self.tail = self.tail.wrapping_add(1);
        }
        // ORDERING: Release; pairs with the acquire fence in `Consumer::refresh_tail`. The values before it were written before.
        let order = mutant!(shared_tail_relaxed, Ordering::Release, Ordering::Relaxed);
        self.own.store(self.ring.control() + control::TAIL, self.tail, order);
        fail_point!("slots.published");
        Ok(count)
    }

    /// How many slots are free: as many as were known to be, where those are `enough`, else as many as are now.
    #[inline]
    fn free(&mut self, enough: usize) -> Result<usize, Corrupt> {
        let known = self.capacity() - self.tail.wrapping_sub(self.head) as usize;
        if known >= enough {
            return Ok(known);
        }
        self.refresh_head()?;
        let used = self.tail.wrapping_sub(self.head);
        self.high_water = self.high_water.max(used);
        Ok(mutant!(shared_full_is_not_looked_at, self.capacity() - used as usize, self.capacity()))
    }

    /// Reads the consumer's head and believes it only where it lies between the last one and the tail.
    #[inline]
    fn refresh_head(&mut self) -> Result<(), Corrupt> {
        let found = self.peer.load(self.peer_control + control::HEAD);
        // ORDERING: Acquire; pairs with the release store in `Consumer::pop_slice`. What the consumer read from the slots up to
        // `found` it has read before this end writes there.
        mutant!(shared_head_no_acquire, fence(Ordering::Acquire), ());
        let advance = found.wrapping_sub(self.head);
        if advance > self.tail.wrapping_sub(self.head) {
            // Which of the two it is only matters to whoever reads the message: the shorter way round.
            let (what, limit) = match advance > u64::MAX / 2 {
                true => (Violation::HeadWentBack, self.head),
                false => (Violation::HeadAheadOfTail, self.tail),
            };
            let corrupt = Corrupt { what, position: self.tail, found, limit };
            self.poison = Some(corrupt);
            return Err(corrupt);
        }
        self.head = found;
        Ok(())
    }

    /// How many values are in the ring. May be fewer by now, never more.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] where the consumer's head is impossible, then and ever after.
    pub fn len(&mut self) -> Result<usize, Corrupt> {
        match self.poison {
            Some(corrupt) => Err(corrupt),
            None => self.refresh_head().map(|()| self.tail.wrapping_sub(self.head) as usize),
        }
    }

    /// Whether the ring is empty. True stays true until the next push.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn is_empty(&mut self) -> Result<bool, Corrupt> {
        self.len().map(|len| len == 0)
    }

    /// Whether the ring is full. False stays false until the next push.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn is_full(&mut self) -> Result<bool, Corrupt> {
        self.len().map(|len| len == self.capacity())
    }

    /// Shows that this end is about to sleep until there is room. Look once more ([`is_full`](Self::is_full),
    /// [`is_abandoned`](Self::is_abandoned)) after it, and only then sleep.
    pub fn arm_space(&mut self) {
        self.sleeper.arm(&self.own, self.ring.control() + control::SPACE_TICKET);
        fail_point!("slots.space_armed");
    }

    /// Shows that this end is awake again. Does nothing where it was not armed.
    pub fn disarm_space(&mut self) {
        self.sleeper.disarm(&self.own, self.ring.control() + control::SPACE_TICKET);
        fail_point!("slots.space_disarmed");
    }

    /// Whether the consumer sleeps until there is data and must be woken now. Ask after pushing; true once per sleep.
    #[inline]
    pub fn must_ring_data(&mut self) -> bool {
        let must_ring = self.ringer.must_ring(&self.peer, self.peer_control + control::DATA_TICKET);
        if must_ring {
            fail_point!("slots.data_due");
        }
        must_ring
    }
}

impl<T, Own: WordsMut, Peer: Words> Producer<T, Own, Peer> {
    /// Number of slots.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Whether the consumer says that it is gone.
    #[inline]
    pub fn is_abandoned(&self) -> bool {
        self.peer.load(self.peer_control + control::CONSUMER_CLOSED) != 0
    }

    /// What this end has counted, as for any [`Producer`](crate::slots::Producer::stats).
    pub fn stats(&self) -> PushStats {
        PushStats {
            pushed: self.tail,
            full: self.full,
            high_water: self.high_water,
            len: self.tail.wrapping_sub(self.head),
            capacity: self.capacity() as u64,
        }
    }
}

impl<T, Own: WordsMut, Peer: Words> Drop for Producer<T, Own, Peer> {
    fn drop(&mut self) {
        if !unwinding() {
            // ORDERING: Release; pairs with the acquire fence in `Consumer::find_more`, whose second look then sees every value.
            let order = mutant!(shared_close_relaxed, Ordering::Release, Ordering::Relaxed);
            self.own.store(self.ring.control() + control::PRODUCER_CLOSED, 1, order);
            fail_point!("slots.producer_closed");
        }
    }
}

impl<T, Own: WordsMut, Peer: Words> fmt::Debug for Producer<T, Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("ring", &self.ring)
            .field("tail", &self.tail)
            .field("head", &self.head)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}
