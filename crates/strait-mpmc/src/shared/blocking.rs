//! Waiting for room and for messages.

use std::time::{Duration, Instant};

use strait_sync::WordsMut;

use super::{
    error::{PopError, PushError},
    layout::{ITEMS, SPACE},
    participant::Participant,
};
use crate::event;

/// One that is killed between publishing and waking wakes nobody: no single sleep is longer than this.
const SLICE: Option<Duration> = Some(Duration::from_millis(100));

impl<M: WordsMut> Participant<M> {
    /// Pushes `message`; waits until `deadline` for room (`None`: without end).
    ///
    /// Room that is stuck behind a dead claim comes back only when somebody [recovers](super::SharedQueue::recover) it.
    ///
    /// # Errors
    ///
    /// As for [`try_push`](Participant::try_push); [`PushError::Full`] means until the deadline.
    pub fn push(&mut self, message: &[u8], deadline: Option<Instant>) -> Result<(), PushError> {
        let this = &*self;
        let done = event::until(&this.queue.memory, SPACE, deadline, SLICE, || match this.push_now(&[message]) {
            Err(PushError::Full) => None,
            done => Some(done),
        });
        done.unwrap_or(Err(PushError::Full)).map(drop)
    }

    /// Pops the oldest message into `buffer`; waits until `deadline` for one (`None`: without end).
    ///
    /// A message that is stuck behind a dead claim comes only when somebody [recovers](super::SharedQueue::recover) that.
    ///
    /// # Errors
    ///
    /// As for [`try_pop`](Participant::try_pop); [`PopError::Empty`] means until the deadline.
    pub fn pop(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Result<usize, PopError> {
        let mut len = [0];
        self.pop_batch_until(buffer, &mut len, deadline)?;
        Ok(len[0])
    }

    /// Pops as many messages as there are, as [`pop_batch`](Participant::pop_batch) does; waits until `deadline` for the first.
    ///
    /// # Errors
    ///
    /// As for [`pop_batch`](Participant::pop_batch); [`PopError::Empty`] means until the deadline.
    pub fn pop_batch_until(
        &mut self,
        buffer: &mut [u8],
        lens: &mut [usize],
        deadline: Option<Instant>,
    ) -> Result<usize, PopError> {
        let this = &*self;
        let done = event::until(&this.queue.memory, ITEMS, deadline, SLICE, || match this.pop_now(buffer, lens) {
            Err(PopError::Empty) => None,
            done => Some(done),
        });
        done.unwrap_or(Err(PopError::Empty))
    }
}
