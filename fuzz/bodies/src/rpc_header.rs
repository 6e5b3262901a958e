//! The rpc header and the trace context behind it: strict, and the same bytes again.

pub(crate) fn body(bytes: &[u8]) {
    if let Ok(again) = strait::rpc::fuzz::header(bytes) {
        assert_eq!(again[..], bytes[..again.len()], "what is accepted encodes to the same bytes");
    }
}
