//! Each refusal of a foreign descriptor, by name.

mod support;

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use strait_region::{Expected, Header, OpenError, PeerRegion};
use support::{SEALS, SESSION, TOTAL_BYTES, expected, header, memfd, memfd_with, own, refusal, reopen, sent};

#[test]
fn well_made_memory_opens() {
    PeerRegion::open(memfd_with(&header()), &expected()).unwrap();
}

fn check_missing_seals(seals: SealFlags, expected_missing: &str) {
    match refusal(memfd(&header().encode(), TOTAL_BYTES, seals)) {
        OpenError::Unsealed { missing, .. } => assert_eq!(missing, expected_missing),
        other => panic!("{other}"),
    }
}

#[test]
fn memory_without_seals() {
    check_missing_seals(SealFlags::empty(), "GROW|SHRINK|FUTURE_WRITE|SEAL");
}

#[test]
fn memory_that_could_shrink() {
    check_missing_seals(SEALS.difference(SealFlags::SHRINK), "SHRINK");
}

#[test]
fn memory_that_could_grow() {
    check_missing_seals(SEALS.difference(SealFlags::GROW), "GROW");
}

#[test]
fn memory_that_others_could_write() {
    check_missing_seals(SEALS.difference(SealFlags::FUTURE_WRITE), "FUTURE_WRITE");
}

#[test]
fn memory_whose_seals_could_change() {
    check_missing_seals(SEALS.difference(SealFlags::SEAL), "SEAL");
}

#[test]
fn memory_that_was_made_without_sealing_has_but_the_seal_on_seals() {
    let fd = memfd_create("strait-region:test", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::fallocate(&fd, rustix::fs::FallocateFlags::empty(), 0, TOTAL_BYTES).unwrap();
    match refusal(fd) {
        OpenError::Unsealed { found, missing } => {
            assert_eq!((&*found, &*missing), ("SEAL", "GROW|SHRINK|FUTURE_WRITE"))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn memory_that_is_shorter_than_a_header_or_no_whole_pages() {
    for bytes in [0, 1, 100, 4095, 4097, TOTAL_BYTES - 1] {
        let error = refusal(memfd(&[], bytes, SEALS));
        assert!(matches!(error, OpenError::Size { found, page_bytes: _ } if found == bytes), "{error}");
    }
}

#[test]
fn memory_with_holes() {
    let fd = memfd_create("strait-region:test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, TOTAL_BYTES).unwrap();
    rustix::io::pwrite(&fd, &header().encode(), 0).unwrap();
    fcntl_add_seals(&fd, SEALS).unwrap();
    let error = refusal(fd);
    assert!(matches!(error, OpenError::Holes { size_bytes: TOTAL_BYTES, allocated_bytes: 4096 }), "{error}");
}

#[test]
fn memory_larger_than_the_limit() {
    let own = own();
    let tight = Expected { max_total_bytes: TOTAL_BYTES - 1, ..expected() };
    let error = PeerRegion::open(sent(&own), &tight).unwrap_err();
    assert!(matches!(error, OpenError::TooLarge { bytes: TOTAL_BYTES, max } if max == TOTAL_BYTES - 1), "{error}");
    PeerRegion::open(sent(&own), &Expected { max_total_bytes: TOTAL_BYTES, ..expected() }).unwrap();
}

#[test]
fn memory_that_claims_to_be_huge_and_is_a_hole() {
    let fd = memfd_create("strait-region:test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, 1 << 50).unwrap();
    let limitless = Expected { max_total_bytes: u64::MAX, ..expected() };
    let error = PeerRegion::open(fd, &limitless).unwrap_err();
    assert!(matches!(error, OpenError::Holes { allocated_bytes: 0, .. }), "{error}");
}

#[test]
fn a_file_on_disk() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("region-{}", std::process::id()));
    std::fs::write(&path, [0; 8192]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = refusal(file);
    // Where the build directory is on tmpfs, the file has the seal on seals that all such files have.
    assert!(matches!(error, OpenError::NotSealable | OpenError::Unsealed { .. }), "{error}");
}

#[test]
fn a_file_of_the_kernel_is_not_read() {
    let error = refusal(std::fs::File::open("/proc/self/maps").unwrap());
    assert!(matches!(error, OpenError::NotSealable), "{error}");
}

fn check_not_regular(fd: impl Into<OwnedFd>, expected: &str) {
    match refusal(fd) {
        OpenError::NotRegular { found } => assert_eq!(found, expected),
        other => panic!("{other}"),
    }
}

#[test]
fn dev_null() {
    check_not_regular(std::fs::File::open("/dev/null").unwrap(), "a character device");
}

#[test]
fn a_pipe() {
    let (read, write) = rustix::pipe::pipe().unwrap();
    check_not_regular(read, "a pipe");
    check_not_regular(write, "a pipe");
}

#[test]
fn a_socket() {
    check_not_regular(std::os::unix::net::UnixStream::pair().unwrap().0, "a socket");
}

#[test]
fn a_directory() {
    check_not_regular(std::fs::File::open("/").unwrap(), "a directory");
}

#[test]
fn a_descriptor_that_is_only_a_place() {
    let error = refusal(reopen(memfd_with(&header()), OFlags::PATH).unwrap());
    assert!(matches!(error, OpenError::Io { operation: "reading the seals", .. }), "{error}");
}

#[test]
fn a_descriptor_that_cannot_be_read() {
    // Opened anew: the only one that there is may write and not read.
    let error = refusal(reopen(memfd_with(&header()), OFlags::WRONLY).unwrap());
    assert!(matches!(error, OpenError::Io { operation: "reading the header", .. }), "{error}");
}

#[test]
fn memory_of_huge_pages() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    match memfd_create("strait-region:test", flags) {
        Ok(fd) => assert!(matches!(refusal(fd), OpenError::NotTmpfs { found: 0x9584_58f6 })),
        Err(errno) => eprintln!("not tried, this kernel has no huge pages: {errno}"),
    }
}

fn with(change: impl FnOnce(&mut Header)) -> OpenError {
    let mut header = header();
    change(&mut header);
    refusal(memfd_with(&header))
}

#[test]
fn zeroes() {
    let error = refusal(memfd(&[], TOTAL_BYTES, SEALS));
    assert!(matches!(error, OpenError::Magic { found: 0, .. }), "{error}");
}

#[test]
fn a_bad_magic_number() {
    let mut bytes = header().encode();
    bytes[7] ^= 1;
    let error = refusal(memfd(&bytes, TOTAL_BYTES, SEALS));
    assert!(matches!(error, OpenError::Magic { found, expected } if found ^ expected == 1 << 56), "{error}");
}

#[test]
fn a_wrong_version() {
    let mut bytes = header().encode();
    bytes[8] = 9;
    let error = refusal(memfd(&bytes, TOTAL_BYTES, SEALS));
    assert!(matches!(error, OpenError::Version { found: 9, expected: 1 }), "{error}");
}

#[test]
fn a_wrong_kind() {
    let error = with(|header| header.kind = 8);
    assert!(matches!(error, OpenError::Kind { found: 8, expected: 7 }), "{error}");
}

#[test]
fn a_wrong_layout() {
    let error = with(|header| header.layout_hash = 1);
    assert!(matches!(error, OpenError::LayoutHash { found: 1, expected: 0xabcd }), "{error}");
}

#[test]
fn a_header_that_lies_about_the_size() {
    for total_bytes in [0, TOTAL_BYTES - 4096, TOTAL_BYTES + 4096, u64::MAX] {
        let error = with(|header| header.total_bytes = total_bytes);
        assert!(
            matches!(error, OpenError::TotalBytes { found, expected: TOTAL_BYTES } if found == total_bytes),
            "{error}"
        );
    }
}

#[test]
fn a_capacity_that_is_no_power_of_two_or_does_not_fit() {
    for capacity in [3, 16 * 1024 - 1, 32 * 1024, 1 << 63, u64::MAX] {
        let error = with(|header| header.ring_capacity_bytes = capacity);
        assert!(matches!(error, OpenError::RingCapacity { found, max: 28672 } if found == capacity), "{error}");
    }
}

#[test]
fn a_largest_message_beyond_the_ring() {
    for max_message_bytes in [16 * 1024 + 1, u64::MAX] {
        let error = with(|header| header.max_message_bytes = max_message_bytes);
        assert!(matches!(error, OpenError::MaxMessage { found, max: 16384 } if found == max_message_bytes), "{error}");
    }
}

#[test]
fn an_alignment_that_is_not_in_use() {
    for align_bytes in [0, 8, 32, 128, u32::MAX] {
        let error = with(|header| header.record_align_bytes = align_bytes);
        assert!(matches!(error, OpenError::Alignment { found } if found == align_bytes), "{error}");
    }
}

#[test]
fn another_session() {
    let error = with(|header| header.session[15] ^= 0xff);
    assert!(matches!(error, OpenError::Session { expected: SESSION, .. }), "{error}");
    assert!(error.to_string().contains("612073657373696f6e206f662031362e"), "{error}");
}
