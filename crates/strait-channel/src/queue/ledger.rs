//! Who has what: the owner's books, without any connection.
//!
//! An item is in one of four states, and each call moves items from one to another:
//!
//! ```text
//!   push -> waiting -> handed to a worker -> acked
//!             ^  |            |    |
//!             |  |  returned, |    +-> lost
//!             +--------------+
//!                redelivered
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::{
    places::{Key, Places},
    settings::{Settings, Stats},
};

/// An item that the owner holds.
struct Entry<T> {
    item: T,
    bytes: u64,
    producer: Key,
    /// How often it has been handed to a worker.
    deliveries: u32,
}

/// How far the owner is with the items of one producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) accepted: u64,
    pub(crate) settled: u64,
}

struct Worker<T> {
    prefetch: u32,
    /// The last item that it was handed.
    last: u64,
    /// Up to where it has said to have taken them.
    taken: u64,
    handed: BTreeMap<u64, Entry<T>>,
    /// There was no room on the way to it.
    blocked: bool,
}

enum Participant<T> {
    Producer(Progress),
    Worker(Worker<T>),
}

/// The owner's books.
pub(crate) struct Ledger<T> {
    settings: Settings,
    waiting: VecDeque<Entry<T>>,
    held_bytes: u64,
    participants: Places<Participant<T>>,
    /// The workers, in the order in which they came.
    workers: Vec<Key>,
    /// Whose turn it is among workers that have the same.
    turn: usize,
    stats: Stats,
}

impl<T> Ledger<T> {
    pub(crate) fn new(settings: Settings) -> Self {
        let (waiting, participants) = (VecDeque::new(), Places::new());
        Self { settings, waiting, held_bytes: 0, participants, workers: Vec::new(), turn: 0, stats: Stats::default() }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { depth: self.waiting.len() as u64, ..self.stats }
    }

    /// Whether another item may be pushed.
    pub(crate) fn has_room(&self) -> bool {
        let held = self.waiting.len() as u64 + self.stats.in_flight;
        held < u64::from(self.settings.capacity) && self.held_bytes < self.settings.capacity_bytes
    }

    pub(crate) fn join_producer(&mut self) -> Key {
        self.stats.producers += 1;
        self.participants.insert(Participant::Producer(Progress::default()))
    }

    pub(crate) fn join_worker(&mut self, prefetch: u32) -> Key {
        self.stats.workers += 1;
        let (handed, blocked) = (BTreeMap::new(), false);
        let key =
            self.participants.insert(Participant::Worker(Worker { prefetch, last: 0, taken: 0, handed, blocked }));
        self.workers.push(key);
        key
    }

    /// Takes an item over. Producers count theirs from 1.
    pub(crate) fn push(&mut self, producer: Key, sequence: u64, item: T, bytes: usize) -> Result<(), String> {
        let Some(Participant::Producer(progress)) = self.participants.get_mut(producer) else {
            return Err("an item from somebody who is no producer".into());
        };
        if sequence != progress.accepted + 1 {
            return Err(format!("item {sequence} of a producer, expected {}", progress.accepted + 1));
        }
        progress.accepted = sequence;
        self.stats.pushed += 1;
        self.held_bytes += bytes as u64;
        self.waiting.push_back(Entry { item, bytes: bytes as u64, producer, deliveries: 0 });
        self.stats.high_water = self.stats.high_water.max(self.waiting.len() as u64 + self.stats.in_flight);
        Ok(())
    }

    pub(crate) fn progress(&self, producer: Key) -> Progress {
        match self.participants.get(producer) {
            Some(Participant::Producer(progress)) => *progress,
            _ => Progress::default(),
        }
    }

    /// The worker that the next item goes to: one that has the fewest, among these each in turn. `None` where there is no item,
    /// or no worker that may have more.
    pub(crate) fn next_worker(&mut self) -> Option<Key> {
        if self.waiting.is_empty() {
            return None;
        }
        let count = self.workers.len();
        let mut best = None;
        for step in 0..count {
            let place = (self.turn + step) % count;
            let Some(Participant::Worker(worker)) = self.participants.get(self.workers[place]) else { continue };
            let has = worker.handed.len();
            if worker.blocked || has >= worker.prefetch as usize || best.is_some_and(|(fewest, _)| has >= fewest) {
                continue;
            }
            best = Some((has, place));
            if has == 0 {
                break;
            }
        }
        let (_, place) = best?;
        self.turn = (place + 1) % count;
        Some(self.workers[place])
    }

    /// Hands the next item to `worker`, by `send(item, id, deliveries)`. Where that finds no room, the worker is left alone until
    /// [`unblock`](Self::unblock).
    pub(crate) fn hand_out<E>(
        &mut self,
        worker: Key,
        send: impl FnOnce(&T, u64, u32) -> Result<bool, E>,
    ) -> Result<(), E> {
        let Some(Participant::Worker(worker)) = self.participants.get_mut(worker) else { return Ok(()) };
        let Some(mut entry) = self.waiting.pop_front() else { return Ok(()) };
        let sent = send(&entry.item, worker.last + 1, entry.deliveries.saturating_add(1));
        if !matches!(sent, Ok(true)) {
            worker.blocked = true;
            self.waiting.push_front(entry);
            return sent.map(drop);
        }
        entry.deliveries = entry.deliveries.saturating_add(1);
        worker.last += 1;
        worker.handed.insert(worker.last, entry);
        self.stats.popped += 1;
        self.stats.in_flight += 1;
        Ok(())
    }

    pub(crate) fn is_blocked(&self, worker: Key) -> bool {
        matches!(self.participants.get(worker), Some(Participant::Worker(Worker { blocked: true, .. })))
    }

    pub(crate) fn unblock(&mut self, worker: Key) {
        if let Some(Participant::Worker(worker)) = self.participants.get_mut(worker) {
            worker.blocked = false;
        }
    }

    /// A worker of a queue without acknowledgements has taken all up to `id`.
    pub(crate) fn taken(&mut self, worker: Key, id: u64) -> Result<(), String> {
        if self.settings.acknowledged {
            return Err("a worker that takes in a queue where it must acknowledge".into());
        }
        let worker = self.worker(worker)?;
        worker.check_taken(id)?;
        worker.taken = id;
        let mut done = Vec::new();
        while let Some(first) = worker.handed.first_entry().filter(|entry| *entry.key() <= id) {
            done.push(first.remove());
        }
        done.into_iter().for_each(|entry| self.ack_entry(&entry));
        Ok(())
    }

    /// A worker is done with `id`.
    pub(crate) fn ack(&mut self, worker: Key, id: u64) -> Result<(), String> {
        let entry = self.take_handed(worker, id)?;
        self.ack_entry(&entry);
        Ok(())
    }

    /// A worker refuses `id`: for somebody else, behind all that wait, or for nobody.
    pub(crate) fn refuse(&mut self, worker: Key, id: u64, discard: bool) -> Result<(), String> {
        let entry = if self.settings.acknowledged || !discard {
            self.take_handed(worker, id)?
        } else {
            // Without acknowledgements, only what it has not said to have taken.
            self.worker(worker)?.handed.remove(&id).ok_or_else(|| unknown(id))?
        };
        self.stats.in_flight -= 1;
        if discard || self.is_worn_out(&entry) {
            self.lose_entry(&entry);
        } else {
            self.stats.redelivered += 1;
            self.waiting.push_back(entry);
        }
        Ok(())
    }

    /// A worker leaves in good order; it took nothing after `taken`.
    pub(crate) fn leave_worker(&mut self, key: Key, taken: u64) -> Result<(), String> {
        self.worker(key)?.check_taken(taken)?;
        let Some(worker) = self.remove_worker(key) else { return Ok(()) };
        for (id, mut entry) in worker.handed.into_iter().rev() {
            if id > taken {
                entry.deliveries -= 1;
                self.stats.returned += 1;
                self.stats.in_flight -= 1;
                self.waiting.push_front(entry);
            } else if self.settings.acknowledged {
                self.take_back(entry);
            } else {
                self.ack_entry(&entry);
            }
        }
        Ok(())
    }

    /// A worker is gone.
    pub(crate) fn lose_worker(&mut self, key: Key) {
        let Some(worker) = self.remove_worker(key) else { return };
        for entry in worker.handed.into_values().rev() {
            if self.settings.acknowledged {
                self.take_back(entry);
            } else {
                self.stats.in_flight -= 1;
                self.lose_entry(&entry);
            }
        }
    }

    /// A producer is gone. Its items stay.
    pub(crate) fn leave_producer(&mut self, key: Key) {
        if matches!(self.participants.get(key), Some(Participant::Producer(_))) {
            self.participants.remove(key);
            self.stats.producers -= 1;
        }
    }

    fn worker(&mut self, key: Key) -> Result<&mut Worker<T>, String> {
        match self.participants.get_mut(key) {
            Some(Participant::Worker(worker)) => Ok(worker),
            _ => Err("a worker's message from somebody who is none".into()),
        }
    }

    fn remove_worker(&mut self, key: Key) -> Option<Worker<T>> {
        self.worker(key).ok()?;
        let place = self.workers.iter().position(|worker| *worker == key)?;
        self.workers.remove(place);
        // Those behind it have moved up.
        self.turn -= usize::from(self.turn > place);
        self.stats.workers -= 1;
        match self.participants.remove(key) {
            Some(Participant::Worker(worker)) => Some(worker),
            _ => None,
        }
    }

    fn take_handed(&mut self, worker: Key, id: u64) -> Result<Entry<T>, String> {
        if !self.settings.acknowledged {
            return Err(format!("a word on item {id} in a queue without acknowledgements"));
        }
        self.worker(worker)?.handed.remove(&id).ok_or_else(|| unknown(id))
    }

    /// Whether an item is not given to anybody any more.
    fn is_worn_out(&self, entry: &Entry<T>) -> bool {
        (1..=entry.deliveries).contains(&self.settings.max_deliveries)
    }

    /// Puts an item that somebody may have seen first in line.
    fn take_back(&mut self, entry: Entry<T>) {
        self.stats.in_flight -= 1;
        if self.is_worn_out(&entry) {
            self.lose_entry(&entry);
        } else {
            self.stats.redelivered += 1;
            self.waiting.push_front(entry);
        }
    }

    fn ack_entry(&mut self, entry: &Entry<T>) {
        self.stats.in_flight -= 1;
        self.stats.acked += 1;
        self.settle(entry);
    }

    fn lose_entry(&mut self, entry: &Entry<T>) {
        self.stats.lost += 1;
        self.settle(entry);
    }

    fn settle(&mut self, entry: &Entry<T>) {
        self.held_bytes -= entry.bytes;
        if let Some(Participant::Producer(progress)) = self.participants.get_mut(entry.producer) {
            progress.settled += 1;
        }
    }
}

impl<T> Worker<T> {
    fn check_taken(&self, id: u64) -> Result<(), String> {
        if (self.taken..=self.last).contains(&id) {
            return Ok(());
        }
        Err(format!("a worker has taken item {id}, expected {} to {}", self.taken, self.last))
    }
}

fn unknown(id: u64) -> String {
    format!("a word on item {id}, which this worker does not have")
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
