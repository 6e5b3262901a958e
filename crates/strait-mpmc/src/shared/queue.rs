//! The queue as everybody sees it, taking part or not.

use strait_sync::{
    Words, WordsMut, fail_point,
    primitive::{Ordering, fence},
};

use super::{
    error::{AttachError, OpenError},
    journal::{self, Side},
    layout::{Geometry, HEAD, ITEMS, SPACE, TAIL, cell, header, line, totals},
    participant::{Identity, Participant, ParticipantInfo},
    stats::{ParticipantStats, SharedStats},
};
use crate::cell::{CLOSED, STEP};

/// A queue in shared memory: looks at it, takes part in it, recovers it.
///
/// `M` is the memory, as an `Arc` where several participants of one process share a mapping. Mappings should be kept from children
/// (`MADV_DONTFORK`): a child that inherits one survives its parent, and may still be writing when that is found dead.
#[derive(Clone, Debug)]
pub struct SharedQueue<M> {
    pub(super) memory: M,
    pub(super) geometry: Geometry,
    start: u64,
}

impl<M: WordsMut> SharedQueue<M> {
    /// Makes an empty queue in `memory`, whatever is there. Nobody else may be using it.
    ///
    /// # Errors
    ///
    /// [`OpenError::OutOfBounds`] where the memory is shorter than [`Geometry::total_bytes`].
    pub fn create(memory: M, geometry: Geometry) -> Result<Self, OpenError> {
        Self::create_at(memory, geometry, 0)
    }

    /// A queue whose positions begin elsewhere, for tests of how they wrap.
    #[doc(hidden)]
    pub fn create_at(memory: M, geometry: Geometry, start: u64) -> Result<Self, OpenError> {
        fits(&memory, &geometry)?;
        let start = start & !CLOSED;
        // ORDERING: Relaxed; published by the magic number below.
        let store = |offset, value| memory.store(offset, value, Ordering::Relaxed);
        store(header::MAGIC, 0);
        // ORDERING: Release: whoever sees what follows sees that the old queue, if there was one, is gone.
        fence(Ordering::Release);
        store(header::VERSION, header::VERSION_VALUE);
        store(header::CAPACITY, geometry.capacity());
        store(header::SLOT_BYTES, geometry.slot_bytes() as u64);
        store(header::PARTICIPANTS, geometry.participants());
        store(header::START, start);
        store(header::CLOSED, 0);
        store(header::NAMESPACES, namespaces());
        store(TAIL, start);
        store(HEAD, start);
        for offset in [ITEMS, SPACE, totals::SKIPPED, totals::LOST, totals::FREED] {
            store(offset, 0);
        }
        for id in 0..geometry.participants() {
            store(geometry.line(id) + line::OWNER, 0);
            journal::clear(&memory, geometry.line(id), Side::Push);
            journal::clear(&memory, geometry.line(id), Side::Pop);
        }
        for index in 0..geometry.capacity() {
            let position = start.wrapping_add(index * STEP);
            store(geometry.cell(position) + cell::SEQUENCE, position);
        }
        fail_point!("mpmc.laid_out");
        // ORDERING: Release; pairs with the fence in `open`.
        memory.store(header::MAGIC, header::MAGIC_VALUE, Ordering::Release);
        Ok(Self { memory, geometry, start })
    }

    /// Opens the queue that another participant has made in `memory`. Reads the constants once, and checks them.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where there is no queue, one of another version, or one that does not fit.
    pub fn open(memory: M) -> Result<Self, OpenError> {
        let len_bytes = memory.len_bytes() as u64;
        if len_bytes < header::NAMESPACES as u64 + 8 {
            return Err(OpenError::OutOfBounds { need_bytes: header::NAMESPACES as u64 + 8, len_bytes });
        }
        let magic = memory.load(header::MAGIC);
        // ORDERING: Acquire; pairs with the release store in `create`.
        fence(Ordering::Acquire);
        if magic != header::MAGIC_VALUE {
            return Err(OpenError::NoQueue { found: magic });
        }
        let found = memory.load(header::VERSION);
        if found != header::VERSION_VALUE {
            return Err(OpenError::Version { found, expected: header::VERSION_VALUE });
        }
        let word = |offset| memory.load(offset);
        let geometry = Geometry::new(word(header::CAPACITY), word(header::SLOT_BYTES), word(header::PARTICIPANTS))
            .map_err(OpenError::Geometry)?;
        fits(&memory, &geometry)?;
        let start = memory.load(header::START) & !CLOSED;
        Ok(Self { memory, geometry, start })
    }

    /// Takes part, under `identity`: claims a free participant's line.
    ///
    /// # Errors
    ///
    /// [`AttachError::TooMany`] where all are taken, [`AttachError::Identity`] where that is nobody's identity,
    /// [`AttachError::OtherNamespaces`] where the others could not tell whether this process lives.
    pub fn attach(&self, identity: Identity) -> Result<Participant<M>, AttachError>
    where
        M: Clone,
    {
        let owner = identity.to_word()?;
        let (made_in, ours) = (self.namespaces(), namespaces());
        if made_in != ours && made_in != 0 && ours != 0 {
            return Err(AttachError::OtherNamespaces);
        }
        let free = (0..self.geometry.participants()).find(|&id| {
            let at = self.geometry.line(id) + line::OWNER;
            self.memory.load(at) == 0 && self.memory.compare_exchange(at, 0, owner).is_ok()
        });
        let id = free.ok_or(AttachError::TooMany { participants: self.geometry.participants() })?;
        Ok(Participant::new(self.clone(), id, owner))
    }

    /// Lets no more messages in. What is inside can still be popped; then pops say closed. Wakes all who wait.
    ///
    /// A push either happens before this, and its message will be popped, or fails.
    pub fn close(&self) {
        // Only a hint where to look, and so the first: one that is killed here has not closed the queue.
        // ORDERING: Relaxed: what counts is the mark of the tail.
        self.memory.store(header::CLOSED, 1, Ordering::Relaxed);
        fail_point!("mpmc.closing");
        let mut tail = self.memory.load(TAIL);
        while tail & CLOSED == 0 {
            match self.memory.compare_exchange(TAIL, tail, tail | CLOSED) {
                Ok(_) => break,
                Err(now) => tail = now,
            }
        }
        fail_point!("mpmc.closed");
        self.notify_all();
    }

    /// Wakes producers and consumers.
    pub(super) fn notify_all(&self) {
        #[cfg(feature = "std")]
        for offset in [ITEMS, SPACE] {
            crate::event::notify(&self.memory, offset);
        }
    }

    /// Whether the queue was closed.
    pub fn is_closed(&self) -> bool {
        self.memory.load(TAIL) & CLOSED != 0
    }

    /// How large it is.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The memory that it lies in.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// How many messages are inside at this moment, those included that are just being pushed or popped, or were skipped.
    pub fn len(&self) -> u64 {
        self.stats().len()
    }

    /// Whether nothing is inside at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room at this moment.
    pub fn is_full(&self) -> bool {
        self.len() == self.geometry.capacity()
    }

    /// What the queue has done so far.
    pub fn stats(&self) -> SharedStats {
        let head = self.memory.load(HEAD);
        // ORDERING: Acquire; pairs with nothing that matters: it keeps the tail's load behind the head's, so that the
        // difference is not negative.
        fence(Ordering::Acquire);
        let tail = self.memory.load(TAIL) & !CLOSED;
        SharedStats {
            capacity: self.geometry.capacity(),
            pushes: tail.wrapping_sub(self.start) / STEP,
            pops: head.wrapping_sub(self.start) / STEP,
            skipped: self.memory.load(totals::SKIPPED),
            lost: self.memory.load(totals::LOST),
            freed_participants: self.memory.load(totals::FREED),
        }
    }

    /// Who takes part at this moment, and what each has done.
    pub fn participants(&self) -> impl Iterator<Item = (ParticipantInfo, ParticipantStats)> {
        (0..self.geometry.participants()).filter_map(|id| {
            let at = self.geometry.line(id);
            let owner = self.memory.load(at + line::OWNER);
            let info = ParticipantInfo::from_word(id, owner, self.namespaces())?;
            Some((info, ParticipantStats::read(&self.memory, at)))
        })
    }

    /// Where the participants' pids and start times are meant; 0 where that is not known.
    pub(super) fn namespaces(&self) -> u64 {
        self.memory.load(header::NAMESPACES)
    }

    /// Adds to one of the totals, which several recoveries may be counting in.
    pub(super) fn add(&self, offset: usize, count: u64) {
        let mut total = self.memory.load(offset);
        while let Err(now) = self.memory.compare_exchange(offset, total, total.wrapping_add(count)) {
            total = now;
        }
    }

    pub(super) fn add_lost(&self, count: u64) {
        self.add(totals::LOST, count);
    }
}

/// Those of this process; 0 where that cannot be known.
fn namespaces() -> u64 {
    #[cfg(all(feature = "std", not(strait_loom)))]
    return super::process::namespaces();
    #[cfg(not(all(feature = "std", not(strait_loom))))]
    0
}

fn fits(memory: &impl Words, geometry: &Geometry) -> Result<(), OpenError> {
    let (need_bytes, len_bytes) = (geometry.total_bytes(), memory.len_bytes() as u64);
    if need_bytes > len_bytes { Err(OpenError::OutOfBounds { need_bytes, len_bytes }) } else { Ok(()) }
}
