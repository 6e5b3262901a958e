//! What the owner does: rounds over its participants, never waiting for one of them.
//!
//! In a round the workers are heard first, because they make room; then each producer has its turn, of as many items as any other;
//! then items are handed out, and producers told how far the owner is. Each participant is shown all of that at once.

use std::time::{Duration, Instant};

use strait_sync::fail_point;
use strait_transport::{Connection, Error, Interest, Message as Received, Transport};

use super::{
    super::{
        error::corrupt,
        ledger::{Ledger, Progress},
        message::{HEADER_BYTES, Message, Part},
        places::Key,
        settings::{Settings, Stats},
    },
    seat::{Role, Seat, read_join},
};

/// Items that a producer may bring before the next one has its turn.
const QUANTUM: u32 = 16;
/// Words of a worker that are heard in a round.
const WORDS: u32 = 64;
/// How often one of the participants is looked after.
const LOOK_AFTER_EVERY: Duration = Duration::from_millis(1);

/// The owner's books and connections.
pub(super) struct Engine {
    settings: Settings,
    ledger: Ledger<Received>,
    seats: Vec<Seat>,
    /// Where a participant sits, by its place in the books.
    at: Vec<usize>,
    /// The producer that has the next turn, by its seat.
    turn: usize,
    /// Who is looked after next, and since when nobody was.
    next_looked_after: usize,
    looked_after_at: Instant,
    join_timeout: Duration,
}

impl Engine {
    pub(super) fn new(settings: Settings, join_timeout: Duration) -> Self {
        let ledger = Ledger::new(settings.clone());
        let (next_looked_after, looked_after_at) = (0, Instant::now());
        Self { settings, ledger, seats: vec![], at: vec![], turn: 0, next_looked_after, looked_after_at, join_timeout }
    }

    pub(super) fn stats(&self) -> Stats {
        self.ledger.stats()
    }

    /// Somebody has connected.
    pub(super) fn seat(&mut self, connection: Connection) {
        self.seats.push(Seat::new(connection, Instant::now() + self.join_timeout));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// One turn for each; whether anybody had something to do.
    pub(super) fn round(&mut self) -> bool {
        let mut worked = false;
        for index in (0..self.seats.len()).rev() {
            let outcome = match self.seats[index].role {
                Role::Newcomer { until } => self.hear_newcomer(index, until),
                Role::Worker { key } => self.hear_worker(index, key),
                Role::Producer { .. } => continue,
            };
            worked |= self.settle(index, outcome);
        }
        worked |= self.hear_producers();
        worked |= self.hand_out();
        for index in (0..self.seats.len()).rev() {
            let seat = &mut self.seats[index];
            let told = match seat.role {
                Role::Producer { key, .. } => seat.tell(self.ledger.progress(key)),
                _ => Ok(()),
            };
            fail_point!("queue.told");
            let outcome = told.and_then(|()| seat.publish()).map(|()| false);
            worked |= self.settle(index, outcome);
        }
        worked
    }

    fn hear_newcomer(&mut self, index: usize, until: Instant) -> Result<bool, Error> {
        let seat = &mut self.seats[index];
        let Some(word) = seat.hear()? else {
            return if Instant::now() < until { Ok(false) } else { Err(Error::TimedOut { what: "joining a queue" }) };
        };
        let acknowledged = self.settings.acknowledged;
        let key = match read_join(&word)? {
            Part::Producer => {
                seat.welcome(acknowledged, self.settings.window)?;
                let key = self.ledger.join_producer();
                seat.role = Role::Producer { key, told: Progress::default() };
                key
            }
            Part::Worker { prefetch } => {
                let prefetch = prefetch.clamp(1, self.settings.max_prefetch);
                seat.welcome(acknowledged, prefetch)?;
                let key = self.ledger.join_worker(prefetch);
                seat.role = Role::Worker { key };
                key
            }
        };
        fail_point!("queue.seated");
        if self.at.len() <= key.index() {
            self.at.resize(key.index() + 1, usize::MAX);
        }
        self.at[key.index()] = index;
        Ok(true)
    }

    /// Takes in what a worker has done; whether it said anything.
    fn hear_worker(&mut self, index: usize, key: Key) -> Result<bool, Error> {
        let mut heard = 0;
        while heard < WORDS
            && let Some(word) = self.seats[index].hear()?
        {
            let (word, _) = Message::decode(&word).map_err(corrupt)?;
            match word {
                Message::Taken { id } => self.ledger.taken(key, id),
                Message::Ack { id } => self.ledger.ack(key, id),
                Message::Return { id, discard } => self.ledger.refuse(key, id, discard),
                Message::Leave { taken } => {
                    self.ledger.leave_worker(key, taken).map_err(corrupt)?;
                    return Err(Error::Closed);
                }
                other => Err(format!("{other:?} from a worker")),
            }
            .map_err(corrupt)?;
            fail_point!("queue.heard_worker");
            heard += 1;
        }
        if self.ledger.is_blocked(key) && self.seats[index].connection.is_ready(Interest::SPACE) {
            self.ledger.unblock(key);
        }
        Ok(heard > 0)
    }

    /// A turn for each producer, as long as there is room; whether any brought something. Who had no turn has the first one of
    /// the next round.
    fn hear_producers(&mut self) -> bool {
        let (mut worked, mut left) = (false, self.seats.len());
        while left > 0 && self.ledger.has_room() && !self.seats.is_empty() {
            left -= 1;
            let index = self.turn % self.seats.len();
            self.turn = index + 1;
            let Role::Producer { key, .. } = self.seats[index].role else { continue };
            let outcome = self.hear_producer(index, key);
            worked |= self.settle(index, outcome);
        }
        worked
    }

    fn hear_producer(&mut self, index: usize, key: Key) -> Result<bool, Error> {
        let mut heard = 0;
        while heard < QUANTUM
            && self.ledger.has_room()
            && let Some(mut word) = self.seats[index].hear()?
        {
            let sequence = match Message::decode(&word).map_err(corrupt)? {
                (Message::Push { sequence }, _) => sequence,
                (other, _) => return Err(corrupt(format!("{other:?} from a producer"))),
            };
            let max = self.seats[index].connection.limits().max_send_bytes;
            if word.len() > max {
                let (len, max) = (word.len() - HEADER_BYTES, max - HEADER_BYTES);
                return Err(corrupt(format!("an item of {len} bytes, where a worker can be given {max}")));
            }
            word.skip(HEADER_BYTES);
            let bytes = word.len();
            self.ledger.push(key, sequence, word, bytes).map_err(corrupt)?;
            fail_point!("queue.taken");
            heard += 1;
        }
        Ok(heard > 0)
    }

    /// Gives items to workers; whether any got one.
    fn hand_out(&mut self) -> bool {
        let mut worked = false;
        while let Some(key) = self.ledger.next_worker() {
            let index = self.at[key.index()];
            let seat = &mut self.seats[index];
            let handed =
                self.ledger.hand_out(key, |item, id, deliveries| seat.say(Message::Item { id, deliveries }, item));
            fail_point!("queue.handed_out");
            worked |= !self.ledger.is_blocked(key);
            if handed.is_err() {
                self.settle(index, handed.map(|()| true));
            }
        }
        worked
    }

    /// Ends a participant whose turn failed; whether there is something to do, then or otherwise.
    fn settle(&mut self, index: usize, outcome: Result<bool, Error>) -> bool {
        let error = match outcome {
            Ok(worked) => return worked,
            Err(error) => error,
        };
        let mut seat = self.seats.swap_remove(index);
        if let Some(Role::Producer { key, .. } | Role::Worker { key }) = self.seats.get(index).map(|moved| moved.role) {
            self.at[key.index()] = index;
        }
        match seat.role {
            Role::Newcomer { .. } => {}
            Role::Producer { key, .. } => self.ledger.leave_producer(key),
            Role::Worker { key } => self.ledger.lose_worker(key),
        }
        fail_point!("queue.unseated");
        match error {
            Error::Closed => tracing::info!(target: "strait", "a participant of a queue left"),
            error => tracing::info!(target: "strait", %error, "a participant of a queue is gone"),
        }
        seat.connection.close();
        true
    }

    /// Looks after one of the participants, where that is due: while there is always something to do nobody waits for anybody, and
    /// in shared memory a death is learned in a wait alone. The end of one among `n` is learned within about `n` milliseconds.
    pub(super) fn look_after(&mut self, now: Instant) {
        if self.seats.is_empty() || now - self.looked_after_at < LOOK_AFTER_EVERY {
            return;
        }
        self.looked_after_at = now;
        self.next_looked_after = (self.next_looked_after + 1) % self.seats.len();
        self.seats[self.next_looked_after].look_after();
    }

    /// What a seat is waited for. While there is no room, producers are left alone, even dead ones: what they have sent is still
    /// to be read.
    fn interest(ledger: &Ledger<Received>, seat: &Seat) -> Option<Interest> {
        match seat.role {
            Role::Newcomer { .. } => Some(Interest::DATA),
            Role::Worker { key } => Some(Interest::data_and(ledger.is_blocked(key))),
            Role::Producer { .. } if ledger.has_room() => Some(Interest::data_and(seat.blocked)),
            Role::Producer { .. } => seat.blocked.then_some(Interest::SPACE),
        }
    }

    /// By when somebody must have joined.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let until = |seat: &Seat| if let Role::Newcomer { until } = seat.role { Some(until) } else { None };
        self.seats.iter().filter_map(until).min()
    }

    /// Announces a sleep to all; `false` where the next round has something to do.
    pub(super) fn arm(&mut self) -> bool {
        let ledger = &self.ledger;
        self.seats.iter_mut().all(|seat| Self::interest(ledger, seat).is_none_or(|interest| seat.arm(interest)))
    }

    /// Whom to sleep on.
    pub(super) fn armed(&self) -> impl Iterator<Item = &Connection> {
        self.seats.iter().filter(|seat| seat.is_armed()).map(|seat| &seat.connection)
    }

    /// Ends an announced sleep.
    pub(super) fn disarm(&mut self) {
        self.seats.iter_mut().for_each(Seat::disarm);
    }

    /// As [`arm`](Self::arm), in a task, which is woken when one has something to do.
    #[cfg(feature = "tokio")]
    pub(super) fn poll(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        let ledger = &self.ledger;
        self.seats.iter_mut().all(|seat| Self::interest(ledger, seat).is_none_or(|interest| seat.poll(cx, interest)))
    }

    /// The last word to everybody. What they have sent and was not read was not accepted.
    pub(super) fn end(mut self) -> Stats {
        for seat in &mut self.seats {
            if let Role::Producer { key, .. } = seat.role {
                // Who does not read it learns of it as of a death.
                let _ = seat.tell(self.ledger.progress(key)).and_then(|()| seat.publish());
            }
            seat.connection.close();
        }
        self.ledger.stats()
    }
}
