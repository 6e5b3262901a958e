//! Private views: what is written stays here.

mod support;

use std::sync::atomic::Ordering;

use strait_region::{FrozenRegion, HEADER_BYTES, OpenError, PrivateView};
use strait_sync::{Words, WordsMut};
use support::{SEALS, TOTAL_BYTES, expected, header, in_child, memfd, memfd_with, own, peer, scratch::Scratch};

#[test]
fn what_is_written_shows_in_neither_the_region_nor_another_view() {
    let own = own();
    own.store(HEADER_BYTES, 1, Ordering::Relaxed);
    let (view, other) = (own.private_view().unwrap(), PrivateView::open(own.fd(), &expected()).unwrap());
    let peer = peer(&own);
    assert_eq!((view.len_bytes() as u64, view.load(HEADER_BYTES)), (TOTAL_BYTES, 1));
    view.store(HEADER_BYTES, 2, Ordering::Relaxed);
    view.copy_in(HEADER_BYTES + 8, b"sixteen bytes ok");
    assert_eq!(view.compare_exchange(HEADER_BYTES, 2, 3), Ok(2));
    assert_eq!(view.load(HEADER_BYTES), 3);
    for (name, words) in [("own", &own as &dyn Words), ("peer", &peer), ("other", &other)] {
        assert_eq!((words.load(HEADER_BYTES), words.load(HEADER_BYTES + 8)), (1, 0), "{name}");
    }
}

#[test]
fn pages_that_were_not_written_show_what_the_owner_writes_and_others_do_not() {
    let own = own();
    let view = own.private_view().unwrap();
    view.store(HEADER_BYTES, 1, Ordering::Relaxed);
    own.store(HEADER_BYTES + 8, 5, Ordering::Relaxed);
    own.store(2 * HEADER_BYTES, 6, Ordering::Relaxed);
    assert_eq!((view.load(HEADER_BYTES + 8), view.load(2 * HEADER_BYTES)), (0, 6));
}

#[test]
fn named_and_frozen_memory_can_be_viewed_too() {
    for scratch in Scratch::both("view") {
        let owner = scratch.create("a");
        let reader = strait_region::NamedRegion::open_read_only(
            &scratch.place,
            &scratch.name("a"),
            &expected(),
            support::scratch::honest(),
        )
        .unwrap();
        for view in [owner.private_view().unwrap(), reader.private_view().unwrap()] {
            view.store(HEADER_BYTES, 9, Ordering::Relaxed);
            assert_eq!((view.load(HEADER_BYTES), owner.load(HEADER_BYTES)), (9, 0));
        }
    }
    let frozen = FrozenRegion::from_bytes("strait-region:test", b"frozen bytes, 24 of them").unwrap();
    let view = frozen.private_view().unwrap();
    view.copy_in(0, b"thawed");
    assert_eq!(view.load(0).to_le_bytes(), *b"thawed\0\0");
    assert_eq!(&*frozen, b"frozen bytes, 24 of them");
}

#[test]
fn it_outlives_the_region() {
    let own = own();
    own.store(HEADER_BYTES, 3, Ordering::Relaxed);
    let view = own.private_view().unwrap();
    drop(own);
    view.store(HEADER_BYTES + 8, 4, Ordering::Relaxed);
    assert_eq!((view.load(HEADER_BYTES), view.load(HEADER_BYTES + 8)), (3, 4));
}

#[test]
fn a_forked_child_has_a_copy_of_its_own() {
    let own = own();
    let mut view = Some(own.private_view().unwrap());
    view.as_ref().unwrap().store(HEADER_BYTES, 1, Ordering::Relaxed);
    in_child(|| {
        assert!(matches!(own.private_view(), Err(OpenError::Forked(_))));
        let view = view.take().unwrap();
        assert_eq!(view.load(HEADER_BYTES), 1);
        view.store(HEADER_BYTES, 2, Ordering::Relaxed);
    });
    assert_eq!(view.unwrap().load(HEADER_BYTES), 1);
}

#[test]
fn descriptors_are_checked_as_those_of_a_peer() {
    PrivateView::open(memfd_with(&header()), &expected()).unwrap();
    let missing = SEALS.difference(rustix::fs::SealFlags::SHRINK);
    let error = PrivateView::open(memfd(&header().encode(), TOTAL_BYTES, missing), &expected()).unwrap_err();
    assert!(matches!(&error, OpenError::Unsealed { missing, .. } if missing == "SHRINK"), "{error}");
    let error = PrivateView::open(memfd(&[], TOTAL_BYTES, SEALS), &expected()).unwrap_err();
    assert!(matches!(error, OpenError::Magic { .. }), "{error}");
}
