//! Calls in flight on one connection: boxed once, used again, each with a waker of its own.
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
    time::Instant,
};

use atomic_waker::AtomicWaker;
use futures_util::Stream;

use crate::{error::Code, header::Header, observe::Call, service::Answer};

/// Wakes the connection's task and remembers for which call.
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

/// One call.
struct Slot<S> {
    header: Header,
    /// Items that the caller still takes.
    credit: u32,
    /// When its caller gives up, once somebody wanted to know.
    until: Option<Instant>,
    answers: Pin<Box<Option<S>>>,
    seen: Call,
    flag: Arc<SlotWaker>,
    waker: Waker,
}

/// What became of a call.
pub(super) enum Outcome<T> {
    /// One answer of several.
    Item(T),
    /// The last answer.
    Last(T),
    /// The handler panicked.
    Panicked,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// There is room for more.
    pub(super) room: bool,
    /// It was an error: the call is over, whatever its handler has yet to say.
    pub(super) failed: bool,
}

/// The calls in flight.
pub(super) struct Slots<S> {
    slots: Vec<Slot<S>>,
    free: Vec<usize>,
    active: Vec<usize>,
    window: usize,
    task: Arc<AtomicWaker>,
}

impl<S, T> Slots<S>
where
    S: Stream<Item = Answer<T>>,
{
    pub(super) fn new(window: usize) -> Self {
        let (free, active) = (Vec::with_capacity(window), Vec::with_capacity(window));
        Self { slots: Vec::new(), free, active, window, task: Arc::new(AtomicWaker::new()) }
    }

    /// Whether no call is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// How many calls are in flight.
    pub(super) fn len(&self) -> usize {
        self.active.len()
    }

    /// Wakes the connection's task, for no call in particular.
    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::new(SlotWaker { ready: AtomicBool::new(false), task: self.task.clone() }))
    }

    /// Names the task that handlers wake.
    pub(super) fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Takes in a call, to be polled at the next [`poll_ready`](Self::poll_ready); `false` where the window is full.
    pub(super) fn start(&mut self, header: Header, answers: S, seen: Call) -> bool {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.window => {
                let flag = Arc::new(SlotWaker { ready: AtomicBool::new(false), task: self.task.clone() });
                let waker = Waker::from(flag.clone());
                let (answers, seen) = (Box::pin(None), Call::default());
                self.slots.push(Slot { header, credit: 0, until: None, answers, seen, flag, waker });
                self.slots.len() - 1
            }
            None => return false,
        };
        let slot = &mut self.slots[index];
        (slot.header, slot.credit, slot.until, slot.seen) = (header, 0, None, seen);
        slot.answers.set(Some(answers));
        // ORDERING: Relaxed; read by this same task.
        slot.flag.ready.store(true, Ordering::Relaxed);
        self.active.push(index);
        true
    }

    /// Polls the calls that were woken and may answer; `answered` gets what they came to, and says whether there is room for
    /// more, and whether that ended the call. Where there is none, as `room` says of the beginning, items wait with their handlers; last answers do not: there
    /// are at most as many as calls.
    pub(super) fn poll_ready<E>(
        &mut self,
        mut room: bool,
        mut answered: impl FnMut(&Header, &mut Call, Outcome<T>) -> Result<Sent, E>,
    ) -> Result<bool, E> {
        let mut progressed = false;
        let mut at = 0;
        while at < self.active.len() {
            let index = self.active[at];
            let slot = &mut self.slots[index];
            // A call of several answers waits for credit; one of a single answer needs none.
            let may_answer = !slot.header.stream || (room && slot.credit > 0);
            // ORDERING: Acquire; pairs with the Release in `wake_by_ref`.
            if !may_answer || !slot.flag.ready.swap(false, Ordering::Acquire) {
                at += 1;
                continue;
            }
            progressed = true;
            let mut context = Context::from_waker(&slot.waker);
            let answers = slot.answers.as_mut().as_pin_mut();
            let polled = {
                let _entered = slot.seen.enter();
                catch_unwind(AssertUnwindSafe(|| {
                    answers.map_or(Poll::Pending, |answers| answers.poll_next(&mut context))
                }))
            };
            let outcome = match polled {
                Ok(Poll::Pending) => {
                    at += 1;
                    continue;
                }
                Ok(Poll::Ready(Some(Answer::Item(value)))) => {
                    slot.credit = slot.credit.saturating_sub(1);
                    // ORDERING: Relaxed; read by this same task.
                    slot.flag.ready.store(true, Ordering::Relaxed);
                    let sent = answered(&slot.header, &mut slot.seen, Outcome::Item(value))?;
                    room = sent.room;
                    if sent.failed {
                        self.release(at);
                    }
                    continue;
                }
                Ok(Poll::Ready(Some(Answer::Last(value)))) => Outcome::Last(value),
                // A stream that ends without its last answer is a handler that is wrong.
                Ok(Poll::Ready(None)) | Err(_) => Outcome::Panicked,
            };
            let (header, mut seen) = (slot.header, std::mem::take(&mut slot.seen));
            self.release(at);
            room = answered(&header, &mut seen, outcome)?.room;
        }
        Ok(progressed)
    }

    /// The caller of `call` takes `count` more items.
    pub(super) fn grant(&mut self, call: u32, count: u32) {
        if let Some(at) = self.find(call) {
            let slot = &mut self.slots[self.active[at]];
            slot.credit = slot.credit.saturating_add(count);
        }
    }

    /// Drops the handler of `call`; `false` where there is none.
    pub(super) fn cancel(&mut self, call: u32) -> bool {
        let found = self.find(call);
        if let Some(at) = found {
            self.cut(at, Code::CANCELLED);
        }
        found.is_some()
    }

    /// When the first caller gives up; `None` where none does. Only asked where the task is about to wait: a call that is
    /// answered at once never reads the clock.
    pub(super) fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let slots = &mut self.slots;
        let ends = self.active.iter().filter_map(|&index| {
            let slot = &mut slots[index];
            if slot.until.is_none() {
                slot.until = slot.header.deadline.and_then(|left| now.checked_add(left));
            }
            slot.until
        });
        ends.min()
    }

    /// Drops the handler of a call whose caller has given up, and returns the call.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<u32> {
        let at = self.active.iter().position(|&index| self.slots[index].until.is_some_and(|until| until <= now))?;
        let call = self.slots[self.active[at]].header.call;
        self.cut(at, Code::CANCELLED);
        Some(call)
    }

    /// Drops the handler of a call of several answers, and returns the call.
    pub(super) fn take_stream(&mut self) -> Option<u32> {
        let at = self.active.iter().position(|&index| self.slots[index].header.stream)?;
        let call = self.slots[self.active[at]].header.call;
        self.cut(at, Code::SHUTTING_DOWN);
        Some(call)
    }

    fn find(&self, call: u32) -> Option<usize> {
        self.active.iter().position(|&index| self.slots[index].header.call == call)
    }

    /// Ends a call that its handler did not.
    fn cut(&mut self, at: usize, code: Code) {
        self.slots[self.active[at]].seen.cut(code);
        self.release(at);
    }

    fn release(&mut self, at: usize) {
        let index = self.active.swap_remove(at);
        // A handler whose drop panics has nobody left to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| self.slots[index].answers.set(None)));
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;
    use crate::header::Kind;

    type Answers = stream::BoxStream<'static, Answer<u32>>;

    fn request(call: u32) -> Header {
        Header::of(Kind::Request, call)
    }

    fn forever_or(value: Option<u32>) -> Answers {
        let future = async move {
            match value {
                Some(value) => value,
                None => std::future::pending().await,
            }
        };
        stream::once(future.map(Answer::Last)).boxed()
    }

    fn poll(slots: &mut Slots<Answers>) -> Vec<(u32, &'static str, u32)> {
        poll_with(slots, true)
    }

    fn poll_with(slots: &mut Slots<Answers>, room: bool) -> Vec<(u32, &'static str, u32)> {
        let mut seen = Vec::new();
        let polled: Result<bool, Infallible> = slots.poll_ready(room, |header, _, outcome| {
            seen.push(match outcome {
                Outcome::Item(value) => (header.call, "item", value),
                Outcome::Last(value) => (header.call, "last", value),
                Outcome::Panicked => (header.call, "panicked", 0),
            });
            Ok(Sent { room, failed: false })
        });
        polled.unwrap();
        seen
    }

    #[test]
    fn a_handler_is_polled_only_when_woken() {
        let mut slots = Slots::new(2);
        assert!(slots.start(request(7), forever_or(None), Call::default()));
        assert_eq!(slots.poll_ready(true, |_, _, _| Err("it is not done")), Ok(true));
        assert_eq!(slots.poll_ready(true, |_, _, _| Err("it is not done")), Ok(false), "it was not woken");
        assert!(slots.cancel(7));
        assert!(!slots.cancel(7));
        assert!(slots.is_empty());
    }

    #[test]
    fn a_full_window_takes_no_more_and_a_finished_handler_makes_room() {
        let mut slots = Slots::new(1);
        assert!(slots.start(request(1), forever_or(Some(10)), Call::default()));
        assert!(!slots.start(request(2), forever_or(Some(20)), Call::default()));
        assert_eq!(poll(&mut slots), [(1, "last", 10)]);
        assert!(slots.start(request(2), forever_or(Some(20)), Call::default()));
    }

    #[test]
    fn a_panic_stays_with_its_call() {
        let mut slots = Slots::new(2);
        let panics: Answers = stream::once(async { panic!("on purpose") }).boxed();
        assert!(slots.start(request(3), panics, Call::default()));
        assert_eq!(poll(&mut slots), [(3, "panicked", 0)]);
        assert_eq!(slots.len(), 0);
    }

    #[test]
    fn items_come_as_far_as_credit_goes() {
        let mut slots = Slots::new(1);
        let items = stream::iter(1..=3).map(Answer::Item).chain(stream::once(async { Answer::Last(0) })).boxed();
        assert!(slots.start(Header { stream: true, ..request(5) }, items, Call::default()));
        assert_eq!(poll(&mut slots), []);
        slots.grant(5, 2);
        assert_eq!(poll(&mut slots), [(5, "item", 1), (5, "item", 2)]);
        slots.grant(5, 9);
        assert_eq!(poll_with(&mut slots, false), [], "no room");
        assert_eq!(poll(&mut slots), [(5, "item", 3), (5, "last", 0)]);
        assert!(slots.is_empty());
    }

    #[test]
    fn an_item_that_cannot_be_sent_is_the_last() {
        let mut slots = Slots::new(1);
        let items = stream::iter(1..=3).map(Answer::Item).boxed();
        assert!(slots.start(Header { stream: true, ..request(5) }, items, Call::default()));
        slots.grant(5, 9);
        let mut sent = 0;
        let polled: Result<bool, Infallible> = slots.poll_ready(true, |_, _, _| {
            sent += 1;
            Ok(Sent { room: true, failed: sent == 2 })
        });
        assert_eq!((polled, sent, slots.is_empty()), (Ok(true), 2, true));
    }

    #[test]
    fn a_call_whose_caller_gave_up_is_dropped() {
        let mut slots = Slots::new(2);
        let now = Instant::now();
        let left = Some(Duration::from_millis(5));
        assert!(slots.start(Header { deadline: left, ..request(1) }, forever_or(None), Call::default()));
        assert!(slots.start(request(2), forever_or(None), Call::default()));
        let until = slots.next_deadline(now).unwrap();
        assert_eq!(until, now + Duration::from_millis(5));
        assert_eq!(slots.take_expired(now), None);
        assert_eq!(slots.take_expired(until), Some(1));
        assert_eq!(slots.take_expired(until), None);
        assert_eq!(slots.next_deadline(now), None);
    }
}
