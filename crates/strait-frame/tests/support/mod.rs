//! What the rkyv tests share: a type with everything in it, and a buffer at a chosen distance from alignment.
// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use proptest::prelude::*;
use rkyv::{Archive, Deserialize, Serialize, util::AlignedVec};
use std::collections::BTreeMap;
use strait_frame::{Codec, Rkyv, Sink};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct Tick {
    pub id: u64,
    pub name: String,
    pub prices: Vec<f64>,
    pub side: Option<bool>,
    pub notes: Vec<Option<String>>,
    pub levels: BTreeMap<u32, u128>,
}

impl Tick {
    pub fn sample() -> Self {
        Self {
            id: 7,
            name: "a rather long instrument name".into(),
            prices: vec![1.5; 5],
            side: Some(true),
            notes: vec![None, Some("short".into()), Some("long enough to be out of line".into())],
            levels: (0..9).map(|i| (i, u128::from(i) << 100)).collect(),
        }
    }
}

/// Any tick, small.
pub fn tick() -> impl Strategy<Value = Tick> {
    (
        any::<u64>(),
        ".{0,40}",
        prop::collection::vec(-1e9..1e9, 0..20),
        any::<Option<bool>>(),
        prop::collection::vec(prop::option::of(".{0,20}"), 0..5),
        prop::collection::btree_map(any::<u32>(), any::<u128>(), 0..20),
    )
        .prop_map(|(id, name, prices, side, notes, levels)| Tick { id, name, prices, side, notes, levels })
}

/// The archive of `value`, as the codec writes it.
pub fn archive<T>(value: &T) -> AlignedVec<16>
where
    Rkyv: Codec<T>,
{
    let mut bytes = AlignedVec::new();
    bytes.resize(Rkyv::encoded_len(value).unwrap(), 0);
    let mut sink = Sink::new(&mut bytes);
    Rkyv::encode(value, &mut sink).unwrap();
    assert_eq!(sink.len(), sink.capacity());
    bytes
}

/// A copy of `bytes` in an aligned buffer.
pub fn aligned(bytes: &[u8]) -> AlignedVec<16> {
    let mut copy = AlignedVec::new();
    copy.extend_from_slice(bytes);
    copy
}

/// A copy of `bytes` that lies `shift` bytes past a multiple of 16, for the rest of the process.
pub fn shifted(bytes: &[u8], shift: usize) -> &'static [u8] {
    let mut copy = vec![0_u8; bytes.len() + 32];
    let start = copy.as_ptr().align_offset(16) + shift;
    copy[start..start + bytes.len()].copy_from_slice(bytes);
    &copy.leak()[start..start + bytes.len()]
}
