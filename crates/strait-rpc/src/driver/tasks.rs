//! Calls from tasks: nobody drives, whoever is polled reads for all.

use std::task::{Context, Poll, Waker};

use strait_frame::Codec;
use strait_transport::{Interest, Message, Transport};

use super::{
    Driver,
    core::{Begun, Core},
};
use crate::{calls::Calls, deadline::Deadline, error::Error, wakers::Wakers};

impl Driver {
    /// Looks of one poll at a connection that says "ready" and then has no room after all: others get their turn then.
    const MAX_LOOKS: u32 = 16;

    /// Sends one call in a task: ready with its id once there was room.
    pub(crate) fn poll_begin<C, T>(
        &self,
        cx: &mut Context<'_>,
        value: &T,
        deadline: &Deadline,
    ) -> Poll<Result<u32, Error>>
    where
        C: Codec<T>,
    {
        let mut core = self.lock();
        for _ in 0..Self::MAX_LOOKS {
            let wants_room = match core.begin::<C, T>(value, deadline, &self.wakers)? {
                Begun::Sent(call) => return Poll::Ready(Ok(call)),
                Begun::NoSlot => {
                    self.wakers.add_slot(cx.waker());
                    false
                }
                Begun::NoRoom => {
                    self.wakers.add_room(cx.waker());
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

    /// Waits for the answer of a call in a task.
    pub(crate) fn poll_answer(&self, cx: &mut Context<'_>, call: u32) -> Poll<Result<Message, Error>> {
        let mut core = self.lock();
        for _ in 0..Self::MAX_LOOKS {
            core.drain(&self.wakers);
            if let Some(answer) = core.answer(call) {
                self.wakers.clear(Calls::slot(call));
                return Poll::Ready(answer);
            }
            self.wakers.set(Calls::slot(call), cx.waker());
            let interest = Interest::data_and(self.wakers.has_room_waiters());
            if core.poll_connection(&self.broadcast, interest, &self.wakers).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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
