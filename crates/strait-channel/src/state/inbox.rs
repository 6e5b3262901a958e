//! Commands on their way to the daemon's owner, drained fairly, and their answers on their way back.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Instant,
};

use strait_frame::Codec;
use strait_transport::{Message, WaitSet};

use super::{
    Error,
    form::{Body, Form},
    message::{HEADER_BYTES, Header, status},
};

/// An answer, for the session of `client`.
pub(super) struct Answer {
    pub(super) client: u64,
    pub(super) id: u32,
    pub(super) status: u8,
    pub(super) body: Body<Vec<u8>>,
}

#[derive(Default)]
struct Queues {
    /// Each shell that has commands, with them; the one whose turn is next is at the front.
    waiting: VecDeque<(u64, VecDeque<(u32, Message)>)>,
    answers: Vec<Answer>,
    waker: Option<Waker>,
}

/// Commands and answers, between the owner and the thread that serves.
pub(super) struct Inbox {
    queues: Mutex<Queues>,
    arrived: Condvar,
    /// Wakes the thread that serves.
    pub(super) set: WaitSet,
}

impl Inbox {
    pub(super) fn new(set: WaitSet) -> Self {
        Self { queues: Mutex::default(), arrived: Condvar::new(), set }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes in a command.
    pub(super) fn push(&self, client: u64, id: u32, body: Message) {
        let mut queues = self.queues();
        match queues.waiting.iter_mut().find(|(owner, _)| *owner == client) {
            Some((_, commands)) => commands.push_back((id, body)),
            None => queues.waiting.push_back((client, VecDeque::from([(id, body)]))),
        }
        self.arrived.notify_one();
        if let Some(waker) = queues.waker.take() {
            waker.wake();
        }
    }

    /// Throws away the commands of a shell that is gone.
    pub(super) fn forget(&self, client: u64) {
        self.queues().waiting.retain(|(owner, _)| *owner != client);
    }

    /// The next shell's next command.
    fn pop(inbox: &Arc<Self>, queues: &mut Queues) -> Option<Command> {
        let (client, mut commands) = queues.waiting.pop_front()?;
        let next = commands.pop_front();
        if !commands.is_empty() {
            queues.waiting.push_back((client, commands));
        }
        next.map(|(id, body)| Command { client, id, body, inbox: Some(inbox.clone()) })
    }

    pub(super) fn try_next(self: &Arc<Self>) -> Option<Command> {
        Self::pop(self, &mut self.queues())
    }

    /// Waits for a command until `deadline`.
    pub(super) fn next(self: &Arc<Self>, deadline: Instant) -> Option<Command> {
        let mut queues = self.queues();
        loop {
            if let Some(command) = Self::pop(self, &mut queues) {
                return Some(command);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            queues = self.arrived.wait_timeout(queues, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    pub(super) fn poll_next(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Command> {
        let mut queues = self.queues();
        if let Some(command) = Self::pop(self, &mut queues) {
            return Poll::Ready(command);
        }
        queues.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn take_answers(&self) -> Vec<Answer> {
        std::mem::take(&mut self.queues().answers)
    }

    fn answer(&self, answer: Answer) {
        self.queues().answers.push(answer);
        self.set.notify();
    }
}

/// A command of a shell. Dropped without an answer, it tells the shell so.
pub struct Command {
    client: u64,
    id: u32,
    body: Message,
    /// Taken by the answer.
    inbox: Option<Arc<Inbox>>,
}

impl Command {
    /// Which shell sent it: a number that no other shell of this daemon ever had.
    pub fn client(&self) -> u64 {
        self.client
    }

    /// Answers the shell that asked, and nobody else. Never waits for it. What is longer than a message of the connection
    /// can be (a quarter of the daemon's `ring_bytes`, less 48 bytes) reaches the shell as unanswered.
    pub fn reply(mut self, bytes: &[u8]) {
        self.answer(status::OK, Body { form: Form::BYTES, bytes: bytes.to_vec() });
    }

    /// Opens a command that was [asked](super::blocking::Shell::ask) as a value of `Q`.
    ///
    /// # Errors
    ///
    /// [`Error::OtherType`] for a command of another type or of plain bytes, [`Error::Decode`].
    pub fn open<Q: ?Sized, C: Codec<Q>>(&self) -> Result<C::Held<Message>, Error> {
        let form = Header::of(&self.body).map_or(Form::BYTES, |header| header.form());
        let bytes = Message::from_bytes(self, self.body.timestamp(), self.body.transport());
        Body { form, bytes }.open::<Q, C>("the command")
    }

    /// As [`reply`](Self::reply), with a value of `A`.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`]; the shell is told that there is no answer then.
    pub fn reply_with<A: ?Sized, C: Codec<A>>(mut self, answer: &A) -> Result<(), Error> {
        let body = Body::encode::<A, C>(answer)?;
        self.answer(status::OK, body);
        Ok(())
    }

    fn answer(&mut self, status: u8, body: Body<Vec<u8>>) {
        if let Some(inbox) = self.inbox.take() {
            inbox.answer(Answer { client: self.client, id: self.id, status, body });
        }
    }
}

impl std::ops::Deref for Command {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.body[HEADER_BYTES..]
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        self.answer(status::UNANSWERED, Body { form: Form::BYTES, bytes: Vec::new() });
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("client", &self.client).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use strait_transport::TransportKind;

    use super::*;

    #[test]
    fn shells_take_turns_however_many_commands_each_has() {
        let inbox = Arc::new(Inbox::new(WaitSet::new().unwrap()));
        let body = || Message::from_bytes(&[0; HEADER_BYTES], 0, TransportKind::Local);
        for (client, id) in [(1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (2, 1)] {
            inbox.push(client, id, body());
        }
        let order: Vec<_> = std::iter::from_fn(|| inbox.try_next()).map(|command| command.client()).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 1]);
        let answers = inbox.take_answers();
        assert_eq!(answers.len(), 6);
        assert!(answers.iter().all(|answer| answer.status == status::UNANSWERED));
    }
}
