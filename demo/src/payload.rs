//! Bytes to send: new ones for every call, and a digest that tells whether all of them arrived.

/// Fills `bytes` with a pattern that differs in every word, and from `seed` to `seed`.
pub fn fill(bytes: &mut [u8], seed: u64) {
    let mut word = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut words = bytes.chunks_exact_mut(8);
    for chunk in &mut words {
        chunk.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(0xD1B5_4A32_D192_ED03);
    }
    let rest = words.into_remainder();
    let last = word.to_le_bytes();
    rest.copy_from_slice(&last[..rest.len()]);
}

/// A number that depends on every byte and on its place.
///
/// ```
/// use strait_demo::payload::digest;
/// assert_ne!(digest(b"strait"), digest(b"starit"));
/// ```
pub fn digest(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xFF51_AFD7_ED55_8CCD;
    // Four independent lanes, so that one multiplication need not wait for the one before it.
    let mut lanes = [1_u64, 2, 3, bytes.len() as u64];
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(8)) {
            *lane = lane.wrapping_mul(FACTOR).wrapping_add(little_endian(word));
        }
    }
    for (lane, word) in lanes.iter_mut().zip(blocks.remainder().chunks(8)) {
        *lane = lane.wrapping_mul(FACTOR).wrapping_add(little_endian(word));
    }
    lanes.into_iter().fold(0, |digest, lane| (digest ^ lane).wrapping_mul(FACTOR).rotate_left(29))
}

/// Up to 8 bytes as a number.
fn little_endian(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_sees_every_byte_and_the_length() {
        for len in [1, 7, 8, 31, 32, 33, 100] {
            let mut bytes = vec![0; len];
            fill(&mut bytes, 7);
            let whole = digest(&bytes);
            for at in 0..len {
                bytes[at] ^= 1;
                assert_ne!(digest(&bytes), whole, "byte {at} of {len}");
                bytes[at] ^= 1;
            }
            assert_ne!(digest(&[&bytes[..], &[0]].concat()), whole);
        }
    }

    #[test]
    fn payloads_of_different_seeds_differ() {
        let payload = |seed| {
            let mut bytes = [0; 20];
            fill(&mut bytes, seed);
            bytes
        };
        assert_ne!(payload(1), payload(2));
        assert_eq!(payload(3), payload(3));
    }
}
