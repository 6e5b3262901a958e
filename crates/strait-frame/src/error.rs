//! What can go wrong, one small enum per operation.

use alloc::string::String;
use core::fmt;

/// Says why an envelope, or the payload under it, was not accepted.
///
/// From [`Envelope::decode`](crate::Envelope::decode) and [`verify`](crate::Envelope::verify) the bytes are to blame;
/// from [`seal`](crate::Envelope::seal) the caller is.
///
/// ```
/// use strait_frame::FrameError;
///
/// let error = FrameError::TooLarge { size: 70_000, max: 65_520 };
/// assert_eq!(error.to_string(), "payload of 70000 bytes, at most 65520 are allowed here");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// Bit 31 of the size word is set: only a record inside a ring may have it.
    Refused {
        /// The whole size word as it was found.
        size_word: u32,
    },
    /// The payload is longer than allowed here.
    TooLarge {
        /// Payload bytes that the envelope announces, or that were to be sealed.
        size: u64,
        /// Payload bytes that are allowed at most.
        max: u64,
    },
    /// The payload is not as long as its envelope says.
    Length {
        /// Payload bytes by the envelope.
        expected: u64,
        /// Payload bytes that are there.
        found: u64,
    },
    /// The payload's CRC32 is not the one in the envelope.
    Checksum {
        /// The CRC32 in the envelope.
        expected: u32,
        /// The CRC32 of the payload that is there.
        found: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { size_word } => {
                write!(f, "size word {size_word:#010x} has bit 31 set, which only a record in a ring may have")
            }
            Self::TooLarge { size, max } => write!(f, "payload of {size} bytes, at most {max} are allowed here"),
            Self::Length { expected, found } => {
                write!(f, "the envelope announces {expected} bytes of payload, found {found}")
            }
            Self::Checksum { expected, found } => {
                write!(f, "checksum mismatch: the envelope says {expected:#010x}, the payload has {found:#010x}")
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// Says why a value could not be written into a [`Sink`](crate::Sink).
///
/// After an error the bytes in the sink are part of a message at best: throw them away.
///
/// ```
/// use strait_frame::{EncodeError, Sink};
///
/// let mut span = [0; 4];
/// let error = Sink::new(&mut span).write(b"eight by").unwrap_err();
/// assert_eq!(error, EncodeError::TooLarge { need: 8, capacity: 4 });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The span is too small. Claim the counted size ([`Codec::encoded_len`](crate::Codec::encoded_len)) and try once
    /// more.
    TooLarge {
        /// Bytes that are needed at least: encoding stopped here, so the whole value may need more.
        need: usize,
        /// Bytes that the span has.
        capacity: usize,
    },
    /// The codec refused the value, in its own words.
    Codec(String),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { need, capacity } => {
                write!(f, "the value needs at least {need} bytes, the span has {capacity}")
            }
            Self::Codec(reason) => write!(f, "the value can't be encoded: {reason}"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Says why bytes are not a value of the expected type. The bytes are to blame, or the buffer they lie in.
///
/// ```
/// use strait_frame::DecodeError;
///
/// let error = DecodeError::TooShort { expected: 24, found: 7 };
/// assert_eq!(error.to_string(), "the type takes at least 24 bytes, found 7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The codec refused the bytes, in its own words.
    Codec {
        /// The codec's name, such as `"rkyv"`.
        codec: &'static str,
        /// What it found.
        reason: String,
    },
    /// Fewer bytes than the smallest value of the type takes.
    TooShort {
        /// Bytes that the type takes at least.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The bytes lie at an address that the type can't be read from. The message may be fine: copy it to an aligned
    /// buffer.
    Misaligned {
        /// The address of the value modulo `align`, never 0.
        remainder: usize,
        /// The alignment that the type needs, in bytes.
        align: usize,
    },
    /// The value is complete and bytes follow it.
    TrailingBytes {
        /// How many bytes follow.
        count: usize,
    },
    /// The value is nested more deeply than allowed.
    TooDeep {
        /// Levels that are allowed, [`MAX_DEPTH`](crate::MAX_DEPTH).
        max: usize,
    },
    /// Sequences announce more elements than so few bytes can mean honestly (elements that take no bytes cost the
    /// sender nothing).
    TooManyElements {
        /// Elements that a message of this length may have.
        max: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec { codec, reason } => write!(f, "not a valid {codec} value: {reason}"),
            Self::TooShort { expected, found } => write!(f, "the type takes at least {expected} bytes, found {found}"),
            Self::Misaligned { remainder, align } => {
                write!(f, "the value lies {remainder} bytes past a multiple of {align}, expected a multiple")
            }
            Self::TrailingBytes { count } => write!(f, "{count} bytes follow the value, expected none"),
            Self::TooDeep { max } => write!(f, "the value is nested more than {max} levels deep"),
            Self::TooManyElements { max } => {
                write!(f, "the sequences have more elements than the {max} allowed for a message of this length")
            }
        }
    }
}

impl core::error::Error for DecodeError {}
