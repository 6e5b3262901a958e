//! A door for the fuzz targets of this repository, and for nobody else.

use crate::header::Header;

/// Decodes the header of an rpc message, with what it carries, and encodes it again.
///
/// # Errors
///
/// Why it is none.
pub fn header(message: &[u8]) -> Result<Vec<u8>, String> {
    let header = Header::decode(message).map_err(|error| error.to_string())?;
    let mut bytes = header.encode().to_vec();
    let head = bytes.len();
    bytes.resize(head + header.trace.len(), 0);
    header.trace.write(&mut bytes[head..]);
    Ok(bytes)
}
