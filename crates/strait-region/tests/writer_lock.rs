//! The writer lock within one process and its forked children. Other processes: `named_processes.rs`.

mod support;

use rustix::fs::SealFlags;
use strait_region::{FrozenRegion, WriterLock, WriterLockError};
use support::{in_child, memfd, own, reopen, scratch::Scratch, sent};

#[track_caller]
fn check_taken(fd: impl std::os::fd::AsFd) {
    let again = WriterLock::try_acquire(fd);
    assert!(matches!(again, Err(WriterLockError::WriterTaken)), "{again:?}");
}

#[test]
fn a_region_has_one_writer_at_a_time() {
    let own = own();
    let lock = WriterLock::try_acquire(own.fd()).unwrap();
    assert!(lock.is_held());
    check_taken(own.fd());
    check_taken(sent(&own));
    drop(lock);
    let _lock = WriterLock::try_acquire(sent(&own)).unwrap();
    check_taken(own.fd());
}

#[test]
fn two_regions_have_two_writers() {
    let (first, second) = (own(), own());
    let _first = WriterLock::try_acquire(first.fd()).unwrap();
    let _second = WriterLock::try_acquire(second.fd()).unwrap();
}

#[test]
fn memfds_of_any_seals_and_descriptors_that_only_read_will_do() {
    let open = memfd(&[], 4096, SealFlags::empty());
    let frozen = FrozenRegion::from_bytes("strait-region:test", b"x").unwrap();
    let read_only = reopen(&open, rustix::fs::OFlags::RDONLY).unwrap();
    let _lock = WriterLock::try_acquire(&open).unwrap();
    let _frozen = WriterLock::try_acquire(frozen.fd()).unwrap();
    check_taken(read_only);
}

#[test]
fn the_owner_of_a_named_region_may_also_be_its_writer() {
    for scratch in Scratch::both("lock") {
        let region = scratch.create("a");
        let _lock = WriterLock::try_acquire(region.fd()).unwrap();
        check_taken(scratch.open("a").fd());
        assert!(region.has_owner().unwrap());
    }
}

#[test]
fn the_lock_outlives_the_region_that_it_was_taken_by() {
    let own = own();
    let other = sent(&own);
    let lock = WriterLock::try_acquire(own.fd()).unwrap();
    drop(own);
    check_taken(&other);
    drop(lock);
    let _lock = WriterLock::try_acquire(other).unwrap();
}

#[test]
fn the_kernel_frees_the_lock_of_a_process_that_ends() {
    let own = own();
    in_child(|| {
        std::mem::forget(WriterLock::try_acquire(own.fd()).unwrap());
        check_taken(own.fd());
    });
    let _lock = WriterLock::try_acquire(own.fd()).unwrap();
}

#[test]
fn a_forked_child_is_no_holder_and_its_drop_frees_nothing() {
    let own = own();
    let mut lock = Some(WriterLock::try_acquire(own.fd()).unwrap());
    in_child(|| {
        let lock = lock.take().unwrap();
        assert!(!lock.is_held());
        check_taken(own.fd());
        drop(lock);
        check_taken(own.fd());
    });
    check_taken(own.fd());
    assert!(lock.as_ref().unwrap().is_held());
}

#[test]
fn a_drop_frees_the_lock_though_a_forked_child_inherited_it() {
    let own = own();
    let lock = WriterLock::try_acquire(own.fd()).unwrap();
    let (read, write) = rustix::pipe::pipe().unwrap();
    // SAFETY: the child waits for the end of a pipe and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(write);
        let _ = rustix::io::read(&read, &mut [0; 1]);
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(0) };
    }
    drop(lock);
    let again = WriterLock::try_acquire(own.fd());
    drop(write);
    // SAFETY: waits for the child from above.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
    drop(again.unwrap());
}

#[test]
fn what_cannot_be_opened_anew_is_a_typed_error() {
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let error = WriterLock::try_acquire(socket).unwrap_err();
    assert!(matches!(error, WriterLockError::Io { .. }), "{error}");
    assert!(error.to_string().contains("/proc/self/fd"), "{error}");
}
