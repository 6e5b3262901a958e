//! The messages of a queue: sixteen bytes of header, then an item where there is one. The bytes: docs/PROTOCOL.md.

/// Bytes before an item.
pub(crate) const HEADER_BYTES: usize = 16;

/// Flag of a [`Message::Joined`]: items must be acknowledged.
const ACKNOWLEDGED: u8 = 1;
/// Flag of a [`Message::Return`]: to nobody else.
const DISCARD: u8 = 1;

/// What somebody takes part as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Producer,
    /// Wants so many items ahead.
    Worker {
        prefetch: u32,
    },
}

impl Part {
    /// What it is called.
    pub(crate) fn end(self) -> &'static str {
        match self {
            Self::Producer => "a producer",
            Self::Worker { .. } => "a worker",
        }
    }
}

/// A message without its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// First word of a participant.
    Join(Part),
    /// First word of the owner. `credit` is a producer's window or a worker's prefetch.
    Joined { acknowledged: bool, credit: u32, max_item_bytes: u64 },
    /// An item from a producer, which counts them from 1.
    Push { sequence: u64 },
    /// How many items of a producer the owner has taken over; how many are done with, one way or another, follows.
    Progress { accepted: u64 },
    /// An item for a worker, for which the owner counts them from 1; how often it has been handed to somebody, with this time.
    Item { id: u64, deliveries: u32 },
    /// A worker has taken all items up to this one.
    Taken { id: u64 },
    /// A worker is done with an item.
    Ack { id: u64 },
    /// A worker does not want an item: it goes to another one, or to nobody.
    Return { id: u64, discard: bool },
    /// Last word of a worker, which took no item after this one.
    Leave { taken: u64 },
}

impl Message {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let (kind, flags, number, id) = match self {
            Self::Join(Part::Producer) => (1, 1, 0, 0),
            Self::Join(Part::Worker { prefetch }) => (1, 2, prefetch, 0),
            Self::Joined { acknowledged, credit, max_item_bytes } => {
                (2, if acknowledged { ACKNOWLEDGED } else { 0 }, credit, max_item_bytes)
            }
            Self::Push { sequence } => (3, 0, 0, sequence),
            Self::Progress { accepted } => (4, 0, 0, accepted),
            Self::Item { id, deliveries } => (5, 0, deliveries, id),
            Self::Taken { id } => (6, 0, 0, id),
            Self::Ack { id } => (7, 0, 0, id),
            Self::Return { id, discard } => (8, if discard { DISCARD } else { 0 }, 0, id),
            Self::Leave { taken } => (9, 0, 0, taken),
        };
        let mut bytes = [0; HEADER_BYTES];
        (bytes[0], bytes[1]) = (kind, flags);
        bytes[4..8].copy_from_slice(&u32::to_le_bytes(number));
        bytes[8..].copy_from_slice(&u64::to_le_bytes(id));
        bytes
    }

    /// Reads the header and returns what follows it. What is wrong is told in words.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), String> {
        let Some((&[kind, flags, _, _, n0, n1, n2, n3, ref id @ ..], body)) = bytes.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(format!("a queue message of {} bytes, expected {HEADER_BYTES} or more", bytes.len()));
        };
        let (number, id) = (u32::from_le_bytes([n0, n1, n2, n3]), u64::from_le_bytes(*id));
        let message = match (kind, flags) {
            (1, 1) => Self::Join(Part::Producer),
            (1, 2) => Self::Join(Part::Worker { prefetch: number }),
            (2, 0 | ACKNOWLEDGED) => {
                Self::Joined { acknowledged: flags == ACKNOWLEDGED, credit: number, max_item_bytes: id }
            }
            (3, 0) => Self::Push { sequence: id },
            (4, 0) => Self::Progress { accepted: id },
            (5, 0) => Self::Item { id, deliveries: number },
            (6, 0) => Self::Taken { id },
            (7, 0) => Self::Ack { id },
            (8, 0 | DISCARD) => Self::Return { id, discard: flags == DISCARD },
            (9, 0) => Self::Leave { taken: id },
            _ => return Err(format!("a queue message of kind {kind} with flags {flags}, which there is not")),
        };
        let expected = match message {
            Self::Push { .. } | Self::Item { .. } => return Ok((message, body)),
            Self::Progress { .. } => 8,
            _ => 0,
        };
        if body.len() != expected {
            return Err(format!("{message:?} with {} bytes behind it, expected {expected}", body.len()));
        }
        Ok((message, body))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_decoded_encodes_to_the_same_bytes(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..40),
            kind in 0u8..11,
            flags in 0u8..4,
        ) {
            if let [first, second, ..] = &mut bytes[..] {
                (*first, *second) = (kind, flags);
            }
            if let Ok((message, body)) = Message::decode(&bytes) {
                let again = message.encode();
                prop_assert_eq!(Message::decode(&[&again, body].concat()).map(|(message, _)| message), Ok(message));
                prop_assert_eq!(body, &bytes[HEADER_BYTES..]);
            }
        }
    }

    #[test]
    fn every_message_survives_its_bytes() {
        for message in [
            Message::Join(Part::Producer),
            Message::Join(Part::Worker { prefetch: 7 }),
            Message::Joined { acknowledged: true, credit: 9, max_item_bytes: 1 << 40 },
            Message::Push { sequence: u64::MAX },
            Message::Item { id: 3, deliveries: 2 },
            Message::Taken { id: 4 },
            Message::Ack { id: 5 },
            Message::Return { id: 6, discard: true },
            Message::Leave { taken: 8 },
        ] {
            assert_eq!(Message::decode(&message.encode()), Ok((message, &[][..])));
        }
        let progress = [&Message::Progress { accepted: 2 }.encode()[..], &1u64.to_le_bytes()].concat();
        assert_eq!(Message::decode(&progress), Ok((Message::Progress { accepted: 2 }, &1u64.to_le_bytes()[..])));
    }

    #[test]
    fn bytes_behind_a_message_that_has_none_are_refused() {
        let long = [&Message::Ack { id: 1 }.encode()[..], &[0]].concat();
        assert!(Message::decode(&long).is_err());
        assert!(Message::decode(&long[..15]).is_err());
    }
}
