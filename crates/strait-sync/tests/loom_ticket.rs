//! The ticket protocol under loom: no lost wake-up, and each fence is needed.
#![cfg(strait_loom)]

use loom::thread;
use strait_sync::{
    Heap, Parked, Parker, Unparker, Words, WordsMut, mutant,
    primitive::{Arc, Ordering, fence},
};

const TICKET: usize = 0; // in the sleeper's memory
const DATA: usize = 0; // in the other's
const WAKES: usize = 8;

/// Two publications, one sleeper that must see both.
fn two_publications() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mine, theirs) = (Arc::new(Heap::zeroed(128)), Arc::new(Heap::zeroed(128)));
        let (sleeper, other) = (mine.clone(), theirs.clone());
        let publisher = thread::spawn(move || {
            let mut unparker = Unparker::default();
            for value in 1..=2 {
                // ORDERING: Release; pairs with the acquire fence of `seen` below.
                other.store(DATA, value, Ordering::Release);
                unparker.unpark(&other, WAKES, &sleeper, TICKET);
            }
        });
        let mut parker = Parker::default();
        let mut got = 0;
        while got < 2 {
            let parked = parker.park(&mine, TICKET, &theirs, WAKES, None, || {
                let seen = theirs.load(DATA);
                // ORDERING: Acquire; pairs with the release store of DATA.
                fence(Ordering::Acquire);
                let new = seen > got;
                got = got.max(seen);
                new
            });
            assert_eq!(parked, Parked::Ready);
        }
        publisher.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost() {
    two_publications();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_sleeper_without_fence_sleeps_for_ever() {
    mutant::with("sleeper_no_fence", two_publications);
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_ringer_without_fence_rings_nobody() {
    mutant::with("ringer_no_fence", two_publications);
}
