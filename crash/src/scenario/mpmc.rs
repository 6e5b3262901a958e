//! A queue in memory that all map writable: participants that die or stop at any step of a claim, one that recovers what others left, and one
//! that makes the queue.

use std::time::{Duration, Instant};

use strait::mpmc::shared::{Geometry, Identity, OpenError, Participant, PopError, PushError, SharedQueue, process};

use super::{Role, until_told};
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    journal::Journal,
    pattern::{number, pattern},
    place::Place,
    plan::Plan,
    region::{self, Body},
    victim::Victim,
};

pub(super) const ROLES: &[Role] = &[
    Role { name: "pusher", play: push, survive: outlive_a_pusher },
    Role { name: "popper", play: pop, survive: outlive_a_popper },
    Role { name: "recoverer", play: recover, survive: outlive_a_recoverer },
    Role { name: "creator", play: create, survive: outlive_a_creator },
];

const NAME: &str = "mpmc";
const JOURNAL: &str = "journal";
const MESSAGES: u64 = 160;
const CAPACITY: u64 = 8;
const SLOT: usize = 64;
const BATCH: usize = 3;

type Queue = SharedQueue<Body>;
type Member = Participant<Body>;

fn geometry() -> Outcome<Geometry> {
    Geometry::new(CAPACITY, SLOT as u64, 6).told("the geometry")
}

fn message(number: u64) -> Vec<u8> {
    pattern(number, 16 + (number as usize * 7) % (SLOT - 16))
}

fn queue(place: &Place) -> Outcome<Queue> {
    SharedQueue::open(Body::of(region::open(place, NAME)?)).told("opening the queue")
}

fn join(queue: &Queue) -> Outcome<Member> {
    queue.attach(Identity::current()).told("attaching")
}

// ---- what the victims do ----

/// Pushes messages that nobody before it has pushed, one by one and in batches.
fn push(place: &Place) -> Outcome {
    let journal = Journal::open(&place.data(), JOURNAL)?;
    let first = Journal::read(&place.data(), JOURNAL, "first").len() as u64 * 1_000_000;
    journal.note("first", first)?;
    let mut member = join(&queue(place)?)?;
    let (mut next, begun) = (first, Instant::now());
    while next < first + MESSAGES && begun.elapsed() < PATIENCE {
        let count = if next.is_multiple_of(4) { BATCH } else { 1 };
        let batch: Vec<Vec<u8>> = (next..next + count as u64).map(message).collect();
        journal.note("begun", next + count as u64)?;
        let pushed = match count {
            1 => member.push(&batch[0], Some(Instant::now() + CALL)).map(|()| 1),
            _ => member.push_batch(&batch.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        };
        match pushed {
            Ok(count) => {
                next += count as u64;
                journal.note("done", next)?;
            }
            Err(PushError::Full) => std::thread::yield_now(),
            Err(error) => return Err(format!("push: {error}")),
        }
        if next % 32 == 16 {
            // Until who pops sleeps.
            std::thread::sleep(Duration::from_millis(15));
        }
    }
    Ok(())
}

/// Pops, and notes what it got.
fn pop(place: &Place) -> Outcome {
    let journal = Journal::open(&place.data(), JOURNAL)?;
    let mut member = join(&queue(place)?)?;
    let told = std::thread::spawn(until_told);
    let (mut buffer, mut turn) = ([0; BATCH * SLOT], 0);
    while !told.is_finished() {
        turn += 1;
        let mut lens = [0; BATCH];
        let max = if turn % 3 == 0 { BATCH } else { 1 };
        match member.pop_batch_until(&mut buffer, &mut lens[..max], Some(Instant::now() + CALL)) {
            Ok(count) => {
                for (slot, len) in buffer.chunks(SLOT).zip(&lens[..count]) {
                    journal.note("got", number(&slot[..*len])?)?;
                }
            }
            Err(PopError::Empty) => {}
            Err(error) => return Err(format!("pop: {error}")),
        }
        if turn % 8 == 0 {
            // Until who pushes sleeps.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

/// Gives back what dead participants had claimed, over and over.
fn recover(place: &Place) -> Outcome {
    let queue = queue(place)?;
    let told = std::thread::spawn(until_told);
    while !told.is_finished() {
        queue.recover(process::liveness).told("recover")?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Makes a queue where there was one, uses and closes it, a few times.
fn create(place: &Place) -> Outcome {
    let memory = Body::of(region::open(place, NAME)?);
    for _ in 0..4 {
        let queue = SharedQueue::create(memory.clone(), geometry()?).told("creating the queue")?;
        let mut member = join(&queue)?;
        for number in 0..CAPACITY {
            member.try_push(&message(number)).told("push")?;
        }
        queue.close();
        drain(&mut member, &mut |_| Ok(()))?;
    }
    Ok(())
}

// ---- what the survivors do ----

/// A region, and the queue in it.
fn prepare(place: &Place) -> Outcome<(Body, Queue)> {
    let body = Body::of(region::make(place, NAME, geometry()?.total_bytes() as usize)?);
    let queue = SharedQueue::create(body.clone(), geometry()?).told("creating the queue")?;
    Ok((body, queue))
}

/// Pops all that is there.
fn drain(member: &mut Member, take: &mut dyn FnMut(u64) -> Outcome) -> Outcome {
    let mut buffer = [0; SLOT];
    loop {
        match member.try_pop(&mut buffer) {
            Ok(len) => take(number(&buffer[..len])?)?,
            Err(PopError::Empty | PopError::Closed) => return Ok(()),
            Err(error) => return Err(format!("pop: {error}")),
        }
    }
}

/// The dead are gone, and all of the queue can be used.
fn works_again(case: &Case, queue: &Queue, member: &mut Member) -> Outcome {
    case.within("recover", CALL, || queue.recover(process::liveness))?.told("recover")?;
    drain(member, &mut |_| Ok(()))?;
    let others = queue.participants().count() - 1;
    if others > 0 {
        return Err(format!("{others} participants are left of processes that have ended"));
    }
    let mut back = Vec::new();
    for number in 0..CAPACITY {
        member.try_push(&message(number)).told("a push after the recovery")?;
    }
    drain(member, &mut |number| {
        back.push(number);
        Ok(())
    })?;
    if back.len() as u64 != CAPACITY {
        return Err(format!("{} of {CAPACITY} messages came back: the queue is stuck", back.len()));
    }
    Ok(())
}

fn outlive_a_pusher(case: &mut Case) -> Outcome {
    let (body, queue) = prepare(&case.place)?;
    let mut member = join(&queue)?;
    let mut got: Vec<u64> = Vec::new();
    case.each(|case| {
        let mut buffer = [0; SLOT];
        loop {
            case.patience("popping")?;
            let over = case.is_over();
            let deadline = Instant::now() + CALL;
            match case.within("pop", CALL, || member.pop(&mut buffer, Some(deadline)))? {
                Ok(len) => got.push(number(&buffer[..len])?),
                Err(PopError::Empty) => {
                    let recovered = case.within("recover", CALL, || queue.recover(process::liveness))?;
                    let recovered = recovered.told("recover")?;
                    if !over && recovered.freed_participants > 0 {
                        case.gone("who recovers", &"it gave back what the pusher had")?;
                    }
                    if over {
                        break;
                    }
                }
                Err(error) => return Err(format!("pop: {error}")),
            }
        }
        Ok(())
    })?;
    if let Some(pair) = got.windows(2).find(|pair| pair[1] <= pair[0]) {
        return Err(format!("message {} came after {}", pair[1], pair[0]));
    }
    let data = case.place.data();
    let (begun, done) = (Journal::read(&data, JOURNAL, "begun"), Journal::read(&data, JOURNAL, "done"));
    for first in Journal::read(&data, JOURNAL, "first") {
        let of_one = first..first + 1_000_000;
        let end = |ends: &[u64]| ends.iter().rfind(|end| of_one.contains(end)).copied().unwrap_or(first);
        let came: Vec<u64> = got.iter().filter(|number| of_one.contains(number)).copied().collect();
        if (first..end(&done)).any(|number| !came.contains(&number)) {
            return Err(format!("what the pusher had pushed is lost: {} of {}", came.len(), end(&done) - first));
        }
        if came.iter().any(|number| *number >= end(&begun)) {
            return Err("a message came that nobody pushed".into());
        }
    }
    works_again(case, &queue, &mut member)?;
    drop((member, queue, body));
    clean(case)
}

fn outlive_a_popper(case: &mut Case) -> Outcome {
    let (body, queue) = prepare(&case.place)?;
    let mut member = join(&queue)?;
    let (mut next, mut deaths) = (0, 0);
    case.each(|case| {
        let first = next;
        while !case.is_over() {
            case.patience("pushing")?;
            if next == first + MESSAGES {
                case.tell();
            }
            let deadline = Instant::now() + CALL;
            match case.within("push", CALL, || member.push(&message(next), Some(deadline)))? {
                Ok(()) => next += 1,
                Err(PushError::Full) => {
                    let recovered =
                        case.within("recover", CALL, || queue.recover(process::liveness))?.told("recover")?;
                    if recovered.freed_participants > 0 {
                        case.gone("who recovers", &"it gave back what the popper had")?;
                    }
                }
                Err(error) => return Err(format!("push: {error}")),
            }
            if next % 32 == 16 {
                // Until who pops sleeps.
                std::thread::sleep(Duration::from_millis(15));
            }
        }
        deaths += 1;
        case.within("recover", CALL, || queue.recover(process::liveness))?.told("recover").map(drop)
    })?;
    let mut got = Journal::read(&case.place.data(), JOURNAL, "got");
    drain(&mut member, &mut |number| {
        got.push(number);
        Ok(())
    })?;
    let came = got.len() as u64;
    got.sort_unstable();
    got.dedup();
    if got.len() as u64 != came {
        return Err(format!("{} messages came twice", came - got.len() as u64));
    }
    // What a popper had popped when it died, and not noted yet, it took with it.
    let (lost, in_hand) = (queue.stats().lost, if deaths > 1 { BATCH as u64 } else { 0 });
    if next > came + lost + in_hand {
        return Err(format!("{next} were pushed, {came} came, {lost} are counted as lost"));
    }
    works_again(case, &queue, &mut member)?;
    drop((member, queue, body));
    clean(case)
}

/// Two that die with a claim in their hands, for others to give back.
fn die_with_claims(case: &Case) -> Outcome {
    for (role, plan) in [("pusher", "mpmc.claimed:kill:2"), ("popper", "mpmc.read:kill:2")] {
        let plan = Plan::parse(plan).ok_or("no plan")?;
        let dying = Victim::start((NAME, role), &case.place, &plan, "trace of the dying")?;
        while dying.known().end.is_none() {
            case.patience("dying")?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn outlive_a_recoverer(case: &mut Case) -> Outcome {
    let (body, queue) = prepare(&case.place)?;
    case.each(|case| {
        die_with_claims(case)?;
        // As long as the victim may be at it, others recover at the same time.
        let begun = Instant::now();
        while !case.is_over() && begun.elapsed() < 3 * CALL {
            std::thread::sleep(Duration::from_millis(5));
            if begun.elapsed() > CALL {
                case.within("recover", CALL, || queue.recover(process::liveness))?.told("recover")?;
            }
        }
        case.tell();
        while !case.is_over() {
            case.patience("recovering")?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut member = join(&queue)?;
        works_again(case, &queue, &mut member)
    })?;
    drop((queue, body));
    clean(case)
}

fn outlive_a_creator(case: &mut Case) -> Outcome {
    let body = Body::of(region::make(&case.place, NAME, geometry()?.total_bytes() as usize)?);
    case.each(|case| {
        while !case.is_over() {
            case.patience("creating")?;
            match SharedQueue::open(body.clone()) {
                Ok(_) | Err(OpenError::NoQueue { .. }) => {}
                Err(error) => return Err(format!("opening what is being made: {error}")),
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        // Whatever it left: who makes it anew has a queue.
        let queue = SharedQueue::create(body.clone(), geometry()?).told("creating the queue anew")?;
        let mut member = join(&queue)?;
        works_again(case, &queue, &mut member)
    })?;
    drop(body);
    clean(case)
}

fn clean(case: &Case) -> Outcome {
    let left = crate::leaks::names(&case.place.data());
    if left.iter().any(|name| name != JOURNAL) { Err(format!("regions are left: {left:?}")) } else { Ok(()) }
}
