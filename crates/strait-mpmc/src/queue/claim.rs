//! Claiming positions of the tail and of the head.

use strait_sync::{Backoff, mutant, primitive::Ordering};

use super::Queue;
use crate::{
    cell::{CLOSED, Cell, STEP},
    error::PopError,
    stats::Counters,
};

/// Why no position of the tail was claimed.
pub(super) enum Refused {
    Full,
    Closed,
}

impl<T, const COUNTED: bool> Queue<T, COUNTED> {
    #[inline]
    pub(super) fn lap(&self) -> u64 {
        self.cells.len() as u64 * STEP
    }

    #[inline]
    pub(super) fn cell(&self, position: u64) -> &Cell<T> {
        &self.cells[(position / STEP) as usize & (self.cells.len() - 1)]
    }

    /// Claims 1 to `max` positions of the tail whose cells are free.
    #[inline]
    pub(super) fn claim_to_push(&self, max: usize) -> Result<(u64, usize), Refused> {
        let backoff = Backoff::new();
        // ORDERING: Relaxed: the cells' sequences order everything; a stale tail only finds its cell taken.
        let mut tail = self.tail.0.load(Ordering::Relaxed);
        loop {
            if tail & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            let past = self.cell(tail).past(tail);
            if past == 0 || mutant!(push_looks_at_no_sequence, false, past < 0) {
                let count = self.run(tail, 0, max);
                let end = tail.wrapping_add(count as u64 * STEP);
                // ORDERING: Relaxed: it only decides who; the cells say when. Free cells stay free until their positions are
                // claimed, so all `count` of them still are.
                match self.tail.0.compare_exchange_weak(tail, end, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        self.sample_high_water(tail, end);
                        return Ok((tail, count));
                    }
                    Err(now) => tail = now,
                }
                self.count(|counters| counters.producers().retried());
                backoff.spin();
            } else if past < 0 {
                self.count(|counters| {
                    counters.producers().failed();
                    counters.saw_inside(self.cells.len() as u64);
                });
                return Err(Refused::Full);
            } else {
                // Another producer was ahead. Its claim happened before what `past` has acquired, so this load is fresher.
                // ORDERING: Relaxed, as above.
                tail = self.tail.0.load(Ordering::Relaxed);
            }
        }
    }

    /// Claims 1 to `max` positions of the head whose cells are full.
    #[inline]
    pub(super) fn claim_to_pop(&self, max: usize) -> Result<(u64, usize), PopError> {
        let backoff = Backoff::new();
        // ORDERING: Relaxed, as in `claim_to_push`.
        let mut head = self.head.0.load(Ordering::Relaxed);
        loop {
            let past = self.cell(head).past(head);
            if past == STEP as i64 {
                let count = self.run(head, STEP as i64, max);
                let end = head.wrapping_add(count as u64 * STEP);
                // ORDERING: Relaxed, as in `claim_to_push`: full cells stay full until their positions are claimed.
                match self.head.0.compare_exchange_weak(head, end, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return Ok((head, count)),
                    Err(now) => head = now,
                }
                self.count(|counters| counters.consumers().retried());
                backoff.spin();
            } else if past < STEP as i64 {
                self.count(|counters| counters.consumers().failed());
                return Err(if self.nothing_can_come(head) { PopError::Closed } else { PopError::Empty });
            } else {
                // ORDERING: Relaxed, as in `claim_to_push`.
                head = self.head.0.load(Ordering::Relaxed);
            }
        }
    }

    /// How many cells from `position` on, of which the first is known to be, are `past` free; at most `max`.
    #[inline]
    fn run(&self, position: u64, past: i64, max: usize) -> usize {
        let mut count = 1;
        let mut next = position;
        while count < max.min(self.cells.len()) {
            next = next.wrapping_add(STEP);
            if self.cell(next).past(next) != past {
                break;
            }
            count += 1;
        }
        count
    }

    /// Whether the queue is closed and no position from `head` on was claimed before that.
    #[inline]
    fn nothing_can_come(&self, head: u64) -> bool {
        // ORDERING: Relaxed: no claim succeeds on a marked tail, so a marked one is its last value, whatever else is visible.
        self.is_closed() && self.tail.0.load(Ordering::Relaxed) == head | CLOSED
    }

    /// Now and then, looks how far the tail is from the head: that is the consumers' line, and costs a miss.
    #[inline]
    fn sample_high_water(&self, begin: u64, end: u64) {
        const EVERY: u64 = 64 * STEP;
        if begin / EVERY != end / EVERY {
            self.count(|counters| {
                // ORDERING: Relaxed: a statistic.
                let head = self.head.0.load(Ordering::Relaxed);
                counters.saw_inside((end.wrapping_sub(head) / STEP).min(self.cells.len() as u64));
            });
        }
    }

    #[inline]
    fn count(&self, event: impl FnOnce(&Counters)) {
        if COUNTED && let Some(counters) = &self.counters {
            event(counters);
        }
    }
}
