//! The queue between processes under loom: participants that die at every step, and each rule of the recovery broken.
//!
//! A participant that "dies" stops in its claim and leaves everything as it is; it counts as dead only to those who have joined
//! its thread. The queue has two cells.
#![cfg(strait_loom)]

use loom::thread;
use strait_mpmc::shared::{
    Geometry, Identity, Liveness, Participant, ParticipantInfo, PopError, PushError, SharedQueue, Step,
};
use strait_sync::{Heap, mutant, primitive::Arc};

type Queue = SharedQueue<Arc<Heap>>;

const VICTIM: u32 = 1;
const SURVIVOR: u32 = 2;
const OWNER: u32 = 3;

fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.check(test);
}

fn queue() -> Queue {
    let geometry = Geometry::new(2, 8, 3).unwrap();
    let memory = Arc::new(Heap::zeroed(geometry.total_bytes() as usize));
    SharedQueue::create_at(memory, geometry, 0u64.wrapping_sub(2)).unwrap()
}

fn attach(queue: &Queue, pid: u32) -> Participant<Arc<Heap>> {
    queue.attach(Identity { pid, start_time: 0 }).unwrap()
}

fn push(participant: &mut Participant<Arc<Heap>>, value: u64) -> Result<(), PushError> {
    participant.try_push(&value.to_le_bytes())
}

fn pop(participant: &mut Participant<Arc<Heap>>) -> Result<u64, PopError> {
    let mut bytes = [0; 8];
    let len = participant.try_pop(&mut bytes)?;
    assert_eq!(len, 8, "torn");
    Ok(u64::from_le_bytes(bytes))
}

/// What was skipped and lost. `dead` says whether the victim is known to be.
fn recover(queue: &Queue, dead: bool) -> (u64, u64) {
    let verdict = |info: ParticipantInfo| if dead && info.pid == VICTIM { Liveness::Dead } else { Liveness::Alive };
    let recovered = queue.recover(verdict).unwrap();
    (recovered.skipped, recovered.lost)
}

/// Two producers, of which one dies at `step`, or only takes its time; the owner consumes and recovers meanwhile.
fn producer_dies(step: Option<Step>) {
    producer_dies_or_is_taken_for_dead(step, false);
}

fn producer_dies_or_is_taken_for_dead(step: Option<Step>, lie: bool) {
    model(2, move || {
        let queue = queue();
        let (mut victim, mut survivor) = (attach(&queue, VICTIM), attach(&queue, SURVIVOR));
        let mut owner = attach(&queue, OWNER);
        let first = thread::spawn(move || {
            if let Some(step) = step {
                victim.die_at(step);
            }
            push(&mut victim, 11)
        });
        let second = thread::spawn(move || push(&mut survivor, 22));
        let mut got: Vec<u64> = pop(&mut owner).into_iter().collect();
        // Nobody is known to be dead, however long the one with the next cell takes.
        let mut skipped = recover(&queue, lie).0;
        got.extend(pop(&mut owner));
        let first = first.join().unwrap();
        for _ in 0..3 {
            skipped += recover(&queue, step.is_some()).0;
            got.extend(pop(&mut owner));
        }
        second.join().unwrap().expect("there was room");
        for _ in 0..3 {
            skipped += recover(&queue, step.is_some()).0;
            got.extend(pop(&mut owner));
        }
        got.sort_unstable();
        let published = first.is_ok() || step == Some(Step::Done);
        assert_eq!(got, if published { vec![11, 22] } else { vec![22] }, "a message is lost or comes twice");
        let claimed = matches!(step, Some(Step::Claimed | Step::Copied));
        assert_eq!(skipped, u64::from(claimed), "skipped cells are those that were claimed and not filled");
        assert!(queue.is_empty(), "blocked for ever");
        assert!(lie || queue.participants().count() == 1, "the dead one's line is not given back");
        // Each cell once more.
        for value in [33, 44] {
            push(&mut owner, value).unwrap();
            assert_eq!(pop(&mut owner), Ok(value));
        }
    });
}

#[test]
fn no_producer_dies() {
    producer_dies(None);
}
#[test]
fn producer_dies_with_its_intent_announced() {
    producer_dies(Some(Step::Announced));
}
#[test]
fn producer_dies_with_a_cell_claimed() {
    producer_dies(Some(Step::Claimed));
}
#[test]
fn producer_dies_with_the_message_half_sent() {
    producer_dies(Some(Step::Copied));
}
#[test]
fn producer_dies_before_it_clears_its_journal() {
    producer_dies(Some(Step::Done));
}

#[test]
#[should_panic(expected = "a message is lost or comes twice")]
fn mutant_recovery_without_the_death_test_loses_a_living_producers_message() {
    producer_dies_or_is_taken_for_dead(None, true);
}

#[test]
#[should_panic(expected = "a message is lost or comes twice")]
fn mutant_recovery_that_ignores_the_living_takes_a_slow_producer_for_the_dead_one() {
    mutant::with("recover_ignores_the_living", || producer_dies(Some(Step::Announced)));
}

#[test]
#[should_panic(expected = "a message is lost or comes twice")]
fn mutant_recovery_that_does_not_see_the_journal_of_a_slow_producer() {
    mutant::with("recover_no_fence", || producer_dies(Some(Step::Announced)));
}

#[test]
#[should_panic(expected = "AheadOfCursor")]
fn mutant_fill_is_not_a_release() {
    mutant::with("shared_fill_relaxed", || producer_dies(None));
}

/// A full queue and two consumers, of which one dies at `step`, or only takes its time; the owner pushes and recovers meanwhile.
fn consumer_dies(step: Option<Step>) {
    consumer_dies_or_is_taken_for_dead(step, false);
}

fn consumer_dies_or_is_taken_for_dead(step: Option<Step>, lie: bool) {
    model(3, move || {
        let queue = queue();
        let (mut victim, mut survivor) = (attach(&queue, VICTIM), attach(&queue, SURVIVOR));
        let mut owner = attach(&queue, OWNER);
        push(&mut owner, 1).unwrap();
        push(&mut owner, 2).unwrap();
        let first = thread::spawn(move || {
            if let Some(step) = step {
                victim.die_at(step);
            }
            let got = pop(&mut victim);
            (got, victim)
        });
        let second = thread::spawn(move || {
            let got = pop(&mut survivor);
            (got, survivor)
        });
        let mut third = push(&mut owner, 3).is_ok();
        let mut lost = recover(&queue, lie).1;
        third |= !third && push(&mut owner, 3).is_ok();
        let (first, _victim) = first.join().unwrap();
        let dead = step.is_some();
        for _ in 0..2 {
            lost += recover(&queue, dead).1;
            third |= !third && push(&mut owner, 3).is_ok();
        }
        let (second, mut survivor) = second.join().unwrap();
        for _ in 0..2 {
            lost += recover(&queue, dead).1;
            third |= !third && push(&mut owner, 3).is_ok();
        }
        assert!(third, "blocked for ever");
        let mut got: Vec<u64> = first.into_iter().chain(second).collect();
        got.extend(std::iter::from_fn(|| pop(&mut survivor).ok()));
        // Each cell once more.
        for value in [4, 5] {
            push(&mut owner, value).unwrap_or_else(|error| panic!("blocked for ever: {error}"));
            got.extend(pop(&mut survivor));
        }
        got.sort_unstable();
        let before = got.len();
        got.dedup();
        assert_eq!(got.len(), before, "a message comes twice: {got:?}");
        // Dead with the message in its hands, all but returned: popped, and neither lost nor delivered.
        let in_hand = u64::from(step == Some(Step::Done));
        assert_eq!(got.len() as u64 + lost + in_hand, 5, "a message is lost and not counted: {got:?}");
        assert!(lost == 0 || matches!(step, Some(Step::Claimed | Step::Copied)), "a message is lost without a death");
        assert_eq!(queue.stats().lost, lost);
    });
}

#[test]
fn no_consumer_dies() {
    consumer_dies(None);
}
#[test]
fn consumer_dies_with_its_intent_announced() {
    consumer_dies(Some(Step::Announced));
}
#[test]
fn consumer_dies_with_a_cell_claimed() {
    consumer_dies(Some(Step::Claimed));
}
#[test]
fn consumer_dies_with_the_message_read() {
    consumer_dies(Some(Step::Copied));
}
#[test]
fn consumer_dies_before_it_clears_its_journal() {
    consumer_dies(Some(Step::Done));
}

#[test]
#[should_panic(expected = "Causality violation: Concurrent read and write")]
fn mutant_recovery_without_the_death_test_loses_a_living_consumers_message() {
    consumer_dies_or_is_taken_for_dead(None, true);
}

#[test]
#[should_panic(expected = "blocked for ever")]
fn mutant_intent_after_the_claim_leaves_a_cell_that_nobody_recovers() {
    mutant::with("intent_after_claim", || consumer_dies(Some(Step::Claimed)));
}

#[test]
#[should_panic(expected = "blocked for ever")]
fn mutant_intent_cleared_before_the_cell_is_free() {
    mutant::with("clear_before_free", || consumer_dies(Some(Step::Copied)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn mutant_free_is_not_a_release() {
    mutant::with("shared_free_relaxed", || consumer_dies(None));
}

/// A batch of two is claimed at once; its producer, or its consumer, dies at the first.
#[test]
fn a_claim_of_several_is_recovered_whole() {
    model(2, || {
        let queue = queue();
        let (mut victim, mut owner) = (attach(&queue, VICTIM), attach(&queue, OWNER));
        let dying = thread::spawn(move || {
            victim.die_at(Step::Copied);
            victim.push_batch(&[&[1; 8], &[2; 8]])
        });
        let mut got: Vec<u64> = pop(&mut owner).into_iter().collect();
        let mut pushed = u64::from(push(&mut owner, 22).is_ok());
        let died = dying.join().unwrap() == Err(PushError::Died);
        let skipped = recover(&queue, true).0;
        assert!(if died { skipped == 2 - pushed } else { skipped == 0 }, "{skipped} skipped");
        got.extend(pop(&mut owner));
        assert_eq!((got.len() as u64, pop(&mut owner)), (pushed, Err(PopError::Empty)));
        // The same for the head.
        let mut victim = attach(&queue, VICTIM);
        pushed = queue.stats().pushes;
        assert_eq!(owner.push_batch(&[&[3; 8], &[4; 8]]), Ok(2));
        assert_eq!(queue.stats().pushes, pushed + 2);
        victim.die_at(Step::Copied);
        assert_eq!(victim.pop_batch(&mut [0; 16], &mut [0; 2]), Err(PopError::Died));
        assert_eq!(push(&mut owner, 5), Err(PushError::Full));
        assert_eq!(recover(&queue, true), (0, 2));
        assert_eq!((push(&mut owner, 6), pop(&mut owner)), (Ok(()), Ok(6)));
    });
}

/// Two recover at once, and one of them takes the dead one's line and produces under it.
#[test]
fn a_line_that_is_given_back_is_not_recovered_again() {
    model(2, || {
        let queue = queue();
        let (mut victim, mut owner) = (attach(&queue, VICTIM), attach(&queue, OWNER));
        let _third = attach(&queue, OWNER);
        victim.die_at(Step::Claimed);
        assert_eq!(push(&mut victim, 11), Err(PushError::Died));
        let other = {
            let queue = queue.clone();
            thread::spawn(move || recover(&queue, true).0)
        };
        let successor = {
            let queue = queue.clone();
            thread::spawn(move || {
                let skipped = recover(&queue, true).0;
                let pushed = queue
                    .attach(Identity { pid: SURVIVOR, start_time: 0 })
                    .is_ok_and(|mut successor| push(&mut successor, 22).is_ok());
                (skipped, pushed)
            })
        };
        let mut got: Vec<u64> = pop(&mut owner).into_iter().collect();
        let (skipped, pushed) = successor.join().unwrap();
        assert_eq!(other.join().unwrap() + skipped, 1, "one cell was recovered by two, or by none");
        got.extend(pop(&mut owner));
        assert_eq!(got, if pushed { vec![22] } else { vec![] }, "a living successor's message is lost");
        assert_eq!((queue.stats().skipped, queue.stats().freed_participants), (1, 1));
    });
}

/// Two recover at once; what one reads of the dead one's journal may be its own first word and its successor's second.
#[test]
fn a_journal_that_changes_hands_while_it_is_read_is_no_garbage() {
    model(2, || {
        let queue = queue();
        let mut victim = attach(&queue, VICTIM);
        let _others = (attach(&queue, OWNER), attach(&queue, OWNER));
        victim.die_at(Step::Claimed);
        assert_eq!(push(&mut victim, 11), Err(PushError::Died));
        let other = {
            let queue = queue.clone();
            thread::spawn(move || recover(&queue, true).0)
        };
        let skipped = recover(&queue, true).0;
        // The line is free, unless the other is just about to free it. A lap further on the journals are too far apart for one span.
        if let Ok(mut successor) = queue.attach(Identity { pid: SURVIVOR, start_time: 0 }) {
            for value in [22, 33] {
                push(&mut successor, value).unwrap();
                assert_eq!(pop(&mut successor), Ok(value));
            }
        }
        assert_eq!(other.join().unwrap() + skipped, 1, "one cell was recovered by two, or by none");
    });
}
