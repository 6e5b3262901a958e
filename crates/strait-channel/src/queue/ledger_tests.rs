//! The books against a model that keeps lists and looks everything up.

use proptest::prelude::*;

use super::*;

/// An item of the model: who it is, whose, and how often it was handed out.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    number: u32,
    producer: usize,
    deliveries: u32,
}

#[derive(Default)]
struct Model {
    acknowledged: bool,
    max_deliveries: u32,
    waiting: Vec<Item>,
    /// Worker, id, item.
    handed: Vec<(usize, u64, Item)>,
    acked: Vec<Item>,
    lost: Vec<Item>,
    redelivered: u64,
    returned: u64,
    high_water: u64,
}

impl Model {
    fn held(&self) -> usize {
        self.waiting.len() + self.handed.len()
    }

    fn take_out(&mut self, worker: usize, of: impl Fn(u64) -> bool) -> Vec<(u64, Item)> {
        let (out, left) = self.handed.iter().partition::<Vec<_>, _>(|(whose, id, _)| *whose == worker && of(*id));
        self.handed = left;
        out.into_iter().map(|(_, id, item)| (id, item)).collect()
    }

    /// To the front, in their order, but for those that have been handed out too often.
    fn take_back(&mut self, items: Vec<Item>) {
        let worn_out = |item: &Item| self.max_deliveries > 0 && item.deliveries >= self.max_deliveries;
        let (lost, back) = items.into_iter().partition::<Vec<_>, _>(worn_out);
        self.lost.extend(lost);
        self.redelivered += back.len() as u64;
        self.waiting.splice(0..0, back);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join { prefetch: u32 },
    Push { producer: usize },
    HandOut,
    Full,
    Taken { worker: usize, share: usize },
    Ack { pick: usize },
    Refuse { pick: usize, discard: bool },
    Leave { worker: usize, share: usize },
    Die { worker: usize },
    ProducerLeaves { producer: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pick = 0usize..64;
    let step = prop_oneof![
        1 => (1u32..6).prop_map(|prefetch| Step::Join { prefetch }),
        8 => pick.clone().prop_map(|producer| Step::Push { producer }),
        8 => Just(Step::HandOut),
        1 => Just(Step::Full),
        3 => (pick.clone(), pick.clone()).prop_map(|(worker, share)| Step::Taken { worker, share }),
        4 => pick.clone().prop_map(|pick| Step::Ack { pick }),
        1 => (pick.clone(), any::<bool>()).prop_map(|(pick, discard)| Step::Refuse { pick, discard }),
        1 => (pick.clone(), pick.clone()).prop_map(|(worker, share)| Step::Leave { worker, share }),
        1 => pick.clone().prop_map(|worker| Step::Die { worker }),
        1 => pick.prop_map(|producer| Step::ProducerLeaves { producer }),
    ];
    proptest::collection::vec(step, 0..200)
}

/// A worker of the model: its key, prefetch, the last id, what it has said to have taken, whether it is blocked.
struct Hand {
    key: Key,
    prefetch: usize,
    last: u64,
    taken: u64,
    blocked: bool,
}

proptest! {
    #[test]
    fn the_books_agree_with_lists(
        steps in steps(),
        acknowledged in any::<bool>(),
        max_deliveries in 0u32..3,
        capacity in 1u32..20,
    ) {
        let settings = Settings { capacity, acknowledged, max_deliveries, ..Settings::default() };
        let mut ledger = Ledger::new(settings);
        let mut model = Model { acknowledged, max_deliveries, ..Model::default() };
        let mut producers: Vec<(Key, u64, bool)> = (0..3).map(|_| (ledger.join_producer(), 0, true)).collect();
        let mut hands: Vec<Option<Hand>> = Vec::new();
        let (mut pushed, mut popped) = (0u32, 0u64);
        for step in steps {
            let count = hands.len().max(1);
            match step {
                Step::Join { prefetch } => {
                    let (key, prefetch) = (ledger.join_worker(prefetch), prefetch as usize);
                    hands.push(Some(Hand { key, prefetch, last: 0, taken: 0, blocked: false }));
                }
                Step::Push { producer } => {
                    let producer = producer % producers.len();
                    prop_assert_eq!(ledger.has_room(), model.held() < capacity as usize);
                    let (key, sequence, here) = &mut producers[producer];
                    if ledger.has_room() {
                        let said = ledger.push(*key, *sequence + 1, pushed, 10);
                        prop_assert_eq!(said.is_ok(), *here);
                        if *here {
                            *sequence += 1;
                            model.waiting.push(Item { number: pushed, producer, deliveries: 0 });
                            pushed += 1;
                        }
                    }
                    prop_assert!(ledger.push(*key, *sequence + 2, 0, 0).is_err(), "a gap");
                }
                Step::HandOut => {
                    let load = |index: usize| model.handed.iter().filter(|(worker, ..)| *worker == index).count();
                    let free = |index: usize| {
                        hands[index].as_ref().filter(|hand| !hand.blocked && load(index) < hand.prefetch).map(|_| load(index))
                    };
                    let fewest = (0..hands.len()).filter_map(free).min().filter(|_| !model.waiting.is_empty());
                    let chosen = ledger.next_worker();
                    prop_assert_eq!(chosen.is_some(), fewest.is_some());
                    let Some(key) = chosen else { continue };
                    let index = hands.iter().position(|hand| hand.as_ref().is_some_and(|hand| hand.key == key)).unwrap();
                    prop_assert_eq!(free(index), fewest, "one that has the fewest");
                    let mut handed = None;
                    ledger.hand_out(key, |item, id, deliveries| {
                        handed = Some((*item, id, deliveries));
                        Ok::<_, ()>(true)
                    }).unwrap();
                    let hand = hands[index].as_mut().unwrap();
                    hand.last += 1;
                    popped += 1;
                    let mut item = model.waiting.remove(0);
                    item.deliveries += 1;
                    prop_assert_eq!(handed, Some((item.number, hand.last, item.deliveries)));
                    model.handed.push((index, hand.last, item));
                }
                Step::Full => {
                    if let Some(key) = ledger.next_worker() {
                        ledger.hand_out(key, |_, _, _| Ok::<_, ()>(false)).unwrap();
                        prop_assert!(ledger.is_blocked(key));
                        let hand = hands.iter_mut().flatten().find(|hand| hand.key == key).unwrap();
                        hand.blocked = true;
                    } else {
                        for hand in hands.iter_mut().flatten() {
                            ledger.unblock(hand.key);
                            hand.blocked = false;
                        }
                    }
                }
                Step::Taken { worker, share } => {
                    let index = worker % count;
                    let Some(Some(hand)) = hands.get_mut(index) else { continue };
                    let id = hand.taken + (share as u64) % (hand.last - hand.taken + 2);
                    let said = ledger.taken(hand.key, id);
                    prop_assert_eq!(said.is_ok(), !acknowledged && id <= hand.last);
                    if said.is_ok() {
                        hand.taken = id;
                        let done = model.take_out(index, |each| each <= id);
                        model.acked.extend(done.into_iter().map(|(_, item)| item));
                    }
                }
                Step::Ack { pick } => {
                    let Some(&(index, id, item)) = model.handed.get(pick % model.handed.len().max(1)) else { continue };
                    let key = hands[index].as_ref().unwrap().key;
                    let said = ledger.ack(key, id);
                    prop_assert_eq!(said.is_ok(), acknowledged);
                    if said.is_ok() {
                        model.take_out(index, |each| each == id);
                        model.acked.push(item);
                        prop_assert!(ledger.ack(key, id).is_err(), "twice");
                    }
                }
                Step::Refuse { pick, discard } => {
                    let Some(&(index, id, item)) = model.handed.get(pick % model.handed.len().max(1)) else { continue };
                    let said = ledger.refuse(hands[index].as_ref().unwrap().key, id, discard);
                    prop_assert_eq!(said.is_ok(), acknowledged || discard);
                    if said.is_ok() {
                        model.take_out(index, |each| each == id);
                        if discard || (max_deliveries > 0 && item.deliveries >= max_deliveries) {
                            model.lost.push(item);
                        } else {
                            model.redelivered += 1;
                            model.waiting.push(item);
                        }
                    }
                }
                Step::Leave { worker, share } => {
                    let index = worker % count;
                    let Some(place) = hands.get_mut(index) else { continue };
                    let Some(hand) = place.take() else { continue };
                    prop_assert!(ledger.leave_worker(hand.key, hand.last + 1).is_err());
                    let taken = hand.taken + (share as u64) % (hand.last - hand.taken + 1);
                    ledger.leave_worker(hand.key, taken).unwrap();
                    let had = model.take_out(index, |_| true);
                    let (seen, unseen) = had.into_iter().partition::<Vec<_>, _>(|(id, _)| *id <= taken);
                    model.returned += unseen.len() as u64;
                    let unseen: Vec<_> = unseen.into_iter().map(|(_, item)| Item { deliveries: item.deliveries - 1, ..item }).collect();
                    model.waiting.splice(0..0, unseen);
                    let seen = seen.into_iter().map(|(_, item)| item);
                    if model.acknowledged {
                        model.take_back(seen.collect());
                    } else {
                        model.acked.extend(seen);
                    }
                }
                Step::Die { worker } => {
                    let index = worker % count;
                    let Some(place) = hands.get_mut(index) else { continue };
                    let Some(hand) = place.take() else { continue };
                    ledger.lose_worker(hand.key);
                    let had = model.take_out(index, |_| true).into_iter().map(|(_, item)| item).collect();
                    if model.acknowledged {
                        model.take_back(had);
                    } else {
                        model.lost.extend(had);
                    }
                }
                Step::ProducerLeaves { producer } => {
                    let (key, _, here) = &mut producers[producer % 3];
                    ledger.leave_producer(*key);
                    *here = false;
                }
            }
            model.high_water = model.high_water.max(model.held() as u64);
            let stats = ledger.stats();
            prop_assert_eq!(stats, Stats {
                pushed: u64::from(pushed),
                popped,
                acked: model.acked.len() as u64,
                lost: model.lost.len() as u64,
                redelivered: model.redelivered,
                returned: model.returned,
                depth: model.waiting.len() as u64,
                in_flight: model.handed.len() as u64,
                high_water: model.high_water,
                producers: producers.iter().filter(|(.., here)| *here).count() as u32,
                workers: hands.iter().flatten().count() as u32,
            });
            prop_assert_eq!(stats.pushed, stats.acked + stats.lost + stats.depth + stats.in_flight);
            prop_assert_eq!(ledger.held_bytes, 10 * (stats.depth + stats.in_flight));
            for (index, (key, accepted, here)) in producers.iter().enumerate() {
                let done = model.acked.iter().chain(&model.lost).filter(|item| item.producer == index).count() as u64;
                let expected = Progress { accepted: *accepted, settled: done };
                prop_assert_eq!(ledger.progress(*key), if *here { expected } else { Progress::default() });
            }
        }
    }
}

#[test]
fn what_a_dead_worker_had_goes_to_another_one_first_and_in_order() {
    let mut ledger = Ledger::new(Settings { acknowledged: true, ..Settings::default() });
    let (producer, dead) = (ledger.join_producer(), ledger.join_worker(2));
    (1..=3).for_each(|number| ledger.push(producer, number, number, 1).unwrap());
    while let Some(worker) = ledger.next_worker() {
        ledger.hand_out(worker, |_, _, _| Ok::<_, ()>(true)).unwrap();
    }
    ledger.lose_worker(dead);
    let heir = ledger.join_worker(3);
    let mut given = Vec::new();
    while let Some(worker) = ledger.next_worker() {
        assert_eq!(worker, heir);
        ledger
            .hand_out(worker, |item, id, deliveries| {
                given.push((*item, id, deliveries));
                Ok::<_, ()>(true)
            })
            .unwrap();
    }
    assert_eq!(given, [(1, 1, 2), (2, 2, 2), (3, 3, 1)]);
}
