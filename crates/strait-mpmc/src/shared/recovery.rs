//! Giving back what the dead had claimed: the rules are at the top of [`shared`](super).

use strait_sync::{
    WordsMut, fail_point, mutant,
    primitive::{Ordering, fence},
};

use super::{
    claim::corrupt,
    error::{Corrupt, Violation},
    journal::{self, Side, Span},
    layout::{Geometry, cell, line, totals},
    participant::ParticipantInfo,
    queue::SharedQueue,
};
use crate::cell::{CLOSED, STEP};

/// Whether a participant can still act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It is proven that it will never touch the memory again.
    Dead,
    /// It may: because it runs, because it is stopped, or because nobody knows.
    Alive,
}

/// What a recovery has given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Claims of dead producers that consumers will now skip. Their pushes had not returned.
    pub skipped: u64,
    /// Messages that dead consumers had claimed and not finished reading. They are gone.
    pub lost: u64,
    /// Lines of dead participants that others can now have.
    pub freed_participants: u64,
}

impl<M: WordsMut> SharedQueue<M> {
    /// Gives back what dead participants had claimed, and their lines.
    ///
    /// Calls `is_dead` once for each participant. **It must not say [`Dead`](Liveness::Dead) of one that may still act**, however long
    /// that one has been silent: the message that it is about to write would be lost, or spoil another. With `std` and the
    /// kernel's word, that is [`process::liveness`](super::process::liveness).
    ///
    /// Any process may call this, at any time and several at once; who never does, and waits behind a dead claim, waits for ever. A
    /// call that finds nobody dead costs what `is_dead` costs, and some loads.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use strait_mpmc::shared::{Geometry, Identity, SharedQueue, process};
    /// # let geometry = Geometry::new(2, 8, 1)?;
    /// # let memory = Arc::new(strait_sync::Heap::zeroed(geometry.total_bytes() as usize));
    /// let queue = SharedQueue::create(memory, geometry)?;
    /// let participant = queue.attach(Identity::current())?;
    /// let recovered = queue.recover(process::liveness)?;
    /// assert_eq!(recovered.freed_participants, 0, "we are alive");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Corrupt`] where a dead participant's journal cannot be. Its claims stay as they are; the others' are given back.
    pub fn recover(&self, mut is_dead: impl FnMut(ParticipantInfo) -> Liveness) -> Result<Recovered, Corrupt> {
        let mut dead = Dead::default();
        for id in 0..self.geometry.participants() {
            let owner = self.memory.load(self.geometry.line(id) + line::OWNER);
            if let Some(info) = ParticipantInfo::from_word(id, owner, self.namespaces())
                && is_dead(info) == Liveness::Dead
            {
                dead.owners[id as usize] = owner;
                dead.any = true;
            }
        }
        // ORDERING: Acquire; pairs with the death itself, by whatever told the caller of it: all that the dead ever wrote is visible.
        fence(Ordering::Acquire);
        let (mut recovered, mut verdict) = (Recovered::default(), Ok(()));
        if dead.any {
            for id in 0..self.geometry.participants() {
                if let Err(corrupt) = self.recover_participant(id, &dead, &mut recovered) {
                    verdict = Err(corrupt);
                }
            }
            self.notify_all();
        }
        verdict.map(|()| recovered)
    }

    fn recover_participant(&self, id: u64, dead: &Dead, recovered: &mut Recovered) -> Result<(), Corrupt> {
        let (at, owner) = (self.geometry.line(id), dead.owners[id as usize]);
        // Somebody else may have recovered it by now; the line is then free or another's.
        if owner == 0 || self.memory.load(at + line::OWNER) != owner {
            return Ok(());
        }
        let mut stuck = false;
        for side in [Side::Push, Side::Pop] {
            let Some(span) = journal::read(&self.memory, at, side) else { continue };
            // Somebody else may have recovered it while it was read, and a successor begun to write there: by the fence in
            // `read`, who saw one of its words sees it as the owner.
            if self.memory.load(at + line::OWNER) != owner {
                return Ok(());
            }
            self.check(span)?;
            for position in span.positions() {
                stuck |= !self.recover_position(side, position, dead, recovered);
            }
        }
        if !stuck && self.memory.compare_exchange(at + line::OWNER, owner, 0).is_ok() {
            fail_point!("mpmc.recovery_freed");
            self.add(totals::FREED, 1);
            recovered.freed_participants += 1;
        }
        Ok(())
    }

    /// Recovers the claim of one position, if there is one and its claimer is dead. Returns false where that is not known.
    fn recover_position(&self, side: Side, position: u64, dead: &Dead, recovered: &mut Recovered) -> bool {
        let cursor = self.memory.load(side.cursor()) & !CLOSED;
        let at = self.geometry.cell(position) + cell::SEQUENCE;
        let sequence = self.memory.load(at);
        // ORDERING: Acquire; pairs with the swap that claimed the position: its claimer's journal, and line, are visible. And with
        // the release stores of those who fill and free cells.
        mutant!(recover_no_fence, fence(Ordering::Acquire), ());
        let is_claimed = (cursor.wrapping_sub(position) as i64) > 0;
        if !is_claimed || !side.is_ready(sequence, position) {
            return true; // nobody has claimed it, or its claimer has finished
        }
        if mutant!(recover_ignores_the_living, self.is_claimed_by_the_living(side, position, dead), false) {
            return false;
        }
        // ORDERING: Acquire; pairs with the release of a line by one that has finished and left: the cell is seen as it left it,
        // so that the swap fails.
        fence(Ordering::Acquire);
        let holds_message = sequence & cell::TOMBSTONE == 0;
        let (next, total) = match side {
            Side::Push => (position.wrapping_add(STEP) | cell::TOMBSTONE, Some(totals::SKIPPED)),
            Side::Pop => (position.wrapping_add(self.geometry.lap()), holds_message.then_some(totals::LOST)),
        };
        // Counted first, so that a recoverer that dies here counts one too many, rather than losing one silently.
        if let Some(total) = total {
            self.add(total, 1);
            fail_point!("mpmc.recovery_counted");
        }
        match (self.memory.compare_exchange(at, sequence, next), total) {
            (Ok(_), Some(totals::SKIPPED)) => recovered.skipped += 1,
            (Ok(_), Some(_)) => recovered.lost += 1,
            (Err(_), Some(total)) => self.add(total, 1u64.wrapping_neg()),
            (_, None) => {}
        }
        fail_point!("mpmc.recovery_swapped");
        true
    }

    fn is_claimed_by_the_living(&self, side: Side, position: u64, dead: &Dead) -> bool {
        (0..self.geometry.participants()).any(|id| {
            let at = self.geometry.line(id);
            let owner = self.memory.load(at + line::OWNER);
            owner != 0
                && owner != dead.owners[id as usize]
                && journal::read(&self.memory, at, side).is_some_and(|span| span.contains(position))
        })
    }

    /// A dead participant's journal does not change while it owns its line, so that it must be whole.
    fn check(&self, span: Span) -> Result<(), Corrupt> {
        let len = span.len_steps();
        if span.end & CLOSED != 0 || len == 0 || len > self.geometry.lap() {
            return Err(corrupt(
                Violation::Journal,
                span.begin,
                span.end,
                span.begin.wrapping_add(self.geometry.lap()),
            ));
        }
        Ok(())
    }
}

/// Who was found dead: the owner of each line, or 0.
struct Dead {
    owners: [u64; Geometry::MAX_PARTICIPANTS as usize],
    any: bool,
}

impl Default for Dead {
    fn default() -> Self {
        Self { owners: [0; Geometry::MAX_PARTICIPANTS as usize], any: false }
    }
}
