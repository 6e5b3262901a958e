//! One region seen from both sides, and what nobody can do to it.

mod support;

use std::{os::unix::fs::FileExt, ptr::null_mut, sync::atomic::Ordering};

use rustix::{
    fs::{FallocateFlags, OFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate},
    io::Errno,
    mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap},
};
use strait_region::{CreateError, Expected, HEADER_BYTES, Header, OpenError, OwnRegion, PeerRegion};
use strait_sync::{Words, WordsMut};
use support::{TOTAL_BYTES, expected, header, own, peer, reopen, sent};

#[test]
fn a_store_by_the_owner_is_seen_by_the_peer() {
    let own = own();
    let peer = peer(&own);
    assert_eq!((own.len_bytes() as u64, peer.len_bytes() as u64), (TOTAL_BYTES, TOTAL_BYTES));
    let last = own.len_bytes() - 8;
    assert_eq!(peer.load(last), 0);
    own.store(last, 42, Ordering::Release);
    own.copy_in(HEADER_BYTES, b"sixteen bytes ok");
    assert_eq!(peer.load(last), 42);
    let mut words = [0; 2];
    peer.copy_out(HEADER_BYTES, &mut words);
    assert_eq!(words.map(u64::to_le_bytes).concat(), b"sixteen bytes ok");
}

#[test]
fn the_peer_keeps_what_it_checked_when_the_owner_rewrites_its_header() {
    let own = own();
    let peer = peer(&own);
    own.copy_in(0, &[0xff; 128]);
    assert_eq!(peer.header(), &header());
    assert_eq!(own.header(), &header());
}

#[test]
fn the_peer_keeps_its_memory_when_the_owner_is_gone() {
    let own = own();
    let peer = peer(&own);
    own.store(HEADER_BYTES, 5, Ordering::Relaxed);
    drop(own);
    assert_eq!(peer.load(HEADER_BYTES), 5);
}

#[test]
fn regions_go_to_other_threads() {
    fn check<T: Send + Sync + 'static>(_: &T) {}
    let own = own();
    check(&own);
    let peer = peer(&own);
    check(&peer);
    std::thread::spawn(move || own.store(HEADER_BYTES, 9, Ordering::Release)).join().unwrap();
    assert_eq!(peer.load(HEADER_BYTES), 9);
}

#[test]
fn a_tool_may_open_any_session() {
    let own = own();
    PeerRegion::open(sent(&own), &Expected { session: None, ..expected() }).unwrap();
}

#[test]
fn a_region_without_a_ring_opens_whatever_its_largest_message() {
    let header = Header { total_bytes: 4096, ring_capacity_bytes: 0, max_message_bytes: 1 << 20, ..header() };
    let own = OwnRegion::create("strait-region:test", &header).unwrap();
    assert_eq!(peer(&own).header(), &header);
}

#[test]
fn a_frozen_or_otherwise_more_sealed_memfd_opens_too() {
    let seals = support::SEALS | SealFlags::WRITE;
    let fd = support::memfd(&header().encode(), TOTAL_BYTES, seals);
    assert_eq!(PeerRegion::open(fd, &expected()).unwrap().header(), &header());
}

#[test]
fn the_peers_mapping_cannot_be_made_writable() {
    let own = own();
    let peer = peer(&own);
    let address = peer.raw().as_ptr(0, 0).as_ptr();
    let access = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: this asks for more access to a mapping that stays where it is.
    let answer = unsafe { mprotect(address.cast(), peer.len_bytes(), access) };
    assert_eq!(answer, Err(Errno::ACCESS));
    let memory = std::fs::OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
    memory.write_at(b"x", address as u64 + 5000).unwrap_err();
    assert_eq!(peer.load(5000), 0);
}

#[test]
fn a_sent_descriptor_cannot_be_mapped_writable_written_punched_resized_or_unsealed() {
    let own = own();
    let fd = sent(&own);
    let again = reopen(&fd, OFlags::RDWR).expect("a memfd may be opened anew, but that changes nothing");
    let len = own.len_bytes();
    for fd in [&fd, &again] {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a mapping at an address of the kernel's choice, which nothing accesses.
        let writable = unsafe { mmap(null_mut(), len, access, MapFlags::SHARED, fd, 0) };
        assert_eq!(writable, Err(Errno::PERM));
        // SAFETY: as above.
        let readable = unsafe { mmap(null_mut(), len, ProtFlags::READ, MapFlags::SHARED, fd, 0) }.unwrap();
        // SAFETY: asks for more access to the mapping from above.
        let upgraded = unsafe { mprotect(readable, len, MprotectFlags::READ | MprotectFlags::WRITE) };
        assert_eq!(upgraded, Err(Errno::ACCESS));
        // SAFETY: the mapping from above, which nothing uses.
        unsafe { munmap(readable, len) }.unwrap();

        assert_eq!(rustix::io::pwrite(fd, b"x", 4096), Err(Errno::PERM));
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert_eq!(fallocate(fd, punch, 4096, 4096), Err(Errno::PERM));
        assert_eq!(ftruncate(fd, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(fd, 2 * TOTAL_BYTES), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(fd, SealFlags::WRITE), Err(Errno::PERM));
    }
}

#[test]
fn not_even_the_owner_can_punch_holes_through_its_mapping() {
    let own = own();
    own.store(4096, 3, Ordering::Relaxed);
    let address = own.raw().as_ptr(4096, 4096).as_ptr();
    // SAFETY: MADV_REMOVE on a page of our own region, whose words are atomics: at worst they become zero.
    let answer = unsafe { rustix::mm::madvise(address.cast(), 4096, rustix::mm::Advice::LinuxRemove) };
    assert_eq!(answer, Err(Errno::PERM));
    assert_eq!(own.load(4096), 3);
}

#[test]
fn the_memory_has_its_name_and_closes_on_exec() {
    let own = OwnRegion::create("strait:records:name-test", &header()).unwrap();
    assert!(std::fs::read_to_string("/proc/self/maps").unwrap().contains("memfd:strait:records:name-test"));
    assert!(rustix::io::fcntl_getfd(own.fd()).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn names_that_the_kernel_would_not_take_are_refused() {
    let error = OwnRegion::create("a\0b", &header()).unwrap_err();
    assert!(matches!(error, CreateError::NameWithNul { at: 1 }), "{error}");
    let error = OwnRegion::create(&"n".repeat(250), &header()).unwrap_err();
    assert!(matches!(error, CreateError::NameTooLong { bytes: 250, max: 249 }), "{error}");
    OwnRegion::create(&"n".repeat(249), &header()).unwrap();
}

#[test]
fn more_memory_than_the_machine_has_is_a_typed_error() {
    for total_bytes in [1 << 50, 1 << 62, u64::MAX - 4095] {
        let error = OwnRegion::create("strait-region:test", &Header { total_bytes, ..header() }).unwrap_err();
        assert!(matches!(error, CreateError::TooLarge { bytes, .. } if bytes == total_bytes), "{error}");
    }
}

#[test]
fn a_header_that_no_peer_would_open_is_refused_at_creation() {
    let create = |header: Header| match OwnRegion::create("strait-region:test", &header) {
        Err(CreateError::Header(error)) => error,
        other => panic!("created {other:?}"),
    };
    for total_bytes in [0, 2048, TOTAL_BYTES + 1] {
        let error = create(Header { total_bytes, ..header() });
        assert!(matches!(error, OpenError::Size { found, .. } if found == total_bytes), "{error}");
    }
    assert!(matches!(create(Header { ring_capacity_bytes: 3, ..header() }), OpenError::RingCapacity { found: 3, .. }));
    assert!(matches!(create(Header { record_align_bytes: 8, ..header() }), OpenError::Alignment { found: 8 }));
    let error = create(Header { max_message_bytes: 16 * 1024 + 1, ..header() });
    assert!(matches!(error, OpenError::MaxMessage { max: 16384, .. }), "{error}");
}
