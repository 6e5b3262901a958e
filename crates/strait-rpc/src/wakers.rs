//! Whom to wake: one waker per call in flight, and those who wait for room.
//!
//! Kept apart from the connection's lock, because a runtime may wake the whole set from inside a poll that holds it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Wake, Waker},
};

use strait_sync::{
    mutant,
    primitive::{Mutex, MutexGuard},
};

/// The wakers of one connection. Threads are woken by wakers too.
pub(crate) struct Wakers {
    lists: Mutex<Lists>,
    /// Whether anybody ever registered. A thread that calls alone never does, and then nobody needs to look.
    used: AtomicBool,
}

struct Lists {
    /// By call slot.
    calls: Vec<Option<Waker>>,
    /// Those who wait for a slot.
    slot: Vec<Entry>,
    /// Those who wait for room in the ring.
    room: Vec<Entry>,
    /// Those who wait for what the server sends by itself.
    events: Vec<Entry>,
    /// The last [`Place`] that was given a number.
    last_place: u64,
}

/// Whose waker it is, and the waker.
type Entry = (u64, Waker);

/// One who waits for a slot, for room or for events. It takes its wakers away when it goes: a server may stand still for days,
/// and calls come and go meanwhile.
pub(crate) struct Place<'a> {
    wakers: &'a Wakers,
    /// Its number, once it has registered.
    number: Option<u64>,
}

impl Wakers {
    pub(crate) fn new(slots: usize) -> Self {
        let calls = (0..slots).map(|_| None).collect();
        let (slot, room) = (Vec::with_capacity(slots), Vec::with_capacity(slots));
        let lists = Lists { calls, slot, room, events: Vec::new(), last_place: 0 };
        Self { lists: Mutex::new(lists), used: AtomicBool::new(false) }
    }

    /// The lists, if anybody is in them.
    #[inline]
    fn used(&self) -> Option<MutexGuard<'_, Lists>> {
        // ORDERING: Acquire; pairs with the Release in `register`. Who registers does so under the connection's lock, and
        // before the runtime gets to know the connection's waker, so whoever has to wake it sees the flag.
        self.used.load(Ordering::Acquire).then(|| self.lists.lock())
    }

    /// The lists, to be put into.
    fn register(&self) -> MutexGuard<'_, Lists> {
        // ORDERING: Release; pairs with the Acquire in `used`.
        self.used.store(true, Ordering::Release);
        self.lists.lock()
    }

    /// Registers who waits for the answer of a call.
    pub(crate) fn set(&self, slot: usize, waker: &Waker) {
        let mut lists = self.register();
        let known = lists.calls[slot].as_ref().is_some_and(|old| old.will_wake(waker));
        let old = if known { None } else { lists.calls[slot].replace(waker.clone()) };
        // What a dropped waker does is not ours to know: it goes where no lock is held.
        drop(lists);
        drop(old);
    }

    /// The call has ended: nobody waits for its answer, and its slot is free for somebody else.
    #[inline]
    pub(crate) fn clear(&self, slot: usize) {
        let Some(mut lists) = self.used() else { return };
        let old = lists.calls[slot].take();
        drop(lists);
        drop(old);
        if mutant!(clear_wakes_nobody_for_the_slot, true, false) {
            self.wake_slot();
        }
    }

    /// A place for somebody who may have to wait.
    #[inline]
    pub(crate) fn place(&self) -> Place<'_> {
        Place { wakers: self, number: None }
    }

    /// Wakes all who wait for what the server sends by itself; they register again if there is none.
    pub(crate) fn wake_events(&self) {
        self.wake_list(|lists| &mut lists.events);
    }

    /// Wakes all who wait for a slot; they register again if there is none.
    pub(crate) fn wake_slot(&self) {
        self.wake_list(|lists| &mut lists.slot);
    }

    /// Wakes all who wait for room; they register again if there is none.
    pub(crate) fn wake_room(&self) {
        self.wake_list(|lists| &mut lists.room);
    }

    /// Wakes and empties a list, without the lock; the list keeps its memory.
    #[inline]
    fn wake_list(&self, list: fn(&mut Lists) -> &mut Vec<Entry>) {
        let Some(mut lists) = self.used() else { return };
        let waiting = list(&mut lists);
        if waiting.is_empty() {
            return;
        }
        let mut woken = std::mem::take(waiting);
        drop(lists);
        woken.drain(..).for_each(|(_, waker)| waker.wake());
        let mut lists = self.lists.lock();
        let waiting = list(&mut lists);
        if waiting.capacity() < woken.capacity() {
            woken.append(waiting);
            *waiting = woken;
        }
    }

    /// Whether somebody waits for room.
    #[inline]
    pub(crate) fn has_room_waiters(&self) -> bool {
        self.used().is_some_and(|lists| !lists.room.is_empty())
    }

    /// Wakes who waits for the answer of a call.
    #[inline]
    pub(crate) fn wake_call(&self, slot: usize) {
        if let Some(waker) = self.used().as_ref().and_then(|lists| lists.calls[slot].as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// Wakes somebody, so that a connection without a driver gets one: one who waits for an answer, and who therefore
    /// wakes the next when it leaves. Where there is none, all others: some of those in the lists may have left.
    #[inline]
    pub(crate) fn wake_one(&self) {
        let Some(lists) = self.used() else { return };
        if let Some(waker) = lists.calls.iter().flatten().next() {
            return waker.wake_by_ref();
        }
        drop(lists);
        self.wake_events();
        self.wake_room();
        self.wake_slot();
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&self) {
        let Some(lists) = self.used() else { return };
        lists.calls.iter().flatten().for_each(Waker::wake_by_ref);
        drop(lists);
        self.wake_events();
        self.wake_room();
        self.wake_slot();
    }
}

impl Place<'_> {
    /// Registers for a slot.
    pub(crate) fn add_slot(&mut self, waker: &Waker) {
        self.add(|lists| &mut lists.slot, waker);
    }

    /// Registers for room.
    pub(crate) fn add_room(&mut self, waker: &Waker) {
        self.add(|lists| &mut lists.room, waker);
    }

    /// Registers for what the server sends by itself.
    pub(crate) fn add_event(&mut self, waker: &Waker) {
        self.add(|lists| &mut lists.events, waker);
    }

    fn add(&mut self, list: fn(&mut Lists) -> &mut Vec<Entry>, waker: &Waker) {
        let mut lists = self.wakers.register();
        let number = *self.number.get_or_insert_with(|| {
            lists.last_place += 1;
            lists.last_place
        });
        let list = list(&mut lists);
        let old = match list.iter_mut().find(|(other, _)| *other == number) {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(std::mem::replace(known, waker.clone())),
            None => {
                list.push((number, waker.clone()));
                None
            }
        };
        drop(lists);
        drop(old); // where no lock is held, as in `set`
    }

    /// Waits no more.
    #[inline]
    pub(crate) fn leave(&mut self) {
        let Some(number) = self.number.take() else { return };
        let mut lists = self.wakers.lists.lock();
        let Lists { slot, room, events, .. } = &mut *lists;
        let gone = [slot, room, events].map(|list| {
            let at = list.iter().position(|(other, _)| *other == number);
            at.map(|at| list.swap_remove(at))
        });
        drop(lists);
        drop(gone); // where no lock is held, as in `set`
    }
}

impl Drop for Place<'_> {
    #[inline]
    fn drop(&mut self) {
        self.leave();
    }
}

/// The connection's own waker wakes everybody: whoever is polled first reads for all, so that one future that is woken but
/// never polled again starves nobody.
impl Wake for Wakers {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        mutant!(connection_wakes_one, self.wake_all(), self.wake_one());
    }
}
