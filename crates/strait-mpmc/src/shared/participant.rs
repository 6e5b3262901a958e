//! Taking part: pushing and popping under one's own line.

use strait_sync::{WordsMut, fail_point, primitive::Ordering};

use super::{
    claim::Refused,
    error::{AttachError, PopError, PushError},
    journal::{self, Side, Span},
    layout::{HEAD, line},
    queue::SharedQueue,
    stats::ParticipantStats,
};
use crate::cell::STEP;

/// Who a participant is to the rest of the system: a process, and when that started, because pids are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The process, as in its own pid namespace; 1 to 2^22 - 1.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`), below 2^42; 0 where that is not known.
    pub start_time: u64,
}

const PID_BITS: u32 = 22;

impl Identity {
    /// One word, so that a line is never taken without saying by whom.
    pub(super) fn to_word(self) -> Result<u64, AttachError> {
        let Self { pid, start_time } = self;
        if pid == 0 || pid >> PID_BITS != 0 || start_time >> (64 - PID_BITS) != 0 {
            return Err(AttachError::Identity { pid, start_time });
        }
        Ok(start_time << PID_BITS | u64::from(pid))
    }
}

/// Who holds a participant's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// The line, from 0 on.
    pub id: u64,
    /// The process.
    pub pid: u32,
    /// When it started, in clock ticks since boot; 0 where that is not known.
    pub start_time: u64,
    /// The pid and time namespaces in which both are meant, as [`process::namespaces`](super::process::namespaces) gives
    /// them; 0 where that is not known.
    pub namespaces: u64,
}

impl ParticipantInfo {
    pub(super) fn from_word(id: u64, owner: u64, namespaces: u64) -> Option<Self> {
        let pid = (owner & ((1 << PID_BITS) - 1)) as u32;
        (owner != 0).then_some(Self { id, pid, start_time: owner >> PID_BITS, namespaces })
    }
}

/// One who takes part in a [`SharedQueue`]: produces, consumes, or both.
///
/// It can be sent to another thread; each thread has its own. Dropping it leaves the queue and frees its line for another.
#[derive(Debug)]
pub struct Participant<M: WordsMut> {
    pub(super) queue: SharedQueue<M>,
    pub(super) line: usize,
    pub(super) owner: u64,
    id: u64,
    #[cfg(strait_loom)]
    pub(super) dies_at: Option<super::Step>,
    #[cfg(strait_loom)]
    pub(super) dead: core::cell::Cell<bool>,
}

impl<M: WordsMut> Participant<M> {
    /// For the line `id`, which was claimed for `owner` just now.
    pub(super) fn new(queue: SharedQueue<M>, id: u64, owner: u64) -> Self {
        let line = queue.geometry.line(id);
        fail_point!("mpmc.attaching");
        journal::clear(&queue.memory, line, Side::Push);
        journal::clear(&queue.memory, line, Side::Pop);
        for offset in (line::PUSHES..=line::HIGH_WATER).step_by(8) {
            // ORDERING: Relaxed: counts, nothing follows from them.
            queue.memory.store(line + offset, 0, Ordering::Relaxed);
        }
        Self {
            queue,
            line,
            owner,
            id,
            #[cfg(strait_loom)]
            dies_at: None,
            #[cfg(strait_loom)]
            dead: core::cell::Cell::new(false),
        }
    }

    /// Has this participant die in its next claim, at `step`: it leaves everything as it then is.
    #[cfg(strait_loom)]
    pub fn die_at(&mut self, step: super::Step) {
        self.dies_at = Some(step);
    }

    /// Pushes `message`, if there is room.
    ///
    /// A consumer that has claimed the oldest cell and is still reading it makes the queue full, too.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`], [`PushError::Closed`], [`PushError::TooLong`], or [`PushError::Corrupt`].
    #[inline]
    pub fn try_push(&mut self, message: &[u8]) -> Result<(), PushError> {
        self.push_now(&[message]).map(drop)
    }

    /// Pushes as many of `messages` as there is room for, from the first on and kept together; returns how many.
    ///
    /// One claim for all of them. Nobody pops any of them before the first is there.
    ///
    /// # Errors
    ///
    /// As for [`try_push`](Participant::try_push), where none were pushed: [`PushError::TooLong`] if any of them is. An empty
    /// batch is `Ok(0)`.
    #[inline]
    pub fn push_batch(&mut self, messages: &[&[u8]]) -> Result<usize, PushError> {
        self.push_now(messages)
    }

    /// For one call at a time, as `&mut self` in public says: the journal has room for one claim.
    #[inline]
    pub(super) fn push_now(&self, messages: &[&[u8]]) -> Result<usize, PushError> {
        let max = self.queue.geometry.slot_bytes();
        if let Some(message) = messages.iter().find(|message| message.len() > max) {
            return Err(PushError::TooLong { len: message.len(), max });
        }
        if messages.is_empty() {
            return Ok(0);
        }
        match self.push_claimed(messages) {
            Ok(count) => {
                #[cfg(feature = "std")]
                crate::event::notify(&self.queue.memory, super::layout::ITEMS);
                Ok(count)
            }
            Err(Refused::Blocked) => {
                self.count(line::FAILED_PUSHES, 1);
                self.raise_high_water(self.queue.geometry.capacity());
                Err(PushError::Full)
            }
            Err(Refused::Closed) => Err(PushError::Closed),
            Err(Refused::Corrupt(corrupt)) => Err(corrupt.into()),
            #[cfg(strait_loom)]
            Err(Refused::Died) => Err(PushError::Died),
        }
    }

    /// Pops the oldest message into `buffer`, which is at least as long as a slot; returns its length.
    ///
    /// A producer that has claimed the oldest cell and is still writing it makes the queue empty, too, whatever others have
    /// pushed behind it.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`], [`PopError::Closed`], [`PopError::BufferTooShort`], or [`PopError::Corrupt`].
    #[inline]
    pub fn try_pop(&mut self, buffer: &mut [u8]) -> Result<usize, PopError> {
        let mut len = [0];
        self.pop_now(buffer, &mut len)?;
        Ok(len[0])
    }

    /// Pops as many messages as there are, `lens` takes, and `buffer` holds slots for; returns how many.
    ///
    /// Message `i` lies at `i * slot_bytes` in `buffer` and has `lens[i]` bytes. One claim for all of them.
    ///
    /// # Errors
    ///
    /// As for [`try_pop`](Participant::try_pop), where there was none. No `lens` is `Ok(0)`.
    #[inline]
    pub fn pop_batch(&mut self, buffer: &mut [u8], lens: &mut [usize]) -> Result<usize, PopError> {
        self.pop_now(buffer, lens)
    }

    /// For one call at a time, as [`push_now`](Self::push_now).
    #[inline]
    pub(super) fn pop_now(&self, buffer: &mut [u8], lens: &mut [usize]) -> Result<usize, PopError> {
        if lens.is_empty() {
            return Ok(0);
        }
        let slot = self.queue.geometry.slot_bytes();
        let max = lens.len().min(buffer.len() / slot);
        if max == 0 {
            return Err(PopError::BufferTooShort { len: buffer.len(), need: slot });
        }
        match self.pop_claimed(buffer, &mut lens[..max]) {
            Ok(count) => {
                #[cfg(feature = "std")]
                self.notify_space();
                Ok(count)
            }
            Err(Refused::Blocked) => {
                self.count(line::FAILED_POPS, 1);
                Err(PopError::Empty)
            }
            Err(Refused::Closed) => Err(PopError::Closed),
            Err(Refused::Corrupt(corrupt)) => Err(corrupt.into()),
            #[cfg(strait_loom)]
            Err(Refused::Died) => Err(PopError::Died),
        }
    }

    /// Who this is to the others.
    pub fn info(&self) -> ParticipantInfo {
        ParticipantInfo {
            id: self.id,
            pid: self.owner as u32 & ((1 << PID_BITS) - 1),
            start_time: self.owner >> PID_BITS,
            namespaces: self.queue.namespaces(),
        }
    }

    /// What it has done since it attached.
    pub fn stats(&self) -> ParticipantStats {
        ParticipantStats::read(&self.queue.memory, self.line)
    }

    /// The queue.
    pub fn queue(&self) -> &SharedQueue<M> {
        &self.queue
    }

    /// Leaves the queue. The same as dropping it.
    pub fn leave(self) {}

    #[inline]
    pub(super) fn memory(&self) -> &M {
        &self.queue.memory
    }

    #[cfg(feature = "std")]
    pub(super) fn notify_space(&self) {
        crate::event::notify(&self.queue.memory, super::layout::SPACE);
    }

    /// Adds to one of the counts in the own line.
    #[inline]
    pub(super) fn count(&self, offset: usize, count: u64) {
        let sum = self.memory().load(self.line + offset).wrapping_add(count);
        // ORDERING: Relaxed: only we write it, and nothing follows from it.
        self.memory().store(self.line + offset, sum, Ordering::Relaxed);
    }

    /// Now and then, looks how far the tail is from the head: that is the consumers' line, and costs a miss.
    #[inline]
    pub(super) fn sample_high_water(&self, pushed: Span) {
        const EVERY: u64 = 64 * STEP;
        if pushed.begin / EVERY != pushed.end / EVERY {
            let inside = pushed.end.wrapping_sub(self.memory().load(HEAD)) / STEP;
            if inside <= self.queue.geometry.capacity() {
                self.raise_high_water(inside);
            }
        }
    }

    fn raise_high_water(&self, inside: u64) {
        if self.memory().load(self.line + line::HIGH_WATER) < inside {
            // ORDERING: Relaxed: only we write it, and nothing follows from it.
            self.memory().store(self.line + line::HIGH_WATER, inside, Ordering::Relaxed);
        }
    }
}

impl<M: WordsMut> Drop for Participant<M> {
    fn drop(&mut self) {
        #[cfg(strait_loom)]
        if self.dead.get() {
            return;
        }
        fail_point!("mpmc.leaving");
        // Every call has cleared its journal. Where the line is no longer ours, it was recovered, and stays as it is.
        let _ = self.memory().compare_exchange(self.line + line::OWNER, self.owner, 0);
        fail_point!("mpmc.left");
    }
}
