//! A forked child: what is its parent's, what is its own.

mod support;

use std::{os::fd::AsRawFd, sync::atomic::Ordering};

use strait_region::{ForkToken, Forked, HEADER_BYTES};
use strait_sync::{Words, WordsMut};
use support::{in_child, own, peer};

#[test]
fn the_parents_regions_are_forked_in_the_child_and_only_there() {
    let own = own();
    let peer = peer(&own);
    in_child(|| {
        assert_eq!(own.check_fork(), Err(Forked));
        assert_eq!(peer.check_fork(), Err(Forked));
        assert!(own.check_fork().is_err(), "asking does not change the answer");
    });
    assert_eq!((own.check_fork(), peer.check_fork()), (Ok(()), Ok(())));
}

#[test]
fn a_drop_in_the_child_neither_unmaps_nor_closes() {
    let own = own();
    let peer = peer(&own);
    let (number, own_at, peer_at) = (own.fd().as_raw_fd(), own.raw().as_ptr(0, 0), peer.raw().as_ptr(0, 0));
    let (mut own, mut peer) = (Some(own), Some(peer));
    in_child(|| {
        // Something else takes the descriptor's number and the addresses, as can happen in a child.
        let other = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        // SAFETY: replaces a descriptor that this child does not use.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        for address in [own_at, peer_at] {
            let (read, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE);
            // SAFETY: the flags make it fail where something is mapped; that it does not fail shows that the child
            // did not inherit the regions.
            let at = unsafe { libc::mmap(address.as_ptr().cast(), 4096, read, flags, -1, 0) };
            assert_eq!(at.cast(), address.as_ptr());
        }
        drop((own.take(), peer.take()));
        // SAFETY: asks about a descriptor by its number.
        assert!(unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0, "still open");
        for address in [own_at, peer_at] {
            // SAFETY: reads the page that was mapped above, and dies by a signal where it was unmapped.
            assert_eq!(unsafe { address.as_ptr().read_volatile() }, 0);
        }
    });
    let (own, peer) = (own.unwrap(), peer.unwrap());
    own.store(HEADER_BYTES, 11, Ordering::Release);
    assert_eq!(peer.load(HEADER_BYTES), 11);
}

#[test]
fn regions_that_the_child_makes_work_there() {
    let parents = own();
    in_child(|| {
        let own = own();
        let peer = peer(&own);
        own.store(HEADER_BYTES, 21, Ordering::Release);
        assert_eq!(peer.load(HEADER_BYTES), 21);
        assert_eq!((own.check_fork(), peer.check_fork()), (Ok(()), Ok(())));
        assert_eq!(parents.check_fork(), Err(Forked), "a token of the child does not revive those of its parent");
    });
    assert_eq!(parents.check_fork(), Ok(()));
}

#[test]
fn a_descriptor_of_the_parent_may_be_opened_by_the_child() {
    let own = own();
    in_child(|| {
        let peer = peer(&own);
        assert_eq!(peer.header(), own.header());
        assert_eq!(peer.check_fork(), Ok(()));
    });
}

#[test]
fn a_grandchild_owns_neither_its_parents_nor_its_grandparents() {
    let first = ForkToken::current().unwrap();
    in_child(|| {
        let second = ForkToken::current().unwrap();
        in_child(|| {
            assert!(first.is_forked() && second.is_forked());
            let third = ForkToken::current().unwrap();
            assert!(first.is_forked() && second.is_forked() && !third.is_forked());
        });
        assert!(first.is_forked() && !second.is_forked());
    });
    assert!(!first.is_forked());
}

#[test]
fn siblings_and_a_second_token_of_the_same_process_agree() {
    let tokens = [ForkToken::current().unwrap(), ForkToken::current().unwrap()];
    for _ in 0..3 {
        in_child(|| {
            assert!(tokens.iter().all(ForkToken::is_forked));
            assert!(!ForkToken::current().unwrap().is_forked());
        });
    }
    assert!(tokens.iter().all(|token| token.check().is_ok()));
}

#[test]
fn threads_that_ask_at_once_all_get_a_valid_token() {
    in_child(|| {
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| ForkToken::current().unwrap())).collect();
        for thread in threads {
            assert!(!thread.join().unwrap().is_forked());
        }
    });
}
