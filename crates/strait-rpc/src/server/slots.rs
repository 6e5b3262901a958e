//! Handlers in flight on one connection: boxed once, used again, each with a waker of its own.
//!
//! The connection's task polls them. A warm call finds its box, its waker and room in every list, and allocates nothing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use atomic_waker::AtomicWaker;

/// Wakes the connection's task and remembers for which handler.
struct SlotWaker {
    ready: AtomicBool,
    task: Arc<AtomicWaker>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: Release; pairs with the swap in `poll_ready`: what the handler waits for happened before.
        self.ready.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// One handler.
struct Slot<Fut> {
    call: u32,
    future: Pin<Box<Option<Fut>>>,
    flag: Arc<SlotWaker>,
    waker: Waker,
}

/// What a handler came to.
pub(super) enum Outcome<T> {
    Returned(T),
    Panicked,
}

/// The handlers in flight.
pub(super) struct Slots<Fut> {
    slots: Vec<Slot<Fut>>,
    free: Vec<usize>,
    active: Vec<usize>,
    window: usize,
    task: Arc<AtomicWaker>,
}

impl<Fut: Future> Slots<Fut> {
    pub(super) fn new(window: usize) -> Self {
        let (free, active) = (Vec::with_capacity(window), Vec::with_capacity(window));
        Self { slots: Vec::new(), free, active, window, task: Arc::new(AtomicWaker::new()) }
    }

    /// Whether no handler runs.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// How many handlers run.
    pub(super) fn len(&self) -> usize {
        self.active.len()
    }

    /// Names the task that handlers wake.
    pub(super) fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Takes in a handler's future, to be polled at the next [`poll_ready`](Self::poll_ready); `false` where the window is full.
    pub(super) fn start(&mut self, call: u32, future: Fut) -> bool {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.window => {
                let flag = Arc::new(SlotWaker { ready: AtomicBool::new(false), task: self.task.clone() });
                let waker = Waker::from(flag.clone());
                self.slots.push(Slot { call, future: Box::pin(None), flag, waker });
                self.slots.len() - 1
            }
            None => return false,
        };
        let slot = &mut self.slots[index];
        slot.call = call;
        slot.future.set(Some(future));
        // ORDERING: Relaxed; read by this same task.
        slot.flag.ready.store(true, Ordering::Relaxed);
        self.active.push(index);
        true
    }

    /// Polls the handlers that were woken; `finished` gets what became of those that are done.
    pub(super) fn poll_ready(&mut self, mut finished: impl FnMut(u32, Outcome<Fut::Output>)) -> bool {
        let mut progressed = false;
        let mut at = 0;
        while at < self.active.len() {
            let index = self.active[at];
            let slot = &mut self.slots[index];
            // ORDERING: Acquire; pairs with the Release in `wake_by_ref`.
            if !slot.flag.ready.swap(false, Ordering::Acquire) {
                at += 1;
                continue;
            }
            progressed = true;
            let mut context = Context::from_waker(&slot.waker);
            let future = slot.future.as_mut().as_pin_mut();
            let polled =
                catch_unwind(AssertUnwindSafe(|| future.map_or(Poll::Pending, |future| future.poll(&mut context))));
            let outcome = match polled {
                Ok(Poll::Pending) => {
                    at += 1;
                    continue;
                }
                Ok(Poll::Ready(output)) => Outcome::Returned(output),
                Err(_panic) => Outcome::Panicked,
            };
            let call = slot.call;
            self.release(at);
            finished(call, outcome);
        }
        progressed
    }

    /// Drops the handler of `call`; `false` where there is none.
    pub(super) fn cancel(&mut self, call: u32) -> bool {
        let found = self.active.iter().position(|&index| self.slots[index].call == call);
        if let Some(at) = found {
            self.release(at);
        }
        found.is_some()
    }

    fn release(&mut self, at: usize) {
        let index = self.active.swap_remove(at);
        // A handler whose drop panics has nobody left to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| self.slots[index].future.set(None)));
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn forever_or(value: Option<u32>) -> u32 {
        match value {
            Some(value) => value,
            None => std::future::pending().await,
        }
    }

    #[test]
    fn a_handler_is_polled_only_when_woken() {
        let mut slots = Slots::new(2);
        assert!(slots.start(7, forever_or(None)));
        assert!(slots.poll_ready(|_, _| panic!("it is not done")));
        assert!(!slots.poll_ready(|_, _| panic!("it was not woken")));
        assert!(slots.cancel(7));
        assert!(!slots.cancel(7));
        assert!(slots.is_empty());
    }

    #[test]
    fn a_full_window_takes_no_more_and_a_finished_handler_makes_room() {
        let mut slots = Slots::new(1);
        assert!(slots.start(1, forever_or(Some(10))));
        assert!(!slots.start(2, forever_or(Some(20))));
        let mut done = Vec::new();
        slots.poll_ready(|call, outcome| match outcome {
            Outcome::Returned(value) => done.push((call, value)),
            Outcome::Panicked => panic!("it does not"),
        });
        assert_eq!(done, [(1, 10)]);
        assert!(slots.start(2, forever_or(Some(20))));
    }

    #[test]
    fn a_panic_stays_with_its_call() {
        let mut slots = Slots::new(2);
        assert!(slots.start(3, async { panic!("on purpose") }));
        let mut panicked = 0;
        slots.poll_ready(|call, outcome: Outcome<()>| {
            assert!(call == 3 && matches!(outcome, Outcome::Panicked));
            panicked += 1;
        });
        assert_eq!(panicked, 1);
        assert_eq!(slots.len(), 0);
    }
}
