//! Producers, workers and owners that are killed and stopped.

use std::{
    collections::HashMap,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use strait_channel::{
    Options,
    queue::{Error, Settings, Stats, Unacknowledged},
};
use strait_transport::Error as TransportError;

use super::support::{
    LATE, NAME, OWNERS, Owner, PATIENCE, Producer, Running, Scratch, Worker,
    process::{Process, alone, say, until_told},
    spawn, until,
};

/// By how much a call may miss its deadline while processes are killed.
const LATE_IN_STORM: Duration = Duration::from_secs(2);

/// What a child does.
pub(crate) fn play(role: &str, dir: &Path, options: &Options) {
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["produce", first, count] => produce(options, first.parse().unwrap(), count.parse().unwrap()),
        ["work", name, pause_us] => work(options, &dir.join(name), pause_us.parse().unwrap()),
        ["own", "acknowledged"] => own(options, Settings { acknowledged: true, ..Settings::default() }),
        ["own"] => own(options, Settings::default()),
        _ => panic!("no role {role}"),
    }
}

/// Pushes numbers from `first` on, and ends when all are done with.
fn produce(options: &Options, first: u64, count: u64) {
    let mut producer = Producer::connect_with(NAME, options).unwrap();
    for number in first..first + count {
        producer.push(&number.to_le_bytes(), 3 * PATIENCE).unwrap();
        if number == first + count / 4 {
            say("producing");
        }
    }
    producer.drain(3 * PATIENCE).unwrap();
}

/// Writes the number of each item to a file, which is there after a kill too, and then acknowledges it.
fn work(options: &Options, path: &Path, pause_us: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    let mut worker = Worker::connect_with(NAME, 8, options).unwrap();
    say("working");
    loop {
        match worker.pop(PATIENCE) {
            Ok(Some(item)) => {
                file.write_all(&item).unwrap();
                std::thread::sleep(Duration::from_micros(pause_us));
                worker.ack(item).unwrap();
            }
            Ok(None) => {}
            Err(Error::OwnerGone { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn own(options: &Options, settings: Settings) {
    let owner = Owner::bind_with(NAME, settings, options).unwrap();
    let handle = owner.handle();
    say("ready");
    std::thread::spawn(move || {
        until_told();
        handle.shutdown();
    });
    owner.serve().unwrap();
}

/// A small generator, so that a run can be told from its seed.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = now.as_nanos() as u64 | 1;
        eprintln!("seed {seed}");
        Self(seed)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// Items per producer of a storm, and their producers.
const COUNT: u64 = 3_000;
const PRODUCERS: u64 = 3;

/// Producers and workers of which some are killed and some stopped; how often each number was seen, and what was counted.
fn storm(owner: Running, scratch: &Scratch, kill_a_producer: bool) -> (HashMap<u64, u32>, Stats) {
    let mut dice = Dice::new();
    let mut names = (0..).map(|number| format!("worker-{number}"));
    let mut started = Vec::new();
    let mut start = || {
        let name = names.next().unwrap();
        let mut worker = spawn(&format!("work {name} 100"), scratch);
        worker.hears("working");
        started.push(scratch.path().join(name));
        worker
    };
    let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
    let mut producers: Vec<_> =
        (0..PRODUCERS).map(|index| spawn(&format!("produce {} {COUNT}", index * 1_000_000), scratch)).collect();
    let mut victim = kill_a_producer.then(|| producers.remove(0));
    let total = if kill_a_producer { (PRODUCERS - 1) * COUNT } else { PRODUCERS * COUNT };
    for _ in 0..6 {
        let before = owner.stats().acked;
        until("work goes on", || owner.stats().acked >= (before + total / 20).min(total));
        let index = dice.roll(workers.len());
        if dice.roll(3) == 0 {
            // It stops in the middle of something, holds what it has, and goes on.
            workers[index].signal(Signal::STOP);
            let before = owner.stats().acked;
            until("the others go on", || owner.stats().acked > before || owner.stats().depth == 0);
            workers[index].signal(Signal::CONT);
        } else {
            std::mem::replace(&mut workers[index], start()).kill();
        }
        if let Some(mut victim) = victim.take() {
            victim.hears("producing");
            victim.kill();
        }
    }
    producers.into_iter().for_each(Process::ends_well);
    until("nothing is left", || owner.stats().depth + owner.stats().in_flight == 0);
    let stats = owner.end();
    // Their owner is gone: they end by themselves.
    workers.into_iter().for_each(Process::ends_well);
    let mut seen = HashMap::new();
    for path in started {
        for number in std::fs::read(path).unwrap().chunks_exact(8) {
            *seen.entry(u64::from_le_bytes(number.try_into().unwrap())).or_default() += 1;
        }
    }
    assert_eq!(stats.pushed, stats.acked + stats.lost);
    assert!(stats.high_water <= 1024, "{stats:?}");
    assert_eq!((stats.producers, stats.workers), (0, 3));
    assert!(scratch.left_behind().is_empty());
    (seen, stats)
}

#[test]
fn acknowledged_items_survive_their_workers_and_come_twice_only_by_redelivery() {
    let _alone = alone();
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings { acknowledged: true, ..Settings::default() }, &scratch.options());
        let (seen, stats) = storm(owner, &scratch, false);
        assert_eq!(seen.len() as u64, PRODUCERS * COUNT, "{name}: nothing is lost");
        assert_eq!((stats.acked, stats.lost), (PRODUCERS * COUNT, 0));
        let again: u64 = seen.values().map(|times| u64::from(times - 1)).sum();
        assert!(again <= stats.redelivered, "{name}: {again} came again, {} were redelivered", stats.redelivered);
        eprintln!("{name}: {stats:?}, {again} seen again");
    }
}

#[test]
fn unacknowledged_items_come_at_most_once_and_losses_are_counted() {
    let _alone = alone();
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings::default(), &scratch.options());
        let (seen, stats) = storm(owner, &scratch, false);
        assert_eq!(stats.pushed, PRODUCERS * COUNT);
        assert!(seen.values().all(|times| *times == 1), "{name}: one came twice");
        let missing = PRODUCERS * COUNT - seen.len() as u64;
        assert!(missing <= stats.lost, "{name}: {missing} are missing, {} were counted as lost", stats.lost);
        assert_eq!(stats.redelivered, 0);
        eprintln!("{name}: {stats:?}, {missing} missing");
    }
}

#[test]
fn the_death_of_a_worker_is_noticed_while_the_owner_is_busy() {
    let _alone = alone();
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings { acknowledged: true, ..Settings::default() }, &scratch.options());
        let mut slow = spawn("work slow 10000000", &scratch);
        slow.hears("working");
        let (mut producer, mut worker) = (scratch.producer(), scratch.worker(64));
        let pushing = std::thread::spawn(move || while producer.push(b"12345678", PATIENCE).is_ok() {});
        let popping = std::thread::spawn(move || {
            while let Ok(Some(item)) = worker.pop(PATIENCE) {
                if worker.ack(item).is_err() {
                    break;
                }
            }
        });
        until("the slow one has its prefetch, and many others are done", || owner.stats().acked > 10_000);
        slow.kill();
        let killed = Instant::now();
        while owner.stats().redelivered < 8 {
            assert!(killed.elapsed() < LATE, "{name}: {:?}", owner.stats());
            std::thread::sleep(Duration::from_millis(1));
        }
        owner.end();
        pushing.join().unwrap();
        popping.join().unwrap();
    }
}

#[test]
fn what_a_killed_producer_had_pushed_is_kept_in_order_and_without_a_gap() {
    let _alone = alone();
    for (name, start) in OWNERS {
        let scratch = Scratch::new();
        let owner = start(Settings { acknowledged: true, ..Settings::default() }, &scratch.options());
        let (seen, stats) = storm(owner, &scratch, true);
        let of_victim = stats.pushed - (PRODUCERS - 1) * COUNT;
        assert!(of_victim > 0, "{name}");
        assert!((0..of_victim).all(|number| seen.contains_key(&number)), "{name}: a gap");
        assert_eq!(seen.len() as u64, stats.pushed);
    }
}

#[test]
fn a_killed_owner_ends_its_participants_with_what_it_had_not_acknowledged() {
    let _alone = alone();
    let scratch = Scratch::new();
    let mut owner = spawn("own acknowledged", &scratch);
    owner.hears("ready");
    let (mut producer, mut worker, mut idle) = (scratch.producer(), scratch.worker(4), scratch.worker(4));
    for number in 0..64u64 {
        producer.push(&number.to_le_bytes(), PATIENCE).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let items: Vec<_> = (0..3).map(|_| worker.pop(PATIENCE).unwrap().unwrap()).collect();
    while idle.pop(Duration::from_millis(20)).unwrap().is_some() {}
    let waiting = std::thread::spawn(move || (idle.pop(PATIENCE).map(drop), Instant::now()));
    std::thread::sleep(Duration::from_millis(50));
    owner.kill();
    let killed = Instant::now();
    let (outcome, ended) = waiting.join().unwrap();
    assert!(matches!(outcome, Err(Error::OwnerGone { source: TransportError::PeerGone, .. })), "{outcome:?}");
    assert!(ended.saturating_duration_since(killed) < LATE);
    let pushed = loop {
        match producer.push(b"into the void", Duration::from_millis(500)) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    match pushed {
        Error::OwnerGone { unacknowledged: Unacknowledged::Pushes { pushed, accepted, settled }, .. } => {
            assert!((64..=64 + 256).contains(&pushed), "{pushed}");
            assert_eq!((accepted, settled), (64, 0));
        }
        other => panic!("{other:?}"),
    }
    let popped = loop {
        match worker.pop(Duration::from_millis(500)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    match popped {
        Error::OwnerGone { unacknowledged: Unacknowledged::Items { not_acknowledged }, .. } => {
            assert!((3..=4).contains(&not_acknowledged), "{not_acknowledged}");
        }
        other => panic!("{other:?}"),
    }
    assert!(killed.elapsed() < LATE, "{:?}", killed.elapsed());
    drop(items);
    // The next owner takes the name over.
    drop(Running::start(Settings::default(), &scratch.options()));
    assert!(scratch.left_behind().is_empty());
}

#[test]
fn calls_end_by_their_deadlines_while_the_owner_is_stopped_and_go_on_afterwards() {
    let _alone = alone();
    let scratch = Scratch::new();
    let mut owner = spawn("own", &scratch);
    owner.hears("ready");
    let (mut producer, mut worker) = (scratch.producer(), scratch.worker(4));
    producer.push(b"first", PATIENCE).unwrap();
    assert!(worker.pop(PATIENCE).unwrap().is_some());
    producer.drain(Duration::from_millis(50)).unwrap_err();
    assert!(worker.try_pop().unwrap().is_none());
    producer.drain(PATIENCE).unwrap();
    owner.stop();
    let timeout = Duration::from_millis(200);
    let in_time = |begin: Instant| assert!(begin.elapsed() < timeout + LATE, "{:?}", begin.elapsed());
    let mut pushed = 0;
    loop {
        let begin = Instant::now();
        match producer.push(b"while it is stopped", timeout) {
            Ok(()) => pushed += 1,
            Err(Error::Full) => break in_time(begin),
            Err(error) => panic!("{error}"),
        }
        in_time(begin);
    }
    assert_eq!(pushed, 256, "its window");
    let begin = Instant::now();
    assert!(worker.pop(timeout).unwrap().is_none());
    in_time(begin);
    let begin = Instant::now();
    assert!(matches!(producer.flush(timeout), Err(Error::Transport(TransportError::TimedOut { .. }))));
    in_time(begin);
    owner.signal(Signal::CONT);
    for _ in 0..pushed {
        assert_eq!(*worker.pop(PATIENCE).unwrap().unwrap(), *b"while it is stopped");
    }
    owner.ends_well();
}

#[test]
fn stopped_and_killed_owners_end_every_call_by_its_deadline_in_a_storm() {
    let _alone = alone();
    let scratch = Scratch::new();
    let mut dice = Dice::new();
    for _ in 0..4 {
        let mut owner = spawn("own acknowledged", &scratch);
        owner.hears("ready");
        let timeout = Duration::from_millis(300);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut producer = scratch.producer();
                    loop {
                        let begin = Instant::now();
                        let pushed = producer.push(&[7; 100], timeout);
                        assert!(begin.elapsed() < timeout + LATE_IN_STORM);
                        match pushed {
                            Ok(()) | Err(Error::Full) => {}
                            Err(Error::OwnerGone {
                                unacknowledged: Unacknowledged::Pushes { pushed, accepted, settled },
                                ..
                            }) => {
                                assert!(settled <= accepted && accepted <= pushed && pushed - accepted <= 256);
                                break;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
                scope.spawn(|| {
                    let mut worker = scratch.worker(8);
                    loop {
                        let begin = Instant::now();
                        let popped = worker.pop(timeout);
                        assert!(begin.elapsed() < timeout + LATE_IN_STORM);
                        match popped.and_then(|item| item.map_or(Ok(()), |item| worker.ack(item))) {
                            Ok(()) => {}
                            Err(Error::OwnerGone { .. }) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            // They join within the handshake's time.
            std::thread::sleep(Duration::from_millis(300 + dice.roll(100) as u64));
            owner.signal(Signal::STOP);
            std::thread::sleep(Duration::from_millis(dice.roll(500) as u64));
            if dice.roll(2) == 0 {
                owner.signal(Signal::CONT);
                std::thread::sleep(Duration::from_millis(dice.roll(100) as u64));
            }
            owner.kill();
        });
    }
}

/// Processor time that a process has used so far.
fn cpu(pid: u32) -> Duration {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let schedstat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
        nanos += schedstat.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanos)
}

#[test]
fn idle_workers_and_their_owner_cost_nothing_even_while_a_dead_producer_waits_at_a_full_queue() {
    let _alone = alone();
    let scratch = Scratch::new();
    let mut owner = spawn("own acknowledged", &scratch);
    owner.hears("ready");
    let mut worker = spawn("work idle 0", &scratch);
    worker.hears("working");
    let used = |pids: &[u32]| pids.iter().map(|pid| cpu(*pid)).sum::<Duration>();
    let idle = [owner.pid(), worker.pid()];
    std::thread::sleep(Duration::from_millis(100));
    let before = used(&idle);
    std::thread::sleep(Duration::from_millis(500));
    let spent = used(&idle) - before;
    assert!(spent < Duration::from_millis(5), "{spent:?} of processor time in 500 ms");
    // Nobody works now, and the queue fills up.
    worker.kill();
    let producer = spawn("produce 0 100000", &scratch);
    let mut probe = scratch.producer();
    until("the queue is full", || probe.push(b"x", Duration::from_millis(20)).is_err());
    producer.kill();
    std::thread::sleep(Duration::from_millis(100));
    let before = cpu(owner.pid());
    std::thread::sleep(Duration::from_millis(500));
    let spent = cpu(owner.pid()) - before;
    assert!(spent < Duration::from_millis(5), "{spent:?} of the owner's time in 500 ms");
}
