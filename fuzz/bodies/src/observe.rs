//! Segments of others as a tool finds them: headers that go together or do not, and words that are anything.

use std::os::fd::{AsFd, OwnedFd};

use arbitrary::Unstructured;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use strait::{
    region::Header,
    transport::{
        fuzz,
        observe::{ObserveError, Observed, Reading},
    },
};

use crate::next;

/// The most that a segment has here.
const MAX_BYTES: u64 = 32 << 12;

pub(crate) fn body(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let (Some(one), Some(other)) = (observed(&mut input), observed(&mut input)) else { return };
    for observed in [&one, &other] {
        check(observed, &observed.read());
    }
    for (own, peer) in [(&one, &other), (&other, &one), (&one, &one)] {
        match own.occupied_bytes(peer) {
            Ok(bytes) => assert!(bytes <= own.ring_capacity_bytes() && own.session() == peer.session()),
            Err(lie) => assert!(!lie.to_string().is_empty()),
        }
    }
}

fn check(observed: &Observed, reading: &Reading) {
    assert!(reading.owner().is_none_or(|owner| owner.pid <= 1 << 22));
    match reading {
        Reading::End(end) if end.lie.is_none() => {
            assert!(end.stats.high_water_bytes <= observed.ring_capacity_bytes());
            assert_ne!(end.owner.pid, 0);
        }
        Reading::State(state) if state.lie.is_none() => {
            let (slots, max_pins) = observed.slots_and_max_pins().expect("a state has slots");
            assert!(state.stats.pins <= max_pins && max_pins < slots);
        }
        _ => {}
    }
    if let Some(lie) = reading.lie() {
        assert!(!lie.to_string().is_empty());
    }
}

/// The next segment of the input, if it is one that a tool takes.
fn observed(input: &mut Unstructured<'_>) -> Option<Observed> {
    match Observed::open(segment(input)?) {
        Ok(observed) => Some(observed),
        Err(ObserveError::Open(strait::region::OpenError::Io { operation, source })) => {
            panic!("the kernel had a word that no check foresaw: {operation}: {source}")
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Sealed memory with a header of the right layout, and up to 15 words of the input behind it.
fn segment(input: &mut Unstructured<'_>) -> Option<OwnedFd> {
    let (kind, pages, ring, words): (u8, u8, u8, u8) = next(input)?;
    let (max_message_bytes, align, session): (u32, u8, u8) = next(input)?;
    let total_bytes = (u64::from(pages) << 12).min(MAX_BYTES);
    let header = Header {
        kind: kind.into(),
        layout_hash: fuzz::layout_hash(kind.into()),
        total_bytes,
        ring_capacity_bytes: u64::from(ring) << 12,
        max_message_bytes: max_message_bytes.into(),
        record_align_bytes: align.into(),
        session: [session; 16],
    };
    let fd = memfd_create("strait-fuzz", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).ok()?;
    ftruncate(&fd, total_bytes).ok()?;
    if total_bytes > 0 {
        fallocate(&fd, FallocateFlags::empty(), 0, total_bytes).ok()?;
        rustix::io::pwrite(&fd, &header.encode(), 0).ok()?;
    }
    for _ in 0..words % 16 {
        let (offset, word): (u16, u64) = next(input)?;
        // Mostly the control page, where all that is read lies.
        let offset = 4096 + 8 * (u64::from(offset) % 512);
        if offset < total_bytes {
            rustix::io::pwrite(&fd, &word.to_le_bytes(), offset).ok()?;
        }
    }
    let seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL | SealFlags::FUTURE_WRITE;
    fcntl_add_seals(fd.as_fd(), seals).ok()?;
    Some(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_inputs_get_through_to_what_they_are_about() {
        let kept = |name: &str| std::fs::read(crate::corpora().join("observe").join(name)).unwrap();
        let both = |name: &str| {
            let bytes = kept(name);
            let mut input = Unstructured::new(&bytes);
            (observed(&mut input).expect("it opens"), observed(&mut input).expect("it opens"))
        };
        let (own, peer) = both("pair");
        assert_eq!((own.occupied_bytes(&peer), own.read().lie()), (Ok(4096 - 1024), None));
        let (own, peer) = both("pair-apart");
        assert!(own.occupied_bytes(&peer).is_err());
        let (own, peer) = both("high-water");
        assert!(own.read().lie().is_some() && peer.read().lie().is_some());
        let (state, pin) = both("state-and-pin");
        assert!(matches!(state.read(), Reading::State(state) if state.stats.version == 5 && state.lie.is_none()));
        assert!(matches!(pin.read(), Reading::Pin(pin) if pin.slot == Some(1)));
        assert!(both("state-pins").0.read().lie().is_some());
    }
}
