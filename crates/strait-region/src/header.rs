//! The constants of a region, as bytes at its start.

use std::mem::offset_of;

use crate::{error::OpenError, peer::Expected};

/// Bytes at the start of a region that belong to the header. What the region is for comes after them.
pub const HEADER_BYTES: usize = 4096;

/// Bytes that [`Header::encode`] fills in. The rest of [`HEADER_BYTES`] is zero.
pub const HEADER_ENCODED_BYTES: usize = 128;

/// "STRAIT", 0, 1.
const MAGIC: u64 = u64::from_le_bytes(*b"STRAIT\0\x01");

/// Changes when the header's bytes get another meaning.
const VERSION: u32 = 1;

/// The bytes as a picture: never made, only asked for offsets.
#[repr(C)]
#[allow(dead_code)]
struct Wire {
    magic: u64,
    version: u32,
    kind: u32,
    layout_hash: u32,
    record_align_bytes: u32,
    total_bytes: u64,
    ring_capacity_bytes: u64,
    max_message_bytes: u64,
    session: [u8; 16],
    reserved: [u8; 64],
}

const _: () = {
    assert!(offset_of!(Wire, magic) == 0 && offset_of!(Wire, version) == 8 && offset_of!(Wire, kind) == 12);
    assert!(offset_of!(Wire, layout_hash) == 16 && offset_of!(Wire, record_align_bytes) == 20);
    assert!(offset_of!(Wire, total_bytes) == 24 && offset_of!(Wire, ring_capacity_bytes) == 32);
    assert!(offset_of!(Wire, max_message_bytes) == 40 && offset_of!(Wire, session) == 48);
    assert!(offset_of!(Wire, reserved) == 64 && size_of::<Wire>() == HEADER_ENCODED_BYTES);
    assert!(HEADER_ENCODED_BYTES <= HEADER_BYTES);
};

/// The constants of a region: written once by its maker, read once by the other side, before it maps.
///
/// | offset | bytes | field, little-endian |
/// |---|---|---|
/// | 0 | 8 | magic: `STRAIT`, 0, 1 |
/// | 8 | 4 | version: 1 |
/// | 12 | 4 | kind |
/// | 16 | 4 | layout hash |
/// | 20 | 4 | record alignment in bytes: 16 or 64 |
/// | 24 | 8 | total bytes |
/// | 32 | 8 | ring capacity in bytes: 0 or a power of two |
/// | 40 | 8 | largest message in bytes |
/// | 48 | 16 | session id |
/// | 64 | 64 | written as zero and ignored: room for later |
///
/// ```
/// use strait_region::Header;
///
/// let header = Header {
///     kind: 1,
///     layout_hash: 7,
///     total_bytes: 8192,
///     ring_capacity_bytes: 4096,
///     max_message_bytes: 1008,
///     record_align_bytes: 64,
///     session: [3; 16],
/// };
/// assert_eq!(Header::decode(&header.encode())?, header);
/// # Ok::<(), strait_region::OpenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the region is for; the numbers are given out above this crate.
    pub kind: u32,
    /// Hash of the layout after the header; differs where the two sides would place things differently.
    pub layout_hash: u32,
    /// Size of the whole region in bytes, this header included: a multiple of the page size.
    pub total_bytes: u64,
    /// Size of the ring's data in bytes: a power of two, or 0 where there is no ring.
    pub ring_capacity_bytes: u64,
    /// The largest message in bytes: at most the ring's capacity. Where there is no ring it says nothing about this
    /// region and is not checked.
    pub max_message_bytes: u64,
    /// What records are aligned to in bytes: 16 or 64.
    pub record_align_bytes: u32,
    /// The session that the region belongs to.
    pub session: [u8; 16],
}

impl Header {
    /// The header as bytes, by the table above.
    pub fn encode(&self) -> [u8; HEADER_ENCODED_BYTES] {
        let mut bytes = [0; HEADER_ENCODED_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(offset_of!(Wire, magic), &MAGIC.to_le_bytes());
        put(offset_of!(Wire, version), &VERSION.to_le_bytes());
        put(offset_of!(Wire, kind), &self.kind.to_le_bytes());
        put(offset_of!(Wire, layout_hash), &self.layout_hash.to_le_bytes());
        put(offset_of!(Wire, record_align_bytes), &self.record_align_bytes.to_le_bytes());
        put(offset_of!(Wire, total_bytes), &self.total_bytes.to_le_bytes());
        put(offset_of!(Wire, ring_capacity_bytes), &self.ring_capacity_bytes.to_le_bytes());
        put(offset_of!(Wire, max_message_bytes), &self.max_message_bytes.to_le_bytes());
        put(offset_of!(Wire, session), &self.session);
        bytes
    }

    /// Reads a header from the first [`HEADER_ENCODED_BYTES`] of `bytes`; what follows is ignored.
    ///
    /// The fields are checked as far as they can be without knowing the memory. Any bytes may be given.
    ///
    /// # Errors
    ///
    /// In this order: [`Truncated`](OpenError::Truncated), [`Magic`](OpenError::Magic), [`Version`](OpenError::Version),
    /// [`RingCapacity`](OpenError::RingCapacity), [`MaxMessage`](OpenError::MaxMessage),
    /// [`Alignment`](OpenError::Alignment).
    pub fn decode(bytes: &[u8]) -> Result<Self, OpenError> {
        let header = Self::read(bytes)?;
        header.check_fields()?;
        Ok(header)
    }

    /// Reads a header of whose fields nothing is checked yet but magic and version.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, OpenError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_ENCODED_BYTES>() else {
            return Err(OpenError::Truncated { found: bytes.len(), expected: HEADER_ENCODED_BYTES });
        };
        let magic = u64_at(bytes, offset_of!(Wire, magic));
        if magic != MAGIC {
            return Err(OpenError::Magic { found: magic, expected: MAGIC });
        }
        let version = u32_at(bytes, offset_of!(Wire, version));
        if version != VERSION {
            return Err(OpenError::Version { found: version, expected: VERSION });
        }
        Ok(Self {
            kind: u32_at(bytes, offset_of!(Wire, kind)),
            layout_hash: u32_at(bytes, offset_of!(Wire, layout_hash)),
            total_bytes: u64_at(bytes, offset_of!(Wire, total_bytes)),
            ring_capacity_bytes: u64_at(bytes, offset_of!(Wire, ring_capacity_bytes)),
            max_message_bytes: u64_at(bytes, offset_of!(Wire, max_message_bytes)),
            record_align_bytes: u32_at(bytes, offset_of!(Wire, record_align_bytes)),
            session: array_at(bytes, offset_of!(Wire, session)),
        })
    }

    /// Checks what follows from the fields alone.
    pub(crate) fn check_fields(&self) -> Result<(), OpenError> {
        let (capacity, max) = (self.ring_capacity_bytes, self.total_bytes.saturating_sub(HEADER_BYTES as u64));
        if capacity != 0 && (!capacity.is_power_of_two() || capacity > max) {
            return Err(OpenError::RingCapacity { found: capacity, max });
        }
        if capacity != 0 && self.max_message_bytes > capacity {
            return Err(OpenError::MaxMessage { found: self.max_message_bytes, max: capacity });
        }
        match self.record_align_bytes {
            16 | 64 => Ok(()),
            found => Err(OpenError::Alignment { found }),
        }
    }

    /// Checks the header of memory of `size_bytes` bytes against what was expected.
    pub(crate) fn check(&self, size_bytes: u64, expected: &Expected) -> Result<(), OpenError> {
        if self.kind != expected.kind {
            return Err(OpenError::Kind { found: self.kind, expected: expected.kind });
        }
        if self.layout_hash != expected.layout_hash {
            return Err(OpenError::LayoutHash { found: self.layout_hash, expected: expected.layout_hash });
        }
        if self.total_bytes != size_bytes {
            return Err(OpenError::TotalBytes { found: self.total_bytes, expected: size_bytes });
        }
        self.check_fields()?;
        match expected.session {
            Some(session) if session != self.session => {
                Err(OpenError::Session { found: self.session, expected: session })
            }
            _ => Ok(()),
        }
    }
}

/// The bytes at `at`, which is an offset of [`Wire`].
fn array_at<const N: usize>(bytes: &[u8; HEADER_ENCODED_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

fn u32_at(bytes: &[u8; HEADER_ENCODED_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8; HEADER_ENCODED_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
