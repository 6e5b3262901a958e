//! The 16 bytes in front of every payload.
//!
//! ```text
//! byte  0        4                        12            16
//!       | size   | timestamp              | checksum    | payload …
//!       | u32    | u64, µs since 1970 UTC | u32, CRC32  | `size` bytes
//!
//! size word   bits 0..=29: payload bytes
//!             bit 30: control frame, on a socket only
//!             bit 31: the commit bit of a record in a ring, refused here
//! ```
//!
//! All little-endian. The struct is never copied as memory: with `repr(C)` it would be 24 bytes.

use crate::FrameError;

/// Bytes of an encoded envelope; the payload begins here.
pub const ENVELOPE_BYTES: usize = 16;

/// The bit of the size word that marks a control frame on a socket.
pub const CONTROL_BIT: u32 = 1 << 30;

/// The bit of the size word that is the commit bit of a record in a ring. A socket frame that has it set is refused.
pub const REFUSED_BIT: u32 = 1 << 31;

/// The longest payload that the size word can announce, in bytes: 2^30 - 1.
pub const MAX_PAYLOAD_BYTES: u32 = CONTROL_BIT - 1;

/// Describes one payload: how long it is, when it was sent, and its checksum.
///
/// ```
/// use strait_frame::Envelope;
///
/// let payload = b"42 lots at 101.5";
/// let envelope = Envelope::seal(payload, 1_700_000_000_000_000, true)?;
///
/// let arrived = Envelope::decode(&envelope.encode(), 65_520, 4_096)?;
/// assert_eq!(arrived, envelope);
/// arrived.verify(payload)?;
/// assert!(arrived.verify(b"42 lots at 901.5").is_err());
/// # Ok::<(), strait_frame::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Payload bytes, 0 to [`MAX_PAYLOAD_BYTES`], without the flag bits of the size word.
    pub size: u32,
    /// Whether this is a control frame of a socket (bit 30 of the size word).
    pub control: bool,
    /// When the payload was sent, in microseconds since the Unix epoch; 0 where timestamps are off.
    pub timestamp: u64,
    /// The CRC32 of the payload; 0 where checksums are off. A payload may have the checksum 0, so whether they are on
    /// is settled per connection and not read from here.
    pub checksum: u32,
}

impl Envelope {
    /// Makes the envelope of `payload`, with `size` and `checksum` filled in (checksum 0 when `checksum` is false).
    /// `control` is false; set it afterwards for a control frame.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] if the payload is longer than [`MAX_PAYLOAD_BYTES`].
    ///
    /// ```
    /// let envelope = strait_frame::Envelope::seal(b"123456789", 0, true)?;
    /// assert_eq!((envelope.size, envelope.checksum), (9, 0xCBF4_3926));
    /// # Ok::<(), strait_frame::FrameError>(())
    /// ```
    pub fn seal(payload: &[u8], timestamp: u64, checksum: bool) -> Result<Self, FrameError> {
        let size = match u32::try_from(payload.len()) {
            Ok(size) if size <= MAX_PAYLOAD_BYTES => size,
            _ => return Err(FrameError::TooLarge { size: payload.len() as u64, max: MAX_PAYLOAD_BYTES.into() }),
        };
        let checksum = if checksum { self::checksum(payload) } else { 0 };
        Ok(Self { size, control: false, timestamp, checksum })
    }

    /// Writes the envelope as its 16 bytes.
    ///
    /// A `size` above [`MAX_PAYLOAD_BYTES`], which [`seal`](Self::seal) never makes, comes out with [`REFUSED_BIT`]
    /// set: no receiver takes it for a shorter frame or a control frame.
    ///
    /// ```
    /// let bytes = strait_frame::Envelope { size: 5, control: true, timestamp: 1, checksum: 7 }.encode();
    /// assert_eq!(bytes, [5, 0, 0, 0x40, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
    /// ```
    pub fn encode(&self) -> [u8; ENVELOPE_BYTES] {
        let mut word = self.size;
        if self.control {
            word |= CONTROL_BIT;
        }
        if self.size > MAX_PAYLOAD_BYTES {
            word |= REFUSED_BIT;
        }
        let mut bytes = [0; ENVELOPE_BYTES];
        bytes[0..4].copy_from_slice(&word.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.timestamp.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    /// Reads an envelope from bytes that anyone may have written. `max_payload` is the limit in bytes for data frames,
    /// `max_control` the one for control frames; pass 0 for the kind that has no place here and only empty ones get by.
    ///
    /// Every byte string has exactly one meaning: what is accepted encodes to the same 16 bytes again.
    ///
    /// # Errors
    ///
    /// [`FrameError::Refused`] if bit 31 of the size word is set, whatever else holds; [`FrameError::TooLarge`] if the
    /// size is above the limit for its kind.
    ///
    /// ```
    /// use strait_frame::{Envelope, FrameError};
    ///
    /// let bytes = Envelope { size: 100, control: false, timestamp: 0, checksum: 0 }.encode();
    /// assert!(Envelope::decode(&bytes, 100, 0).is_ok());
    /// assert_eq!(Envelope::decode(&bytes, 99, 4096), Err(FrameError::TooLarge { size: 100, max: 99 }));
    /// ```
    pub fn decode(bytes: &[u8; ENVELOPE_BYTES], max_payload: u32, max_control: u32) -> Result<Self, FrameError> {
        let [s0, s1, s2, s3, t0, t1, t2, t3, t4, t5, t6, t7, c0, c1, c2, c3] = *bytes;
        let size_word = u32::from_le_bytes([s0, s1, s2, s3]);
        if size_word & REFUSED_BIT != 0 {
            return Err(FrameError::Refused { size_word });
        }
        let control = size_word & CONTROL_BIT != 0;
        let size = size_word & MAX_PAYLOAD_BYTES;
        let max = if control { max_control } else { max_payload };
        if size > max {
            return Err(FrameError::TooLarge { size: size.into(), max: max.into() });
        }
        let timestamp = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        let checksum = u32::from_le_bytes([c0, c1, c2, c3]);
        Ok(Self { size, control, timestamp, checksum })
    }

    /// Compares length and CRC32 of `payload` with the envelope. Call it only where checksums are on, and on bytes that
    /// nobody writes any more: a check on memory that a peer may still write proves nothing a moment later.
    ///
    /// # Errors
    ///
    /// [`FrameError::Length`] or [`FrameError::Checksum`].
    ///
    /// ```
    /// use strait_frame::{Envelope, FrameError};
    ///
    /// let envelope = Envelope::seal(b"abc", 0, true)?;
    /// assert_eq!(envelope.verify(b"ab"), Err(FrameError::Length { expected: 3, found: 2 }));
    /// # Ok::<(), FrameError>(())
    /// ```
    pub fn verify(&self, payload: &[u8]) -> Result<(), FrameError> {
        if payload.len() as u64 != u64::from(self.size) {
            return Err(FrameError::Length { expected: self.size.into(), found: payload.len() as u64 });
        }
        let found = checksum(payload);
        if found != self.checksum {
            return Err(FrameError::Checksum { expected: self.checksum, found });
        }
        Ok(())
    }
}

/// Computes the CRC32 of `payload` (the IEEE polynomial, as in zip and Ethernet); 0 for an empty one.
///
/// ```
/// assert_eq!(strait_frame::checksum(b"123456789"), 0xCBF4_3926);
/// ```
pub fn checksum(payload: &[u8]) -> u32 {
    crc32fast::hash(payload)
}

/// Reads the wall clock in microseconds since the Unix epoch; 0 if it stands before 1970, `u64::MAX` if it stands
/// beyond what 64 bits hold (some 584 000 years).
///
/// The wall clock can jump, also backwards: it says when, it doesn't measure how long.
///
/// ```
/// assert!(strait_frame::now_micros() > 1_700_000_000_000_000);
/// ```
#[cfg(feature = "std")]
pub fn now_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_beyond_the_field_is_never_read_as_another_frame() {
        for size in [CONTROL_BIT, CONTROL_BIT | 5, REFUSED_BIT, u32::MAX] {
            let bytes = Envelope { size, control: false, timestamp: 0, checksum: 0 }.encode();
            let found = Envelope::decode(&bytes, u32::MAX, u32::MAX);
            assert!(matches!(found, Err(FrameError::Refused { .. })), "{size:#x}: {found:?}");
        }
    }

    #[test]
    fn refused_bit_wins_over_the_control_bit() {
        let mut bytes = [0; ENVELOPE_BYTES];
        bytes[3] = 0xC0;
        assert_eq!(Envelope::decode(&bytes, 9, 9), Err(FrameError::Refused { size_word: 0xC000_0000 }));
    }

    #[test]
    fn control_frames_have_their_own_limit() {
        let bytes = Envelope { size: 10, control: true, timestamp: 0, checksum: 0 }.encode();
        assert!(Envelope::decode(&bytes, 0, 10).is_ok());
        assert_eq!(Envelope::decode(&bytes, 100, 9), Err(FrameError::TooLarge { size: 10, max: 9 }));
    }
}
