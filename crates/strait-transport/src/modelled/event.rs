//! A modelled event, and sleeping on it and on many modelled sockets.

use std::{
    fmt,
    task::{Wake as Waking, Waker},
    time::Duration,
};

use strait_sync::primitive::{Condvar, Mutex};

use crate::{error::Error, transport::Wake, waiting::Link};

/// An event that was set ends the sleep, or the next one.
pub(crate) struct Event(std::sync::Arc<State>);

struct State {
    ends: Mutex<Ends>,
    changed: Condvar,
}

/// What ends a sleep.
#[derive(Default)]
struct Ends {
    /// The event is set.
    set: bool,
    /// One of the sockets has something.
    ready: bool,
}

impl State {
    fn change(&self, change: impl FnOnce(&mut Ends)) {
        change(&mut self.ends.lock());
        self.changed.notify_all();
    }
}

/// For the sockets.
impl Waking for State {
    fn wake(self: std::sync::Arc<Self>) {
        self.change(|ends| ends.ready = true);
    }
}

impl Event {
    pub(crate) fn new() -> Self {
        let (ends, changed) = (Mutex::new(Ends::default()), Condvar::new());
        Self(std::sync::Arc::new(State { ends, changed }))
    }

    pub(crate) fn set(&self) {
        self.0.change(|ends| ends.set = true);
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        false
    }

    /// Sleeps until the event is set, and takes that back, or until one of the links has what it wants. No time passes.
    pub(crate) fn sleep<'a>(
        &self,
        links: impl Iterator<Item = Result<&'a Link, Error>>,
        _: Option<Duration>,
    ) -> Result<Wake, Error> {
        let waker = Waker::from(self.0.clone());
        let mut is_ready = false;
        for link in links {
            is_ready |= link?.watch(&waker);
        }
        let mut ends = self.0.ends.lock();
        while !is_ready && !ends.set && !ends.ready {
            ends = self.0.changed.wait(ends).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *ends = Ends::default();
        Ok(Wake::Ready)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").finish_non_exhaustive()
    }
}
