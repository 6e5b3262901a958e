//! A door for the fuzz targets of this repository, and for nobody else.

use crate::header::{HEADER_BYTES, Header};

/// Decodes the header of an rpc message and encodes it again.
///
/// # Errors
///
/// Why it is none.
pub fn header(message: &[u8]) -> Result<[u8; HEADER_BYTES], String> {
    Header::decode(message).map(|header| header.encode()).map_err(|error| error.to_string())
}
