//! Control frames: bytes to values and back. Byte tables: docs/PROTOCOL.md.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout,
    little_endian::{U16, U32, U64},
};

use crate::{
    error::{Error, Refusal},
    foreign,
};

/// Version of the protocol. A peer with another one is refused.
pub(crate) const VERSION: u8 = 1;

pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const WELCOME: u8 = 2;
    pub(crate) const REFUSE: u8 = 3;
    pub(crate) const OFFER: u8 = 4;
    pub(crate) const ACCEPT: u8 = 5;
    pub(crate) const COMMIT: u8 = 6;
    pub(crate) const DECLINE: u8 = 7;
    pub(crate) const SWITCHED: u8 = 8;
    pub(crate) const EXTRA: u8 = 9;
    pub(crate) const CLOSE: u8 = 10;
}

/// `Hello` and `Welcome`: what a side brings, and what is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct GreetingBytes {
    kind: u8,
    version: u8,
    service: u8,
    codec: u8,
    flags: U32,
    schema: U64,
    max_in_flight: U32,
    record_align_bytes: U32,
    ring_bytes: U64,
}

const _: () = assert!(size_of::<GreetingBytes>() == 32);

const FLAG_CHECKSUM: u32 = 1;
const FLAG_TIMESTAMP: u32 = 2;
const FLAG_SHARED_MEMORY: u32 = 4;
const FLAG_TRACE_CONTEXT: u32 = 8;

/// `Refuse`: why, and the two values that differ.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RefuseBytes {
    kind: u8,
    reserved: u8,
    code: U16,
    reserved_2: U32,
    server: U64,
    client: U64,
}

const _: () = assert!(size_of::<RefuseBytes>() == 24);

/// `Offer`, `Accept` and `Extra`: a segment's descriptor comes with the frame.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SegmentBytes {
    kind: u8,
    /// What an `Extra` is; reserved in the others, as are the next two.
    segment: u8,
    granted: u8,
    max_pins: u8,
    reserved: [u8; 4],
    total_bytes: U64,
    session: [u8; 16],
}

const _: () = assert!(size_of::<SegmentBytes>() == 32);

/// What a side brings to a connection (`Hello`), or what both will do (`Welcome`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) version: u8,
    pub(crate) service: u8,
    pub(crate) codec: u8,
    pub(crate) checksum: bool,
    pub(crate) timestamp: bool,
    pub(crate) shared_memory: bool,
    pub(crate) trace_context: bool,
    pub(crate) schema: u64,
    pub(crate) max_in_flight: u32,
    pub(crate) record_align_bytes: u32,
    /// Capacity of the ring that the sender of this frame sends through.
    pub(crate) ring_bytes: u64,
}

/// A segment beyond the pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    /// Its kind.
    pub(crate) segment: u8,
    pub(crate) total_bytes: u64,
    pub(crate) session: [u8; 16],
    /// With a state: pins that its client is granted.
    pub(crate) granted: u8,
    /// With a state: the most pins that are granted at once, to all clients.
    pub(crate) max_pins: u8,
}

/// A control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Hello(Greeting),
    Welcome(Greeting),
    Refuse(Refusal),
    Offer {
        total_bytes: u64,
        session: [u8; 16],
    },
    Accept {
        total_bytes: u64,
        session: [u8; 16],
    },
    Commit,
    Decline {
        reason: String,
    },
    Switched,
    /// A segment beyond the pair.
    Extra(Extra),
    /// The sender's last frame: it ends in good order and sends no more.
    Close,
}

impl Control {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Welcome(_) => "Welcome",
            Self::Refuse(_) => "Refuse",
            Self::Offer { .. } => "Offer",
            Self::Accept { .. } => "Accept",
            Self::Commit => "Commit",
            Self::Decline { .. } => "Decline",
            Self::Switched => "Switched",
            Self::Extra(_) => "Extra",
            Self::Close => "Close",
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(greeting) => greeting.encode(kind::HELLO),
            Self::Welcome(greeting) => greeting.encode(kind::WELCOME),
            Self::Refuse(refusal) => encode_refusal(refusal),
            Self::Offer { total_bytes, session } => encode_segment(kind::OFFER, &pair(*total_bytes, *session)),
            Self::Accept { total_bytes, session } => encode_segment(kind::ACCEPT, &pair(*total_bytes, *session)),
            Self::Commit => vec![kind::COMMIT],
            Self::Decline { reason } => {
                let mut bytes = vec![kind::DECLINE];
                bytes.extend_from_slice(cut(reason).as_bytes());
                bytes
            }
            Self::Switched => vec![kind::SWITCHED],
            Self::Extra(extra) => encode_segment(kind::EXTRA, extra),
            Self::Close => vec![kind::CLOSE],
        }
    }

    /// Strict: each frame has exactly its length and known values.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let Some(&first) = bytes.first() else { return Err(Error::corrupt("an empty control frame")) };
        let exact = |expected: usize| {
            if bytes.len() == expected {
                Ok(())
            } else {
                let found = bytes.len();
                Err(Error::corrupt(format!("control frame of kind {first} has {found} bytes, expected {expected}")))
            }
        };
        match first {
            kind::HELLO => Greeting::decode(bytes).map(Self::Hello),
            kind::WELCOME => Greeting::decode(bytes).map(Self::Welcome),
            kind::REFUSE => decode_refusal(bytes).map(Self::Refuse),
            kind::OFFER | kind::ACCEPT | kind::EXTRA => {
                exact(size_of::<SegmentBytes>())?;
                let frame =
                    SegmentBytes::read_from_bytes(bytes).map_err(|_| Error::corrupt("a short segment frame"))?;
                let (total_bytes, session) = (frame.total_bytes.get(), frame.session);
                Ok(match first {
                    kind::OFFER => Self::Offer { total_bytes, session },
                    kind::ACCEPT => Self::Accept { total_bytes, session },
                    _ => {
                        let SegmentBytes { segment, granted, max_pins, .. } = frame;
                        Self::Extra(Extra { segment, total_bytes, session, granted, max_pins })
                    }
                })
            }
            kind::COMMIT => exact(1).map(|()| Self::Commit),
            kind::DECLINE if bytes.len() - 1 > MAX_REASON_BYTES => {
                let found = bytes.len() - 1;
                Err(Error::corrupt(format!("a reason of {found} bytes, expected at most {MAX_REASON_BYTES}")))
            }
            kind::DECLINE => Ok(Self::Decline { reason: printable(&bytes[1..]) }),
            kind::SWITCHED => exact(1).map(|()| Self::Switched),
            kind::CLOSE => exact(1).map(|()| Self::Close),
            unknown => Err(Error::corrupt(format!("control frame of unknown kind {unknown}"))),
        }
    }
}

/// The longest reason of a `Decline`.
const MAX_REASON_BYTES: usize = 1024;

/// As much of a reason as has room, in whole characters.
fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)]
}

/// A peer's text, made fit for a log: one line, without what a terminal obeys, and as short as what it may send.
fn printable(bytes: &[u8]) -> String {
    let text: String =
        String::from_utf8_lossy(bytes).chars().map(|c| if foreign::is_obeyed(c) { '?' } else { c }).collect();
    cut(&text).to_owned()
}

impl Greeting {
    fn encode(&self, kind: u8) -> Vec<u8> {
        let mut flags = 0;
        for (set, flag) in [
            (self.checksum, FLAG_CHECKSUM),
            (self.timestamp, FLAG_TIMESTAMP),
            (self.shared_memory, FLAG_SHARED_MEMORY),
            (self.trace_context, FLAG_TRACE_CONTEXT),
        ] {
            flags |= if set { flag } else { 0 };
        }
        GreetingBytes {
            kind,
            version: self.version,
            service: self.service,
            codec: self.codec,
            flags: flags.into(),
            schema: self.schema.into(),
            max_in_flight: self.max_in_flight.into(),
            record_align_bytes: self.record_align_bytes.into(),
            ring_bytes: self.ring_bytes.into(),
        }
        .as_bytes()
        .to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        // The version comes before all else, so that a longer greeting of a later version is told by its version.
        let version = bytes.get(1).copied().ok_or_else(|| Error::corrupt("a greeting without a version"))?;
        let prefix = GreetingBytes::read_from_prefix(bytes);
        let exact = bytes.len() == size_of::<GreetingBytes>();
        let frame = match prefix {
            Ok((frame, _)) if exact || version != VERSION => frame,
            _ => {
                let (found, expected) = (bytes.len(), size_of::<GreetingBytes>());
                return Err(Error::corrupt(format!("a greeting has {found} bytes, expected {expected}")));
            }
        };
        let flags = frame.flags.get();
        Ok(Self {
            version,
            service: frame.service,
            codec: frame.codec,
            checksum: flags & FLAG_CHECKSUM != 0,
            timestamp: flags & FLAG_TIMESTAMP != 0,
            shared_memory: flags & FLAG_SHARED_MEMORY != 0,
            trace_context: flags & FLAG_TRACE_CONTEXT != 0,
            schema: frame.schema.get(),
            max_in_flight: frame.max_in_flight.get(),
            record_align_bytes: frame.record_align_bytes.get(),
            ring_bytes: frame.ring_bytes.get(),
        })
    }
}

/// A segment of the pair.
fn pair(total_bytes: u64, session: [u8; 16]) -> Extra {
    Extra { total_bytes, session, ..Extra::default() }
}

fn encode_segment(kind: u8, extra: &Extra) -> Vec<u8> {
    let Extra { segment, total_bytes, session, granted, max_pins } = *extra;
    SegmentBytes { kind, segment, granted, max_pins, reserved: [0; 4], total_bytes: total_bytes.into(), session }
        .as_bytes()
        .to_vec()
}

fn encode_refusal(refusal: &Refusal) -> Vec<u8> {
    let (code, server, client) = match *refusal {
        Refusal::Version { server, client } => (1, server, client),
        Refusal::Service { server, client } => (2, server, client),
        Refusal::Codec { server, client } => (3, server, client),
        Refusal::Schema { server, client } => (4, server, client),
        Refusal::RingBytes { server, client } => (5, server, client),
        Refusal::Busy { server } => (6, server, 0),
        Refusal::User { server, client } => (7, server, client),
        Refusal::ShuttingDown => (8, 0, 0),
        Refusal::Unknown { code } => (code, 0, 0),
    };
    RefuseBytes {
        kind: kind::REFUSE,
        reserved: 0,
        code: code.into(),
        reserved_2: 0.into(),
        server: server.into(),
        client: client.into(),
    }
    .as_bytes()
    .to_vec()
}

fn decode_refusal(bytes: &[u8]) -> Result<Refusal, Error> {
    let frame =
        RefuseBytes::read_from_bytes(bytes).map_err(|_| Error::corrupt("a Refuse frame of the wrong length"))?;
    let (server, client) = (frame.server.get(), frame.client.get());
    Ok(match frame.code.get() {
        1 => Refusal::Version { server, client },
        2 => Refusal::Service { server, client },
        3 => Refusal::Codec { server, client },
        4 => Refusal::Schema { server, client },
        5 => Refusal::RingBytes { server, client },
        6 => Refusal::Busy { server },
        7 => Refusal::User { server, client },
        8 => Refusal::ShuttingDown,
        code => Refusal::Unknown { code },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn greeting() -> Greeting {
        Greeting {
            version: VERSION,
            service: 1,
            codec: 1,
            checksum: true,
            timestamp: false,
            shared_memory: true,
            trace_context: true,
            schema: 0x1122_3344_5566_7788,
            max_in_flight: 64,
            record_align_bytes: 16,
            ring_bytes: 1 << 18,
        }
    }

    #[test]
    fn every_frame_survives_its_bytes() {
        let session = [7; 16];
        for frame in [
            Control::Hello(greeting()),
            Control::Welcome(greeting()),
            Control::Refuse(Refusal::Schema { server: 1, client: 2 }),
            Control::Refuse(Refusal::Unknown { code: 999 }),
            Control::Offer { total_bytes: 12, session },
            Control::Accept { total_bytes: 12, session },
            Control::Commit,
            Control::Decline { reason: "no descriptor left".into() },
            Control::Switched,
            Control::Extra(Extra { segment: 2, total_bytes: 12, session, granted: 1, max_pins: 4 }),
            Control::Close,
        ] {
            assert_eq!(Control::decode(&frame.encode()).unwrap(), frame);
        }
    }

    #[test]
    fn a_greeting_of_a_later_version_is_told_by_its_version() {
        let mut bytes = Control::Hello(Greeting { version: 9, ..greeting() }).encode();
        bytes.extend_from_slice(&[1, 2, 3]);
        let Control::Hello(greeting) = Control::decode(&bytes).unwrap() else { panic!("no Hello") };
        assert_eq!(greeting.version, 9);
    }

    #[test]
    fn control_characters_of_a_peer_do_not_reach_the_log() {
        let frame = Control::Decline { reason: "a\u{1b}[31m\nb\u{202e}c".into() };
        let Control::Decline { reason } = Control::decode(&frame.encode()).unwrap() else { panic!("no Decline") };
        assert_eq!(reason, "a?[31m?b?c");
    }

    #[test]
    fn a_reason_is_whole_characters_and_no_longer_than_it_may_be() {
        // Each byte that is no text takes three once it is told.
        let bytes = [&[kind::DECLINE][..], b"x", &[0xFF; 1023]].concat();
        let frame = Control::decode(&bytes).unwrap();
        assert_eq!(Control::decode(&frame.encode()).unwrap(), frame);
        assert!(matches!(&frame, Control::Decline { reason } if reason.len() == 1024));
        let long = Control::Decline { reason: "\u{e4}".repeat(600) + "x" }.encode();
        assert_eq!((long.len(), std::str::from_utf8(&long[1..]).is_ok()), (1025, true));
        let too_long = [&[kind::DECLINE][..], &[b'x'; 1025]].concat();
        assert!(matches!(Control::decode(&too_long), Err(Error::Corrupt { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(frame) = Control::decode(&bytes) {
                prop_assert_eq!(Control::decode(&frame.encode()).unwrap(), frame);
            }
        }
    }
}
