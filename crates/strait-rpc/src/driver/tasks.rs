//! Calls from tasks: nobody drives, whoever is polled reads for all.

#[cfg(not(strait_loom))]
use std::{future::Future, pin::pin};
use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use strait_frame::Codec;
use strait_transport::{Interest, Message, Transport};

use super::{
    Driver,
    batch::Batch,
    core::{Begun, Core, Target},
};
use crate::{
    calls::{Calls, Next},
    deadline::Deadline,
    error::Error,
    observe::Call,
    wakers::{Place, Wakers},
};

impl Driver {
    /// Looks of one poll at a connection that says "ready" and then has no room after all: others get their turn then.
    const MAX_LOOKS: u32 = 16;

    /// Makes one call and waits for its answer. Dropping the future cancels the call.
    pub(crate) async fn call<C, T>(&self, target: Target<'_>, value: &T, deadline: Deadline) -> Result<Message, Error>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        let mut seen = self.observer.call(target.method, target.name);
        let mut call = InFlight { driver: self, call: None };
        let mut place = self.wakers.place();
        let answer = within(deadline, |cx, deadline| {
            let id = match call.call {
                Some(id) => id,
                None => {
                    let id =
                        std::task::ready!(self.poll_begin::<C, T>(cx, &mut place, target, value, deadline, &mut seen))?;
                    *call.call.insert(id)
                }
            };
            let answer = std::task::ready!(self.poll_answer(cx, id));
            call.call = None;
            Poll::Ready(answer)
        })
        .await;
        seen.reply(&answer);
        answer
    }

    /// Begins a call of several answers; it ends with [`Next::End`], or is [abandoned](Self::abandon).
    pub(crate) async fn begin_stream<C, T>(
        &self,
        target: Target<'_>,
        value: &T,
        deadline: Deadline,
    ) -> Result<(u32, Call), Error>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        // How long it may take to begin is one thing, how long the stream may take another.
        let endless = Deadline::after(None);
        let mut place = self.wakers.place();
        let mut seen = self.observer.call(target.method, target.name);
        let begun =
            within(deadline, |cx, _| self.poll_begin::<C, T>(cx, &mut place, target, value, &endless, &mut seen)).await;
        seen.begun(begun)
    }

    /// Sends a message that nobody answers.
    pub(crate) async fn notify<C, T>(&self, method: u16, value: &T, deadline: Deadline) -> Result<(), Error>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        let mut place = self.wakers.place();
        within(deadline, |cx, _| self.poll_notify::<C, T>(cx, &mut place, method, value)).await
    }

    /// Makes several calls at once and waits for all their answers.
    pub(crate) async fn batch<C, T>(&self, requests: &[T], deadline: Deadline) -> Vec<Result<Message, Error>>
    where
        C: Codec<T>,
    {
        let mut batch = Held { driver: self, batch: Batch::new(requests.len()) };
        let mut place = self.wakers.place();
        let done = within(deadline, |cx, deadline| {
            self.poll_batch::<C, T>(cx, &mut place, &mut batch.batch, requests, deadline).map(Ok)
        });
        if let Err(error) = done.await {
            self.give_up_batch(&mut batch.batch, &error);
        }
        std::mem::replace(&mut batch.batch, Batch::new(0)).into_answers()
    }

    /// Sends one call in a task: ready with its id once there was room.
    fn poll_begin<C, T>(
        &self,
        cx: &mut Context<'_>,
        place: &mut Place<'_>,
        target: Target<'_>,
        value: &T,
        deadline: &Deadline,
        seen: &mut Call,
    ) -> Poll<Result<u32, Error>>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        self.poll_send(cx, place, |core| core.begin::<C, T>(target, value, deadline, &self.wakers, seen))
    }

    /// Sends a message that nobody answers in a task: ready once there was room.
    fn poll_notify<C, T>(
        &self,
        cx: &mut Context<'_>,
        place: &mut Place<'_>,
        method: u16,
        value: &T,
    ) -> Poll<Result<(), Error>>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        self.poll_send(cx, place, |core| core.notify::<C, T>(method, value, &self.wakers)).map_ok(drop)
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        place: &mut Place<'_>,
        mut begin: impl FnMut(&mut Core) -> Result<Begun, Error>,
    ) -> Poll<Result<u32, Error>> {
        let mut core = self.lock();
        for _ in 0..Self::MAX_LOOKS {
            let wants_room = match begin(&mut core)? {
                Begun::Sent(call) => {
                    place.leave();
                    return Poll::Ready(Ok(call));
                }
                Begun::NoSlot => {
                    place.add_slot(cx.waker());
                    false
                }
                Begun::NoRoom => {
                    place.add_room(cx.waker());
                    true
                }
            };
            let interest = Interest::data_and(wants_room || self.wakers.has_room_waiters());
            if core.poll_connection(&self.broadcast, interest, &self.wakers).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits in a task until `look` finds what it looks for among what has come; `register` is for whoever wakes it.
    fn poll_until<R>(
        &self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Core) -> Option<R>,
        mut register: impl FnMut(&Wakers, &Waker),
    ) -> Poll<R> {
        let mut core = self.lock();
        for _ in 0..Self::MAX_LOOKS {
            core.drain(&self.wakers);
            if let Some(found) = look(&mut core) {
                return Poll::Ready(found);
            }
            register(&self.wakers, cx.waker());
            let interest = Interest::data_and(self.wakers.has_room_waiters());
            if core.poll_connection(&self.broadcast, interest, &self.wakers).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for the answer of a call in a task.
    fn poll_answer(&self, cx: &mut Context<'_>, call: u32) -> Poll<Result<Message, Error>> {
        let slot = Calls::slot(call);
        // Cleared with the lock held: once it is let go, the slot may have the next call, with a waker of its own.
        let look = |core: &mut Core| core.answer(call).inspect(|_| self.wakers.clear(slot));
        self.poll_until(cx, look, |wakers, waker| wakers.set(slot, waker))
    }

    /// Waits for the next of several answers in a task.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>, call: u32) -> Poll<Next> {
        let slot = Calls::slot(call);
        let look = |core: &mut Core| {
            let next = core.next_item(call);
            if let Some(Next::End(_)) = next {
                self.wakers.clear(slot);
            }
            next
        };
        self.poll_until(cx, look, |wakers, waker| wakers.set(slot, waker))
    }

    /// Waits for something that the server sends by itself in a task.
    pub(crate) async fn event(&self) -> Result<(u16, Message), Error> {
        let mut place = self.wakers.place();
        let look = |core: &mut Core| core.events.pop().map(Ok).or_else(|| core.ended.clone().map(Err));
        poll_fn(|cx| self.poll_until(cx, look, |_, waker| place.add_event(waker))).await
    }

    /// Makes several calls in a task: ready once all are over.
    fn poll_batch<C, T>(
        &self,
        cx: &mut Context<'_>,
        place: &mut Place<'_>,
        batch: &mut Batch,
        requests: &[T],
        deadline: &Deadline,
    ) -> Poll<()>
    where
        C: Codec<T>,
    {
        let waker = cx.waker().clone();
        let look = |core: &mut Core| {
            let over = batch.advance::<C, T>(core, requests, deadline, self);
            if !over {
                batch.register(&self.wakers, &waker);
            }
            over.then_some(())
        };
        // Besides, a slot or room that somebody else gives back.
        self.poll_until(cx, look, |_, waker| {
            place.add_slot(waker);
            place.add_room(waker);
        })
    }

    /// Nobody waits for the calls of a batch any more.
    fn give_up_batch(&self, batch: &mut Batch, error: &Error) {
        batch.give_up(&mut self.lock(), &self.wakers, error);
    }
}

/// Polls until something is ready or the deadline passes. The clock is read once there is something to wait for.
#[cfg(not(strait_loom))]
async fn within<R>(
    mut deadline: Deadline,
    mut poll: impl FnMut(&mut Context<'_>, &Deadline) -> Poll<Result<R, Error>>,
) -> Result<R, Error> {
    let mut timer = pin!(None::<tokio::time::Sleep>);
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = poll(cx, &deadline) {
            return Poll::Ready(outcome);
        }
        if timer.is_none() {
            timer.set(deadline.at().map(|at| tokio::time::sleep_until(at.into())));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| Err(Error::Deadline)),
            None => Poll::Pending,
        }
    })
    .await
}

/// In a model no time passes.
#[cfg(strait_loom)]
async fn within<R>(
    deadline: Deadline,
    mut poll: impl FnMut(&mut Context<'_>, &Deadline) -> Poll<Result<R, Error>>,
) -> Result<R, Error> {
    poll_fn(|cx| poll(cx, &deadline)).await
}

/// A call whose future may be dropped.
struct InFlight<'a> {
    driver: &'a Driver,
    call: Option<u32>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.driver.abandon(call);
        }
    }
}

/// A batch whose future may be dropped.
struct Held<'a> {
    driver: &'a Driver,
    batch: Batch,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.driver.give_up_batch(&mut self.batch, &Error::Deadline);
    }
}

impl Core {
    fn poll_connection(&mut self, broadcast: &Waker, interest: Interest, wakers: &Wakers) -> Poll<()> {
        if self.ended.is_some() {
            return Poll::Ready(());
        }
        match self.connection.poll_ready(&mut Context::from_waker(broadcast), interest) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                wakers.wake_room(); // they look again, and register again
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                self.end(error.into(), wakers);
                Poll::Ready(())
            }
        }
    }
}
