//! Calls from threads: one drives, the others follow.

use std::time::{Duration, Instant};

use strait_frame::Codec;
use strait_sync::mutant;
use strait_transport::{Interest, Message, Transport, TransportKind};

use super::{
    Driver, Locked,
    batch::Batch,
    core::{Begun, Core, Target},
    park::{park, thread_waker, yield_now},
    vigil::Vigil,
};
use crate::{
    calls::{Calls, Next},
    deadline::Deadline,
    error::Error,
    observe::Call,
};

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Slot,
    Room,
    /// The answer of a call, or the next of several.
    Reply(u32),
    Event,
}

impl Driver {
    /// How often a driver that gave up the lock lets others have it before it asks for it again.
    const MAX_YIELDS: u32 = 8;
    /// While the driver sleeps on a socket it does not know that somebody else left output there; who did looks after it
    /// this often. Only the connection's fallback needs that, and only from several threads.
    const FLUSH_EVERY: Duration = Duration::from_millis(5);

    /// Makes one call and waits for its answer in this thread, until `deadline`.
    pub(crate) fn call_blocking<C, T>(
        &self,
        target: Target<'_>,
        value: &T,
        mut deadline: Deadline,
    ) -> Result<Message, Error>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        let mut seen = self.observer.call(target.method, target.name);
        let begin =
            |core: &mut Core, deadline: &Deadline| core.begin::<C, T>(target, value, deadline, &self.wakers, &mut seen);
        let sent = self.send_blocking(begin, &mut deadline);
        let (mut core, call) = sent.inspect_err(|error| seen.over(Err(error)))?;
        loop {
            core = self.wait(core, Want::Reply(call), &mut deadline);
            if let Some(answer) = core.receive(call, &self.wakers) {
                self.wakers.clear(Calls::slot(call));
                self.leave(core);
                seen.reply(&answer);
                return answer;
            }
            if deadline.is_past() {
                let error = self.give_up(core, call);
                seen.over(Err(&error));
                return Err(error);
            }
            deadline.at(); // not a warm call: from here on the clock counts
        }
    }

    /// Begins a call whose answers are taken one by one; it ends with [`Next::End`], or is [abandoned](Self::abandon).
    pub(crate) fn begin_blocking<C, T>(
        &self,
        target: Target<'_>,
        value: &T,
        mut deadline: Deadline,
    ) -> Result<(u32, Call), Error>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        let mut seen = self.observer.call(target.method, target.name);
        let begin =
            |core: &mut Core, deadline: &Deadline| core.begin::<C, T>(target, value, deadline, &self.wakers, &mut seen);
        let begun = self.send_blocking(begin, &mut deadline).map(|(core, call)| {
            self.leave(core);
            call
        });
        seen.begun(begun)
    }

    /// Waits for the next of several answers.
    pub(crate) fn next_blocking(&self, call: u32, deadline: &mut Deadline) -> Next {
        let mut core = match self.enter_or_fail() {
            Ok(core) => core,
            Err(forked) => return Next::End(Err(forked)),
        };
        loop {
            core.drain(&self.wakers);
            if let Some(next) = core.next_item(call) {
                if matches!(next, Next::End(_)) {
                    self.wakers.clear(Calls::slot(call));
                }
                self.leave(core);
                return next;
            }
            if deadline.is_past() {
                return Next::End(Err(self.give_up(core, call)));
            }
            deadline.at();
            core = self.wait(core, Want::Reply(call), deadline);
        }
    }

    /// Sends a message that nobody answers; waits for room until `deadline`.
    pub(crate) fn notify_blocking<C, T>(&self, method: u16, value: &T, mut deadline: Deadline) -> Result<(), Error>
    where
        C: Codec<T>,
        T: ?Sized,
    {
        let begin = |core: &mut Core, _: &Deadline| core.notify::<C, T>(method, value, &self.wakers);
        let (core, _) = self.send_blocking(begin, &mut deadline)?;
        self.leave(core);
        Ok(())
    }

    /// Waits for something that the server sends by itself: its method and the message. `None` is the deadline.
    pub(crate) fn event_blocking(&self, mut deadline: Deadline) -> Result<Option<(u16, Message)>, Error> {
        let mut core = self.enter_or_fail()?;
        loop {
            core.drain(&self.wakers);
            let event = core.events.pop();
            let ended = core.ended.clone();
            if event.is_some() || ended.is_some() || deadline.is_past() {
                self.leave(core);
                return match (event, ended) {
                    (None, Some(ended)) => Err(ended),
                    (event, _) => Ok(event),
                };
            }
            deadline.at();
            core = self.wait(core, Want::Event, &mut deadline);
        }
    }

    /// Makes several calls at once and waits for all their answers.
    pub(crate) fn batch_blocking<C, T>(&self, requests: &[T], mut deadline: Deadline) -> Vec<Result<Message, Error>>
    where
        C: Codec<T>,
    {
        let mut batch = Batch::new(requests.len());
        let mut core = match self.enter_or_fail() {
            Ok(core) => core,
            Err(forked) => return requests.iter().map(|_| Err(forked.clone())).collect(),
        };
        while !batch.advance::<C, T>(&mut core, requests, &deadline, self) {
            if deadline.is_past() {
                batch.give_up(&mut core, &self.wakers, &Error::Deadline);
                break;
            }
            deadline.at();
            batch.register(&self.wakers, &thread_waker());
            core = match batch.waits_for() {
                Some(call) => self.wait(core, Want::Reply(call), &mut deadline),
                None if core.calls.has_free() => self.wait(core, Want::Room, &mut deadline),
                None => self.wait(core, Want::Slot, &mut deadline),
            };
        }
        self.leave(core);
        batch.into_answers()
    }

    /// Takes the lock and begins a call, waiting for a slot and for room.
    #[inline]
    fn send_blocking<'a>(
        &'a self,
        mut begin: impl FnMut(&mut Core, &Deadline) -> Result<Begun, Error>,
        deadline: &mut Deadline,
    ) -> Result<(Locked<'a>, u32), Error> {
        let mut core = match self.core.try_lock() {
            Some(core) => core,
            None => {
                deadline.at();
                self.enter_or_fail()?
            }
        };
        let mut had_no_room = false;
        loop {
            let want = match begin(&mut core, deadline) {
                Ok(Begun::Sent(call)) => return Ok((core, call)),
                Ok(Begun::NoSlot) => Want::Slot,
                Ok(Begun::NoRoom) => Want::Room,
                Err(error) => {
                    self.leave(core);
                    return Err(error);
                }
            };
            deadline.at();
            if had_no_room && want == Want::Room {
                // There was room for somebody smaller: it needs the lock to take it.
                drop(core);
                yield_now();
                core = self.lock();
            }
            had_no_room = want == Want::Room;
            core = self.wait(core, want, deadline);
            core.drain(&self.wakers);
            if deadline.is_past() {
                self.leave(core);
                return Err(Error::Deadline);
            }
        }
    }

    /// The deadline has passed.
    fn give_up(&self, mut core: Locked<'_>, call: u32) -> Error {
        core.abandon(call);
        self.wakers.clear(Calls::slot(call));
        self.leave(core);
        Error::Deadline
    }

    /// A thread leaves; if nobody drives, another is woken to do it (rule 4).
    fn leave(&self, core: Locked<'_>) {
        let alone = !core.is_driven();
        drop(core);
        if mutant!(leave_without_successor, alone, false) {
            self.wakers.wake_one();
        }
    }

    /// Waits until something may have changed.
    fn wait<'a>(&'a self, mut core: Locked<'a>, want: Want, deadline: &mut Deadline) -> Locked<'a> {
        if core.ended.is_some() {
            return core;
        }
        if core.is_driven() {
            return self.follow(core, want, deadline);
        }
        if want == Want::Slot && mutant!(slot_waiter_drives, core.calls.has_callers(), false) {
            self.wakers.wake_one();
            return self.follow(core, want, deadline);
        }
        core.driving = true;
        let mut core = self.drive(core, want, deadline);
        core.driving = false;
        // They look again, and one of them may become the driver.
        self.wakers.wake_room();
        core
    }

    /// Waits while another thread drives.
    fn follow<'a>(&'a self, mut core: Locked<'a>, want: Want, deadline: &mut Deadline) -> Locked<'a> {
        let waker = thread_waker();
        let mut place = self.wakers.place();
        match want {
            Want::Reply(call) => self.wakers.set(Calls::slot(call), &waker),
            Want::Slot => place.add_slot(&waker),
            Want::Event => place.add_event(&waker),
            Want::Room => {
                place.add_room(&waker);
                // A driver that sleeps did not know that somebody would wait for room: its sleep must end for that too.
                if mutant!(follower_shows_no_space_ticket, core.asleep, false) {
                    match core.connection.arm(Interest::SPACE) {
                        Ok(true) => {}
                        Ok(false) => return core,
                        Err(error) => {
                            core.end(error.into(), &self.wakers);
                            return core;
                        }
                    }
                }
            }
        }
        let has_output = want != Want::Slot && core.asleep && core.connection.transport() == TransportKind::Socket;
        drop(core);
        if !has_output {
            park(deadline.at());
            return self.lock();
        }
        let look = Instant::now() + Self::FLUSH_EVERY;
        park(Some(deadline.at().map_or(look, |at| at.min(look))));
        let mut core = self.lock();
        if let Err(error) = core.connection.publish() {
            core.end(error.into(), &self.wakers);
        }
        core
    }

    /// Reads for all until there is something to read.
    fn drive<'a>(&'a self, mut core: Locked<'a>, want: Want, deadline: &mut Deadline) -> Locked<'a> {
        let mut vigil = None;
        loop {
            let interest = self.interest(want);
            if core.connection.spin_until(interest, || self.is_contended()) {
                return core;
            }
            if !self.is_contended() {
                let Some(idle) = core.polling.as_ref().map(|polling| polling.idle) else { break };
                let vigil = vigil.get_or_insert_with(|| Vigil::begin(idle));
                if !vigil.goes_on(&mut core, interest, deadline, &self.wakers) {
                    break;
                }
                if core.ended.is_some() {
                    return core;
                }
                yield_now(); // what it waits for may need this processor
                continue;
            }
            deadline.at();
            drop(core);
            for _ in 0..Self::MAX_YIELDS {
                yield_now();
                if !self.is_contended() {
                    break;
                }
            }
            core = self.lock();
            let done = match want {
                Want::Reply(call) => core.calls.is_done(call),
                // Somebody may have come who waits for an answer, and then a slot waiter must not drive.
                Want::Slot => core.calls.has_callers() || core.calls.has_free(),
                Want::Room | Want::Event => false,
            };
            if done || core.ended.is_some() || deadline.is_past() {
                return core;
            }
        }
        match core.connection.arm(self.interest(want)) {
            Ok(false) => return core,
            Ok(true) => {}
            Err(error) => {
                core.end(error.into(), &self.wakers);
                return core;
            }
        }
        core.asleep = true;
        let sleeper = core.connection.sleeper();
        drop(core);
        let slept = sleeper.sleep(deadline.at());
        let mut core = self.lock();
        core.asleep = false;
        let disarmed = core.connection.disarm();
        if let Err(error) = slept.and(disarmed) {
            core.end(error.into(), &self.wakers);
        }
        core
    }

    fn interest(&self, want: Want) -> Interest {
        let room = want == Want::Room || self.wakers.has_room_waiters();
        let read_too = Interest::data_and(room);
        mutant!(waits_for_room_without_reading, read_too, if room { Interest::SPACE } else { Interest::DATA })
    }
}
