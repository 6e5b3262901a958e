//! What a client reported, and what several sum up to.

use std::collections::BTreeMap;

use serde_json::Value;

/// What one client did in a time, or several at the same time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Which way its last reply came, as the trader calls it; empty for several clients.
    pub(super) transport: String,
    pub(super) requests: u64,
    pub(super) over_socket: u64,
    pub(super) over_shared: u64,
    pub(super) requests_per_s: f64,
    /// To the exchange.
    pub(super) out_mib_per_s: f64,
    /// From the exchange.
    pub(super) in_mib_per_s: f64,
    /// How often each round trip occurred, by nanoseconds.
    pub(super) round_trips: BTreeMap<u64, u64>,
}

impl Tally {
    /// Reads what a trader printed for one client.
    pub(super) fn read(object: &Value) -> Self {
        const MIB: f64 = (1 << 20) as f64;
        let count = |name: &str| object[name].as_u64().unwrap_or(0);
        let rate = |name: &str| object[name].as_f64().unwrap_or(0.0);
        let pairs = object["rtt_counts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let pair = |pair: &Value| Some((pair[0].as_u64()?, pair[1].as_u64()?));
        Self {
            transport: object["transport"].as_str().unwrap_or("-").to_owned(),
            requests: count("requests"),
            over_socket: count("over_socket"),
            over_shared: count("over_shared"),
            requests_per_s: rate("requests_per_s"),
            out_mib_per_s: rate("sent_bytes_per_s") / MIB,
            in_mib_per_s: rate("received_bytes_per_s") / MIB,
            round_trips: pairs.iter().filter_map(pair).collect(),
        }
    }

    /// The sum over clients that ran at the same time.
    pub(super) fn sum<'t>(tallies: impl IntoIterator<Item = &'t Self>) -> Self {
        let mut sum = Self::default();
        for tally in tallies {
            sum.requests += tally.requests;
            sum.over_socket += tally.over_socket;
            sum.over_shared += tally.over_shared;
            sum.requests_per_s += tally.requests_per_s;
            sum.out_mib_per_s += tally.out_mib_per_s;
            sum.in_mib_per_s += tally.in_mib_per_s;
            for (round_trip, count) in &tally.round_trips {
                *sum.round_trips.entry(*round_trip).or_default() += count;
            }
        }
        sum
    }

    /// The round trip that a share of the calls did not exceed, in nanoseconds; `None` where there were no calls.
    pub(super) fn round_trip(&self, share: f64) -> Option<u64> {
        let calls: u64 = self.round_trips.values().sum();
        let rank = ((calls as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        self.round_trips.iter().find_map(|(round_trip, count)| {
            below += count;
            (below >= rank).then_some(*round_trip)
        })
    }
}

/// A round trip with a unit that keeps it short.
pub(super) fn time(nanoseconds: Option<u64>) -> String {
    match nanoseconds {
        None => "-".to_owned(),
        Some(ns @ 0..10_000) => format!("{ns} ns"),
        Some(ns @ 10_000..10_000_000) => format!("{:.1} µs", ns as f64 / 1e3),
        Some(ns) => format!("{:.1} ms", ns as f64 / 1e6),
    }
}

/// A count with its thousands apart.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn percentiles_of_several_clients_are_of_all_calls() {
        let client = |counts| Tally::read(&json!({"transport": "shared", "requests": 4, "rtt_counts": counts}));
        let (fast, slow) = (client(json!([[100, 3], [200, 1]])), client(json!([[100, 1], [900, 3]])));
        let sum = Tally::sum([&fast, &slow]);
        assert_eq!(sum.requests, 8);
        assert_eq!(sum.round_trip(0.5), Some(100));
        assert_eq!(sum.round_trip(0.51), Some(200));
        assert_eq!(sum.round_trip(0.99), Some(900));
        assert_eq!(Tally::default().round_trip(0.5), None);
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(time(Some(9_999)), "9999 ns");
        assert_eq!(time(Some(12_345)), "12.3 µs");
        assert_eq!(time(None), "-");
    }
}
