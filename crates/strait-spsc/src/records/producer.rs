//! The writing end.

#![allow(unsafe_code)]

use core::fmt;

use strait_sync::{
    Ringer, Sleeper, Words, WordsMut, fail_point, mutant,
    primitive::{Ordering, fence},
};

use super::{
    grant::Grant,
    layout::{Geometry, PADDING, check_control, control},
};
use crate::{
    error::{ClaimError, Corrupt, GeometryError, Violation},
    storage::{LINE, OneWord, RingWords, unwinding},
};

/// From this length on, a look at the consumer's position is little beside the lines of the record itself.
const LONG_BYTES: usize = 16 << 10;
/// As much of a large buffer as stays in a processor's own cache, beside what else its thread touches.
const WARM_BYTES: u64 = 256 << 10;

/// The writing end of a ring. Writes `Own`, reads the consumer's head from `Peer`.
///
/// Its position is its own: shared memory only gets a copy. Dropping it ends the stream, without what is staged.
///
/// It is `Send` and cannot be cloned, because a ring has one producer:
///
/// ```compile_fail,E0599
/// let (producer, _consumer) = strait_spsc::records::channel(4096).unwrap();
/// let second = producer.clone();
/// ```
///
/// A grant borrows it, so there is one at a time:
///
/// ```compile_fail,E0499
/// let (mut producer, _consumer) = strait_spsc::records::channel(4096).unwrap();
/// let grant = producer.try_claim(8).unwrap();
/// let second = producer.try_claim(8).unwrap();
/// grant.commit(8, Default::default());
/// ```
pub struct Producer<Own: WordsMut, Peer: Words> {
    pub(super) own: Own,
    pub(super) words: RingWords,
    shown_tail: OneWord,
    pub(super) ring: Geometry,
    /// The end of what the consumer can see; the word here is 0, or what comes next is about to be published here.
    pub(super) published: u64,
    /// The end of what is staged; equal to `published` where nothing is.
    pub(super) tail: u64,
    /// What publishing will store at `published`, where something is staged.
    pub(super) first_word: u64,
    /// The consumer's head as last read.
    head: u64,
    /// Whether long records go back to the start of an empty ring.
    rewind: bool,
    /// Set once no claim can succeed any more.
    stop: Option<ClaimError>,
    pub(super) peer: Peer,
    pub(super) peer_control: usize,
    pub(super) sleeper: Sleeper,
    pub(super) ringer: Ringer,
}

impl<Own: WordsMut, Peer: Words> Producer<Own, Peer> {
    /// Makes the writing end of the ring that lies in `own` as `ring` says. The consumer's control block is at offset
    /// `peer_control` in `peer`.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] where the ring or the control block is not inside its memory, or not aligned there.
    ///
    /// # Safety
    ///
    /// For as long as the producer and its grants live, inside this process:
    ///
    /// - Nobody else accesses the ring's bytes in any way, not even by atomic loads, but for a [`Consumer`](super::Consumer) that
    ///   goes by the same `ring`: grants are plain `&mut [u8]` into it. Nobody else writes the words `TAIL`, `SPACE_TICKET` and
    ///   `CLOSED` of its control block: one producer per ring.
    /// - Whoever reads the ring goes by the same `ring`.
    ///
    /// And at the start the ring's memory is all zero, and so is the consumer's head.
    pub unsafe fn new(own: Own, ring: Geometry, peer: Peer, peer_control: usize) -> Result<Self, GeometryError> {
        // SAFETY: the caller's contract; at position 0 a zeroed ring and a zeroed head are what is asked for.
        unsafe { Self::starting_at(own, ring, peer, peer_control, 0) }
    }

    /// Like [`new`](Self::new), but begins at `position`. For tests of what happens where positions wrap.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`GeometryError::Position`] where the position is not aligned.
    ///
    /// # Safety
    ///
    /// As [`new`](Self::new), except that the word at `position` is 0 and the consumer's head is `position`.
    #[doc(hidden)]
    pub unsafe fn starting_at(
        own: Own,
        ring: Geometry,
        peer: Peer,
        peer_control: usize,
        position: u64,
    ) -> Result<Self, GeometryError> {
        ring.check(&own)?;
        check_control(peer_control, &peer)?;
        if !ring.is_aligned(position) {
            return Err(GeometryError::Position { position });
        }
        // SAFETY: checked above; the producer keeps `own`.
        let words = unsafe { RingWords::new(&own, &ring) };
        // SAFETY: as above.
        let shown_tail = unsafe { OneWord::new(&own, ring.control() + control::TAIL) };
        Ok(Self {
            own,
            words,
            shown_tail,
            ring,
            published: position,
            tail: position,
            first_word: 0,
            head: position,
            rewind: false,
            stop: None,
            peer,
            peer_control,
            sleeper: Sleeper::default(),
            ringer: Ringer::default(),
        })
    }

    /// Length of the ring's buffer.
    #[inline]
    pub fn capacity_bytes(&self) -> u64 {
        self.ring.capacity_bytes()
    }

    /// The longest message that can be claimed: `capacity / 4 - 16`.
    #[inline]
    pub fn max_message_bytes(&self) -> usize {
        self.ring.max_message_bytes()
    }

    /// How far this end has published: bytes since the ring began, headers and padding included. Wraps.
    #[inline]
    pub fn position(&self) -> u64 {
        self.published
    }

    /// Whether a record of 16 KiB or more that finds the ring empty goes back to the start of the buffer, once it is past the
    /// first 256 KiB (default false). Where the other side answers before it is sent more, a large ring then stays in the
    /// caches.
    ///
    /// The price: until the consumer has received that record, only the room up to where the producer came from is free. A ring
    /// that is to hold what comes in bursts while nobody reads should not rewind.
    pub fn set_rewind(&mut self, rewind: bool) {
        self.rewind = rewind;
    }

    /// Claims room for a message of at most `max_bytes`. Writes nothing shared; dropping the grant is no operation.
    ///
    /// Where there is no room, what is staged is published first: only the consumer can make room, and only by reading it.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Full`] where there is no room now, `TooLarge` where there never will be, `Closed` after
    /// [`close`](Self::close), `Corrupt` where the consumer's head is impossible, then and ever after.
    ///
    /// ```
    /// use strait_spsc::{ClaimError, records::channel};
    /// let (mut producer, _consumer) = channel(4096)?;
    /// assert_eq!(producer.try_claim(1024).unwrap_err(), ClaimError::TooLarge { need: 1024, max: 1008 });
    /// for _ in 0..3 {
    ///     producer.try_claim(1008)?.commit(1008, Default::default());
    /// }
    /// assert_eq!(producer.try_claim(1008).unwrap_err(), ClaimError::Full);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_claim(&mut self, max_bytes: usize) -> Result<Grant<'_, Own, Peer>, ClaimError> {
        if let Some(stop) = self.stop {
            return Err(stop);
        }
        if max_bytes > self.max_message_bytes() {
            return Err(ClaimError::TooLarge { need: max_bytes, max: self.max_message_bytes() });
        }
        if self.rewind && max_bytes >= LONG_BYTES && self.rewinds(max_bytes)? {
            let padding = self.ring.capacity_bytes() - self.ring.offset(self.tail);
            fail_point!("ring.rewound");
            return Ok(Grant::new(self, padding, max_bytes));
        }
        let (padding, need) = self.need(max_bytes);
        if !self.fits(need) && !self.make_room(need)? {
            return Err(ClaimError::Full);
        }
        mutant!(zero_at_claim, (), {
            let end = self.tail.wrapping_add(need - self.ring.align_bytes());
            // ORDERING: Relaxed; the mutant is in where this zero is written, not in its ordering.
            self.words.store(&self.own, end, 0, Ordering::Relaxed);
        });
        fail_point!("ring.claimed");
        Ok(Grant::new(self, padding, max_bytes))
    }

    /// Whether a claim of `max_bytes` would succeed now; never for more than [`max_message_bytes`](Self::max_message_bytes)
    /// or after [`close`](Self::close).
    ///
    /// True stays true until the next claim. Where there is no room, what is staged is published, as by a claim.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] where the consumer's head is impossible, then and ever after.
    #[inline]
    pub fn has_room(&mut self, max_bytes: usize) -> Result<bool, Corrupt> {
        match self.stop {
            None => {}
            Some(ClaimError::Corrupt(corrupt)) => return Err(corrupt),
            Some(_) => return Ok(false),
        }
        if max_bytes > self.max_message_bytes() {
            return Ok(false);
        }
        let (_, need) = self.need(max_bytes);
        Ok(self.fits(need) || self.make_room(need)?)
    }

    /// Whether a long record goes to the start of the buffer although it would fit behind the last one: everything is read, and
    /// the buffer's beginning is still in the caches, where the memory ahead is not.
    #[inline(never)]
    fn rewinds(&mut self, max_bytes: usize) -> Result<bool, Corrupt> {
        let offset = self.ring.offset(self.tail);
        // With the padding it needs more room than an empty ring has, unless as much lies behind it.
        let need = self.ring.record_bytes(max_bytes as u64) + self.ring.align_bytes();
        if offset < WARM_BYTES.max(need) {
            return Ok(false);
        }
        if self.head != self.tail {
            self.refresh_head()?;
        }
        Ok(self.head == self.tail)
    }

    /// The padding before a record of up to `max_bytes`, and what must be free for both and the zero after them.
    #[inline]
    fn need(&self, max_bytes: usize) -> (u64, u64) {
        let record = self.ring.record_bytes(max_bytes as u64);
        let offset = self.ring.offset(self.tail);
        let capacity = self.ring.capacity_bytes();
        let padding = if offset + record > capacity { capacity - offset } else { 0 };
        let reserve = mutant!(no_reserve, self.ring.align_bytes(), 0);
        (padding, padding + record + reserve)
    }

    #[inline]
    fn fits(&self, need: u64) -> bool {
        // No overflow: the first term is at most the capacity, `need` less than twice that, and the capacity at most 2^32.
        self.tail.wrapping_sub(self.head) + need <= self.ring.capacity_bytes()
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, need: u64) -> Result<bool, Corrupt> {
        self.refresh_head()?;
        let fits = self.fits(need);
        if !fits {
            self.publish();
        }
        Ok(fits)
    }

    /// Reads the consumer's head and believes it only where it lies between the last one and what was published.
    fn refresh_head(&mut self) -> Result<(), Corrupt> {
        let found = self.peer.load(self.peer_control + control::HEAD);
        // ORDERING: Acquire; pairs with the release stores of HEAD in `Memories::publish_head`. What the consumer read from
        // the space up to `found` it has read before this producer writes there.
        mutant!(head_no_acquire, fence(Ordering::Acquire), ());
        let advance = found.wrapping_sub(self.head);
        if advance > self.published.wrapping_sub(self.head) {
            // Which of the two it is only matters to whoever reads the message: the shorter way round.
            let back = advance > u64::MAX / 2;
            return Err(match back {
                true => self.fail(Violation::HeadWentBack, found, self.head),
                false => self.fail(Violation::HeadAheadOfTail, found, self.published),
            });
        }
        if !self.ring.is_aligned(found) {
            return Err(self.fail(Violation::HeadMisaligned, found, self.ring.align_bytes()));
        }
        self.head = found;
        Ok(())
    }

    #[cold]
    fn fail(&mut self, what: Violation, found: u64, limit: u64) -> Corrupt {
        let corrupt = Corrupt { what, position: self.published, found, limit };
        self.stop = Some(ClaimError::Corrupt(corrupt));
        corrupt
    }

    /// Publishes what is staged, all at once. Returns whether there was anything.
    ///
    /// Also where the ring is poisoned: what was staged before was claimed in good order.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.published == self.tail {
            return false;
        }
        let (at, end) = (self.published, self.tail);
        // ORDERING: Relaxed; the release store below publishes it. Rule 4: whoever is led to `end` finds it clear.
        let clear = || self.words.store(&self.own, end, 0, Ordering::Relaxed);
        mutant!(no_zero, mutant!(zero_at_claim, mutant!(zero_after_commit, clear(), ()), ()), ());
        fail_point!("ring.cleared");
        // ORDERING: Release; pairs with the acquire fence in `Consumer::next`. The commit of all that was staged.
        let commit = mutant!(commit_relaxed, Ordering::Release, Ordering::Relaxed);
        self.words.store(&self.own, at, self.first_word, commit);
        fail_point!("ring.committed");
        mutant!(zero_after_commit, (), clear());
        self.published = end;
        // ORDERING: Relaxed; for observers only, the protocol never reads it.
        self.shown_tail.store(&self.own, end, Ordering::Relaxed);
        fail_point!("ring.published");
        self.expect_next(end);
        true
    }

    /// Gets the lines of the next record's rest while there is time. Not its first line, which the consumer looks at.
    #[inline]
    fn expect_next(&self, end: u64) {
        if end.wrapping_sub(self.head) + 4 * LINE <= self.ring.capacity_bytes() {
            self.words.expect_write(end.wrapping_add(LINE));
            self.words.expect_write(end.wrapping_add(2 * LINE));
        }
    }

    /// Whether anything is staged that is not published yet.
    #[inline]
    pub fn has_staged(&self) -> bool {
        self.published != self.tail
    }

    /// Writes a record into the open batch. All of it lies in claimed space, which no consumer looks at before
    /// [`publish`](Self::publish).
    #[inline]
    pub(super) fn stage(&mut self, padding: u64, record_bytes: u64, (first, second): (u64, u64)) {
        let at = self.tail;
        let record = at.wrapping_add(padding);
        let is_first = at == self.published;
        fail_point!("ring.filled");
        // ORDERING: Relaxed, here and below; published by the release store of the batch's first word.
        self.words.store(&self.own, record.wrapping_add(8), second, Ordering::Relaxed);
        if padding != 0 || !is_first {
            self.words.store(&self.own, record, first, Ordering::Relaxed);
        }
        let first_word = if padding != 0 { u64::from(PADDING) } else { first };
        if is_first {
            self.first_word = first_word;
            mutant!(first_word_first, (), self.words.store(&self.own, at, first_word, Ordering::Release));
        } else if padding != 0 {
            self.words.store(&self.own, at, first_word, Ordering::Relaxed);
        }
        if padding != 0 {
            fail_point!("ring.padded");
        }
        self.tail = record.wrapping_add(record_bytes);
        fail_point!("ring.staged");
    }

    /// Publishes what is staged and ends the stream. Every later claim is refused with [`ClaimError::Closed`].
    pub fn close(&mut self) {
        self.publish();
        self.end();
        self.stop.get_or_insert(ClaimError::Closed);
    }

    fn end(&self) {
        // ORDERING: Release; pairs with the acquire fence in `Consumer::at_end`, whose second look then sees every record.
        let order = mutant!(close_relaxed, Ordering::Release, Ordering::Relaxed);
        fail_point!("ring.closing");
        self.own.store(self.ring.control() + control::CLOSED, 1, order);
        fail_point!("ring.closed");
    }

    /// No more than this much of the ring is published and not released: as [`occupied_bytes`](Self::occupied_bytes), by the
    /// consumer's head as it was when it was last looked at. Touches no shared memory.
    #[inline]
    pub fn occupied_at_most(&self) -> u64 {
        self.published.wrapping_sub(self.head)
    }

    /// How much of the ring is published and not released, as far as the consumer says now.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] where the consumer's head is impossible, then and ever after.
    pub fn occupied_bytes(&mut self) -> Result<u64, Corrupt> {
        if let Some(ClaimError::Corrupt(corrupt)) = self.stop {
            return Err(corrupt);
        }
        self.refresh_head()?;
        Ok(self.occupied_at_most())
    }

    /// Whether the other side says that it publishes no more in the ring of its own.
    #[inline]
    pub fn peer_closed(&self) -> bool {
        self.peer.load(self.peer_control + control::CLOSED) != 0
    }
}

impl<Own: WordsMut, Peer: Words> Drop for Producer<Own, Peer> {
    fn drop(&mut self) {
        if !unwinding() && self.stop != Some(ClaimError::Closed) {
            self.end();
        }
    }
}

impl<Own: WordsMut, Peer: Words> fmt::Debug for Producer<Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("ring", &self.ring)
            .field("published", &self.published)
            .field("tail", &self.tail)
            .field("head", &self.head)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}
