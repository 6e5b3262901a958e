//! The 16 bytes before each rpc body. Byte table: docs/PROTOCOL.md.

use std::time::Duration;

use strait_transport::Message;

use crate::observe::Carried;

/// Length of the header.
pub(crate) const HEADER_BYTES: usize = 16;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Client to server: a call.
    Request,
    /// Server to client: its answer.
    Reply,
    /// Server to client: why there is no answer. Body: code u16, UTF-8 text.
    Error,
    /// Client to server: nobody waits for this call any more. It is still answered, once.
    Cancel,
    /// Server to client: no new calls.
    GoAway,
    /// Either way: a message that nobody answers.
    Notify,
    /// Server to client: one of several answers to a call. The last one is a `Reply` without a body, or an `Error`.
    Item,
    /// Client to server: so many more items may come; the count is where other messages have the method.
    Credit,
}

/// Reserved method: which methods there are. Its reply is JSON.
pub(crate) const METHOD_DESCRIBE: u16 = 0xFFFF;
/// Reserved method: how the service is. Its reply is JSON.
pub(crate) const METHOD_HEALTH: u16 = 0xFFFE;
/// From here on methods are reserved.
pub(crate) const METHODS_RESERVED: u16 = 0xFF00;

/// The body is JSON, whatever the connection's codec.
const FLAG_JSON: u8 = 1;
/// The caller takes items.
const FLAG_STREAM: u8 = 2;

/// No deadline, on the wire.
const NO_DEADLINE: u64 = u64::MAX;

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The body is JSON, whatever the connection's codec.
    pub(crate) json: bool,
    /// The caller takes items.
    pub(crate) stream: bool,
    pub(crate) method: u16,
    /// Chosen by the client; the answer carries the same.
    pub(crate) call: u32,
    /// Time left for the call; clocks differ, durations don't. `None` is no limit, zero has expired.
    pub(crate) deadline: Option<Duration>,
    /// What travels between it and the body of a request.
    pub(crate) trace: Carried,
}

impl Header {
    /// A header that only names a call.
    #[inline]
    pub(crate) fn of(kind: Kind, call: u32) -> Self {
        Self { kind, json: false, stream: false, method: 0, call, deadline: None, trace: Carried::default() }
    }

    #[inline]
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = match self.kind {
            Kind::Request => 1,
            Kind::Reply => 2,
            Kind::Error => 3,
            Kind::Cancel => 4,
            Kind::GoAway => 5,
            Kind::Notify => 6,
            Kind::Item => 7,
            Kind::Credit => 8,
        };
        bytes[1] = (u8::from(self.json) * FLAG_JSON) | (u8::from(self.stream) * FLAG_STREAM) | self.trace.flag();
        bytes[2..4].copy_from_slice(&self.method.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.call.to_le_bytes());
        let nanos = |left: Duration| u64::try_from(left.as_nanos()).unwrap_or(NO_DEADLINE - 1);
        bytes[8..16].copy_from_slice(&self.deadline.map_or(NO_DEADLINE, nanos).to_le_bytes());
        bytes
    }

    /// Takes the header of a message, and cuts out what it carries: behind [`HEADER_BYTES`] the body begins.
    #[inline]
    pub(crate) fn open(message: &mut Message) -> Result<Self, BadHeader> {
        let header = Self::decode(message)?;
        if header.trace.is_some() {
            message.skip(header.trace.len());
        }
        Ok(header)
    }

    /// Strict: unknown kinds and flags are refused.
    #[inline]
    pub(crate) fn decode(message: &[u8]) -> Result<Self, BadHeader> {
        let Some(bytes) = message.first_chunk::<HEADER_BYTES>() else {
            return Err(BadHeader::Short(message.len()));
        };
        let kind = match bytes[0] {
            1 => Kind::Request,
            2 => Kind::Reply,
            3 => Kind::Error,
            4 => Kind::Cancel,
            5 => Kind::GoAway,
            6 => Kind::Notify,
            7 => Kind::Item,
            8 => Kind::Credit,
            unknown => return Err(BadHeader::Kind(unknown)),
        };
        if bytes[1] & !(FLAG_JSON | FLAG_STREAM | Carried::FLAG) != 0 {
            return Err(BadHeader::Flags(bytes[1]));
        }
        let [.., a, b, c, d, e, f, g, h] = *bytes;
        let deadline = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Ok(Self {
            kind,
            json: bytes[1] & FLAG_JSON != 0,
            stream: bytes[1] & FLAG_STREAM != 0,
            method: u16::from_le_bytes([bytes[2], bytes[3]]),
            call: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            deadline: (deadline != NO_DEADLINE).then(|| Duration::from_nanos(deadline)),
            trace: Carried::read(kind, bytes[1], message)?,
        })
    }
}

/// Why a message has no header. Told in words only where that is asked for.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum BadHeader {
    #[error("an rpc message of {0} bytes, shorter than its header of {HEADER_BYTES}")]
    Short(usize),
    #[error("an rpc message of unknown kind {0}")]
    Kind(u8),
    #[error("an rpc message with unknown flags {0:#04x}")]
    Flags(u8),
    #[cfg(feature = "spans")]
    #[error("an rpc request of {0} bytes, shorter than its header and the trace context that this says follows")]
    ShortTrace(usize),
    #[cfg(feature = "spans")]
    #[error("an rpc request with a trace context that is none: an id of zero, or reserved bits that are not")]
    Trace,
}

/// Whether a message is a reply to `call`, without looking at the rest of its header, which a client has no use for.
#[inline]
pub(crate) fn is_reply_to(message: &[u8], call: u32) -> bool {
    message.first_chunk::<HEADER_BYTES>().is_some_and(|bytes| {
        let plain = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) == REPLY;
        plain && bytes[4..8] == call.to_le_bytes()
    })
}

/// The first four bytes of a reply without flags, to method 0.
const REPLY: u32 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_header_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_BYTES]);
                let mut carried = vec![0; header.trace.len()];
                header.trace.write(&mut carried);
                prop_assert_eq!(&carried[..], &bytes[HEADER_BYTES..HEADER_BYTES + carried.len()]);
            }
        }
    }

    #[test]
    fn a_deadline_of_zero_is_not_no_deadline() {
        for deadline in [None, Some(Duration::ZERO), Some(Duration::from_nanos(7))] {
            let header = Header { deadline, ..Header::of(Kind::Request, 9) };
            assert_eq!(Header::decode(&header.encode()).unwrap(), header);
        }
    }
}
