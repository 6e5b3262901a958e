//! Messages of nested types, by each codec that looks inside: opened and read to the last leaf, or refused.

use rkyv::util::AlignedVec;
use strait::{
    frame::{Codec, Postcard, Rkyv},
    rkyv,
};

/// What archives can hold: pointers, options, boxes, enums with payloads, and itself.
#[derive(rkyv::Archive, rkyv::Serialize, serde::Serialize, serde::Deserialize)]
#[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rkyv::rancor::Source))]
#[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
pub(crate) struct Node {
    number: u64,
    name: String,
    flag: Option<bool>,
    kind: Kind,
    #[rkyv(omit_bounds)]
    children: Vec<Node>,
}

/// An enum with and without payload.
#[derive(rkyv::Archive, rkyv::Serialize, serde::Serialize, serde::Deserialize)]
pub(crate) enum Kind {
    /// No payload.
    Nothing,
    /// A boxed one.
    Text(Box<str>),
    /// A pair.
    Pair(u32, char),
}

pub(crate) fn body(bytes: &[u8]) {
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(bytes);
    if let Ok(root) = <Rkyv as Codec<Node>>::open(aligned) {
        walk(&root);
    }
    if let Ok(root) = <Postcard as Codec<Node>>::open(bytes.to_vec()) {
        let mut encoded = vec![0; Postcard::encoded_len(&*root).expect("what was decoded can be encoded")];
        Postcard::encode(&*root, &mut strait::frame::Sink::new(&mut encoded)).expect("it has room");
    }
}

/// Touches every byte that the validation has vouched for.
fn walk(node: &ArchivedNode) {
    let flag = node.flag == rkyv::option::ArchivedOption::Some(true);
    let mut sum = node.number.to_native().wrapping_add(flag.into());
    sum ^= node.name.chars().map(u64::from).sum::<u64>();
    match &node.kind {
        ArchivedKind::Nothing => {}
        ArchivedKind::Text(text) => sum ^= text.chars().map(u64::from).sum::<u64>(),
        ArchivedKind::Pair(number, letter) => {
            sum ^= u64::from(number.to_native());
            assert!(char::from_u32(letter.to_native().into()).is_some());
        }
    }
    std::hint::black_box(sum);
    node.children.iter().for_each(walk);
}

/// A message as a good peer would send it, for the corpus.
#[cfg(test)]
pub(crate) fn example() -> Node {
    let node = |children| Node {
        number: 0x0123_4567_89AB_CDEF,
        name: "a name that is too long to be inlined".into(),
        flag: Some(true),
        kind: Kind::Text("text".into()),
        children,
    };
    let leaf = Node { kind: Kind::Pair(7, '\u{1F600}'), name: "short".into(), flag: None, ..node(Vec::new()) };
    node(vec![node(vec![leaf]), Node { kind: Kind::Nothing, ..node(Vec::new()) }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<C: Codec<Node>>() -> Vec<u8> {
        let mut bytes = vec![0; C::encoded_len(&example()).unwrap()];
        C::encode(&example(), &mut strait::frame::Sink::new(&mut bytes)).unwrap();
        bytes
    }

    #[test]
    fn whole_messages_are_kept_and_open() {
        let kept = |name: &str| std::fs::read(crate::corpora().join("archive").join(name)).unwrap();
        assert_eq!(kept("nested.postcard"), encoded::<Postcard>());
        let bytes = encoded::<Rkyv>();
        assert_eq!(kept("nested.rkyv"), bytes);
        let mut aligned = AlignedVec::<16>::new();
        aligned.extend_from_slice(&bytes);
        assert!(<Rkyv as Codec<Node>>::open(aligned).is_ok());
    }

    #[test]
    fn nothing_that_is_wrong_in_one_place_is_read_beyond_its_end() {
        for bytes in [encoded::<Rkyv>(), encoded::<Postcard>()] {
            for at in 0..bytes.len() {
                for value in [0, 1, 0x7F, 0x80, 0xFF, bytes[at] ^ 1, bytes[at] ^ 0x10] {
                    let mut wrong = bytes.clone();
                    wrong[at] = value;
                    body(&wrong);
                    body(&wrong[..at]);
                }
            }
        }
    }
}
