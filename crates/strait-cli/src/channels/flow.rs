//! What happened between two looks, per second.

use std::time::Duration;

use strait::transport::Stats;

/// Rates of one direction of a connection: from the end that sends to the end that receives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Flow {
    pub(crate) messages_per_s: f64,
    pub(crate) bytes_per_s: f64,
    /// Sends that found no room.
    pub(crate) failed_claims_per_s: f64,
    /// Sleeps of the sender until there was room.
    pub(crate) full_waits_per_s: f64,
    /// Sleeps of the receiver until there was data.
    pub(crate) empty_waits_per_s: f64,
    /// Wake-ups of the receiver by the sender.
    pub(crate) wakes_per_s: f64,
    /// Messages that the receiver has discarded because of their checksum, or could not decode.
    pub(crate) bad_messages_per_s: f64,
}

impl Flow {
    /// What went from one end to the other in `time`. Either end may be unknown: then the other one's word is taken.
    pub(crate) fn between(sender: Option<&Stats>, receiver: Option<&Stats>, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        if seconds <= 0.0 {
            return Self::default();
        }
        let rate = |count: Option<u64>| count.unwrap_or(0) as f64 / seconds;
        let sent = |of: fn(&Stats) -> u64| sender.map(of);
        let received = |of: fn(&Stats) -> u64| receiver.map(of);
        Self {
            messages_per_s: rate(sent(|end| end.sent_messages).or(received(|end| end.received_messages))),
            bytes_per_s: rate(sent(|end| end.sent_bytes).or(received(|end| end.received_bytes))),
            failed_claims_per_s: rate(sent(|end| end.full)),
            full_waits_per_s: rate(sent(|end| end.space_parks)),
            empty_waits_per_s: rate(received(|end| end.data_parks)),
            wakes_per_s: rate(sent(|end| end.data_rings)),
            bad_messages_per_s: rate(received(|end| end.checksum_errors.saturating_add(end.decode_errors))),
        }
    }

    /// Both directions together.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            messages_per_s: self.messages_per_s + other.messages_per_s,
            bytes_per_s: self.bytes_per_s + other.bytes_per_s,
            failed_claims_per_s: self.failed_claims_per_s + other.failed_claims_per_s,
            full_waits_per_s: self.full_waits_per_s + other.full_waits_per_s,
            empty_waits_per_s: self.empty_waits_per_s + other.empty_waits_per_s,
            wakes_per_s: self.wakes_per_s + other.wakes_per_s,
            bad_messages_per_s: self.bad_messages_per_s + other.bad_messages_per_s,
        }
    }

    /// How many messages each wake-up has brought; `None` where nobody had to be woken.
    pub(crate) fn messages_per_wake(&self) -> Option<f64> {
        (self.wakes_per_s > 0.0).then(|| self.messages_per_s / self.wakes_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_told_by_both_its_ends() {
        let sender =
            Stats { sent_messages: 100, sent_bytes: 6400, full: 6, space_parks: 4, data_rings: 50, ..Stats::default() };
        let receiver = Stats {
            received_messages: 98,
            data_parks: 60,
            checksum_errors: 1,
            decode_errors: 1,
            sent_messages: 7,
            full: 7,
            ..Stats::default()
        };
        let flow = Flow::between(Some(&sender), Some(&receiver), Duration::from_secs(2));
        let expected = Flow {
            messages_per_s: 50.0,
            bytes_per_s: 3200.0,
            failed_claims_per_s: 3.0,
            full_waits_per_s: 2.0,
            empty_waits_per_s: 30.0,
            wakes_per_s: 25.0,
            bad_messages_per_s: 1.0,
        };
        assert_eq!((flow, flow.messages_per_wake()), (expected, Some(2.0)));
        assert_eq!(flow.plus(&flow).messages_per_wake(), Some(2.0));
    }

    #[test]
    fn what_one_end_does_not_say_the_other_does() {
        let receiver = Stats { received_messages: 98, received_bytes: 980, ..Stats::default() };
        let flow = Flow::between(None, Some(&receiver), Duration::from_secs(1));
        assert_eq!((flow.messages_per_s, flow.bytes_per_s, flow.messages_per_wake()), (98.0, 980.0, None));
        assert_eq!(Flow::between(None, None, Duration::from_secs(1)), Flow::default());
        assert_eq!(Flow::between(Some(&receiver), Some(&receiver), Duration::ZERO), Flow::default());
    }

    #[test]
    fn whatever_counters_say_rates_are_numbers() {
        let most = Stats { sent_messages: u64::MAX, sent_bytes: u64::MAX, data_rings: u64::MAX, ..Stats::default() };
        let bad = Stats { checksum_errors: u64::MAX, decode_errors: u64::MAX, ..Stats::default() };
        let flow = Flow::between(Some(&most), Some(&bad), Duration::from_nanos(1));
        assert!(flow.plus(&flow).bytes_per_s.is_finite() && flow.bad_messages_per_s.is_finite());
    }
}
