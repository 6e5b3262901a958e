//! A thousand processes, killed wherever they happen to be, over one queue.
//!
//! `STRAIT_STORM_ROUNDS` is how many are killed (default 1000), `STRAIT_SEED` decides who and when; the moments themselves are the
//! machine's.
#![cfg(all(target_os = "linux", not(strait_loom)))]
#![allow(unsafe_code)]

mod common;

use std::{
    collections::HashMap,
    env,
    path::Path,
    process::Child,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{FILE, Mapping, ROLE, Random, file, spawn};
use strait_mpmc::shared::{
    Geometry, Identity, Participant, PopError, PushError, Recovered, SharedQueue, SharedStats, process,
};
use strait_sync::{Words, WordsMut, primitive::Ordering};

const TEST: &str = "killed_producers_and_consumers_lose_nothing_that_is_not_counted";
const CAPACITY: u64 = 16;
const SLOT: usize = 64;
const BATCH: usize = 3;
const DEADLINE: Duration = Duration::from_millis(30);
/// What a call may take beyond its deadline on a machine that does much else.
const GRACE: Duration = Duration::from_secs(2);

/// What the processes write down for the parent, a span for each worker that ever lived.
mod log {
    pub(super) const STOP: usize = 0;
    pub(super) const VIOLATIONS: usize = 8;
    pub(super) const WORKERS: usize = 128;

    /// How many messages a producer has begun to push, or how many times a consumer has begun to pop.
    pub(super) const BEGUN: usize = 0;
    /// How many pushes of a producer have returned.
    pub(super) const DONE: usize = 8;
    /// Where a consumer pops to: what it had in its hands when it died.
    pub(super) const BUFFER: usize = 16;
    pub(super) const BUFFER_BYTES: usize = super::BATCH * super::SLOT;
    /// A bit for each message of a producer: somebody has received it.
    pub(super) const RECEIVED: usize = BUFFER + BUFFER_BYTES;
    pub(super) const EACH: u64 = 16 * 1024;
    pub(super) const BYTES: usize = RECEIVED + EACH as usize / 8;

    pub(super) fn span(worker: u64) -> usize {
        WORKERS + worker as usize * BYTES
    }

    /// The word and the bit of message `number` of a producer.
    pub(super) fn received(worker: u64, number: u64) -> (usize, u64) {
        (span(worker) + RECEIVED + number as usize / 64 * 8, 1 << (number % 64))
    }
}

fn geometry() -> Geometry {
    Geometry::new(CAPACITY, SLOT as u64, 8).unwrap()
}

/// 16 to 64 bytes, each of which says which message it belongs to.
fn message(producer: u64, number: u64) -> Vec<u8> {
    let mut bytes = [producer.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.resize(16 + (number % 49) as usize, (producer * 31 + number) as u8);
    bytes
}

/// Which message `bytes` begin with; whether they are that message is for the caller to check.
fn name(bytes: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    (word(0), word(8))
}

struct Worker {
    id: u64,
    queue: Participant<Arc<Mapping>>,
    log: Arc<Mapping>,
    born: Instant,
}

impl Worker {
    fn start(id: u64) -> Self {
        let path = env::var_os(FILE).unwrap();
        let (queue, log) = common::map(&file(path.as_ref()), geometry().total_bytes() as usize);
        let queue = SharedQueue::open(queue).unwrap().attach(Identity::current()).unwrap();
        Self { id, queue, log, born: Instant::now() }
    }

    fn stopped(&self) -> bool {
        // A worker whose parent is gone ends, too.
        self.log.load(log::STOP) != 0 || self.born.elapsed() > Duration::from_secs(120)
    }

    fn set(&self, offset: usize, value: u64) {
        // ORDERING: Release: a log for the parent, who reads it after this process has ended.
        self.log.store(log::span(self.id) + offset, value, Ordering::Release);
    }

    fn violation(&self, what: &str) {
        eprintln!("worker {}: {what}", self.id);
        // ORDERING: Relaxed: read after this process has ended.
        self.log.store(log::VIOLATIONS, 1, Ordering::Relaxed);
    }

    /// A call must end by its deadline and a little more, whoever was killed meanwhile.
    fn within_deadline<R>(&mut self, call: impl FnOnce(&mut Participant<Arc<Mapping>>, Option<Instant>) -> R) -> R {
        let start = Instant::now();
        let result = call(&mut self.queue, Some(start + DEADLINE));
        if start.elapsed() > DEADLINE + GRACE {
            self.violation("a call did not end by its deadline");
        }
        result
    }

    fn produce(mut self) {
        let mut next = 0;
        while !self.stopped() {
            if next + BATCH as u64 > log::EACH {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let count = if next % 4 == 0 { BATCH } else { 1 };
            let messages: Vec<_> = (next..next + count as u64).map(|number| message(self.id, number)).collect();
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            self.set(log::BEGUN, next + count as u64);
            let pushed = self.within_deadline(|queue, deadline| match count {
                1 => queue.push(messages[0], deadline).map(|()| 1),
                _ => queue.push_batch(&messages),
            });
            match pushed {
                Ok(count) => next += count as u64,
                Err(PushError::Full) => thread::yield_now(),
                Err(error) => return self.violation(&error.to_string()),
            }
            self.set(log::DONE, next);
        }
    }

    fn consume(mut self) {
        let (log, mut last, mut lens) = (self.log.clone(), HashMap::new(), [0; BATCH]);
        // SAFETY: this consumer's own span; the parent reads it once this process is dead.
        let buffer = unsafe { log.bytes_mut(log::span(self.id) + log::BUFFER, log::BUFFER_BYTES) };
        let (mut pops, mut stopped) = (0u64, None);
        loop {
            if self.stopped() && stopped.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(15) {
                return self.violation("the queue is stuck");
            }
            pops += 1;
            self.set(log::BEGUN, pops);
            let max = if pops.is_multiple_of(3) { BATCH } else { 1 };
            match self.within_deadline(|queue, deadline| queue.pop_batch_until(buffer, &mut lens[..max], deadline)) {
                Ok(count) => {
                    for index in 0..count {
                        self.receive(&buffer[index * SLOT..][..lens[index]], &mut last);
                    }
                }
                Err(PopError::Empty) => {}
                Err(PopError::Closed) => return,
                Err(error) => return self.violation(&error.to_string()),
            }
            // Several may look for the dead at a time.
            if pops.is_multiple_of(64)
                && let Err(corrupt) = self.queue.queue().recover(process::liveness)
            {
                return self.violation(&corrupt.to_string());
            }
        }
    }

    fn receive(&self, bytes: &[u8], last: &mut HashMap<u64, u64>) {
        let (producer, number) = name(bytes);
        if bytes != message(producer, number) {
            return self.violation("a message is torn");
        }
        if last.insert(producer, number).is_some_and(|last| last >= number) {
            return self.violation("a producer's messages are out of order");
        }
        let (offset, bit) = log::received(producer, number);
        let mut word = self.log.load(offset);
        while word & bit == 0 {
            match self.log.compare_exchange(offset, word, word | bit) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.violation("a message came twice");
    }
}

/// Workers that are replaced as they are killed. The even ones produce. What is left is killed with it.
struct Workers<'a> {
    path: &'a Path,
    log: Arc<Mapping>,
    living: Vec<(u64, Child)>,
    /// Who consumed and was killed.
    dead_consumers: Vec<u64>,
    /// Who has produced.
    producers: Vec<u64>,
    born: u64,
}

impl Workers<'_> {
    fn start(&mut self, place: usize) -> (u64, Child) {
        let (id, produces) = (self.born, place.is_multiple_of(2));
        self.born += 1;
        if produces {
            self.producers.push(id);
        }
        (id, spawn(TEST, &format!("{} {id}", if produces { "producer" } else { "consumer" }), self.path))
    }

    fn has_begun(&self, id: u64) -> bool {
        self.log.load(log::span(id) + log::BEGUN) != 0
    }

    /// Kills one and starts another in its place.
    fn kill(&mut self, place: usize) {
        let (id, child) = &mut self.living[place];
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(status.code().is_none(), "worker {id} ended by itself: {status}");
        if place % 2 == 1 {
            self.dead_consumers.push(*id);
        }
        self.living[place] = self.start(place);
    }

    /// How many messages that nobody has logged are whole in the hands of dead consumers, by message.
    fn in_dead_hands(&self) -> HashMap<(u64, u64), u64> {
        let mut held = HashMap::new();
        for id in &self.dead_consumers {
            // SAFETY: its one user is dead.
            let buffer = unsafe { self.log.bytes_mut(log::span(*id) + log::BUFFER, log::BUFFER_BYTES) };
            for slot in buffer.chunks_exact(SLOT) {
                let (producer, number) = name(slot);
                let whole = self.producers.contains(&producer) && number < log::EACH && {
                    let message = message(producer, number);
                    slot[..message.len()] == message
                };
                if whole && !self.is_received(producer, number) {
                    *held.entry((producer, number)).or_default() += 1;
                }
            }
        }
        held
    }

    fn is_received(&self, producer: u64, number: u64) -> bool {
        let (offset, bit) = log::received(producer, number);
        self.log.load(offset) & bit != 0
    }
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        for (_, child) in &mut self.living {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn killed_producers_and_consumers_lose_nothing_that_is_not_counted() {
    if let Ok(role) = env::var(ROLE) {
        let (role, id) = role.split_once(' ').unwrap();
        let worker = Worker::start(id.parse().unwrap());
        return if role == "producer" { worker.produce() } else { worker.consume() };
    }
    let kills = env::var("STRAIT_STORM_ROUNDS").map_or(1000, |kills| kills.parse().expect("a number"));
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue");
    let queue_bytes = geometry().total_bytes() as usize;
    let shared = file(&path);
    shared.set_len((queue_bytes + log::span(kills + 4)) as u64).unwrap();
    let (memory, log) = common::map(&shared, queue_bytes);
    let queue = SharedQueue::create_at(memory, geometry(), u64::MAX - 10_000).unwrap();

    let mut workers = Workers {
        path: &path,
        log: log.clone(),
        living: Vec::new(),
        dead_consumers: Vec::new(),
        producers: Vec::new(),
        born: 0,
    };
    for place in 0..4 {
        let worker = workers.start(place);
        workers.living.push(worker);
    }
    let (mut recovered, mut killed_at_work) = (Recovered::default(), 0);
    for round in 0..kills {
        let victim = random.below(4) as usize;
        // Most are at work when they are killed, some about to attach.
        if random.below(8) != 0 {
            let (id, start) = (workers.living[victim].0, Instant::now());
            while !workers.has_begun(id) {
                assert!(start.elapsed() < Duration::from_secs(20), "round {round}: worker {id} does nothing");
                thread::sleep(Duration::from_micros(100));
            }
            killed_at_work += 1;
        }
        thread::sleep(Duration::from_micros(random.below(4000)));
        workers.kill(victim);
        let now = queue.recover(process::liveness).unwrap();
        recovered.skipped += now.skipped;
        recovered.lost += now.lost;
    }

    // ORDERING: Release: pairs with nothing; the workers see it when they look.
    log.store(log::STOP, 1, Ordering::Release);
    for place in [0, 2, 1, 3] {
        if place == 1 {
            queue.close(); // the producers are done
        }
        let (id, child) = &mut workers.living[place];
        let status = child.wait().unwrap();
        assert!(status.success(), "worker {id}: {status}");
    }
    queue.recover(process::liveness).unwrap();
    let stats = queue.stats();
    assert_eq!(log.load(log::VIOLATIONS), 0, "a worker saw a violation");
    assert_eq!((stats.len(), queue.participants().count()), (0, 0), "nothing is stuck and nobody is left");
    assert!(stats.skipped >= recovered.skipped && stats.lost >= recovered.lost, "all that was recovered is counted");
    let delivered = account(&workers, &stats);
    println!("{kills} killed, {killed_at_work} of them at work; {delivered} delivered, {stats:?}");
    assert!(delivered > kills && killed_at_work > kills / 2, "this was no storm");
}

/// Where every message is that was ever begun; returns how many were received.
fn account(workers: &Workers<'_>, stats: &SharedStats) -> u64 {
    let held = workers.in_dead_hands();
    let (mut delivered, mut missing, mut may_be_done) = (0, 0, 0);
    for &id in &workers.producers {
        let word = |offset| workers.log.load(log::span(id) + offset);
        let (done, begun) = (word(log::DONE), word(log::BEGUN));
        may_be_done += begun;
        for number in 0..log::EACH {
            let received = workers.is_received(id, number);
            assert!(!received || number < begun, "a message came that nobody sent");
            delivered += u64::from(received);
            missing += u64::from(!received && number < done && !held.contains_key(&(id, number)));
        }
    }
    // What a consumer has popped and not written down before it died, it has in its buffer.
    let in_hand = held.len() as u64;
    println!("{in_hand} in the hands of dead consumers, {missing} nowhere");
    assert!(held.values().all(|holders| *holders == 1), "two consumers had the same message");
    assert!(missing <= stats.lost, "{missing} messages that were pushed are lost, and {} counted", stats.lost);
    let filled = stats.pushes - stats.skipped;
    assert!(filled <= may_be_done, "{filled} messages of {may_be_done}");
    assert!(filled <= delivered + stats.lost + in_hand, "{filled} messages, of which {delivered} came: {stats:?}");
    delivered
}
