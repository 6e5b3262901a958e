//! What a client counts between two reports.

use std::time::Duration;

use hdrhistogram::Histogram;
use strait::TransportKind;

/// Calls of one client, or of several added up.
#[derive(Clone, Debug)]
pub struct Window {
    /// Round trips in nanoseconds, to three digits. A round trip is the call alone: what fills the request before it and
    /// checks the reply after it is part of the rate, not of the round trip.
    pub round_trips: Histogram<u64>,
    /// Bytes of requests: payload, or the order.
    pub sent_bytes: u64,
    /// Bytes of replies: payload, or what became of the order.
    pub received_bytes: u64,
    /// Replies that came over the socket.
    pub over_socket: u64,
    /// Replies that came through shared memory.
    pub over_shared: u64,
    /// Which way the last reply came.
    pub transport: Option<TransportKind>,
    /// How long it took: the sum for one client, the longest for several.
    pub elapsed: Duration,
    /// Requests per second, summed over clients.
    pub requests_per_s: f64,
    /// Bytes per second to the exchange, summed over clients.
    pub sent_per_s: f64,
    /// Bytes per second from the exchange, summed over clients.
    pub received_per_s: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            round_trips: Histogram::new(3).expect("three digits are within what a histogram offers"),
            sent_bytes: 0,
            received_bytes: 0,
            over_socket: 0,
            over_shared: 0,
            transport: None,
            elapsed: Duration::ZERO,
            requests_per_s: 0.0,
            sent_per_s: 0.0,
            received_per_s: 0.0,
        }
    }
}

impl Window {
    /// Counts one call.
    pub fn record(&mut self, round_trip: Duration, sent: usize, received: usize, transport: TransportKind) {
        let nanoseconds = u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX);
        self.round_trips.record(nanoseconds.max(1)).expect("a histogram that resizes itself takes every value");
        self.sent_bytes += sent as u64;
        self.received_bytes += received as u64;
        match transport {
            TransportKind::Shared => self.over_shared += 1,
            _ => self.over_socket += 1,
        }
        self.transport = Some(transport);
    }

    /// Ends the window after `elapsed`, and works out the rates.
    pub fn finish(&mut self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        self.elapsed = elapsed;
        self.requests_per_s = self.requests() as f64 / seconds;
        self.sent_per_s = self.sent_bytes as f64 / seconds;
        self.received_per_s = self.received_bytes as f64 / seconds;
    }

    /// Calls that were answered.
    pub fn requests(&self) -> u64 {
        self.over_socket + self.over_shared
    }

    /// Round trip that a share of the calls did not exceed, in nanoseconds; `share` is from 0 to 1.
    pub fn round_trip(&self, share: f64) -> u64 {
        self.round_trips.value_at_quantile(share)
    }

    /// Adds a later window of the same client. [`finish`](Self::finish) works out the rates anew.
    pub fn append(&mut self, later: &Self) {
        self.add_counts(later);
        self.elapsed += later.elapsed;
        self.transport = later.transport.or(self.transport);
    }

    /// Adds another client that ran beside this one: rates add up, time does not.
    pub fn join(&mut self, other: &Self) {
        self.add_counts(other);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.requests_per_s += other.requests_per_s;
        self.sent_per_s += other.sent_per_s;
        self.received_per_s += other.received_per_s;
    }

    fn add_counts(&mut self, other: &Self) {
        self.round_trips.add(&other.round_trips).expect("a histogram that resizes itself takes every value");
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.over_socket += other.over_socket;
        self.over_shared += other.over_shared;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(calls: u64, transport: TransportKind, elapsed: Duration) -> Window {
        let mut window = Window::default();
        for call in 0..calls {
            window.record(Duration::from_micros(call + 1), 100, 50, transport);
        }
        window.finish(elapsed);
        window
    }

    #[test]
    fn windows_of_one_client_follow_each_other() {
        let mut sum = window(10, TransportKind::Socket, Duration::from_secs(1));
        sum.append(&window(30, TransportKind::Shared, Duration::from_secs(1)));
        sum.finish(sum.elapsed);
        assert_eq!((sum.requests(), sum.over_socket, sum.over_shared), (40, 10, 30));
        assert_eq!((sum.requests_per_s, sum.sent_per_s, sum.received_per_s), (20.0, 2000.0, 1000.0));
        assert_eq!(sum.transport, Some(TransportKind::Shared));
    }

    #[test]
    fn rates_of_clients_beside_each_other_add_up() {
        let mut sum = Window::default();
        sum.join(&window(10, TransportKind::Shared, Duration::from_secs(1)));
        sum.join(&window(10, TransportKind::Shared, Duration::from_secs(2)));
        assert_eq!(sum.requests_per_s, 15.0);
        assert_eq!(sum.elapsed, Duration::from_secs(2));
        assert_eq!(sum.round_trip(0.5) / 1000, 5);
        assert_eq!(sum.round_trip(1.0) / 1000, 10);
    }
}
