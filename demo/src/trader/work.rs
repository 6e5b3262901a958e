//! What a client sends, and what it expects back.

use crate::{
    messages::{ArchivedExchangeReply, ExchangeRequest},
    orders::{self, OrderFlow, WrongOrderReply},
    payload,
};

/// What each client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// So many orders.
    Orders(u64),
    /// Payloads of so many bytes, different ones each time, without end.
    Bytes {
        /// Bytes of a request.
        size: usize,
        /// Whether the answer is the digest of the payload (8 bytes) and not the payload.
        digest: bool,
    },
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongAnswer {
    /// It answers another kind of request.
    #[error("it is of another kind than the request")]
    Kind,
    /// It has another length.
    #[error("{found} bytes came back, expected {expected}")]
    Length {
        /// Bytes sent.
        expected: usize,
        /// Bytes that came back.
        found: usize,
    },
    /// A byte differs.
    #[error("byte {at} came back as {found:#04x}, expected {expected:#04x}")]
    Byte {
        /// Which byte, from 0.
        at: usize,
        /// What was sent.
        expected: u8,
        /// What came back.
        found: u8,
    },
    /// The digest differs.
    #[error("the digest is {found:#018x}, expected {expected:#018x}")]
    Digest {
        /// That of the bytes sent.
        expected: u64,
        /// What came back.
        found: u64,
    },
    /// An order was answered wrongly.
    #[error(transparent)]
    Order(#[from] WrongOrderReply),
}

/// The requests of one client, one at a time.
#[derive(Debug)]
pub(super) struct Work {
    left: Option<u64>,
    flow: OrderFlow,
    seed: u64,
    request: ExchangeRequest,
}

impl Work {
    pub(super) fn new(load: Load, client: usize) -> Self {
        let mut flow = OrderFlow::new(client);
        let (left, request) = match load {
            Load::Orders(count) => (Some(count), ExchangeRequest::Order(flow.order())),
            Load::Bytes { size, digest: false } => (None, ExchangeRequest::Echo(vec![0; size])),
            Load::Bytes { size, digest: true } => (None, ExchangeRequest::Digest(vec![0; size])),
        };
        Self { left, flow, seed: (client as u64) << 40, request }
    }

    /// The next request; `None` when there are no more.
    pub(super) fn next(&mut self) -> Option<&ExchangeRequest> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        self.seed += 1;
        match &mut self.request {
            ExchangeRequest::Order(order) => *order = self.flow.order(),
            ExchangeRequest::Echo(bytes) | ExchangeRequest::Digest(bytes) => payload::fill(bytes, self.seed),
        }
        Some(&self.request)
    }

    /// Checks the answer to the request that [`next`](Self::next) returned last; returns the bytes that went each way.
    pub(super) fn check(&mut self, reply: &ArchivedExchangeReply) -> Result<(usize, usize), WrongAnswer> {
        match (&self.request, reply) {
            (ExchangeRequest::Order(order), ArchivedExchangeReply::Order(reply)) => {
                self.flow.check(order, reply)?;
                Ok((orders::ORDER_BYTES, orders::reply_bytes(reply)))
            }
            (ExchangeRequest::Echo(sent), ArchivedExchangeReply::Echo(reply)) => {
                same(sent, reply)?;
                Ok((sent.len(), reply.len()))
            }
            (ExchangeRequest::Digest(sent), ArchivedExchangeReply::Digest(reply)) => {
                let (expected, found) = (payload::digest(sent), reply.to_native());
                if expected != found {
                    return Err(WrongAnswer::Digest { expected, found });
                }
                Ok((sent.len(), size_of::<u64>()))
            }
            _ => Err(WrongAnswer::Kind),
        }
    }
}

/// Compares every byte.
fn same(sent: &[u8], came: &[u8]) -> Result<(), WrongAnswer> {
    if sent == came {
        return Ok(());
    }
    if sent.len() != came.len() {
        return Err(WrongAnswer::Length { expected: sent.len(), found: came.len() });
    }
    let differs = sent.iter().zip(came).enumerate().find(|(_, (sent, came))| sent != came);
    differs.map_or(Ok(()), |(at, (&expected, &found))| Err(WrongAnswer::Byte { at, expected, found }))
}

#[cfg(test)]
mod tests {
    use strait::rkyv::{access, rancor::Error, to_bytes};

    use super::*;
    use crate::messages::ExchangeReply;

    fn checked(work: &mut Work, reply: &ExchangeReply) -> Result<(usize, usize), WrongAnswer> {
        let bytes = to_bytes::<Error>(reply).unwrap();
        work.check(access::<ArchivedExchangeReply, Error>(&bytes).unwrap())
    }

    #[test]
    fn every_byte_of_an_echo_is_compared() {
        let mut work = Work::new(Load::Bytes { size: 100, digest: false }, 0);
        let Some(ExchangeRequest::Echo(sent)) = work.next().cloned() else { panic!("not an echo") };
        assert_eq!(checked(&mut work, &ExchangeReply::Echo(sent.clone())), Ok((100, 100)));
        for at in 0..sent.len() {
            let mut came = sent.clone();
            came[at] ^= 0x10;
            let (expected, found) = (sent[at], came[at]);
            let wrong = WrongAnswer::Byte { at, expected, found };
            assert_eq!(checked(&mut work, &ExchangeReply::Echo(came)), Err(wrong));
        }
        let short = ExchangeReply::Echo(sent[..99].to_vec());
        assert_eq!(checked(&mut work, &short), Err(WrongAnswer::Length { expected: 100, found: 99 }));
        assert_eq!(checked(&mut work, &ExchangeReply::Digest(1)), Err(WrongAnswer::Kind));
    }

    #[test]
    fn each_payload_is_a_new_one() {
        let mut work = Work::new(Load::Bytes { size: 100, digest: true }, 0);
        let first = work.next().cloned();
        assert_ne!(work.next().cloned(), first);
        let Some(ExchangeRequest::Digest(sent)) = work.next().cloned() else { panic!("not a digest") };
        assert_eq!(checked(&mut work, &ExchangeReply::Digest(payload::digest(&sent))), Ok((100, 8)));
        assert!(matches!(checked(&mut work, &ExchangeReply::Digest(1)), Err(WrongAnswer::Digest { found: 1, .. })));
    }

    #[test]
    fn orders_end_after_their_count() {
        let mut work = Work::new(Load::Orders(2), 0);
        assert!(work.next().is_some() && work.next().is_some() && work.next().is_none());
    }
}
