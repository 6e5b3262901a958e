//! Raw bytes, and the sink against a growing vector.

use proptest::prelude::*;
use strait_frame::{Codec, EncodeError, Raw, Sink};

proptest! {
    #[test]
    fn raw_bytes_survive_the_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut span = vec![0; bytes.len()];
        Raw::encode(&bytes[..], &mut Sink::new(&mut span)).unwrap();
        prop_assert_eq!(&*<Raw as Codec<[u8]>>::open(span.clone()).unwrap(), &bytes[..]);
        prop_assert_eq!(&*<Raw as Codec<Vec<u8>>>::open(span).unwrap(), &bytes[..]);
        prop_assert_eq!(Raw::encoded_len(&bytes), Ok(bytes.len()));
        prop_assert_eq!(<Raw as Codec<Vec<u8>>>::size_hint(&bytes), bytes.len());
    }

    #[test]
    fn sink_does_what_a_vector_with_a_limit_does(
        capacity in 0..200_usize,
        writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10),
    ) {
        let mut span = vec![0xEE; capacity];
        let (mut model, mut overflow) = (Vec::new(), None);
        let mut sink = Sink::new(&mut span);
        for write in &writes {
            let found = sink.write(write);
            if overflow.is_none() && model.len() + write.len() > capacity {
                overflow = Some(model.len() + write.len());
            }
            match overflow {
                Some(need) => prop_assert_eq!(found, Err(EncodeError::TooLarge { need, capacity })),
                None => {
                    model.extend_from_slice(write);
                    prop_assert_eq!(found, Ok(()));
                }
            }
            prop_assert_eq!((sink.len(), sink.is_empty()), (model.len(), model.is_empty()));
        }
        prop_assert_eq!(&span[..model.len()], &model[..]);
        prop_assert!(span[model.len()..].iter().all(|byte| *byte == 0xEE), "bytes past the end were touched");
    }
}

#[test]
fn raw_types_that_are_the_same_on_the_wire_have_one_schema() {
    assert_eq!(<Raw as Codec<[u8]>>::schema(), <Raw as Codec<Vec<u8>>>::schema());
}
