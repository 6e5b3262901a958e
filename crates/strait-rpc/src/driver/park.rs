//! Sleeping on a waker of one's own.

use std::{sync::Arc, task::Waker, time::Instant};

/// A waker that unparks a thread.
struct Unpark(#[cfg(strait_loom)] loom::thread::Thread, #[cfg(not(strait_loom))] std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker of the current thread: one per thread, so that it is known again in a list.
#[cfg(not(strait_loom))]
pub(super) fn thread_waker() -> Waker {
    std::thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    }
    WAKER.with(Waker::clone)
}

#[cfg(strait_loom)]
pub(super) fn thread_waker() -> Waker {
    Waker::from(Arc::new(Unpark(loom::thread::current())))
}

/// Parks the thread until its waker is woken or the deadline passes; may return early.
pub(super) fn park(deadline: Option<Instant>) {
    #[cfg(strait_loom)]
    {
        let _ = deadline;
        loom::thread::park();
    }
    #[cfg(not(strait_loom))]
    match deadline {
        None => std::thread::park(),
        Some(deadline) => std::thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}

/// Lets others run.
pub(super) fn yield_now() {
    #[cfg(strait_loom)]
    loom::thread::yield_now();
    #[cfg(not(strait_loom))]
    std::thread::yield_now();
}
