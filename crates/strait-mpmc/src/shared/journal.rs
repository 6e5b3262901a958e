//! What a participant is about to claim, in its own line: the rules are at the top of [`shared`](super).

use strait_sync::{
    WordsMut,
    primitive::{Ordering, fence},
};

use super::layout::{HEAD, TAIL, cell, line};
use crate::cell::STEP;

/// Which end of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Push,
    Pop,
}

impl Side {
    /// Offset of the cursor that this side moves.
    #[inline]
    pub(super) fn cursor(self) -> usize {
        match self {
            Self::Push => TAIL,
            Self::Pop => HEAD,
        }
    }

    /// How far past `free for this position` a cell is that can be claimed.
    #[inline]
    pub(super) fn ready(self) -> u64 {
        match self {
            Self::Push => 0,
            Self::Pop => STEP,
        }
    }

    /// Whether a cell with this sequence can be claimed for `position`. (A tombstone can be claimed to pop, and is then skipped.)
    #[inline]
    pub(super) fn is_ready(self, sequence: u64, position: u64) -> bool {
        let past = sequence.wrapping_sub(position);
        match self {
            Self::Push => past == self.ready(),
            Self::Pop => past & !cell::TOMBSTONE == self.ready(),
        }
    }

    #[inline]
    fn begin(self) -> usize {
        match self {
            Self::Push => line::PUSH_BEGIN,
            Self::Pop => line::POP_BEGIN,
        }
    }

    #[inline]
    fn end(self) -> usize {
        match self {
            Self::Push => line::PUSH_END,
            Self::Pop => line::POP_END,
        }
    }
}

/// The positions of a claim, or of the intent of one: from `begin` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) begin: u64,
    pub(super) end: u64,
}

impl Span {
    pub(super) fn len_steps(self) -> u64 {
        self.end.wrapping_sub(self.begin)
    }

    pub(super) fn contains(self, position: u64) -> bool {
        position.wrapping_sub(self.begin) < self.len_steps()
    }

    pub(super) fn positions(self) -> impl Iterator<Item = u64> {
        (0..self.len_steps()).step_by(STEP as usize).map(move |ahead| self.begin.wrapping_add(ahead))
    }
}

/// Writes what is about to be claimed. The claim's compare-and-swap comes after it.
#[inline]
pub(super) fn announce(memory: &impl WordsMut, line: usize, side: Side, span: Span) {
    // ORDERING: Release, both; pair with the fences in `read`: whoever sees this sees the cells of the claim before it as done.
    // The end goes first, so that whoever sees the new begin sees the new end.
    memory.store(line + side.end(), span.end, Ordering::Release);
    // ORDERING: Release, as above.
    memory.store(line + side.begin(), span.begin, Ordering::Release);
}

/// Takes it back, after the cells of the claim are done.
#[inline]
pub(super) fn clear(memory: &impl WordsMut, line: usize, side: Side) {
    // ORDERING: Release; pairs with the fence in `read`: whoever sees this sees the cells as done.
    memory.store(line + side.begin(), line::NONE, Ordering::Release);
}

/// What the journal names, if anything.
///
/// While its participant is alive the two words may belong to different claims: then the cells of the earlier one are seen as
/// done by whoever has read this.
pub(super) fn read(memory: &impl WordsMut, line: usize, side: Side) -> Option<Span> {
    let begin = memory.load(line + side.begin());
    // ORDERING: Acquire; pairs with the release stores above.
    fence(Ordering::Acquire);
    if begin & 1 != 0 {
        return None;
    }
    let end = memory.load(line + side.end());
    // ORDERING: Acquire, as above.
    fence(Ordering::Acquire);
    Some(Span { begin, end })
}
