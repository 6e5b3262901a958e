//! The reading end.

#![allow(unsafe_code)]

use core::fmt;

use strait_sync::{
    Sleeper, Words, WordsMut, fail_point, mutant,
    primitive::{Mutex, Ordering, fence},
};

use super::{
    layout::{COMMITTED, Geometry, Meta, PADDING, check_control, control},
    memories::{Kept, Memories},
    record::Record,
};
use crate::{
    error::{Corrupt, GeometryError, Violation},
    storage::{LINE, OneWord, RingWords},
};

/// The reading end of a ring. Reads the ring in `Peer`, writes its head to `Own`.
///
/// It is `Send` and cannot be cloned, because a ring has one consumer:
///
/// ```compile_fail,E0599
/// let (_producer, consumer) = strait_spsc::records::channel(4096).unwrap();
/// let second = consumer.clone();
/// ```
///
/// A record borrows it, so there is one at a time; [`Record::into_guard`] keeps more:
///
/// ```compile_fail,E0499
/// let (_producer, mut consumer) = strait_spsc::records::channel(4096).unwrap();
/// let first = consumer.next();
/// let second = consumer.next();
/// drop(first);
/// ```
pub struct Consumer<Own: WordsMut, Peer: Words> {
    pub(super) memories: Kept<Own, Peer>,
    pub(super) words: RingWords,
    pub(super) ring: Geometry,
    /// Where the next record, or padding before it, begins. Everything before it was received.
    pub(super) position: u64,
    /// Whether guards may be held. While it is false, the head is `position`.
    #[cfg(feature = "alloc")]
    pub(super) holding: bool,
    poison: Option<Corrupt>,
    pub(super) sleeper: Sleeper,
}

/// A record that has passed every check.
struct Checked {
    /// Where it begins, behind any padding.
    at: u64,
    end: u64,
    len: usize,
    meta: Meta,
}

impl<Own: WordsMut, Peer: Words> Consumer<Own, Peer> {
    /// Makes the reading end of the ring that lies in `peer` as `ring` says. This end's control block is at offset
    /// `own_control` in `own`.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] where the ring or the control block is not inside its memory, or not aligned there.
    ///
    /// # Safety
    ///
    /// For as long as the consumer and its guards live, inside this process:
    ///
    /// - Nobody else writes the words `HEAD` and `DATA_TICKET` of this end's control block: one consumer per ring.
    /// - Whoever writes the ring's bytes other than by whole-word atomics is a [`Producer`](super::Producer) that goes by the
    ///   same `ring` and whose `Peer` is this end's `own`. (A producer in another process may do what it likes.)
    ///
    /// And at the start the head is 0.
    pub unsafe fn new(own: Own, own_control: usize, peer: Peer, ring: Geometry) -> Result<Self, GeometryError> {
        // SAFETY: the caller's contract; position 0 is where a new ring begins.
        unsafe { Self::starting_at(own, own_control, peer, ring, 0) }
    }

    /// Like [`new`](Self::new), but begins at `position`, and shows that as its head. For tests of what happens where
    /// positions wrap.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`GeometryError::Position`] where the position is not aligned.
    ///
    /// # Safety
    ///
    /// As [`new`](Self::new), and the producer begins at the same position, after this call.
    #[doc(hidden)]
    pub unsafe fn starting_at(
        own: Own,
        own_control: usize,
        peer: Peer,
        ring: Geometry,
        position: u64,
    ) -> Result<Self, GeometryError> {
        ring.check(&peer)?;
        check_control(own_control, &own)?;
        // SAFETY: checked above; the consumer keeps `peer`, in its memories.
        let words = unsafe { RingWords::new(&peer, &ring) };
        if !ring.is_aligned(position) {
            return Err(GeometryError::Position { position });
        }
        // SAFETY: as above, with `own`.
        let head = unsafe { OneWord::new(&own, own_control + control::HEAD) };
        let memories = Memories {
            own,
            control: own_control,
            head,
            peer,
            peer_control: ring.control(),
            #[cfg(feature = "alloc")]
            log: super::log::ReleaseLog::new(),
            ringer: Mutex::default(),
        };
        memories.publish_head(position);
        #[cfg(feature = "alloc")]
        let memories = Kept::new(memories);
        Ok(Self {
            memories,
            words,
            ring,
            position,
            #[cfg(feature = "alloc")]
            holding: false,
            poison: None,
            sleeper: Sleeper::default(),
        })
    }

    /// Length of the ring's buffer.
    #[inline]
    pub fn capacity_bytes(&self) -> u64 {
        self.ring.capacity_bytes()
    }

    /// The longest message that can arrive: `capacity / 4 - 16`.
    #[inline]
    pub fn max_message_bytes(&self) -> usize {
        self.ring.max_message_bytes()
    }

    /// How far this end has received: bytes since the ring began, headers and padding included. Wraps.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How much of the ring guards hold, from the oldest held record to the last received one.
    ///
    /// May be more than is held by now, where guards are dropped on other threads; 0 is always true.
    #[inline]
    pub fn held_bytes(&self) -> u64 {
        self.position.wrapping_sub(self.head())
    }

    /// The next word of the ring: what says that a record is there.
    #[inline]
    fn next_word(&self) -> u64 {
        self.words.load(&self.memories.peer, self.position)
    }

    /// Whether [`next`](Self::next) has something to say: a record, or [`Corrupt`]. One relaxed load of one cache line,
    /// for spinning.
    ///
    /// Where it has not, the line after is asked for too: it comes together with the one that is looked at, and a record of two
    /// lines takes no longer than one of one.
    #[inline]
    pub fn is_ready(&self) -> bool {
        let ready = self.next_word() != 0;
        if !ready {
            self.words.expect_read(self.position.wrapping_add(LINE));
        }
        ready
    }

    /// The next record, or `None` where there is none yet.
    ///
    /// A record stays the next one until it is dropped or made a guard.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] where the producer broke the protocol, then and ever after.
    #[allow(clippy::should_implement_trait)] // it lends: a record borrows the consumer
    #[inline]
    pub fn next(&mut self) -> Result<Option<Record<'_, Own, Peer>>, Corrupt> {
        if let Some(corrupt) = self.poison {
            return Err(corrupt);
        }
        let word = self.next_word();
        if word == 0 {
            return Ok(None);
        }
        // ORDERING: Acquire; pairs with the release store in `Producer::publish`. The rest of the record, and of its
        // batch, is read after it.
        mutant!(commit_no_acquire, fence(Ordering::Acquire), ());
        match self.check(word) {
            Ok(Checked { at, end, len, meta }) => {
                fail_point!("ring.received");
                Ok(Some(Record::new(self, at, end, len, meta)))
            }
            Err(corrupt) => {
                self.poison = Some(corrupt);
                Err(corrupt)
            }
        }
    }

    /// Checks what `word`, the one at the position, announces. Every word is loaded once and used as it was checked.
    #[inline]
    fn check(&self, word: u64) -> Result<Checked, Corrupt> {
        let (at, word) = match word as u32 {
            PADDING => self.skip_padding()?,
            _ => (self.position, word),
        };
        let low = word as u32;
        if low & COMMITTED == 0 {
            return Err(corrupt(Violation::NotACommit, at, word, u64::from(COMMITTED)));
        }
        let len = (low & !COMMITTED) as usize;
        if len > self.ring.max_message_bytes() {
            return Err(corrupt(Violation::TooLong, at, len as u64, self.ring.max_message_bytes() as u64));
        }
        let record_bytes = self.ring.record_bytes(len as u64);
        let buffer_end = self.ring.offset(at) + record_bytes;
        if buffer_end > self.ring.capacity_bytes() {
            return Err(corrupt(Violation::CrossesTheEnd, at, buffer_end, self.ring.capacity_bytes()));
        }
        let end = at.wrapping_add(record_bytes);
        self.check_end(at, end)?;
        let second = self.words.load(&self.memories.peer, at.wrapping_add(8));
        Ok(Checked { at, end, len, meta: Meta::decode(word, second) })
    }

    /// A producer never publishes beyond what it has seen released, less the reserve.
    #[inline]
    fn check_end(&self, at: u64, end: u64) -> Result<(), Corrupt> {
        let (used, limit) = (end.wrapping_sub(self.head()), self.ring.capacity_bytes() - self.ring.align_bytes());
        if used > limit {
            return Err(corrupt(Violation::NotReleased, at, used, limit));
        }
        Ok(())
    }

    /// Padding is at the position: the record after it, which was published together with it, and its first word.
    #[cold]
    fn skip_padding(&self) -> Result<(u64, u64), Corrupt> {
        let at = self.position;
        let offset = self.ring.offset(at);
        if offset == 0 {
            return Err(corrupt(Violation::PaddingAtStart, at, u64::from(PADDING), 0));
        }
        let next = at.wrapping_add(self.ring.capacity_bytes() - offset);
        self.check_end(at, next)?;
        let word = self.words.load(&self.memories.peer, next);
        match word as u32 {
            PADDING => Err(corrupt(Violation::PaddingTwice, next, word, u64::from(COMMITTED))),
            _ if word == 0 => Err(corrupt(Violation::PaddingAlone, next, word, u64::from(COMMITTED))),
            _ => Ok((next, word)),
        }
    }

    /// How far everything is released.
    #[inline]
    fn head(&self) -> u64 {
        #[cfg(feature = "alloc")]
        if self.holding {
            return self.memories.log.head();
        }
        self.position
    }

    /// The record that ends at `end` was received by copy: nobody reads it any more.
    #[inline]
    pub(super) fn pass(&mut self, end: u64) {
        #[cfg(feature = "alloc")]
        if self.holding {
            self.pass_held(end);
            return;
        }
        fail_point!("ring.releasing");
        self.memories.publish_head(end);
        fail_point!("ring.released");
        self.position = end;
    }

    /// The same, where guards may be held: what is held keeps what was received after it.
    #[cfg(feature = "alloc")]
    #[cold]
    fn pass_held(&mut self, end: u64) {
        let log = &self.memories.log;
        // While nothing is held, the lock is not needed: only this consumer could change that.
        if mutant!(pass_held, log.is_empty() || !log.pass(end), true) {
            self.holding = false;
            self.memories.publish_head(end);
        }
        self.position = end;
    }

    /// Gives the padding before `at` back, where nothing is held: it may be most of the buffer, and no guard needs it. Returns where
    /// a guard's space begins.
    #[cfg(feature = "alloc")]
    #[cold]
    pub(super) fn pass_padding(&self, at: u64) -> u64 {
        if !self.memories.log.is_empty() {
            return self.position;
        }
        self.memories.publish_head(at);
        at
    }

    /// Whether the stream has ended: the producer has closed it (or was dropped), and every record was received.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] where the ring is poisoned.
    pub fn at_end(&mut self) -> Result<bool, Corrupt> {
        if let Some(corrupt) = self.poison {
            return Err(corrupt);
        }
        if self.is_ready() || !self.peer_closed() {
            return Ok(false);
        }
        // ORDERING: Acquire; pairs with the release store of CLOSED in `Producer::close`: what was published before it is
        // seen by the second look.
        mutant!(end_no_acquire, fence(Ordering::Acquire), ());
        fail_point!("ring.end_seen");
        Ok(mutant!(end_without_second_look, !self.is_ready(), true))
    }

    /// Whether the producer says that it publishes no more. Records may still be there: see [`at_end`](Self::at_end).
    #[inline]
    pub fn peer_closed(&self) -> bool {
        self.memories.peer.load(self.memories.peer_control + control::CLOSED) != 0
    }
}

#[cold]
fn corrupt(what: Violation, position: u64, found: u64, limit: u64) -> Corrupt {
    Corrupt { what, position, found, limit }
}

impl<Own: WordsMut, Peer: Words> fmt::Debug for Consumer<Own, Peer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("ring", &self.ring)
            .field("position", &self.position)
            .field("held_bytes", &self.held_bytes())
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}
