//! Work queues: an owner that dies or stops under its producers and workers, and each of those under the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use strait::{
    Options,
    frame::Raw,
    queue::{
        self, Error, Settings, Stats, Unacknowledged,
        blocking::{OwnerHandle, Producer, Worker},
    },
    transport::{Blame, Error as TransportError},
};

use super::{Role, until_told};
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    journal::Journal,
    pattern::{number, pattern},
    place::{NAME, Place},
};

pub(super) const ROLES: &[Role] = &[
    Role { name: "owner", play: own, survive: outlive_an_owner },
    Role { name: "producer", play: produce, survive: outlive_a_producer },
    Role { name: "worker", play: work, survive: outlive_a_worker },
    Role { name: "taker", play: take, survive: outlive_a_taker },
];

type Owner = queue::blocking::Owner<[u8], Raw>;
type Produces = Producer<[u8], Raw>;
type Works = Worker<[u8], Raw>;

const ITEMS: u64 = 120;
const PREFETCH: u32 = 4;
const PUSHED: &str = "pushed";
const DONE: &str = "done";

fn options(place: &Place) -> Options {
    place.options(8192)
}

fn item(number: u64) -> Vec<u8> {
    pattern(number, 16 + (number as usize * 89) % 900)
}

fn settings(acknowledged: bool) -> Settings {
    Settings { acknowledged, capacity: 64, window: 16, ..Settings::default() }
}

// ---- what the victims do ----

fn own(place: &Place) -> Outcome {
    let owner = Owner::bind_with(NAME, settings(true), &options(place)).told("binding")?;
    let handle = owner.handle();
    std::thread::spawn(move || {
        until_told();
        handle.shutdown();
    });
    owner.serve().told("serving").map(drop)
}

/// Pushes items that no producer before it has pushed, and waits until all are done with.
fn produce(place: &Place) -> Outcome {
    let journal = Journal::open(&place.data(), PUSHED)?;
    let first = Journal::read(&place.data(), PUSHED, "begun").len() as u64 * 1_000_000;
    journal.note("begun", first)?;
    let mut producer = Produces::connect_with(NAME, &options(place)).told("connect")?;
    let mut next = first;
    while next < first + ITEMS {
        let count = if next.is_multiple_of(5) { 3 } else { 1 };
        let batch: Vec<Vec<u8>> = (next..next + count).map(item).collect();
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let pushed = producer.push_batch(rest.iter().map(|bytes| &bytes[..]), PATIENCE).told("push")?;
            rest = &rest[pushed..];
        }
        next += count;
        if next.is_multiple_of(16) {
            producer.flush(PATIENCE).told("flush")?;
            journal.note(PUSHED, next)?;
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    producer.drain(PATIENCE).told("drain")
}

/// Notes each item, and then acknowledges it.
fn work(place: &Place) -> Outcome {
    work_until_told(place, true)
}

/// Notes each item that it popped.
fn take(place: &Place) -> Outcome {
    work_until_told(place, false)
}

fn work_until_told(place: &Place, acknowledged: bool) -> Outcome {
    let journal = Journal::open(&place.data(), DONE)?;
    let mut worker = Works::connect_with(NAME, PREFETCH, &options(place)).told("connect")?;
    let told = std::thread::spawn(until_told);
    while !told.is_finished() {
        if let Some(item) = worker.pop(Duration::from_millis(5)).told("pop")? {
            let done = number(&item)?;
            journal.note(DONE, done)?;
            match done % 11 {
                0 if acknowledged && item.deliveries() == 1 => worker.give_back(item).told("give_back")?,
                _ if acknowledged => worker.ack(item).told("ack")?,
                _ => {}
            }
        }
    }
    Ok(())
}

// ---- what the survivors do ----

/// An owner in this process.
struct Serving {
    handle: OwnerHandle,
    thread: JoinHandle<Result<Stats, Error>>,
}

impl Serving {
    fn start(place: &Place, acknowledged: bool) -> Outcome<Self> {
        let owner = Owner::bind_with(NAME, settings(acknowledged), &options(place)).told("binding")?;
        let handle = owner.handle();
        Ok(Self { handle, thread: std::thread::spawn(move || owner.serve()) })
    }

    /// Ends it, and balances its books.
    fn end(self, case: &Case) -> Outcome<Stats> {
        self.handle.shutdown();
        let stats = case
            .within("the owner's end", Duration::from_secs(1), || self.thread.join())?
            .map_err(|_| "the owner panicked".to_owned())?
            .told("serving")?;
        let balance = stats.acked + stats.lost + stats.depth + stats.in_flight;
        if stats.pushed != balance {
            return Err(format!("{} were pushed, {balance} are accounted for: {stats:?}", stats.pushed));
        }
        Ok(stats)
    }
}

/// How often each item was seen by this process.
#[derive(Default)]
struct Seen(BTreeMap<u64, u64>);

impl Seen {
    fn pop(&mut self, case: &Case, worker: &mut Works, acknowledged: bool) -> Outcome<bool> {
        let Some(item) = case.within("pop", CALL, || worker.pop(CALL))?.told("pop")? else { return Ok(false) };
        *self.0.entry(number(&item)?).or_default() += 1;
        if acknowledged {
            case.within("ack", Duration::ZERO, || worker.ack(item))?.told("ack")?;
        }
        Ok(true)
    }
}

/// Whether the owner is gone, where that is what it says; what it says of what was pushed must add up.
fn owner_gone(error: &Error) -> Outcome<bool> {
    match error {
        Error::OwnerGone { unacknowledged: Unacknowledged::Pushes { pushed, accepted, settled }, .. }
            if settled > accepted || accepted > pushed =>
        {
            Err(format!("the books of a lost owner do not add up: {error}"))
        }
        Error::OwnerGone { .. } => Ok(true),
        Error::Transport(TransportError::TimedOut { .. }) => Ok(false),
        Error::Transport(error) => Ok(error.blame() == Blame::Peer),
        _ => Ok(false),
    }
}

fn outlive_an_owner(case: &mut Case) -> Outcome {
    let (mut next, mut seen) = (0, BTreeSet::new());
    case.each(|case| {
        let options = options(&case.place);
        let (mut ends, first) = (None, next);
        while !case.is_over() {
            case.patience("pushing and popping")?;
            let Some((producer, worker)) = &mut ends else {
                let connected = case.within("connect", 2 * Place::HANDSHAKE, || {
                    Ok((Produces::connect_with(NAME, &options)?, Works::connect_with(NAME, PREFETCH, &options)?))
                })?;
                match connected {
                    Ok(connected) => ends = Some(connected),
                    Err(Error::Transport(TransportError::NoServer { .. } | TransportError::TimedOut { .. })) => {}
                    Err(error) if owner_gone(&error)? => case.gone("who connects", &error)?,
                    Err(error) => return Err(format!("connect: {error}")),
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            if next - first == ITEMS {
                case.tell();
            }
            let pushed = case.within("push", CALL, || producer.push(&item(next), CALL))?;
            let popped = match pushed {
                Ok(()) => {
                    next += 1;
                    case.within("pop", CALL, || worker.pop(CALL))?
                }
                Err(Error::Full) => case.within("pop", CALL, || worker.pop(CALL))?,
                Err(error) => Err(error),
            };
            let acknowledged = popped.and_then(|popped| match popped {
                None => Ok(()),
                Some(item) => {
                    // One owner gives no item twice to a worker that acknowledges; the next owner has none of the last one's.
                    let found = number(&item).map_err(|why| TransportError::Corrupt { what: why.into() })?;
                    if !seen.insert(found) && item.deliveries() == 1 {
                        return Err(TransportError::Corrupt { what: format!("item {found} came twice").into() }.into());
                    }
                    worker.ack(item)
                }
            });
            match acknowledged {
                Ok(()) => {}
                Err(error) if owner_gone(&error)? => {
                    ends = None;
                    if next - first < ITEMS {
                        case.gone("a participant", &error)?;
                    }
                }
                Err(error) => return Err(format!("a participant: {error}")),
            }
            if next.is_multiple_of(8) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if next % 32 == 16 {
                // One that comes and goes.
                let passing =
                    case.within("connect", 2 * Place::HANDSHAKE, || Works::connect_with(NAME, PREFETCH, &options))?;
                drop(passing);
            }
        }
        Ok(())
    })?;
    if (seen.len() as u64) < ITEMS / 2 {
        return Err(format!("only {} of {next} items came", seen.len()));
    }
    Ok(())
}

fn outlive_a_producer(case: &mut Case) -> Outcome {
    let serving = Serving::start(&case.place, true)?;
    let mut worker = Works::connect_with(NAME, PREFETCH, &options(&case.place)).told("connect")?;
    let mut seen = Seen::default();
    case.each(|case| {
        while !case.is_over() {
            case.patience("popping")?;
            seen.pop(case, &mut worker, true)?;
        }
        Ok(())
    })?;
    // What the dead one had pushed is still on its way.
    while seen.pop(case, &mut worker, true)? {}
    if let Some((number, times)) = seen.0.iter().find(|(_, times)| **times > 1) {
        return Err(format!("item {number} came {times} times"));
    }
    let data = case.place.data();
    for first in Journal::read(&data, PUSHED, "begun") {
        let of_one: Vec<u64> = seen.0.range(first..first + 1_000_000).map(|(number, _)| *number).collect();
        if of_one.iter().zip(first..).any(|(found, expected)| *found != expected) {
            return Err(format!("a gap in what producer {first} had pushed: {of_one:?}"));
        }
        let flushed =
            Journal::read(&data, PUSHED, PUSHED).into_iter().rfind(|end| (first..first + 1_000_000).contains(end));
        if flushed.is_some_and(|end| (of_one.len() as u64) < end - first) {
            return Err(format!("{flushed:?} was flushed, {} came of producer {first}", of_one.len()));
        }
    }
    drop(worker);
    serving.end(case).map(drop)
}

fn outlive_a_worker(case: &mut Case) -> Outcome {
    let (stats, seen) = outlive_who_works(case, true)?;
    let mut times = seen.0;
    for done in Journal::read(&case.place.data(), DONE, DONE) {
        *times.entry(done).or_default() += 1;
    }
    let again: u64 = times.values().map(|times| times - 1).sum();
    if stats.lost > 0 || times.len() as u64 != stats.pushed || again > stats.redelivered + stats.returned {
        return Err(format!("{} of {} items were done, {again} of them again: {stats:?}", times.len(), stats.pushed));
    }
    Ok(())
}

fn outlive_a_taker(case: &mut Case) -> Outcome {
    let (stats, seen) = outlive_who_works(case, false)?;
    let mut times = seen.0;
    for done in Journal::read(&case.place.data(), DONE, DONE) {
        *times.entry(done).or_default() += 1;
    }
    if let Some((number, times)) = times.iter().find(|(_, times)| **times > 1) {
        return Err(format!("item {number} came {times} times"));
    }
    let missing = stats.pushed - times.len() as u64;
    if missing > stats.lost {
        return Err(format!("{missing} items are missing, {} were counted as lost: {stats:?}", stats.lost));
    }
    Ok(())
}

/// An owner, a producer and a worker beside the one that dies.
fn outlive_who_works(case: &mut Case, acknowledged: bool) -> Outcome<(Stats, Seen)> {
    let serving = Serving::start(&case.place, acknowledged)?;
    let options = options(&case.place);
    let mut producer = Produces::connect_with(NAME, &options).told("connect")?;
    let mut worker = Works::connect_with(NAME, PREFETCH, &options).told("connect")?;
    let (mut next, mut seen) = (0, Seen::default());
    case.each(|case| {
        let first = next;
        // With the victim there, or at least on its way: what this process pops goes past it.
        while !case.is_over() {
            case.patience("pushing")?;
            if next == first + ITEMS {
                case.tell();
            }
            match case.within("push", CALL, || producer.push(&item(next), CALL))? {
                Ok(()) => next += 1,
                Err(Error::Full) => {}
                Err(error) => return Err(format!("push: {error}")),
            }
            if next.is_multiple_of(3) || next > first + ITEMS {
                seen.pop(case, &mut worker, acknowledged)?;
            }
            if next.is_multiple_of(8) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    })?;
    // The rest, of which some may have been the dead one's.
    let begun = Instant::now();
    while serving.handle.stats().depth + serving.handle.stats().in_flight > 0 || begun.elapsed() < CALL {
        if begun.elapsed() > PATIENCE {
            return Err(format!("items stay: {:?}", serving.handle.stats()));
        }
        seen.pop(case, &mut worker, acknowledged)?;
    }
    match case.within("drain", CALL, || producer.drain(CALL))? {
        Ok(()) => {}
        Err(error) => return Err(format!("drain: {error}")),
    }
    drop((producer, worker));
    Ok((serving.end(case)?, seen))
}
