//! Bytes by which a torn or a mixed message is told.

/// The shortest message: below that it would be its number and length alone.
const MIN_BYTES: usize = 24;

/// The message `number` of `len` bytes, at least 24: its number, its length, and bytes that follow from the number.
pub(crate) fn pattern(number: u64, len: usize) -> Vec<u8> {
    let len = len.max(MIN_BYTES);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((len as u64).to_le_bytes());
    let mut state = number ^ 0x9E37_79B9_7F4A_7C15;
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The number of a message that is whole.
pub(crate) fn number(bytes: &[u8]) -> Result<u64, String> {
    let word = |at: usize| bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes);
    let (Some(number), Some(len)) = (word(0), word(8)) else {
        return Err(format!("torn: a message of {} bytes", bytes.len()));
    };
    if len != bytes.len() as u64 || bytes != pattern(number, bytes.len()) {
        return Err(format!("torn: {} bytes that should be message {number} of {len}", bytes.len()));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_one_wrong_byte_is_told() {
        for len in [24, 25, 100, 20_000] {
            let mut bytes = pattern(7, len);
            assert_eq!((number(&bytes), bytes.len()), (Ok(7), len));
            for at in [0, 8, len / 2, len - 1] {
                bytes[at] ^= 1;
                assert!(number(&bytes).is_err(), "{len} bytes, at {at}");
                bytes[at] ^= 1;
            }
            assert!(number(&bytes[..len - 1]).is_err());
        }
        assert!(number(&[]).is_err());
    }
}
