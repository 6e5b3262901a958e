//! Claiming positions, and filling or freeing their cells.

use strait_sync::{
    Backoff, WordsMut, fail_point, mutant,
    primitive::{Ordering, fence},
};

use super::{
    error::{Corrupt, Violation},
    journal::{self, Side, Span},
    layout::{TAIL, cell, header, line},
    participant::Participant,
    queue::SharedQueue,
};
use crate::cell::{CLOSED, STEP};

/// Each failed attempt is somebody else's success, so that nobody gets near this unless the words are garbage.
const ATTEMPTS: usize = 1 << 16;

/// Why nothing was claimed.
#[derive(Debug)]
pub(super) enum Refused {
    /// Full, or empty.
    Blocked,
    Closed,
    Corrupt(Corrupt),
    #[cfg(strait_loom)]
    Died,
}

impl From<Corrupt> for Refused {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// A place in a claim for a model to let a participant die at.
#[cfg(strait_loom)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The journal names the position, the cursor has not moved.
    Announced,
    /// The cursor has moved, the cell is untouched.
    Claimed,
    /// The payload is written or read, the sequence is not changed.
    Copied,
    /// The sequence is changed, the journal still names the position.
    Done,
}

/// Under loom, ends the caller here with `Refused::Died` where the model has said so.
macro_rules! may_die {
    ($participant:expr, $step:ident) => {
        #[cfg(strait_loom)]
        if $participant.dies_at == Some(Step::$step) {
            $participant.dead.set(true);
            return Err(Refused::Died);
        }
    };
}

/// What a cell means for a position.
enum Turn {
    /// It can be claimed, with as many after it as end here.
    Ready(u64),
    /// It is not yet its turn.
    NotYet,
    /// It was somebody else's, who was faster.
    Passed,
}

impl<M: WordsMut> SharedQueue<M> {
    /// Looks at the cell of `position`; where it is ready, at up to `max` from there on.
    #[inline]
    fn turn(&self, side: Side, position: u64, max: u64) -> Result<Turn, Corrupt> {
        let sequence = self.memory.load(self.geometry.cell(position) + cell::SEQUENCE);
        // ORDERING: Acquire; pairs with the release stores in `fill` and `free`, and with the swap of a recovery.
        fence(Ordering::Acquire);
        if side.is_ready(sequence, position) {
            return Ok(Turn::Ready(self.run(side, position, max)));
        }
        // Any cell is free (0) or full (STEP) for its position, counted in laps; a tombstone is full; and none is
        // behind by more than a lap.
        let (past, lap) = ((sequence & !cell::TOMBSTONE).wrapping_sub(position), self.geometry.lap());
        let in_lap = past & (lap - 1);
        let is_one = in_lap == STEP || in_lap == 0 && sequence & cell::TOMBSTONE == 0;
        if !is_one || (past as i64) < -(lap as i64) {
            return Err(corrupt(Violation::Sequence, position, sequence, position));
        }
        Ok(if (past as i64) < side.ready() as i64 { Turn::NotYet } else { Turn::Passed })
    }

    /// Where the cells from `position` on, of which the first is known to be, are ready no more; after `max` at the latest.
    #[inline]
    fn run(&self, side: Side, position: u64, max: u64) -> u64 {
        let mut end = position.wrapping_add(STEP);
        if max == 1 {
            return end;
        }
        let last = position.wrapping_add(max.min(self.geometry.capacity()) * STEP);
        while end != last && side.is_ready(self.memory.load(self.geometry.cell(end) + cell::SEQUENCE), end) {
            end = end.wrapping_add(STEP);
        }
        // ORDERING: Acquire, as in `turn`, for the cells after the first.
        fence(Ordering::Acquire);
        end
    }

    /// Whether nothing is left and nothing can come: no claim succeeds on a marked tail, so that it is the tail's last value.
    fn nothing_can_come(&self, head: u64) -> bool {
        self.memory.load(header::CLOSED) != 0 && self.memory.load(TAIL) == head | CLOSED
    }

    /// Shows the message that was written.
    #[inline]
    fn fill(&self, position: u64) {
        // ORDERING: Release; pairs with the fence in `turn`: a consumer that sees the sequence sees the message.
        self.memory.store(
            self.geometry.cell(position) + cell::SEQUENCE,
            position.wrapping_add(STEP),
            mutant!(shared_fill_relaxed, Ordering::Release, Ordering::Relaxed),
        );
    }

    /// Gives the cell to the producer of the next lap.
    #[inline]
    fn free(&self, position: u64) {
        // ORDERING: Release; pairs with the fence in `turn`: the message is read before the next one is written.
        self.memory.store(
            self.geometry.cell(position) + cell::SEQUENCE,
            position.wrapping_add(self.geometry.lap()),
            mutant!(shared_free_relaxed, Ordering::Release, Ordering::Relaxed),
        );
    }

    /// Copies a message out of a claimed cell; `None` where its producer died.
    #[inline]
    fn read(&self, position: u64, buffer: &mut [u8]) -> Result<Option<usize>, Corrupt> {
        let at = self.geometry.cell(position);
        // Ours since the claim, which has seen it with an acquire.
        if self.memory.load(at + cell::SEQUENCE) & cell::TOMBSTONE != 0 {
            return Ok(None);
        }
        let len = self.memory.load(at + cell::LEN);
        if len > self.geometry.slot_bytes() as u64 {
            return Err(corrupt(Violation::Length, position, len, self.geometry.slot_bytes() as u64));
        }
        let len = len as usize;
        self.memory.copy_out_racing(at + cell::PAYLOAD, &mut buffer[..len]);
        #[cfg(strait_loom)]
        {
            // Not racing at all: this has loom check that the claim orders it after the write.
            let mut words = vec![0; len.div_ceil(8)];
            self.memory.copy_out(at + cell::PAYLOAD, &mut words);
        }
        Ok(Some(len))
    }
}

impl<M: WordsMut> Participant<M> {
    /// Claims 1 to `max` positions.
    #[inline]
    fn claim(&self, side: Side, max: u64) -> Result<Span, Refused> {
        let owner = self.memory().load(self.line + line::OWNER);
        if owner != self.owner {
            // Not ours any more, and not ours to clear.
            return Err(corrupt(Violation::Owner, 0, owner, self.owner).into());
        }
        let claimed = self.try_claim(side, max);
        #[cfg(strait_loom)]
        if self.dead.get() {
            return claimed;
        }
        if claimed.is_err() {
            // A lost race may have left it there.
            journal::clear(self.memory(), self.line, side);
        }
        claimed
    }

    #[inline]
    fn try_claim(&self, side: Side, max: u64) -> Result<Span, Refused> {
        let backoff = Backoff::new();
        let mut cursor = self.memory().load(side.cursor());
        for _ in 0..ATTEMPTS {
            // ORDERING: Acquire; pairs with the swap that moved the cursor here: the cells are seen as no older than that.
            fence(Ordering::Acquire);
            if cursor & CLOSED != 0 {
                return Err(match side {
                    Side::Push => Refused::Closed,
                    Side::Pop => corrupt(Violation::Head, cursor, cursor, cursor & !CLOSED).into(),
                });
            }
            match self.queue.turn(side, cursor, max)? {
                Turn::Ready(end) => {
                    let span = Span { begin: cursor, end };
                    mutant!(intent_after_claim, journal::announce(self.memory(), self.line, side, span), ());
                    may_die!(self, Announced);
                    fail_point!("mpmc.announced");
                    match self.memory().compare_exchange(side.cursor(), cursor, end) {
                        Ok(_) => {
                            may_die!(self, Claimed);
                            fail_point!("mpmc.claimed");
                            mutant!(intent_after_claim, (), journal::announce(self.memory(), self.line, side, span));
                            return Ok(span);
                        }
                        Err(now) => cursor = now,
                    }
                    self.count(line::RETRIES, 1);
                    backoff.spin();
                }
                Turn::NotYet if side == Side::Pop && self.queue.nothing_can_come(cursor) => {
                    return Err(Refused::Closed);
                }
                Turn::NotYet => return Err(Refused::Blocked),
                Turn::Passed => {
                    // Whoever claimed it has moved the cursor before, and the fence in `turn` shows that.
                    let now = self.memory().load(side.cursor());
                    if now == cursor {
                        return Err(corrupt(Violation::AheadOfCursor, cursor, now, cursor.wrapping_add(STEP)).into());
                    }
                    cursor = now;
                }
            }
        }
        Err(corrupt(Violation::NeverSettles, cursor, cursor, ATTEMPTS as u64).into())
    }

    /// Pushes as many of `messages`, none of them longer than a slot, as there is room for.
    #[inline]
    pub(super) fn push_claimed(&self, messages: &[&[u8]]) -> Result<usize, Refused> {
        let span = self.claim(Side::Push, messages.len() as u64)?;
        for (position, message) in span.positions().zip(messages) {
            let at = self.queue.geometry.cell(position);
            self.memory().copy_in(at + cell::PAYLOAD, message);
            // ORDERING: Relaxed: published by `fill`.
            self.memory().store(at + cell::LEN, message.len() as u64, Ordering::Relaxed);
            may_die!(self, Copied);
            fail_point!("mpmc.written");
            self.queue.fill(position);
            fail_point!("mpmc.filled");
        }
        may_die!(self, Done);
        journal::clear(self.memory(), self.line, Side::Push);
        fail_point!("mpmc.pushed");
        let count = span.len_steps() / STEP;
        self.count(line::PUSHES, count);
        self.sample_high_water(span);
        Ok(count as usize)
    }

    /// Pops up to `lens.len()` messages, each to a slot's length of `buffer`; how many, at least one.
    #[inline]
    pub(super) fn pop_claimed(&self, buffer: &mut [u8], lens: &mut [usize]) -> Result<usize, Refused> {
        let slot = self.queue.geometry.slot_bytes();
        for _ in 0..ATTEMPTS {
            let span = self.claim(Side::Pop, lens.len() as u64)?;
            let (mut count, mut spoilt) = (0, None);
            for position in span.positions() {
                match self.queue.read(position, &mut buffer[count * slot..][..slot]) {
                    Ok(None) => {}
                    Ok(Some(len)) => {
                        lens[count] = len;
                        count += 1;
                    }
                    Err(corrupt) => {
                        self.queue.add_lost(1);
                        spoilt = Some(corrupt);
                    }
                }
                mutant!(clear_before_free, (), journal::clear(self.memory(), self.line, Side::Pop));
                may_die!(self, Copied);
                fail_point!("mpmc.read");
                self.queue.free(position);
                fail_point!("mpmc.freed");
            }
            may_die!(self, Done);
            journal::clear(self.memory(), self.line, Side::Pop);
            fail_point!("mpmc.popped");
            if count > 0 {
                self.count(line::POPS, count as u64);
                return Ok(count);
            }
            // Their cells are free now, though nothing was popped.
            #[cfg(feature = "std")]
            self.notify_space();
            if let Some(corrupt) = spoilt {
                return Err(corrupt.into());
            }
            // Tombstones only: go on to what is behind them.
        }
        Err(corrupt(Violation::NeverSettles, 0, 0, ATTEMPTS as u64).into())
    }
}

/// A rule was broken at `position`, which counts in steps.
#[cold]
pub(super) fn corrupt(what: Violation, position: u64, found: u64, limit: u64) -> Corrupt {
    Corrupt { what, position: position / STEP, found, limit }
}
