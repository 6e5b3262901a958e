//! The view as a value: moved, sent, shared, cloned at the level of its bytes.
#![cfg(feature = "rkyv")]

mod support;

use std::{sync::Arc, thread};
use strait_frame::{Codec, DecodeError, Rkyv, StableBytes, View};
use support::{ArchivedTick, Tick, archive};

fn check(view: &ArchivedTick) {
    let tick = Tick::sample();
    assert_eq!(view.id, tick.id);
    assert_eq!(view.name, tick.name);
    assert_eq!(view.prices[4], tick.prices[4]);
    assert_eq!(view.notes[2].as_deref(), Some("long enough to be out of line"));
}

fn open<B: StableBytes>(bytes: B) -> Result<View<ArchivedTick, B>, DecodeError> {
    <Rkyv as Codec<Tick>>::open(bytes)
}

#[test]
fn view_still_derefs_after_moves() {
    let view = open(archive(&Tick::sample())).unwrap();
    check(&view);
    let boxed = Box::new(view);
    check(&boxed);
    let mut views = Vec::new();
    views.push(*boxed);
    for _ in 0..20 {
        // Growing moves the first one about.
        views.push(open(archive(&Tick::sample())).unwrap());
    }
    views.iter().for_each(|view| check(view));
}

#[test]
fn view_still_derefs_on_another_thread() {
    let view = open(archive(&Tick::sample())).unwrap();
    let view = thread::spawn(move || {
        check(&view);
        view
    })
    .join()
    .unwrap();
    check(&view);
}

#[test]
fn threads_read_one_view_at_a_time_or_together() {
    let view = open(archive(&Tick::sample())).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| check(&view));
        }
    });
}

#[test]
fn views_over_the_same_bytes_live_on_different_threads() {
    let bytes: Arc<[u8]> = Arc::from(support::shifted(&archive(&Tick::sample()), 0));
    // An `Arc<[u8]>` is not bound to be 16-byte aligned: then it is a typed error, and nothing else.
    match (open(bytes.clone()), open(bytes)) {
        (Ok(one), Ok(other)) => {
            let there = thread::spawn(move || check(&one));
            check(&other);
            there.join().unwrap();
        }
        (one, other) => {
            assert_eq!(one.map(drop), other.map(drop));
        }
    }
}

#[test]
fn bytes_come_back_as_they_went_in() {
    let bytes = archive(&Tick::sample());
    let (address, copy) = (bytes.as_ptr(), bytes.to_vec());
    let view = open(bytes).unwrap();
    assert_eq!(view.as_bytes(), &copy[..]);
    assert_eq!(view.into_bytes().as_ptr(), address);
}

#[test]
fn unvalidated_view_of_a_valid_archive_reads_the_same() {
    let bytes = archive(&Tick::sample());
    // SAFETY: the codec just wrote these bytes, to an aligned vector.
    let view = unsafe { View::<ArchivedTick, _>::new_unchecked(bytes) };
    check(&view);
}

#[test]
fn view_is_as_thread_safe_as_its_bytes() {
    fn needs<T: Send + Sync + 'static>() {}
    needs::<View<ArchivedTick, Vec<u8>>>();
    needs::<View<ArchivedTick, Box<[u8]>>>();
    needs::<View<ArchivedTick, Arc<[u8]>>>();
    needs::<View<ArchivedTick, &'static [u8]>>();
}
