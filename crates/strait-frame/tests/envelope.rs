//! The envelope against a naive model: positions in the byte table, read one byte at a time.

use proptest::prelude::*;
use strait_frame::{CONTROL_BIT, ENVELOPE_BYTES, Envelope, FrameError, MAX_PAYLOAD_BYTES, REFUSED_BIT, checksum};

/// The little-endian number in `bytes`.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum * 256 + u64::from(*byte))
}

/// What the byte table says about 16 bytes.
fn model(bytes: &[u8; ENVELOPE_BYTES], max_payload: u32, max_control: u32) -> Result<Envelope, FrameError> {
    let word = number(&bytes[0..4]) as u32;
    if word >= REFUSED_BIT {
        return Err(FrameError::Refused { size_word: word });
    }
    let (control, size) = if word >= CONTROL_BIT { (true, word - CONTROL_BIT) } else { (false, word) };
    let max = if control { max_control } else { max_payload };
    if size > max {
        return Err(FrameError::TooLarge { size: size.into(), max: max.into() });
    }
    Ok(Envelope { size, control, timestamp: number(&bytes[4..12]), checksum: number(&bytes[12..16]) as u32 })
}

/// CRC32 bit by bit, as the standard has it.
fn naive_crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

proptest! {
    #[test]
    fn envelope_survives_the_round_trip(size in 0..=MAX_PAYLOAD_BYTES, control: bool, timestamp: u64, checksum: u32) {
        let envelope = Envelope { size, control, timestamp, checksum };
        prop_assert_eq!(Envelope::decode(&envelope.encode(), MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES), Ok(envelope));
    }

    #[test]
    fn decode_agrees_with_the_byte_table_for_any_16_bytes(
        bytes: [u8; ENVELOPE_BYTES],
        max_payload: u32,
        max_control: u32,
    ) {
        let found = Envelope::decode(&bytes, max_payload, max_control);
        prop_assert_eq!(&found, &model(&bytes, max_payload, max_control));
        if let Ok(envelope) = found {
            prop_assert_eq!(envelope.encode(), bytes);
        }
    }

    #[test]
    fn checksum_agrees_with_the_bit_by_bit_one(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(checksum(&payload), naive_crc32(&payload));
    }

    #[test]
    fn sealed_payload_verifies(payload in prop::collection::vec(any::<u8>(), 0..600), timestamp: u64) {
        let envelope = Envelope::seal(&payload, timestamp, true).unwrap();
        let found = (envelope.size as usize, envelope.timestamp, envelope.control);
        prop_assert_eq!(found, (payload.len(), timestamp, false));
        prop_assert_eq!(envelope.verify(&payload), Ok(()));
    }
}

#[test]
fn checksum_detects_every_flipped_bit() {
    let mut payload: Vec<u8> = (0..300_u32).map(|i| (i * 31) as u8).collect();
    let envelope = Envelope::seal(&payload, 0, true).unwrap();
    for bit in 0..payload.len() * 8 {
        payload[bit / 8] ^= 1 << (bit % 8);
        let found = checksum(&payload);
        assert_eq!(envelope.verify(&payload), Err(FrameError::Checksum { expected: envelope.checksum, found }));
        payload[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(envelope.verify(&payload), Ok(()));
}

#[test]
fn payload_of_another_length_is_told_from_a_wrong_one() {
    let envelope = Envelope::seal(b"abc", 0, true).unwrap();
    assert_eq!(envelope.verify(b"abcd"), Err(FrameError::Length { expected: 3, found: 4 }));
    assert_eq!(envelope.verify(b""), Err(FrameError::Length { expected: 3, found: 0 }));
}

#[test]
fn checksum_that_is_off_is_zero() {
    assert_eq!(Envelope::seal(b"abc", 5, false).unwrap().checksum, 0);
}

#[test]
fn payload_longer_than_the_size_field_is_refused_by_seal() {
    // Zeroed and never touched, so the memory is only reserved; the length is refused before anything reads it.
    let payload = vec![0; 1 << 30];
    let expected = FrameError::TooLarge { size: 1 << 30, max: (1 << 30) - 1 };
    assert_eq!(Envelope::seal(&payload, 0, true), Err(expected));
}
