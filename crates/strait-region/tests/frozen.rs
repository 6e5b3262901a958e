//! Frozen memory: what nobody can do to it, and what is not taken for it.

mod support;

use std::{
    os::fd::{AsFd, OwnedFd},
    ptr::null_mut,
    sync::atomic::Ordering,
};

use rustix::{
    fs::{FallocateFlags, MemfdFlags, OFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create},
    io::Errno,
    mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap},
};
use strait_region::{CreateError, Forked, FrozenDraft, FrozenRegion, OpenError};
use strait_sync::{Words, WordsMut};
use support::{in_child, memfd, reopen};

const FROZEN: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

fn frozen(bytes: &[u8]) -> FrozenRegion {
    FrozenRegion::from_bytes("strait-region:test", bytes).unwrap()
}

fn sent(frozen: &FrozenRegion) -> OwnedFd {
    frozen.fd().try_clone_to_owned().unwrap()
}

/// The descriptor of the memfd named `name` of this process, as one that went through `/proc` would get it.
fn stolen(name: &str) -> OwnedFd {
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read_link(&path).is_ok_and(|link| link.to_string_lossy().contains(name)) {
            return rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty()).unwrap();
        }
    }
    panic!("no {name}");
}

#[test]
fn bytes_of_any_length_come_out_as_they_went_in() {
    for len in [1, 7, 8, 4095, 4096, 4097, 100_000] {
        let bytes: Vec<u8> = (0..len).map(|index| index as u8).collect();
        let own = frozen(&bytes);
        let peer = FrozenRegion::open(sent(&own), len as u64).unwrap();
        assert_eq!((&*own, peer.as_ref()), (&*bytes, &*bytes));
        assert_eq!(peer.as_ptr().align_offset(4096), 0);
        assert_eq!((peer.len_bytes(), peer.raw().as_ptr(0, 0).as_ptr().cast_const()), (len & !7, peer.as_ptr()));
    }
}

#[test]
fn a_draft_is_filled_in_place_and_cut_to_what_was_written() {
    let draft = FrozenDraft::create("strait-region:test", 10_000).unwrap();
    assert_eq!((draft.len_bytes(), draft.load(8)), (12_288, 0));
    draft.copy_in(0, &[0xff; 12_288]);
    draft.store(4096, 7, Ordering::Relaxed);
    let frozen = draft.freeze(4100).unwrap();
    assert_eq!((frozen.len(), &frozen[4090..]), (4100, &[255, 255, 255, 255, 255, 255, 7, 0, 0, 0][..]));
    let peer = FrozenRegion::open(sent(&frozen), 1 << 20).unwrap();
    assert_eq!(&*peer, &*frozen);
}

#[test]
fn lengths_that_cannot_be() {
    let none = FrozenRegion::from_bytes("strait-region:test", b"").unwrap_err();
    assert!(matches!(none, CreateError::FrozenLength { bytes: 0, .. }), "{none}");
    for len in [0, 4097, u64::MAX] {
        let error = FrozenDraft::create("strait-region:test", 1).unwrap().freeze(len).unwrap_err();
        assert!(matches!(error, CreateError::FrozenLength { bytes, max: 4096 } if bytes == len), "{error}");
    }
    for len in [1 << 50, u64::MAX] {
        let error = FrozenDraft::create("strait-region:test", len).unwrap_err();
        assert!(matches!(error, CreateError::TooLarge { .. }), "{error}");
    }
    let error = FrozenDraft::create("a\0b", 1).unwrap_err();
    assert!(matches!(error, CreateError::NameWithNul { at: 1 }), "{error}");
}

#[test]
fn no_descriptor_writes_it_neither_one_from_before_it_was_frozen() {
    let draft = FrozenDraft::create("strait-region:test-early", 8192).unwrap();
    draft.copy_in(0, b"as it was");
    let early = stolen("strait-region:test-early");
    assert_eq!(rustix::io::pwrite(&early, b"A", 0), Ok(1), "before, it can");
    let frozen = draft.freeze(8192).unwrap();
    let again = reopen(frozen.fd(), OFlags::RDWR).expect("a memfd may be opened anew, but that changes nothing");
    for fd in [early.as_fd(), again.as_fd(), frozen.fd()] {
        assert_eq!(rustix::io::pwrite(fd, b"x", 0), Err(Errno::PERM));
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert_eq!(fallocate(fd, punch, 0, 4096), Err(Errno::PERM));
        assert_eq!(ftruncate(fd, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(fd, 1 << 20), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(fd, SealFlags::FUTURE_WRITE), Err(Errno::PERM));
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a mapping at an address of the kernel's choice, which nothing accesses.
        assert_eq!(unsafe { mmap(null_mut(), 8192, access, MapFlags::SHARED, fd, 0) }, Err(Errno::PERM));
    }
    let access = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: asks for more access to a mapping that stays where it is.
    let upgraded = unsafe { mprotect(frozen.as_ptr().cast_mut().cast(), 8192, access) };
    assert_eq!(upgraded, Err(Errno::ACCESS));
    assert!(frozen.starts_with(b"As it was"));
}

#[test]
fn memory_that_somebody_has_mapped_writable_cannot_be_frozen() {
    for access in [ProtFlags::READ | ProtFlags::WRITE, ProtFlags::READ] {
        let draft = FrozenDraft::create("strait-region:test-mapped", 4096).unwrap();
        let fd = stolen("strait-region:test-mapped");
        // SAFETY: a mapping at an address of the kernel's choice, which nothing accesses. One that only reads, of a
        // descriptor that may write, could be made to write later.
        let mapped = unsafe { mmap(null_mut(), 4096, access, MapFlags::SHARED, &fd, 0) }.unwrap();
        let error = draft.freeze(4096).unwrap_err();
        assert!(matches!(error, CreateError::StillMapped), "{error}");
        // SAFETY: the mapping from above, which nothing uses.
        unsafe { munmap(mapped, 4096) }.unwrap();
    }
}

#[test]
fn memory_that_is_not_frozen_is_refused_by_the_name_of_the_missing_seal() {
    for (seal, name) in [
        (SealFlags::WRITE, "WRITE"),
        (SealFlags::GROW, "GROW"),
        (SealFlags::SHRINK, "SHRINK"),
        (SealFlags::SEAL, "SEAL"),
    ] {
        let error = FrozenRegion::open(memfd(b"x", 4096, FROZEN.difference(seal)), 4096).unwrap_err();
        assert!(matches!(&error, OpenError::Unsealed { missing, .. } if missing == name), "{error}");
    }
    let almost = support::SEALS; // FUTURE_WRITE leaves the maker able to write
    let error = FrozenRegion::open(memfd(b"x", 4096, almost), 4096).unwrap_err();
    assert!(matches!(&error, OpenError::Unsealed { missing, .. } if missing == "WRITE"), "{error}");
    FrozenRegion::open(memfd(b"x", 4096, FROZEN | SealFlags::FUTURE_WRITE), 4096).expect("more seals are fine");
}

#[test]
fn other_things_are_refused() {
    let open = |fd: OwnedFd| FrozenRegion::open(fd, 1 << 20).unwrap_err();
    assert!(matches!(open(std::fs::File::open("/dev/null").unwrap().into()), OpenError::NotRegular { .. }));
    assert!(matches!(open(std::fs::File::open("/proc/self/maps").unwrap().into()), OpenError::NotSealable));
    assert!(matches!(open(memfd(b"", 0, FROZEN)), OpenError::Empty));
    let error = FrozenRegion::open(memfd(b"x", 4097, FROZEN), 4096).unwrap_err();
    assert!(matches!(error, OpenError::TooLarge { bytes: 4097, max: 4096 }), "{error}");
    let holes = memfd_create("strait-region:test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&holes, 8192).unwrap();
    fcntl_add_seals(&holes, FROZEN).unwrap();
    assert!(matches!(open(holes), OpenError::Holes { .. }));
}

#[test]
fn a_descriptor_that_only_reads_opens_and_one_that_cannot_does_not() {
    let own = frozen(b"read only");
    let fd = reopen(own.fd(), OFlags::RDONLY).unwrap();
    assert_eq!(&*FrozenRegion::open(fd, 4096).unwrap(), b"read only");
    let fd = reopen(own.fd(), OFlags::WRONLY).unwrap();
    let error = FrozenRegion::open(fd, 4096).unwrap_err();
    assert!(matches!(error, OpenError::Io { operation: "mapping the frozen memory", .. }), "{error}");
}

#[test]
fn a_forked_child_reads_and_drops_it_as_its_own_and_cannot_freeze_its_parents_draft() {
    let mut own = Some(frozen(b"inherited"));
    let mut draft = Some(FrozenDraft::create("strait-region:test", 4096).unwrap());
    in_child(|| {
        let own = own.take().unwrap();
        assert_eq!(&*own, b"inherited");
        drop(own);
        let draft = draft.take().unwrap();
        assert_eq!(draft.check_fork(), Err(Forked));
        assert!(matches!(draft.freeze(1), Err(CreateError::Forked(_))));
        assert_eq!(&*frozen(b"my own"), b"my own");
    });
    assert_eq!(&*own.unwrap(), b"inherited");
    assert_eq!(&*draft.unwrap().freeze(1).unwrap(), b"\0");
}

#[test]
fn frozen_memory_goes_to_other_threads() {
    let own = frozen(b"everywhere");
    std::thread::spawn(move || assert_eq!(&*own, b"everywhere")).join().unwrap();
}
