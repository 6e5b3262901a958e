//! The first 16 bytes of each message; see docs/PROTOCOL.md.

/// Length of the header. A multiple of 16, so that a body is aligned as a message is.
pub(crate) const HEADER_BYTES: usize = 16;

/// What goes before each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Number of the message, from 0; those that were dropped count.
    pub(crate) sequence: u64,
    /// How many the producer has dropped before it.
    pub(crate) dropped: u64,
}

impl Header {
    #[inline]
    pub(crate) fn write(self, bytes: &mut [u8]) {
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..HEADER_BYTES].copy_from_slice(&self.dropped.to_le_bytes());
    }

    /// Reads it; `None` where the message is too short.
    #[inline]
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let (sequence, rest) = message.split_first_chunk::<8>()?;
        let (dropped, _) = rest.split_first_chunk::<8>()?;
        Some(Self { sequence: u64::from_le_bytes(*sequence), dropped: u64::from_le_bytes(*dropped) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes_and_a_short_message_has_none() {
        let header = Header { sequence: 0x0102_0304_0506_0708, dropped: 9 };
        let mut bytes = [0; HEADER_BYTES];
        header.write(&mut bytes);
        assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Header::read(&bytes), Some(header));
        assert_eq!(Header::read(&bytes[..15]), None);
    }
}
