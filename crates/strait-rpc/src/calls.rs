//! The calls in flight on one connection.

use std::collections::VecDeque;

use strait_sync::mutant;
use strait_transport::Message;

use crate::error::Error;

/// Bits of a call id that name its slot; the rest is the slot's generation, so that a late reply finds nobody.
const SLOT_BITS: u32 = 12;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Waiting,
    /// Answers come as they are taken: `stream` is there.
    Streaming,
    /// `answer` is there.
    Done,
    /// Nobody waits any more; the slot is free once the server has answered.
    Abandoned,
}

/// Items that have come and are not taken yet.
#[derive(Default)]
struct Stream {
    items: VecDeque<Message>,
    end: Option<Result<Message, Error>>,
    /// Items that the server may still send.
    credit: u32,
    /// Items that were taken since the server was last given credit.
    taken: u32,
}

/// What a call holds lies beside its state, so that a warm call, which holds nothing, touches none of it.
struct Slot {
    generation: u32,
    state: State,
    answer: Option<Result<Message, Error>>,
    stream: Option<Box<Stream>>,
}

/// The calls in flight: as many slots as the window has room for.
pub(crate) struct Calls {
    slots: Vec<Slot>,
    free: Vec<u16>,
    late_replies: u64,
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// To the call in this slot.
    To(usize),
    /// Its caller had given up; the slot is free again.
    Late,
    /// An item whose caller had given up; the end is still to come.
    LateItem,
    /// To no call that is in flight, or beyond its credit: the server is wrong.
    Unknown,
}

/// The next answer of a call that has several.
pub(crate) enum Next {
    /// An item; and so much credit is due to the server.
    Item(Message, u32),
    /// The end: nothing, or an error.
    End(Result<(), Error>),
}

impl Calls {
    /// Items that a server may send ahead of their being taken.
    pub(crate) const CREDIT: u32 = 32;

    pub(crate) fn new(window: usize) -> Self {
        let slots =
            (0..window).map(|_| Slot { generation: 0, state: State::Free, answer: None, stream: None }).collect();
        Self { slots, free: (0..window as u16).rev().collect(), late_replies: 0 }
    }

    /// Calls whose slots are taken: sent and not answered, or answered and not taken by their callers.
    #[inline]
    pub(crate) fn in_flight(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }

    /// The slot of a call, for its waker.
    #[inline]
    pub(crate) fn slot(call: u32) -> usize {
        (call & ((1 << SLOT_BITS) - 1)) as usize
    }

    /// Takes a slot and returns the call's id; `None` where the window is full.
    #[inline]
    pub(crate) fn begin(&mut self) -> Option<u32> {
        let index = self.free.pop()?;
        let slot = &mut self.slots[usize::from(index)];
        slot.generation = slot.generation.wrapping_add(1) & (u32::MAX >> SLOT_BITS);
        slot.state = State::Waiting;
        Some(slot.generation << SLOT_BITS | u32::from(index))
    }

    /// Makes a call that was just begun one of several answers.
    pub(crate) fn begin_stream(&mut self, call: u32) {
        let stream = Stream { credit: Self::CREDIT, ..Stream::default() };
        let slot = &mut self.slots[Self::slot(call)];
        slot.state = State::Streaming;
        slot.stream = Some(Box::new(stream));
    }

    #[inline]
    fn find(&mut self, call: u32) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(Self::slot(call))?;
        (slot.generation == call >> SLOT_BITS).then_some(slot)
    }

    #[inline]
    fn release(&mut self, call: u32) {
        self.slots[Self::slot(call)].state = State::Free;
        self.free.push(Self::slot(call) as u16); // as many as there are slots: it never grows
    }

    /// Gives the last answer to its call.
    pub(crate) fn deliver(&mut self, call: u32, answer: Result<Message, Error>) -> Delivered {
        let Some(slot) = self.find(call) else { return Delivered::Unknown };
        match (slot.state, &mut slot.stream) {
            (State::Waiting, _) => {
                slot.state = State::Done;
                slot.answer = Some(answer);
                Delivered::To(Self::slot(call))
            }
            (State::Streaming, Some(stream)) if stream.end.is_none() => {
                stream.end = Some(answer);
                Delivered::To(Self::slot(call))
            }
            (State::Abandoned, _) => {
                self.release(call);
                self.late_replies += 1;
                Delivered::Late
            }
            (State::Free | State::Done | State::Streaming, _) => Delivered::Unknown,
        }
    }

    /// Gives one of several answers to its call.
    pub(crate) fn deliver_item(&mut self, call: u32, item: Message) -> Delivered {
        let Some(slot) = self.find(call) else { return Delivered::Unknown };
        match (slot.state, &mut slot.stream) {
            (State::Streaming, Some(stream)) if stream.end.is_none() && stream.credit > 0 => {
                stream.credit -= 1;
                stream.items.push_back(item);
                Delivered::To(Self::slot(call))
            }
            // What it may still send is bounded by the credit that it had.
            (State::Abandoned, _) => Delivered::LateItem,
            _ => Delivered::Unknown,
        }
    }

    /// Ends a call whose reply has come and goes straight to its caller; `false` where no reply is due to it.
    #[inline]
    pub(crate) fn finish(&mut self, call: u32) -> bool {
        let waiting = self.find(call).is_some_and(|slot| slot.state == State::Waiting);
        if waiting {
            self.release(call);
        }
        waiting
    }

    /// The answer of a call, if it is there; the call is over then.
    #[inline]
    pub(crate) fn take(&mut self, call: u32) -> Option<Result<Message, Error>> {
        let answer = self.find(call)?.answer.take()?;
        self.release(call);
        Some(answer)
    }

    /// The next of several answers, if it is there; after the end the call is over.
    pub(crate) fn take_next(&mut self, call: u32) -> Option<Next> {
        let slot = self.find(call)?;
        let stream = slot.stream.as_mut()?;
        if let Some(item) = stream.items.pop_front() {
            stream.taken += 1;
            // Given back in halves, so that a fast consumer costs the server few messages.
            let due = if stream.taken >= Self::CREDIT / 2 { std::mem::take(&mut stream.taken) } else { 0 };
            stream.credit += due;
            return Some(Next::Item(item, due));
        }
        let end = stream.end.take()?;
        slot.stream = None;
        self.release(call);
        Some(Next::End(end.map(drop)))
    }

    /// Ends a call that was never sent.
    pub(crate) fn unsend(&mut self, call: u32) {
        self.release(call);
    }

    /// The caller waits no more. `true` where the server has yet to answer, and should be told.
    pub(crate) fn abandon(&mut self, call: u32) -> bool {
        let Some(slot) = self.find(call) else { return false };
        let unanswered = match slot.state {
            State::Waiting => true,
            State::Streaming => slot.stream.as_ref().is_some_and(|stream| stream.end.is_none()),
            State::Done => false,
            State::Free | State::Abandoned => return false,
        };
        (slot.answer, slot.stream) = (None, None);
        if mutant!(abandon_frees_the_slot, unanswered, false) {
            slot.state = State::Abandoned;
        } else {
            self.release(call);
        }
        unanswered
    }

    /// Whether the answer, or one of several, is there.
    pub(crate) fn is_done(&mut self, call: u32) -> bool {
        self.find(call).is_some_and(|slot| {
            let has_next = |stream: &Stream| !stream.items.is_empty() || stream.end.is_some();
            slot.answer.is_some() || slot.stream.as_deref().is_some_and(has_next)
        })
    }

    /// Whether somebody waits for one of the calls in flight, or is about to take its answer.
    pub(crate) fn has_callers(&self) -> bool {
        self.slots.iter().any(|slot| !matches!(slot.state, State::Free | State::Abandoned))
    }

    /// Whether a call could begin.
    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Replies that came after their callers had given up.
    pub(crate) fn late_replies(&self) -> u64 {
        self.late_replies
    }
}

#[cfg(all(test, not(strait_loom)))]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn answer() -> Result<Message, Error> {
        Err(Error::Deadline)
    }

    #[test]
    fn a_late_reply_frees_its_slot_and_reaches_nobody() {
        let mut calls = Calls::new(1);
        let first = calls.begin().unwrap();
        assert_eq!(calls.begin(), None);
        assert!(calls.abandon(first));
        assert_eq!(calls.begin(), None, "the server has not answered yet");
        assert_eq!(calls.deliver(first, answer()), Delivered::Late);
        let second = calls.begin().unwrap();
        assert_ne!(first, second);
        assert_eq!(calls.deliver(first, answer()), Delivered::Unknown);
        assert_eq!(calls.late_replies(), 1);
    }

    #[test]
    fn a_second_answer_is_unknown() {
        let mut calls = Calls::new(2);
        let call = calls.begin().unwrap();
        assert_eq!(calls.deliver(call, answer()), Delivered::To(Calls::slot(call)));
        assert_eq!(calls.deliver(call, answer()), Delivered::Unknown);
        assert!(calls.take(call).is_some());
        assert!(calls.take(call).is_none());
    }

    #[test]
    fn the_largest_window_has_room_in_an_id() {
        let mut calls = Calls::new(1 << SLOT_BITS);
        let ids: std::collections::HashSet<u32> = std::iter::from_fn(|| calls.begin()).collect();
        assert_eq!(ids.len(), 1 << SLOT_BITS);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Begin,
        Deliver(usize),
        Take(usize),
        Abandon(usize),
        Foreign(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            Just(Op::Begin),
            (0usize..8).prop_map(Op::Deliver),
            (0usize..8).prop_map(Op::Take),
            (0usize..8).prop_map(Op::Abandon),
            any::<u32>().prop_map(Op::Foreign),
        ]
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Naive {
        Waiting,
        Done,
        Abandoned,
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_of_calls(window in 1usize..6, ops in proptest::collection::vec(op(), 0..200)) {
            let mut calls = Calls::new(window);
            let mut model: HashMap<u32, Naive> = HashMap::new();
            let mut ids: Vec<u32> = Vec::new();
            let newest = |ids: &[u32], nth: usize| ids.iter().rev().nth(nth).copied();
            for op in ops {
                match op {
                    Op::Begin => match calls.begin() {
                        Some(call) => {
                            prop_assert!(model.len() < window);
                            prop_assert!(model.insert(call, Naive::Waiting).is_none());
                            ids.push(call);
                        }
                        None => prop_assert_eq!(model.len(), window),
                    },
                    Op::Deliver(nth) => {
                        let Some(call) = newest(&ids, nth) else { continue };
                        let expected = match model.get(&call) {
                            Some(Naive::Waiting) => Delivered::To(Calls::slot(call)),
                            Some(Naive::Abandoned) => Delivered::Late,
                            Some(Naive::Done) | None => Delivered::Unknown,
                        };
                        match expected {
                            Delivered::To(_) => { model.insert(call, Naive::Done); }
                            Delivered::Late => { model.remove(&call); }
                            Delivered::LateItem | Delivered::Unknown => {}
                        }
                        prop_assert_eq!(calls.deliver(call, answer()), expected);
                    }
                    Op::Take(nth) => {
                        let Some(call) = newest(&ids, nth) else { continue };
                        let done = model.get(&call) == Some(&Naive::Done);
                        prop_assert_eq!(calls.take(call).is_some(), done);
                        if done {
                            model.remove(&call);
                        }
                    }
                    Op::Abandon(nth) => {
                        let Some(call) = newest(&ids, nth) else { continue };
                        let state = model.get(&call).copied();
                        prop_assert_eq!(calls.abandon(call), state == Some(Naive::Waiting));
                        match state {
                            Some(Naive::Waiting) => { model.insert(call, Naive::Abandoned); }
                            Some(Naive::Done) => { model.remove(&call); }
                            _ => {}
                        }
                    }
                    Op::Foreign(call) => if !model.contains_key(&call) {
                        prop_assert_eq!(calls.deliver(call, answer()), Delivered::Unknown);
                    },
                }
            }
        }
    }
}
