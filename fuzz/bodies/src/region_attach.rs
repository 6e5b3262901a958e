//! Memory from somebody else: any size, any seals, any header, whatever kind of descriptor.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

use arbitrary::Unstructured;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{AddressFamily, SocketType};
use strait::{
    region::{Expected, FrozenRegion, HEADER_BYTES, Header, OpenError, PeerRegion},
    sync::Words,
};

/// What is mapped at most.
const MAX_BYTES: u64 = 16 << 12;

pub(crate) fn body(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(Header::decode(&header.encode()).ok(), Some(header));
    }
    let mut input = Unstructured::new(bytes);
    let Some(fd) = descriptor(&mut input) else { return };
    let frozen = fd.try_clone().expect("a descriptor");
    let seals = rustix::fs::fcntl_get_seals(fd.as_fd());
    let expected = Expected { kind: 1, layout_hash: 7, max_total_bytes: MAX_BYTES, session: None };
    let needed = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    match PeerRegion::open(fd, &expected) {
        Err(error) => typed(&error),
        Ok(region) => {
            assert!(seals.is_ok_and(|seals| seals.contains(needed | SealFlags::FUTURE_WRITE)));
            assert_eq!(region.header().total_bytes, region.len_bytes() as u64);
            assert!((HEADER_BYTES as u64..=MAX_BYTES).contains(&region.header().total_bytes));
            (0..region.len_bytes()).step_by(8).for_each(|offset| {
                std::hint::black_box(region.load(offset));
            });
        }
    }
    match FrozenRegion::open(frozen, MAX_BYTES) {
        Err(error) => typed(&error),
        Ok(region) => {
            assert!(seals.is_ok_and(|seals| seals.contains(needed | SealFlags::WRITE)));
            std::hint::black_box(region.iter().map(|&byte| u64::from(byte)).sum::<u64>());
        }
    }
}

/// A descriptor as the input says: mostly memory with most of what it needs.
fn descriptor(input: &mut Unstructured<'_>) -> Option<OwnedFd> {
    let (kind, pages, sealed, odd): (u8, u8, u8, u16) = input.arbitrary().ok()?;
    match kind {
        0 => return Some(File::open("/dev/null").ok()?.into()),
        1 => {
            return rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).ok();
        }
        2 => return Some(File::open("/proc/self/exe").ok()?.into()),
        _ => {}
    }
    let fd = memfd_create("strait-fuzz", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).ok()?;
    let size = u64::from(pages % 20) << 12 | u64::from(if kind == 3 { odd } else { 0 });
    ftruncate(&fd, size).ok()?;
    if size > 0 && kind != 4 {
        fallocate(&fd, FallocateFlags::empty(), 0, size).ok()?;
    }
    let content = input.bytes(input.len()).ok()?;
    let content = &content[..content.len().min(size as usize)];
    rustix::io::pwrite(&fd, content, 0).ok()?;
    let mut seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL | SealFlags::FUTURE_WRITE;
    for (bit, seal) in
        [SealFlags::GROW, SealFlags::SHRINK, SealFlags::SEAL, SealFlags::FUTURE_WRITE].into_iter().enumerate()
    {
        if sealed & 1 << bit != 0 {
            seals.remove(seal);
        }
    }
    if sealed & 0x10 != 0 {
        seals |= SealFlags::WRITE;
    }
    fcntl_add_seals(&fd, seals).ok()?;
    Some(fd)
}

fn typed(error: &OpenError) {
    assert!(!matches!(error, OpenError::Io { .. }), "the kernel had a word that no check foresaw: {error:?}");
    assert!(!error.to_string().is_empty());
}
