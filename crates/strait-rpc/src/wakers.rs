//! Whom to wake: one waker per call in flight, and those who wait for room.
//!
//! Kept apart from the connection's lock, because a runtime may wake the whole set from inside a poll that holds it.

use std::task::{Wake, Waker};

use strait_sync::primitive::Mutex;

/// The wakers of one connection. Threads are woken by wakers too.
pub(crate) struct Wakers {
    lists: Mutex<Lists>,
}

struct Lists {
    /// By call slot.
    calls: Vec<Option<Waker>>,
    /// Those who wait for a slot.
    slot: Vec<Waker>,
    /// Those who wait for room in the ring.
    room: Vec<Waker>,
}

impl Wakers {
    pub(crate) fn new(slots: usize) -> Self {
        let calls = (0..slots).map(|_| None).collect();
        let (slot, room) = (Vec::with_capacity(slots), Vec::with_capacity(slots));
        Self { lists: Mutex::new(Lists { calls, slot, room }) }
    }

    /// Registers who waits for the answer of a call.
    pub(crate) fn set(&self, slot: usize, waker: &Waker) {
        match &mut self.lists.lock().calls[slot] {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// The call has ended: nobody waits for its answer, and its slot is free for somebody else.
    pub(crate) fn clear(&self, slot: usize) {
        let mut lists = self.lists.lock();
        lists.calls[slot] = None;
        lists.slot.drain(..).for_each(Waker::wake);
    }

    /// Registers who waits for a slot.
    pub(crate) fn add_slot(&self, waker: &Waker) {
        add(&mut self.lists.lock().slot, waker);
    }

    /// Registers who waits for room.
    pub(crate) fn add_room(&self, waker: &Waker) {
        add(&mut self.lists.lock().room, waker);
    }

    /// Wakes all who wait for a slot; they register again if there is none.
    pub(crate) fn wake_slot(&self) {
        self.lists.lock().slot.drain(..).for_each(Waker::wake);
    }

    /// Whether somebody waits for room.
    pub(crate) fn has_room_waiters(&self) -> bool {
        !self.lists.lock().room.is_empty()
    }

    /// Wakes who waits for the answer of a call.
    pub(crate) fn wake_call(&self, slot: usize) {
        if let Some(waker) = &self.lists.lock().calls[slot] {
            waker.wake_by_ref();
        }
    }

    /// Wakes all who wait for room; they register again if there is none.
    pub(crate) fn wake_room(&self) {
        self.lists.lock().room.drain(..).for_each(Waker::wake);
    }

    /// Wakes somebody, so that a connection without a driver gets one.
    pub(crate) fn wake_one(&self) {
        let lists = self.lists.lock();
        if let Some(waker) = lists.calls.iter().flatten().next().or(lists.room.first()).or(lists.slot.first()) {
            waker.wake_by_ref();
        }
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&self) {
        let mut lists = self.lists.lock();
        lists.calls.iter().flatten().for_each(Waker::wake_by_ref);
        lists.room.drain(..).for_each(Waker::wake);
        lists.slot.drain(..).for_each(Waker::wake);
    }
}

fn add(list: &mut Vec<Waker>, waker: &Waker) {
    if !list.iter().any(|other| other.will_wake(waker)) {
        list.push(waker.clone());
    }
}

/// The connection's own waker wakes everybody: whoever is polled first reads for all, so that one future that is woken but
/// never polled again starves nobody.
impl Wake for Wakers {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.wake_all();
    }
}
