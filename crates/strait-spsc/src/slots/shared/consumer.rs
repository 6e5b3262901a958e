//! The popping end.

use core::fmt;

use strait_sync::{
    Ringer, Sleeper, Words, WordsMut, fail_point, mutant,
    primitive::{Ordering, fence},
};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    error::PopError,
    geometry::{Geometry, check_control, control},
};
use crate::{
    error::{Corrupt, GeometryError, Violation},
    slots::PopStats,
    storage::unwinding,
};

/// How many words are copied at a time, on their way into a value.
const COPY_WORDS: usize = 32;

/// The popping end of a ring of `T`. Reads the slots in `Peer`, writes its head to `Own`.
///
/// Dropping it tells the producer that nobody pops any more. It is not cloned, because a ring has one consumer:
///
/// ```compile_fail,E0599
/// let (_producer, consumer) = strait_spsc::slots::shared::channel::<u64>(8).unwrap();
/// let second = consumer.clone();
/// ```
pub struct Consumer<T, Own: WordsMut, Peer: Words> {
    own: Own,
    own_control: usize,
    peer: Peer,
    ring: Geometry<T>,
    /// Where the next value is: this end's own position, of which the memory gets a copy.
    head: u64,
    /// The producer's position as last read and believed.
    tail: u64,
    poison: Option<Corrupt>,
    empty: u64,
    sleeper: Sleeper,
    ringer: Ringer,
}

impl<T: FromBytes + IntoBytes, Own: WordsMut, Peer: Words> Consumer<T, Own, Peer> {
    /// Makes the popping end of the ring that lies in `peer` as `ring` says. This end's control block is at offset
    /// `own_control` in `own`. Both control blocks are zero at the start.
    ///
    /// There must be one consumer for a ring. Two would take values from each other, and make the producer call the ring corrupt;
    /// they would do no worse, which is why this is safe.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] where the ring or the control block is not inside its memory, or not aligned there.
    pub fn new(own: Own, own_control: usize, peer: Peer, ring: Geometry<T>) -> Result<Self, GeometryError> {
        Self::starting_at(own, own_control, peer, ring, 0)
    }

    /// Like [`new`](Self::new), but begins at `position`, and shows that as its head. For tests of what happens where
    /// positions wrap.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[doc(hidden)]
    pub fn starting_at(
        own: Own,
        own_control: usize,
        peer: Peer,
        ring: Geometry<T>,
        position: u64,
    ) -> Result<Self, GeometryError> {
        ring.check(&peer)?;
        check_control(own_control, &own)?;
        // ORDERING: Relaxed; the other end is made to begin here, and reads nothing that was written before.
        own.store(own_control + control::HEAD, position, Ordering::Relaxed);
        Ok(Self {
            own,
            own_control,
            peer,
            ring,
            head: position,
            tail: position,
            poison: None,
            empty: 0,
            sleeper: Sleeper::default(),
            ringer: Ringer::default(),
        })
    }

    /// Pops a copy of the oldest value. Its slot is free at once.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] where there is no value now, `Abandoned` where the producer says that there never will be one, `Corrupt`
    /// where its tail is impossible, then and ever after.
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, PopError> {
        let mut value = T::new_zeroed();
        self.pop_slice(core::slice::from_mut(&mut value))?;
        Ok(value)
    }

    /// Pops copies of the oldest values into `values`, as many as there are and have room, and frees their slots all at once.
    /// Returns how many: at least one, where there is room.
    ///
    /// # Errors
    ///
    /// As [`try_pop`](Self::try_pop).
    #[inline]
    pub fn pop_slice(&mut self, values: &mut [T]) -> Result<usize, PopError> {
        if let Some(corrupt) = self.poison {
            return Err(corrupt.into());
        }
        let mut count = values.len().min(self.available(values.len())?);
        if count == 0 && !values.is_empty() {
            count = values.len().min(self.find_more()?);
        }
        for value in &mut values[..count] {
            self.copy_out(value);
            fail_point!("slots.taken");
            self.head = self.head.wrapping_add(1);
        }
        // ORDERING: Release; pairs with the acquire fence in `Producer::refresh_head`. The values before it were read before.
        let order = mutant!(shared_head_relaxed, Ordering::Release, Ordering::Relaxed);
        self.own.store(self.own_control + control::HEAD, self.head, order);
        fail_point!("slots.released");
        Ok(count)
    }

    /// Copies the value at the head, word by word: whatever the producer does meanwhile, it is some value.
    #[inline]
    fn copy_out(&self, value: &mut T) {
        let (mut words, mut offset) = ([0; COPY_WORDS], self.ring.slot(self.head));
        for bytes in value.as_mut_bytes().chunks_mut(size_of_val(&words)) {
            let words = &mut words[..bytes.len().div_ceil(8)];
            self.peer.copy_out(offset, words);
            bytes.copy_from_slice(&words.as_bytes()[..bytes.len()]);
            offset += size_of_val(words);
        }
    }

    /// How many values are there: as many as were known to be, where those are `enough`, else as many as are now.
    #[inline]
    fn available(&mut self, enough: usize) -> Result<usize, Corrupt> {
        let known = self.tail.wrapping_sub(self.head) as usize;
        if known >= enough {
            return Ok(known);
        }
        self.refresh_tail()
    }

    /// Reads the producer's tail and believes it only where it lies between the last one and a ring from the head. Returns how
    /// many values are there.
    #[inline]
    fn refresh_tail(&mut self) -> Result<usize, Corrupt> {
        let found = self.peer.load(self.ring.control() + control::TAIL);
        // ORDERING: Acquire; pairs with the release store in `Producer::push_slice`: the values up to `found` are there.
        mutant!(shared_tail_no_acquire, fence(Ordering::Acquire), ());
        let limit = self.head.wrapping_add(self.ring.capacity() as u64);
        let advance = found.wrapping_sub(self.tail);
        if advance > limit.wrapping_sub(self.tail) {
            // Which of the two it is only matters to whoever reads the message: the shorter way round.
            let (what, limit) = match advance > u64::MAX / 2 {
                true => (Violation::TailWentBack, self.tail),
                false => (Violation::TailTooFarAhead, limit),
            };
            let corrupt = Corrupt { what, position: self.head, found, limit };
            self.poison = Some(corrupt);
            return Err(corrupt);
        }
        self.tail = found;
        Ok(found.wrapping_sub(self.head) as usize)
    }

    /// No value was there. How many there are after all, where the producer has gone and pushed some before.
    fn find_more(&mut self) -> Result<usize, PopError> {
        let gone = self.is_abandoned();
        // ORDERING: Acquire; pairs with the release store in the drop of `Producer`: what it pushed before is seen by the second
        // look.
        mutant!(shared_close_no_acquire, fence(Ordering::Acquire), ());
        if gone && mutant!(shared_end_without_second_look, true, false) {
            let count = self.refresh_tail()?;
            if count > 0 {
                return Ok(count);
            }
        }
        self.empty += 1;
        Err(if gone { PopError::Abandoned } else { PopError::Empty })
    }

    /// Whether [`try_pop`](Self::try_pop) has a value or [`Corrupt`] to say. One relaxed load of one cache line, for spinning.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.poison.is_some()
            || self.tail != self.head
            || self.peer.load(self.ring.control() + control::TAIL) != self.head
    }

    /// Shows that this end is about to sleep until there is data. Look once more ([`is_ready`](Self::is_ready),
    /// [`is_abandoned`](Self::is_abandoned)) after it, and only then sleep.
    pub fn arm_data(&mut self) {
        self.sleeper.arm(&self.own, self.own_control + control::DATA_TICKET);
        fail_point!("slots.data_armed");
    }

    /// Shows that this end is awake again. Does nothing where it was not armed.
    pub fn disarm_data(&mut self) {
        self.sleeper.disarm(&self.own, self.own_control + control::DATA_TICKET);
        fail_point!("slots.data_disarmed");
    }

    /// Whether the producer sleeps until there is room and must be woken now. Ask after popping; true once per sleep.
    #[inline]
    pub fn must_ring_space(&mut self) -> bool {
        let must_ring = self.ringer.must_ring(&self.peer, self.ring.control() + control::SPACE_TICKET);
        if must_ring {
            fail_point!("slots.space_due");
        }
        must_ring
    }
}

impl<T, Own: WordsMut, Peer: Words> Consumer<T, Own, Peer> {
    /// Number of slots.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Whether the producer says that it is gone. Values may still be there.
    #[inline]
    pub fn is_abandoned(&self) -> bool {
        self.peer.load(self.ring.control() + control::PRODUCER_CLOSED) != 0
    }

    /// What this end has counted.
    pub fn stats(&self) -> PopStats {
        PopStats { popped: self.head, empty: self.empty }
    }
}

impl<T, Own: WordsMut, Peer: Words> Drop for Consumer<T, Own, Peer> {
    fn drop(&mut self) {
        if !unwinding() {
            // ORDERING: Relaxed; a flag from which nothing follows but that the producer stops.
            self.own.store(self.own_control + control::CONSUMER_CLOSED, 1, Ordering::Relaxed);
            fail_point!("slots.consumer_closed");
        }
    }
}

impl<T, Own: WordsMut, Peer: Words> fmt::Debug for Consumer<T, Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("ring", &self.ring)
            .field("head", &self.head)
            .field("tail", &self.tail)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}
