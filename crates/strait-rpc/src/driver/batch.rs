//! Several calls at once: one publication, one wake-up of the server.

use std::task::Waker;

use strait_frame::Codec;
use strait_transport::{Message, Transport};

use super::{
    Driver,
    core::{Begun, Core, Target},
};
use crate::{calls::Calls, deadline::Deadline, error::Error, observe::Call, wakers::Wakers};

/// Calls that are sent together, as far as window and ring have room at a time, and their answers in the same order.
pub(crate) struct Batch {
    calls: Vec<Step>,
    /// How many are begun.
    begun: usize,
    /// How many are over.
    over: usize,
    /// The next call, where it was seen already and found no room.
    next: Option<Call>,
}

enum Step {
    Waiting,
    Sent(u32, Call),
    Over(Result<Message, Error>),
}

impl Batch {
    pub(super) fn new(count: usize) -> Self {
        Self { calls: (0..count).map(|_| Step::Waiting).collect(), begun: 0, over: 0, next: None }
    }

    /// Sends what there is room for and takes in what has come; whether all calls are over.
    pub(super) fn advance<C, T>(
        &mut self,
        core: &mut Core,
        requests: &[T],
        deadline: &Deadline,
        driver: &Driver,
    ) -> bool
    where
        C: Codec<T>,
    {
        let wakers = &*driver.wakers;
        core.drain(wakers);
        loop {
            self.collect(core, wakers);
            self.send::<C, T>(core, requests, deadline, driver);
            // Looking for room takes answers in. One that is there already must not be waited for.
            if !self.has_answer(core) {
                break;
            }
        }
        self.over == self.calls.len()
    }

    /// Takes the answers that have come.
    fn collect(&mut self, core: &mut Core, wakers: &Wakers) {
        for step in &mut self.calls[..self.begun] {
            if let Step::Sent(call, seen) = step
                && let Some(answer) = core.answer(*call)
            {
                wakers.clear(Calls::slot(*call));
                seen.reply(&answer);
                *step = Step::Over(answer);
                self.over += 1;
            }
        }
    }

    /// Sends what there is room for.
    fn send<C, T>(&mut self, core: &mut Core, requests: &[T], deadline: &Deadline, driver: &Driver)
    where
        C: Codec<T>,
    {
        let (wakers, target) = (&*driver.wakers, Target::default());
        while let Some(request) = requests.get(self.begun) {
            let mut seen = self.next.take().unwrap_or_else(|| driver.observer.call(target.method, target.name));
            let step = match core.stage::<C, T>(target, request, deadline, wakers, &mut seen) {
                Ok(Begun::Sent(call)) => Step::Sent(call, seen),
                Ok(Begun::NoSlot | Begun::NoRoom) => {
                    self.next = Some(seen);
                    break;
                }
                Err(error) => {
                    seen.over(Err(&error));
                    Step::Over(Err(error))
                }
            };
            self.over += usize::from(matches!(step, Step::Over(_)));
            self.calls[self.begun] = step;
            self.begun += 1;
        }
        if let Err(error) = core.connection.publish() {
            core.end(error.into(), wakers);
        }
    }

    /// Whether an answer is there that was not taken yet.
    fn has_answer(&self, core: &mut Core) -> bool {
        let mut sent = self.calls[..self.begun].iter();
        sent.any(|step| matches!(step, Step::Sent(call, _) if core.ended.is_some() || core.calls.is_done(*call)))
    }

    /// A call that is waited for: the first that is sent and not over. `None` where none is: then it is room that lacks.
    pub(super) fn waits_for(&self) -> Option<u32> {
        self.calls.iter().find_map(|step| if let Step::Sent(call, _) = step { Some(*call) } else { None })
    }

    /// Whoever takes in an answer to one of the calls wakes `waker`: it may make room for the next.
    pub(super) fn register(&self, wakers: &Wakers, waker: &Waker) {
        for step in &self.calls[..self.begun] {
            if let Step::Sent(call, _) = *step {
                wakers.set(Calls::slot(call), waker);
            }
        }
    }

    /// Nobody waits for the rest any more: it ends in `error`.
    pub(super) fn give_up(&mut self, core: &mut Core, wakers: &Wakers, error: &Error) {
        for step in &mut self.calls {
            if let Step::Sent(call, seen) = step {
                core.abandon(*call);
                wakers.clear(Calls::slot(*call));
                seen.over(Err(error));
            }
            if !matches!(step, Step::Over(_)) {
                *step = Step::Over(Err(error.clone()));
            }
        }
    }

    /// The answers, in the order of the requests.
    pub(super) fn into_answers(self) -> Vec<Result<Message, Error>> {
        let answer = |step| match step {
            Step::Over(answer) => answer,
            Step::Waiting | Step::Sent(..) => Err(Error::Deadline),
        };
        self.calls.into_iter().map(answer).collect()
    }
}
