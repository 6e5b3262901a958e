//! rkyv: from a value into a sink and back, and what becomes of bytes that nobody's encoder wrote.
#![cfg(feature = "rkyv")]

mod support;

use proptest::prelude::*;
use rkyv::{Archive, Deserialize, Serialize, rancor::Error, util::AlignedVec};
use strait_frame::{Codec, DecodeError, EncodeError, MAX_DEPTH, Rkyv, Sink, StableBytes, ValidArchives, View};
use support::{ArchivedTick, Tick, aligned, archive, shifted, tick};

type Held = View<ArchivedTick, AlignedVec<16>>;

fn open(bytes: AlignedVec<16>) -> Result<Held, DecodeError> {
    <Rkyv as Codec<Tick>>::open(bytes)
}

/// Reads everything that hangs on a tick.
fn read(held: &Held) -> Result<Tick, Error> {
    rkyv::deserialize::<Tick, Error>(&**held)
}

proptest! {
    #[test]
    fn tick_survives_the_round_trip(tick in tick()) {
        let held = open(archive(&tick)).unwrap();
        prop_assert_eq!(read(&held).unwrap(), tick);
    }

    #[test]
    fn sink_holds_what_rkyv_itself_would_write(tick in tick()) {
        let expected = rkyv::to_bytes::<Error>(&tick).unwrap();
        let bytes = archive(&tick);
        prop_assert_eq!(&bytes[..], &expected[..]);
    }

    #[test]
    fn counted_length_is_the_length(tick in tick()) {
        let mut span = [0; 4096];
        let mut sink = Sink::new(&mut span);
        Rkyv::encode(&tick, &mut sink).unwrap();
        prop_assert_eq!(Rkyv::encoded_len(&tick), Ok(sink.len()));
    }

    #[test]
    fn too_small_a_sink_is_told_and_the_counted_size_fits(tick in tick(), part in 0.0..1.0_f64) {
        let exact = Rkyv::encoded_len(&tick).unwrap();
        let capacity = (exact as f64 * part) as usize;
        let mut span = AlignedVec::<16>::new();
        span.resize(capacity, 0);
        match Rkyv::encode(&tick, &mut Sink::new(&mut span)).unwrap_err() {
            EncodeError::TooLarge { need, capacity: found } => {
                prop_assert!(capacity < need && need <= exact, "{capacity} < {need} <= {exact}");
                prop_assert_eq!(found, capacity);
            }
            other => prop_assert!(false, "{other}"),
        }
        span.resize(exact, 0);
        Rkyv::encode(&tick, &mut Sink::new(&mut span)).unwrap();
        prop_assert_eq!(read(&open(span).unwrap()).unwrap(), tick);
    }

    #[test]
    fn arbitrary_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(held) = open(aligned(&bytes)) {
            let _ = read(&held);
        }
    }

    #[test]
    fn changed_bytes_are_a_value_or_an_error(
        tick in tick(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = archive(&tick);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(held) = open(bytes) {
            let _ = read(&held);
        }
    }

    #[test]
    fn archive_behind_a_header_of_16_bytes_is_the_same_archive(tick in tick(), header: [u8; 16]) {
        let mut span = AlignedVec::<16>::new();
        span.resize(4096, 0);
        let mut sink = Sink::new(&mut span);
        sink.write(&header).unwrap();
        Rkyv::encode(&tick, &mut sink).unwrap();
        let len = sink.len();
        prop_assert_eq!(&span[16..len], &archive(&tick)[..]);
    }
}

#[test]
fn every_flipped_byte_gives_an_error_or_another_value() {
    let tick = Tick::sample();
    let bytes = archive(&tick);
    let (mut refused, mut others) = (0, 0);
    for at in 0..bytes.len() {
        let mut changed = aligned(&bytes);
        changed[at] ^= 0xFF;
        match open(changed) {
            Ok(held) => {
                let _ = read(&held);
                others += 1;
            }
            Err(_) => refused += 1,
        }
    }
    // Validation is not integrity: both happen.
    assert!(refused > 0 && others > 0, "{refused} refused, {others} accepted");
}

#[test]
fn every_truncation_of_the_sample_is_a_typed_error() {
    let bytes = archive(&Tick::sample());
    let root = size_of::<ArchivedTick>();
    for len in 0..bytes.len() {
        let error = open(aligned(&bytes[..len])).expect_err("a truncated archive was taken for whole");
        if len < root {
            assert_eq!(error, DecodeError::TooShort { expected: root, found: len });
        } else {
            assert!(
                matches!(error, DecodeError::Misaligned { .. } | DecodeError::Codec { codec: "rkyv", .. }),
                "{error}"
            );
        }
    }
}

#[test]
fn misaligned_archive_is_a_typed_error() {
    let bytes = archive(&Tick::sample());
    let align = align_of::<ArchivedTick>();
    for shift in 1..16 {
        let error = <Rkyv as Codec<Tick>>::open(shifted(&bytes, shift)).unwrap_err();
        if shift % align == 0 {
            // The root is aligned, something that it points to is not: the sample has 16-byte aligned numbers in it.
            assert!(matches!(error, DecodeError::Codec { codec: "rkyv", .. }), "{error}");
        } else {
            assert!(matches!(error, DecodeError::Misaligned { remainder, align: a } if remainder < a), "{error}");
        }
    }
    assert!(<Rkyv as Codec<Tick>>::open(shifted(&bytes, 0)).is_ok());
}

#[derive(Archive, Serialize, Deserialize)]
#[rkyv(serialize_bounds(__S: rkyv::ser::Writer, __S::Error: rkyv::rancor::Source))]
#[rkyv(deserialize_bounds(__D::Error: rkyv::rancor::Source))]
#[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
struct Chain {
    link: u32,
    #[rkyv(omit_bounds)]
    next: Option<Box<Chain>>,
}

/// A chain of `length` nodes, each in the box of the one before; its archive is `length` pointers deep.
fn chain(length: u32) -> Chain {
    (1..length).fold(Chain { link: 0, next: None }, |next, link| Chain { link, next: Some(Box::new(next)) })
}

#[test]
fn archive_as_deep_as_allowed_opens() {
    let held = <Rkyv as Codec<Chain>>::open(archive(&chain(MAX_DEPTH as u32))).unwrap();
    assert_eq!(held.link, MAX_DEPTH as u32 - 1);
}

/// Bytes that somebody vouches for: `len` of them, `skip` bytes into an aligned buffer.
struct Vouched {
    buffer: AlignedVec<16>,
    skip: usize,
}

impl Vouched {
    fn new(bytes: &[u8], skip: usize) -> Self {
        let mut buffer = AlignedVec::new();
        buffer.resize(skip, 0);
        buffer.extend_from_slice(bytes);
        Self { buffer, skip }
    }
}

// SAFETY: as for the vector itself; and this file puts valid archives into it, or what is refused for its size or alignment.
unsafe impl StableBytes for Vouched {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.skip..]
    }

    fn valid_archives(&self) -> Option<ValidArchives> {
        // SAFETY: as above.
        Some(unsafe { ValidArchives::assume() })
    }
}

proptest! {
    #[test]
    fn tick_that_is_vouched_for_reads_like_one_that_was_validated(tick in tick()) {
        let held = <Rkyv as Codec<Tick>>::open(Vouched::new(&archive(&tick), 0)).unwrap();
        prop_assert_eq!(rkyv::deserialize::<Tick, Error>(&*held).unwrap(), tick);
    }
}

#[test]
fn archive_that_is_vouched_for_is_not_validated() {
    // Harmless to read, and refused by validation: so it is seen that there was none.
    let deep = archive(&chain(MAX_DEPTH as u32 + 1));
    assert_eq!(<Rkyv as Codec<Chain>>::open(aligned(&deep)).map(drop), Err(DecodeError::TooDeep { max: MAX_DEPTH }));
    let held = <Rkyv as Codec<Chain>>::open(Vouched::new(&deep, 0)).unwrap();
    let (mut node, mut links) = (&*held, 0);
    while let Some(next) = node.next.as_ref() {
        (node, links) = (next, links + 1);
    }
    assert_eq!((links, node.link.to_native()), (MAX_DEPTH, 0));
}

#[test]
fn archive_that_is_vouched_for_is_validated_where_it_does_not_begin_at_a_multiple_of_16() {
    let deep = archive(&chain(MAX_DEPTH as u32 + 1));
    for skip in 1..16 {
        // Where the root happens to be aligned, all that it points to must be looked at.
        let error = <Rkyv as Codec<Chain>>::open(Vouched::new(&deep, skip)).map(drop).unwrap_err();
        let is_expected = matches!(error, DecodeError::Misaligned { .. } | DecodeError::TooDeep { .. });
        assert!(is_expected, "{skip}: {error}");
        let tick = archive(&Tick::sample());
        assert!(
            <Rkyv as Codec<Tick>>::open(Vouched::new(&tick, skip)).is_err(),
            "it has 16-byte aligned numbers in it"
        );
    }
}

#[test]
fn archive_that_is_vouched_for_has_its_size_and_the_alignment_of_its_root_checked() {
    let (bytes, root) = (archive(&Tick::sample()), size_of::<ArchivedTick>());
    for len in 0..root {
        let error = <Rkyv as Codec<Tick>>::open(Vouched::new(&bytes[..len], 0)).map(drop);
        assert_eq!(error, Err(DecodeError::TooShort { expected: root, found: len }));
    }
    for more in 1..align_of::<ArchivedTick>() {
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + more, 0);
        let error = <Rkyv as Codec<Tick>>::open(Vouched::new(&longer, 0)).map(drop);
        assert!(matches!(error, Err(DecodeError::Misaligned { remainder, .. }) if remainder == more), "{error:?}");
    }
}

#[test]
fn root_with_a_larger_alignment_than_its_memory_is_refused_though_it_is_vouched_for() {
    #[derive(Archive, Serialize)]
    #[rkyv(attr(repr(C, align(32))))]
    struct Wide {
        value: u64,
    }
    let wide = archive(&Wide { value: 7 });
    assert_eq!(align_of::<ArchivedWide>(), 32);
    // `remainder` bytes past a multiple of 32.
    let opened = |remainder: usize| {
        let mut buffer = AlignedVec::with_capacity(wide.len() + 32);
        let skip = (remainder + 32 - buffer.as_ptr().addr() % 32) % 32;
        buffer.resize(skip, 0);
        buffer.extend_from_slice(&wide);
        <Rkyv as Codec<Wide>>::open(Vouched { buffer, skip }).map(|held| held.value.to_native())
    };
    assert_eq!(opened(0), Ok(7));
    assert_eq!(opened(16), Err(DecodeError::Misaligned { remainder: 16, align: 32 }));
}

#[test]
fn archive_nested_too_deeply_is_a_typed_error() {
    let open = |length| <Rkyv as Codec<Chain>>::open(archive(&chain(length))).map(drop);
    assert_eq!(open(MAX_DEPTH as u32 + 1), Err(DecodeError::TooDeep { max: MAX_DEPTH }));
    assert_eq!(open(2_000), Err(DecodeError::TooDeep { max: MAX_DEPTH }));
}

#[test]
fn archive_that_would_overflow_any_stack_is_a_typed_error() {
    // One node after the other, each pointing back to the one before: a million levels, written by hand.
    const NODES: usize = 1_000_000;
    let node = size_of::<<Chain as Archive>::Archived>();
    let (first, second) = (archive(&chain(1)), archive(&chain(2)));
    assert_eq!((first.len(), second.len()), (node, 2 * node), "the layout is not what this test builds on");
    let mut bytes = first;
    for _ in 1..NODES {
        bytes.extend_from_slice(&second[node..]);
    }
    let error = <Rkyv as Codec<Chain>>::open(bytes).map(drop);
    assert_eq!(error, Err(DecodeError::TooDeep { max: MAX_DEPTH }));
}

#[test]
fn cycle_is_a_typed_error() {
    let node = size_of::<<Chain as Archive>::Archived>();
    let mut bytes = archive(&chain(2));
    let root = bytes.len() - node;
    // A relative pointer holds the distance from itself. The root has one that leads to the node before it.
    let distance = |from: usize, to: usize| (to as i32 - from as i32).to_le_bytes();
    let at = (root..=bytes.len() - 4).find(|at| bytes[*at..at + 4] == distance(*at, root - node));
    let at = at.expect("the root has a pointer to its next node");
    bytes[at..at + 4].copy_from_slice(&distance(at, root));
    assert!(matches!(<Rkyv as Codec<Chain>>::open(bytes), Err(DecodeError::Codec { codec: "rkyv", .. })));
}

#[cfg(feature = "std")]
#[test]
fn value_that_rkyv_refuses_is_told_in_its_words() {
    /// rkyv takes the lock to encode it, and the lock is poisoned.
    #[derive(Archive, Serialize)]
    struct Locked {
        #[rkyv(with = rkyv::with::Lock)]
        value: std::sync::Mutex<u32>,
    }
    let locked = Locked { value: std::sync::Mutex::new(7) };
    assert!(Rkyv::encoded_len(&locked).is_ok());
    let poisoning = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = locked.value.lock().unwrap();
        std::panic::resume_unwind(Box::new("poisoned on purpose"));
    }));
    assert!(poisoning.is_err());
    match Rkyv::encoded_len(&locked) {
        Err(EncodeError::Codec(reason)) => assert!(reason.contains("poison"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn schema_tells_types_apart() {
    assert_ne!(<Rkyv as Codec<Tick>>::schema(), <Rkyv as Codec<Chain>>::schema());
    assert_eq!(<Rkyv as Codec<Tick>>::schema(), <Rkyv as Codec<Tick>>::schema());
}

#[test]
fn size_hint_covers_a_type_without_pointers() {
    assert!(Rkyv::encoded_len(&[0_u128; 100]).unwrap() <= Rkyv::size_hint(&[0_u128; 100]));
}
