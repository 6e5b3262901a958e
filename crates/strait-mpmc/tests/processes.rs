//! Real processes, killed wherever they happen to be.
//!
//! `STRAIT_MPMC_KILLS` is how many are killed (default 1000), within `STRAIT_MPMC_SECONDS` (default 12).
#![cfg(all(target_os = "linux", not(strait_loom)))]

mod common;

use std::{
    collections::HashMap,
    env,
    fs::{File, OpenOptions},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{Mapping, Random};
use strait_mpmc::shared::{
    AttachError, Geometry, Identity, Participant, PopError, PushError, Recovered, SharedQueue, process,
};
use strait_sync::{Words, WordsMut, primitive::Ordering};

const ROLE: &str = "STRAIT_MPMC_ROLE";
const FILE: &str = "STRAIT_MPMC_FILE";

const CAPACITY: u64 = 16;
const SLOT: usize = 64;
const BATCH: usize = 3;
const DEADLINE: Duration = Duration::from_millis(30);

/// What the processes write down for the parent, one span per producer that ever lived.
mod log {
    pub(super) const STOP: usize = 0;
    pub(super) const VIOLATIONS: usize = 8;
    pub(super) const PRODUCERS: usize = 128;
    /// Messages per producer, each with a bit for "received".
    pub(super) const EACH: u64 = 16 * 1024;
    pub(super) const BEGUN: usize = 0;
    pub(super) const DONE: usize = 8;
    pub(super) const RECEIVED: usize = 16;
    pub(super) const PRODUCER_BYTES: usize = RECEIVED + EACH as usize / 8;
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn geometry() -> Geometry {
    Geometry::new(CAPACITY, SLOT as u64, 8).unwrap()
}

fn file(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

/// Runs this test again, in a process that takes `role`.
fn spawn(test: &str, role: &str, path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FILE, path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

struct Worker {
    queue: Participant<Arc<Mapping>>,
    log: Arc<Mapping>,
    born: Instant,
}

impl Worker {
    fn start() -> Self {
        let path = env::var_os(FILE).unwrap();
        let (queue, log) = common::map(&file(path.as_ref()), geometry().total_bytes() as usize);
        let queue = SharedQueue::open(queue).unwrap().attach(Identity::current()).unwrap();
        Self { queue, log, born: Instant::now() }
    }

    fn stopped(&self) -> bool {
        // A worker whose parent is gone ends, too.
        self.log.load(log::STOP) != 0 || self.born.elapsed() > Duration::from_secs(120)
    }

    fn set(&self, offset: usize, value: u64) {
        // ORDERING: Release: a log for the parent, who reads it after this process has ended.
        self.log.store(offset, value, Ordering::Release);
    }

    fn violation(&self, what: &str) {
        eprintln!("violation: {what}");
        self.set(log::VIOLATIONS, 1);
    }

    /// A call must end by its deadline and a little more, whoever was killed meanwhile.
    fn within_deadline<R>(&mut self, call: impl FnOnce(&mut Participant<Arc<Mapping>>, Option<Instant>) -> R) -> R {
        let start = Instant::now();
        let result = call(&mut self.queue, Some(start + DEADLINE));
        if start.elapsed() > DEADLINE + Duration::from_secs(2) {
            self.violation("a call did not end by its deadline");
        }
        result
    }

    fn produce(mut self, incarnation: u64) {
        let span = log::PRODUCERS + incarnation as usize * log::PRODUCER_BYTES;
        let mut next = 0;
        while !self.stopped() {
            if next + BATCH as u64 > log::EACH {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let count = if next % 4 == 0 { BATCH } else { 1 };
            let messages: Vec<_> = (next..next + count as u64).map(|number| message(incarnation, number)).collect();
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            self.set(span + log::BEGUN, next + count as u64);
            let pushed = if count == 1 {
                self.within_deadline(|queue, deadline| queue.push(messages[0], deadline)).map(|()| 1)
            } else {
                self.queue.push_batch(&messages)
            };
            match pushed {
                Ok(count) => next += count as u64,
                Err(PushError::Full) => thread::yield_now(),
                Err(error) => return self.violation(&error.to_string()),
            }
            self.set(span + log::DONE, next);
        }
    }

    fn consume(mut self) {
        let mut last = HashMap::new();
        let (mut buffer, mut lens) = ([0; BATCH * SLOT], [0; BATCH]);
        let (mut pops, mut stopped) = (0u64, None);
        loop {
            if self.stopped() && stopped.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(15) {
                return self.violation("the queue is stuck");
            }
            pops += 1;
            let max = if pops.is_multiple_of(3) { BATCH } else { 1 };
            let popped =
                self.within_deadline(|queue, deadline| queue.pop_batch_until(&mut buffer, &mut lens[..max], deadline));
            match popped {
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
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let (incarnation, number) = (word(0), word(8));
        if bytes != message(incarnation, number) {
            return self.violation("a message is torn");
        }
        if last.insert(incarnation, number).is_some_and(|last| last >= number) {
            return self.violation("a producer's messages are out of order");
        }
        let span = log::PRODUCERS + incarnation as usize * log::PRODUCER_BYTES;
        let (offset, bit) = (span + log::RECEIVED + number as usize / 64 * 8, 1 << (number % 64));
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

/// 16 to 64 bytes, each of which says which message it belongs to.
fn message(incarnation: u64, number: u64) -> Vec<u8> {
    let mut bytes = [incarnation.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.resize(16 + (number % 49) as usize, (incarnation * 31 + number) as u8);
    bytes
}

#[test]
fn killed_producers_and_consumers_lose_nothing_that_is_not_counted() {
    const TEST: &str = "killed_producers_and_consumers_lose_nothing_that_is_not_counted";
    if let Ok(role) = env::var(ROLE) {
        let worker = Worker::start();
        match role.strip_prefix("producer ") {
            Some(incarnation) => worker.produce(incarnation.parse().unwrap()),
            None => worker.consume(),
        }
        return;
    }
    let kills = setting("STRAIT_MPMC_KILLS", 1000);
    let end = Instant::now() + Duration::from_secs(setting("STRAIT_MPMC_SECONDS", 12));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue");
    let queue_bytes = geometry().total_bytes() as usize;
    let shared = file(&path);
    shared.set_len((queue_bytes + log::PRODUCERS + (kills as usize + 2) * log::PRODUCER_BYTES) as u64).unwrap();
    let (memory, log) = common::map(&shared, queue_bytes);
    let queue = SharedQueue::create_at(memory, geometry(), u64::MAX - 10_000).unwrap();

    let mut producers = 0;
    let mut worker = |produces: bool| {
        if produces {
            producers += 1;
            spawn(TEST, &format!("producer {}", producers - 1), &path)
        } else {
            spawn(TEST, "consumer", &path)
        }
    };
    // The even ones produce.
    let mut workers: Vec<Child> = (0..4).map(|index| worker(index % 2 == 0)).collect();
    let (mut random, mut recovered) = (Random(7), Recovered::default());
    let (mut killed, mut killed_consumers) = (0, 0);
    while killed < kills && Instant::now() < end {
        thread::sleep(Duration::from_micros(random.below(6000)));
        let victim = random.below(4) as usize;
        workers[victim].kill().unwrap();
        let status = workers[victim].wait().unwrap();
        assert!(status.code().is_none(), "a worker ended by itself: {status}");
        killed += 1;
        killed_consumers += (victim % 2) as u64;
        let now = queue.recover(process::liveness).unwrap();
        recovered.skipped += now.skipped;
        recovered.lost += now.lost;
        workers[victim] = worker(victim.is_multiple_of(2));
    }

    // ORDERING: Release: pairs with nothing; the workers see it when they look.
    log.store(log::STOP, 1, Ordering::Release);
    for index in [0, 2, 1, 3] {
        if index == 1 {
            queue.close(); // the producers are done
        }
        let status = workers[index].wait().unwrap();
        assert!(status.success(), "worker {index}: {status}");
    }
    queue.recover(process::liveness).unwrap();

    let (mut delivered, mut missing, mut begun) = (0, 0, 0);
    for incarnation in 0..producers {
        let span = log::PRODUCERS + incarnation * log::PRODUCER_BYTES;
        let (done, may_be_done) = (log.load(span + log::DONE), log.load(span + log::BEGUN));
        begun += u64::from(done > 0);
        for number in 0..log::EACH {
            let word = log.load(span + log::RECEIVED + number as usize / 64 * 8);
            let received = word >> (number % 64) & 1 == 1;
            assert!(!received || number < may_be_done, "a message came that nobody sent");
            delivered += u64::from(received);
            missing += u64::from(!received && number < done);
        }
    }
    let stats = queue.stats();
    println!(
        "{killed} killed, {begun} of {producers} producers got to push, {delivered} delivered, {missing} missing, {stats:?}"
    );
    assert_eq!(log.load(log::VIOLATIONS), 0, "a worker saw a violation");
    assert_eq!((stats.len(), queue.participants().count()), (0, 0), "nothing is stuck and nobody is left");
    assert!(stats.skipped >= recovered.skipped && stats.lost >= recovered.lost, "all that was recovered is counted");
    // A consumer that is killed with messages in its hands takes them with it: at most one claim.
    let in_hand = stats.pushes - stats.skipped - stats.lost - delivered;
    assert!(in_hand <= killed_consumers * BATCH as u64, "{in_hand} messages are lost and not counted");
    assert!(missing <= stats.lost + in_hand, "{missing} messages that were pushed did not come");
    assert!(killed >= kills.min(50) && delivered > killed, "this was no storm: {killed} killed, {delivered} delivered");
}

#[test]
fn a_stopped_process_is_not_dead_and_a_killed_one_is() {
    const TEST: &str = "a_stopped_process_is_not_dead_and_a_killed_one_is";
    if env::var_os(ROLE).is_some() {
        let worker = Worker::start();
        while !worker.stopped() {
            thread::sleep(Duration::from_millis(5));
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue");
    let queue_bytes = geometry().total_bytes() as usize;
    let shared = file(&path);
    shared.set_len(queue_bytes as u64 + 128).unwrap();
    let (memory, _log) = common::map(&shared, queue_bytes);
    let queue = SharedQueue::create(memory, geometry()).unwrap();
    let mut child = spawn(TEST, "idle", &path);
    let start = Instant::now();
    while queue.participants().count() == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the child never attached");
        thread::sleep(Duration::from_millis(1));
    }
    let (info, _) = queue.participants().next().unwrap();
    assert_eq!(info.pid, child.id());
    assert_ne!(info.start_time, 0);
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    assert!(!process::is_dead(info.pid, info.start_time));
    assert_eq!(queue.recover(process::liveness), Ok(Recovered::default()));
    assert!(process::is_dead(info.pid, info.start_time - 1), "this pid was another process's");
    child.kill().unwrap();
    let start = Instant::now();
    // A zombie, once the kernel is done with it, is dead before anyone waits for it.
    while !process::is_dead(info.pid, info.start_time) {
        assert!(start.elapsed() < Duration::from_secs(20), "a killed process never counts as dead");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(queue.recover(process::liveness).unwrap().freed_participants, 1);
    child.wait().unwrap();
    assert!(process::is_dead(info.pid, info.start_time), "nobody has this pid now");
    assert_eq!(queue.stats().freed_participants, 1);
}

/// A process in a pid namespace of its own, where the pids of others mean nothing.
#[test]
fn a_process_of_another_pid_namespace_is_refused_and_buries_nobody() {
    const TEST: &str = "a_process_of_another_pid_namespace_is_refused_and_buries_nobody";
    let queue_bytes = geometry().total_bytes() as usize;
    if env::var_os(ROLE).is_some() {
        let (memory, _log) = common::map(&file(env::var_os(FILE).unwrap().as_ref()), queue_bytes);
        let queue = SharedQueue::open(memory).unwrap();
        let (other, _) = queue.participants().next().unwrap();
        assert!(process::is_dead(other.pid, other.start_time), "what it would be without the check");
        assert_eq!(queue.recover(process::liveness), Ok(Recovered::default()));
        assert!(matches!(queue.attach(Identity::current()), Err(AttachError::OtherNamespaces)));
        return;
    }
    if !Command::new("unshare").args(["--pid", "--fork", "true"]).status().is_ok_and(|status| status.success()) {
        println!("skipped: this user cannot make a pid namespace");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue");
    let shared = file(&path);
    shared.set_len(queue_bytes as u64 + 128).unwrap();
    let (memory, _log) = common::map(&shared, queue_bytes);
    let queue = SharedQueue::create(memory, geometry()).unwrap();
    let participant = queue.attach(Identity::current()).unwrap();
    let other = Command::new("unshare")
        .args(["--pid", "--fork"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(ROLE, "other")
        .env(FILE, &path)
        .output()
        .unwrap();
    assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
    assert_eq!(queue.participants().count(), 1);
    assert_eq!(participant.info().namespaces, process::namespaces());
}
