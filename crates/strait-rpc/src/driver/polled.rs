//! A connection that a polling thread drives.
//!
//! While that thread is awake it is the driver: whoever waits follows it. It *rests* a connection as any driver leaves (rule
//! 4): from then on the threads that wait drive for themselves. The next call that is sent *rouses* it again. A call that was
//! in flight before does not, or a slow server would keep the thread awake.
//!
//! It drives in memory alone. On a socket, where each look is a system call, it lets threads drive as ever, and what a thread
//! drives already is left to it.

use std::sync::Arc;

use strait_sync::{mutant, primitive::Mutex};
use strait_transport::{Transport, TransportKind, WaitSet};

use super::{Driver, core::Core, vigil::look_after};

/// What a connection knows of its polling thread.
pub(super) struct Polled {
    bell: Arc<Bell>,
    rests: bool,
}

/// Where a polling thread sleeps, and learns what is new.
pub(crate) struct Bell {
    pub(crate) wait_set: WaitSet,
    news: Mutex<News>,
}

/// What is new for a polling thread.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) newcomers: Vec<Arc<Driver>>,
    /// No more come: the thread ends.
    pub(crate) closed: bool,
}

/// What a look at a connection came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Its threads drive, if anybody does.
    Resting,
    Idle,
    Worked,
    /// It has ended, or has another polling thread.
    Gone,
}

impl Bell {
    pub(crate) fn new(wait_set: WaitSet) -> Self {
        Self { wait_set, news: Mutex::new(News::default()) }
    }

    /// What is new since the last time.
    pub(crate) fn take_news(&self) -> News {
        let mut news = self.news.lock();
        News { newcomers: std::mem::take(&mut news.newcomers), closed: news.closed }
    }

    /// Ends the thread, and keeps others from coming.
    pub(crate) fn close(&self) {
        self.news.lock().closed = true;
        self.wait_set.notify();
    }

    /// Hands a connection to the thread; `false` where that has ended.
    fn add(&self, driver: Arc<Driver>) -> bool {
        let mut news = self.news.lock();
        if news.closed {
            return false;
        }
        news.newcomers.push(driver);
        drop(news);
        self.wait_set.notify();
        true
    }
}

impl Core {
    /// Whether somebody reads for all: a thread that waits, or a polling thread that is awake.
    #[inline]
    pub(super) fn is_driven(&self) -> bool {
        self.driving || self.polled.as_ref().is_some_and(|polled| !polled.rests)
    }

    /// A call was sent: its polling thread wakes up, if it has one that rests.
    #[inline]
    pub(super) fn rouse(&mut self) {
        if let Some(polled) = &mut self.polled
            && polled.rests
            && self.connection.transport() != TransportKind::Socket
        {
            polled.rests = false;
            mutant!(call_rouses_nobody, polled.bell.wait_set.notify(), ());
        }
    }

    /// The polling thread has to look, though it rests.
    pub(super) fn tell_poller(&self) {
        if let Some(polled) = &self.polled {
            polled.bell.wait_set.notify();
        }
    }

    fn is_polled_by(&self, bell: &Arc<Bell>) -> bool {
        self.polled.as_ref().is_some_and(|polled| Arc::ptr_eq(&polled.bell, bell))
    }
}

impl Driver {
    /// Gives the connection to a polling thread, and takes it from the one that had it.
    pub(crate) fn attach(self: &Arc<Self>, bell: &Arc<Bell>) {
        let Some(mut core) = self.enter() else { return };
        if core.is_polled_by(bell) {
            return;
        }
        let before = core.polled.replace(Polled { bell: bell.clone(), rests: true });
        drop(core);
        if let Some(before) = before {
            before.bell.wait_set.notify(); // it looks, and finds that it is not needed
            self.succeed();
        }
        if !bell.add(self.clone()) {
            self.detach(bell);
        }
    }

    /// The polling thread ends: threads drive.
    pub(crate) fn detach(&self, bell: &Arc<Bell>) {
        let mut core = self.lock();
        if core.is_polled_by(bell) {
            core.polled = None;
            drop(core);
            self.succeed();
        }
    }

    /// The polling thread goes to sleep: threads drive until the next call is sent.
    pub(crate) fn rest(&self, bell: &Arc<Bell>) {
        let mut core = self.lock();
        if core.is_polled_by(bell)
            && let Some(polled) = &mut core.polled
            && !std::mem::replace(&mut polled.rests, true)
        {
            drop(core);
            self.succeed();
        }
    }

    /// Wakes whoever drives next (rule 4).
    fn succeed(&self) {
        self.wakers.wake_room();
        mutant!(poller_leaves_without_successor, self.wakers.wake_one(), ());
    }

    /// Takes in what has come. `after_peer`: finds out too whether the server is still there.
    #[inline]
    pub(crate) fn look(&self, bell: &Arc<Bell>, after_peer: bool) -> Look {
        if self.is_contended() {
            return Look::Idle;
        }
        let Some(mut core) = self.core.try_lock() else { return Look::Idle };
        if core.ended.is_some() || !core.is_polled_by(bell) {
            return Look::Gone;
        }
        if core.polled.as_ref().is_none_or(|polled| polled.rests) {
            return Look::Resting;
        }
        if core.driving {
            return Look::Idle;
        }
        let interest = strait_transport::Interest::data_and(self.wakers.has_room_waiters());
        if after_peer {
            look_after(&mut core, interest, &self.wakers);
        }
        if !core.connection.is_ready(interest) {
            return Look::Idle;
        }
        core.drain(&self.wakers);
        drop(core);
        self.wakers.wake_room(); // they look again, and register again
        Look::Worked
    }
}
