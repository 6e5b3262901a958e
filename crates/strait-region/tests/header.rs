//! Headers of any bytes.

mod support;

use proptest::prelude::*;
use strait_region::{HEADER_BYTES, HEADER_ENCODED_BYTES, Header, OpenError, PeerRegion};
use support::{SEALS, TOTAL_BYTES, expected, header, memfd};

/// Headers that can be.
fn headers() -> impl Strategy<Value = Header> {
    let ring = prop_oneof![Just(0), (0u32..40).prop_map(|bits| 1u64 << bits)];
    (any::<(u32, u32, [u8; 16])>(), ring, any::<(u64, u64)>(), prop_oneof![Just(16), Just(64)]).prop_map(
        |((kind, layout_hash, session), ring_capacity_bytes, (more, message), record_align_bytes)| Header {
            kind,
            layout_hash,
            total_bytes: HEADER_BYTES as u64 + ring_capacity_bytes + more / 2,
            ring_capacity_bytes,
            max_message_bytes: if ring_capacity_bytes == 0 { message } else { message % (ring_capacity_bytes + 1) },
            record_align_bytes,
            session,
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(header in headers(), more in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = header.encode().to_vec();
        bytes.extend(more);
        prop_assert_eq!(Header::decode(&bytes).unwrap(), header);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Header::decode(&bytes);
    }

    // Arbitrary fields behind a good start: what comes out is a header that can be.
    #[test]
    fn arbitrary_fields_give_a_sound_header_or_an_error(tail in any::<[u8; 116]>(), plausible: bool) {
        let mut bytes = header().encode();
        bytes[12..].copy_from_slice(&tail);
        if plausible {
            bytes[20..24].copy_from_slice(&64u32.to_le_bytes());
            bytes[32..40].copy_from_slice(&(1u64 << (tail[0] % 64)).to_le_bytes());
        }
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert!(matches!(header.record_align_bytes, 16 | 64));
            let capacity = header.ring_capacity_bytes;
            prop_assert!(capacity == 0 || capacity.is_power_of_two());
            prop_assert!(capacity == 0 || capacity <= header.total_bytes - HEADER_BYTES as u64);
            prop_assert!(capacity == 0 || header.max_message_bytes <= capacity);
        }
    }

    // The same through the front door: a region opens only with exactly the header that was expected.
    #[test]
    fn a_header_with_flipped_bits_opens_only_where_nothing_is_checked(at in 0usize..128, bits in 1u8..) {
        let mut bytes = header().encode();
        bytes[at] ^= bits;
        if let Ok(peer) = PeerRegion::open(memfd(&bytes, TOTAL_BYTES, SEALS), &expected()) {
            let peer = peer.header();
            prop_assert!(peer.ring_capacity_bytes <= TOTAL_BYTES - HEADER_BYTES as u64);
            prop_assert_eq!((peer.total_bytes, peer.kind, peer.session), (TOTAL_BYTES, 7, support::SESSION));
        }
    }
}

#[test]
fn a_header_that_is_cut_off_is_truncated() {
    let bytes = header().encode();
    for len in 0..HEADER_ENCODED_BYTES {
        let error = Header::decode(&bytes[..len]).unwrap_err();
        assert!(matches!(error, OpenError::Truncated { found, expected: 128 } if found == len), "{error}");
    }
}

#[test]
fn bytes_after_the_fields_are_ignored() {
    let mut bytes = header().encode();
    bytes[64..].fill(0xee);
    assert_eq!(Header::decode(&bytes).unwrap(), header());
}

#[test]
fn the_bytes_are_those_of_the_table() {
    let bytes = header().encode();
    assert_eq!(&bytes[..8], b"STRAIT\0\x01");
    assert_eq!(bytes[8..12], 1u32.to_le_bytes());
    assert_eq!(bytes[12..16], 7u32.to_le_bytes());
    assert_eq!(bytes[16..20], 0xabcdu32.to_le_bytes());
    assert_eq!(bytes[20..24], 16u32.to_le_bytes());
    assert_eq!(bytes[24..32], TOTAL_BYTES.to_le_bytes());
    assert_eq!(bytes[32..40], (16 * 1024u64).to_le_bytes());
    assert_eq!(bytes[40..48], (4 * 1024u64 - 16).to_le_bytes());
    assert_eq!(&bytes[48..64], b"a session of 16.");
    assert_eq!(bytes[64..], [0; 64]);
}
