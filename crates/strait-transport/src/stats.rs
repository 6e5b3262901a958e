//! What a connection has done, as one of its ends has counted it.

use std::fmt;

/// What a connection has done so far, as seen from this end. The same numbers lie in the memory of the end, for tools: see
/// [`observe`](crate::observe).
///
/// Times are in microseconds since the Unix epoch, 0 for never. Where messages carry the time
/// ([`Options::timestamp`](crate::Options::timestamp)), the last one's is what the message itself says, for one that was received by the
/// peer's clock. Where they do not, no clock is read per message: the first message after each sleep is timed, the last one
/// before it (as the moment when the end went to sleep), and every 1,024th.
///
/// ```
/// use strait_transport::{Options, Transport, local};
///
/// let (mut left, mut right) = local::pair(&Options::default())?;
/// left.send(b"hello").unwrap();
/// let message = right.try_recv()?.unwrap();
/// let (sent, received) = (left.stats(), right.stats());
/// assert_eq!((sent.sent_messages, sent.sent_bytes), (1, 5));
/// assert_eq!((received.received_messages, received.received_us), (1, message.timestamp()));
/// # Ok::<(), strait_transport::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages sent; in an open batch they are counted here at once, and in the memory of the end once they are published.
    pub sent_messages: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Sends that found no room.
    pub full: u64,
    /// Sleeps until there was room.
    pub space_parks: u64,
    /// How often this end had to wake the peer because there was data for it.
    pub data_rings: u64,
    /// The most bytes of this end's ring that were found occupied, headers and padding included. Exact where it is more than a
    /// quarter of the ring; below that it is looked at when this end sleeps, or wakes the peer. 0 on a socket.
    pub high_water_bytes: u64,
    /// When the last message was sent.
    pub sent_us: u64,
    /// Messages received.
    pub received_messages: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Sleeps until there was data.
    pub data_parks: u64,
    /// How often this end had to wake the peer because there was room for it; without the wake-ups by the drop of a message that
    /// was held in place.
    pub space_rings: u64,
    /// Messages discarded because their checksum was wrong.
    pub checksum_errors: u64,
    /// Messages that could not be decoded, as [`Connection::count_error`](crate::Connection::count_error) was told.
    pub decode_errors: u64,
    /// When the last message was received.
    pub received_us: u64,
    /// How often this end went to sleep, whatever for.
    pub parks: u64,
    /// Calls in flight, as [`Connection::set_in_flight`](crate::Connection::set_in_flight) was told.
    pub in_flight: u64,
    /// What went wrong, of any kind; [`checksum_errors`](Self::checksum_errors) and [`decode_errors`](Self::decode_errors) are in it.
    pub errors: u64,
    /// What went wrong last.
    pub last_error: ErrorCode,
    /// When it did.
    pub last_error_us: u64,
    /// When the connection was made.
    pub opened_us: u64,
}

impl Stats {
    /// What happened between an earlier reading and this one: counts are differences, what holds now (the high-water mark, calls
    /// in flight, the last error and all times) stays as it is.
    ///
    /// ```
    /// use strait_transport::Stats;
    /// let (earlier, now) = (Stats { parks: 3, ..Stats::default() }, Stats { parks: 5, in_flight: 1, ..Stats::default() });
    /// assert_eq!((now.since(&earlier).parks, now.since(&earlier).in_flight), (2, 1));
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.counts(earlier, u64::saturating_sub)
    }

    /// Both together; what holds now is that of `self`, or of `other` where it has come to something later or higher.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let last_error = if other.last_error_us > self.last_error_us { other.last_error } else { self.last_error };
        let opened_us = if self.opened_us == 0 { other.opened_us } else { self.opened_us };
        Self {
            high_water_bytes: self.high_water_bytes.max(other.high_water_bytes),
            in_flight: self.in_flight.saturating_add(other.in_flight),
            sent_us: self.sent_us.max(other.sent_us),
            received_us: self.received_us.max(other.received_us),
            last_error,
            last_error_us: self.last_error_us.max(other.last_error_us),
            opened_us,
            ..self.counts(other, u64::saturating_add)
        }
    }

    fn counts(&self, other: &Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            sent_messages: of(self.sent_messages, other.sent_messages),
            sent_bytes: of(self.sent_bytes, other.sent_bytes),
            full: of(self.full, other.full),
            space_parks: of(self.space_parks, other.space_parks),
            data_rings: of(self.data_rings, other.data_rings),
            received_messages: of(self.received_messages, other.received_messages),
            received_bytes: of(self.received_bytes, other.received_bytes),
            data_parks: of(self.data_parks, other.data_parks),
            space_rings: of(self.space_rings, other.space_rings),
            checksum_errors: of(self.checksum_errors, other.checksum_errors),
            decode_errors: of(self.decode_errors, other.decode_errors),
            parks: of(self.parks, other.parks),
            errors: of(self.errors, other.errors),
            ..*self
        }
    }

    /// How often this end had to wake the peer, whatever for.
    pub fn rings(&self) -> u64 {
        self.data_rings.saturating_add(self.space_rings)
    }

    /// When a message last went either way.
    pub fn active_us(&self) -> u64 {
        self.sent_us.max(self.received_us)
    }
}

/// What went wrong on a connection, as a number that can lie in shared memory. A number that this version does not know is
/// shown as it is.
///
/// ```
/// use strait_transport::ErrorCode;
/// assert_eq!(ErrorCode::CHECKSUM.to_string(), "wrong checksum");
/// assert_eq!(ErrorCode(77).to_string(), "error 77");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// Nothing went wrong.
    pub const NONE: Self = Self(0);
    /// A message did not match its checksum, and was discarded.
    pub const CHECKSUM: Self = Self(1);
    /// A message could not be decoded.
    pub const DECODE: Self = Self(2);
    /// The peer sent or wrote what cannot be true: the connection is over.
    pub const CORRUPT: Self = Self(3);
    /// The peer died, or dropped the connection without closing it.
    pub const PEER_GONE: Self = Self(4);
    /// The system refused what it was asked for.
    pub const IO: Self = Self(5);
    /// A call was answered with an error.
    pub const CALL: Self = Self(6);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NONE => "none",
            Self::CHECKSUM => "wrong checksum",
            Self::DECODE => "not decodable",
            Self::CORRUPT => "corrupt input",
            Self::PEER_GONE => "peer gone",
            Self::IO => "system error",
            Self::CALL => "call failed",
            Self(other) => return write!(f, "error {other}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_the_later_and_the_higher_of_what_holds_now() {
        let earlier =
            Stats { last_error: ErrorCode::CHECKSUM, last_error_us: 5, opened_us: 3, sent_us: 9, ..Stats::default() };
        let later =
            Stats { last_error: ErrorCode::DECODE, last_error_us: 6, opened_us: 4, sent_us: 8, ..Stats::default() };
        let sum = earlier.plus(&later);
        assert_eq!((sum.last_error, sum.last_error_us, sum.opened_us, sum.sent_us), (ErrorCode::DECODE, 6, 3, 9));
        assert_eq!(later.plus(&earlier).last_error, ErrorCode::DECODE);
        let one = Stats { high_water_bytes: 7, errors: 1, ..Stats::default() };
        assert_eq!(one.plus(&one), Stats { high_water_bytes: 7, errors: 2, ..Stats::default() });
    }
}
