//! The envelope: every byte string has one meaning or none.

use strait::frame::{ENVELOPE_BYTES, Envelope};

pub(crate) fn body(bytes: &[u8]) {
    let Some((envelope, payload)) = bytes.split_first_chunk::<ENVELOPE_BYTES>() else { return };
    for (max_payload, max_control) in [(u32::MAX, u32::MAX), (65_520, 4_096), (0, 0)] {
        let Ok(decoded) = Envelope::decode(envelope, max_payload, max_control) else { continue };
        assert_eq!(decoded.encode(), *envelope, "what is accepted encodes to the same bytes");
        assert!(decoded.size <= if decoded.control { max_control } else { max_payload });
        let holds = decoded.verify(payload).is_ok();
        let right = payload.len() == decoded.size as usize && strait::frame::checksum(payload) == decoded.checksum;
        assert_eq!(holds, right);
    }
}
