//! postcard: round trips, bytes that follow a value, and bytes made to exhaust their reader.
#![cfg(feature = "postcard")]

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strait_frame::{Codec, DecodeError, EncodeError, MAX_DEPTH, Postcard, Sink};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Order {
    Cancel,
    Limit(u64),
    Pair(i16, char),
    Basket { name: String, legs: Vec<Order>, tags: BTreeMap<String, Option<i64>> },
}

fn order() -> impl Strategy<Value = Order> {
    let leaf = prop_oneof![
        Just(Order::Cancel),
        any::<u64>().prop_map(Order::Limit),
        any::<(i16, char)>().prop_map(|(a, b)| Order::Pair(a, b)),
    ];
    leaf.prop_recursive(4, 40, 5, |order| {
        let tags = prop::collection::btree_map(".{0,8}", any::<Option<i64>>(), 0..4);
        (".{0,20}", prop::collection::vec(order, 0..5), tags).prop_map(|(name, legs, tags)| Order::Basket {
            name,
            legs,
            tags,
        })
    })
}

fn encode<T>(value: &T) -> Vec<u8>
where
    Postcard: Codec<T>,
{
    let mut bytes = vec![0; Postcard::encoded_len(value).unwrap()];
    Postcard::encode(value, &mut Sink::new(&mut bytes)).unwrap();
    bytes
}

/// Everything serde can hand to a visitor, so that each method of the limits is walked through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    small: (bool, u8, i8, u16, i16),
    large: (u32, i32, u64, i64, u128, i128),
    real: (f32, f64),
    text: (char, String),
    unit: (),
    unit_struct: Unit,
    newtype: Newtype,
    pair: Pair,
    option: Option<Option<u8>>,
    array: [u16; 3],
    list: Vec<(u8, String)>,
    map: BTreeMap<u8, Vec<u8>>,
    kinds: Vec<Order>,
    bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(Option<u32>);
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, Newtype);

/// Takes serde's byte string path, which `Vec<u8>` doesn't.
#[derive(Clone, Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[test]
fn every_shape_of_serde_survives_the_round_trip() {
    let value = Everything {
        small: (true, 200, -100, 60_000, -30_000),
        large: (u32::MAX, i32::MIN, u64::MAX, i64::MIN, u128::MAX, i128::MIN),
        real: (1.5, -2.25),
        text: ('é', "text".into()),
        unit: (),
        unit_struct: Unit,
        newtype: Newtype(Some(7)),
        pair: Pair(1, Newtype(None)),
        option: Some(None),
        array: [1, 2, 3],
        list: vec![(1, "one".into()), (2, "two".into())],
        map: [(1, vec![1]), (2, vec![])].into(),
        kinds: vec![Order::Cancel, Order::Limit(1), Order::Pair(-1, 'x')],
        bytes: Bytes(vec![9; 300]),
    };
    assert_eq!(*<Postcard as Codec<Everything>>::open(encode(&value)).unwrap(), value);
}

proptest! {
    #[test]
    fn order_survives_the_round_trip(order in order()) {
        prop_assert_eq!(<Postcard as Codec<Order>>::open(encode(&order)).unwrap().into_inner(), order);
    }

    #[test]
    fn too_small_a_sink_is_told_and_the_counted_size_fits(order in order(), part in 0.0..1.0_f64) {
        let exact = Postcard::encoded_len(&order).unwrap();
        let capacity = (exact as f64 * part) as usize;
        let found = Postcard::encode(&order, &mut Sink::new(&mut vec![0; capacity]));
        match found {
            Err(EncodeError::TooLarge { need, capacity: c }) => {
                prop_assert!(c == capacity && capacity < need && need <= exact);
            }
            other => prop_assert!(false, "{other:?}"),
        }
        prop_assert_eq!(encode(&order).len(), exact);
    }

    #[test]
    fn bytes_after_the_value_are_a_typed_error(order in order(), more in prop::collection::vec(any::<u8>(), 1..20)) {
        let mut bytes = encode(&order);
        bytes.extend_from_slice(&more);
        let found = <Postcard as Codec<Order>>::open(bytes).map(drop);
        prop_assert_eq!(found, Err(DecodeError::TrailingBytes { count: more.len() }));
    }

    #[test]
    fn truncated_value_is_a_typed_error(order in order(), cut: prop::sample::Index) {
        let bytes = encode(&order);
        let found = <Postcard as Codec<Order>>::open(bytes[..cut.index(bytes.len())].to_vec()).map(drop);
        prop_assert!(matches!(found, Err(DecodeError::Codec { codec: "postcard", .. })), "{found:?}");
    }

    #[test]
    fn arbitrary_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = <Postcard as Codec<Order>>::open(bytes.clone());
        let _ = <Postcard as Codec<Everything>>::open(bytes);
    }
}

#[derive(Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
}

#[test]
fn value_as_deep_as_allowed_opens() {
    let mut bytes = vec![1; MAX_DEPTH - 1];
    bytes.push(0);
    assert!(<Postcard as Codec<Chain>>::open(bytes).is_ok());
}

#[test]
fn value_nested_too_deeply_is_a_typed_error_and_no_stack_overflow() {
    for levels in [MAX_DEPTH, 1_000_000] {
        let mut bytes = vec![1; levels];
        bytes.push(0);
        let found = <Postcard as Codec<Chain>>::open(bytes).map(drop);
        assert_eq!(found, Err(DecodeError::TooDeep { max: MAX_DEPTH }), "{levels} levels");
    }
}

#[test]
fn list_of_nothing_that_claims_to_be_endless_is_a_typed_error_and_no_hang() {
    // The prefix says u64::MAX elements, each takes no bytes.
    let bytes = vec![0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    let found = <Postcard as Codec<Vec<()>>>::open(bytes).map(drop);
    assert_eq!(found, Err(DecodeError::TooManyElements { max: 65_546 }));
}

#[test]
fn honest_list_of_nothing_opens() {
    let value = vec![(); 50_000];
    assert_eq!(<Postcard as Codec<Vec<()>>>::open(encode(&value)).unwrap().len(), 50_000);
}

#[test]
fn long_list_of_bytes_is_not_taken_for_an_endless_one() {
    let value = vec![7_u8; 300_000];
    assert_eq!(*<Postcard as Codec<Vec<u8>>>::open(encode(&value)).unwrap(), value);
}

#[test]
fn list_that_claims_more_than_there_is_reserves_no_memory_for_it() {
    let bytes = vec![0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 1, 2, 3];
    let found = <Postcard as Codec<Vec<u64>>>::open(bytes).map(drop);
    assert!(matches!(found, Err(DecodeError::Codec { codec: "postcard", .. })), "{found:?}");
}

#[test]
fn swallowed_overflow_is_still_an_error() {
    /// A serializer that ignores what its fields say.
    struct Careless;
    impl Serialize for Careless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = serializer.serialize_tuple(2)?;
            let _ = tuple.serialize_element("longer than the span");
            let _ = tuple.serialize_element(&1_u8);
            tuple.end()
        }
    }
    impl<'de> Deserialize<'de> for Careless {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    let found = Postcard::encode(&Careless, &mut Sink::new(&mut [0; 8]));
    assert!(matches!(found, Err(EncodeError::TooLarge { capacity: 8, .. })), "{found:?}");
}
