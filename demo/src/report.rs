//! How a trader shows what it counted: text lines, or one JSON object per line.

use std::time::Duration;

use serde_json::{Value, json};
use strait::TransportKind;

use crate::window::Window;

/// A short name of a transport, for people and for JSON.
pub fn short_name(transport: TransportKind) -> &'static str {
    match transport {
        TransportKind::Socket => "socket",
        TransportKind::Shared => "shared",
        TransportKind::Local => "local",
    }
}

/// Rates and round trips of a window, in one line.
pub fn rates(window: &Window) -> String {
    const MIB: f64 = (1 << 20) as f64;
    let (sent, received) = (window.sent_per_s / MIB, window.received_per_s / MIB);
    format!(
        "{:>9.0} requests/s  {sent:.1} MiB/s out + {received:.1} in = {:.1}  p50 {}  p99 {}",
        window.requests_per_s,
        sent + received,
        round_trip(window, 0.5),
        round_trip(window, 0.99),
    )
}

/// Which transport each client is on, in a few words: `4 shared`, or `3 shared, 1 socket (client 2)`.
pub fn transports(clients: &[(usize, Option<TransportKind>)]) -> String {
    let on = |wanted: Option<TransportKind>| {
        clients.iter().filter(move |(_, transport)| *transport == wanted).map(|(client, _)| *client)
    };
    let most = clients.iter().map(|(_, transport)| *transport).max_by_key(|transport| on(*transport).count()).flatten();
    let mut parts = Vec::new();
    for kind in [Some(TransportKind::Shared), Some(TransportKind::Socket), Some(TransportKind::Local), None] {
        let count = on(kind).count();
        let name = kind.map_or("without an answer", short_name);
        match count {
            0 => {}
            _ if kind == most => parts.push(format!("{count} {name}")),
            _ => {
                let which = on(kind).map(|client| client.to_string()).collect::<Vec<_>>().join(", ");
                parts.push(format!("{count} {name} (client {which})"));
            }
        }
    }
    parts.join(", ")
}

/// A round trip with its unit.
fn round_trip(window: &Window, share: f64) -> String {
    match window.round_trip(share) {
        0 => "-".to_owned(),
        ns @ 1..10_000 => format!("{ns} ns"),
        ns @ 10_000..10_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        ns => format!("{:.1} ms", ns as f64 / 1e6),
    }
}

/// The JSON object of one client's window. `event` is `second` or `total`; `counts` adds every round trip with its count.
pub fn json(event: &str, client: usize, window: &Window, counts: bool) -> Value {
    let mut object = json!({
        "event": event,
        "client": client,
        "transport": window.transport.map(short_name),
        "elapsed_s": seconds(window.elapsed),
        "requests": window.requests(),
        "over_socket": window.over_socket,
        "over_shared": window.over_shared,
        "requests_per_s": window.requests_per_s,
        "sent_bytes_per_s": window.sent_per_s,
        "received_bytes_per_s": window.received_per_s,
        "rtt_p50_ns": window.round_trip(0.5),
        "rtt_p99_ns": window.round_trip(0.99),
    });
    if counts {
        let pairs = window.round_trips.iter_recorded();
        object["rtt_counts"] =
            pairs.map(|point| json!([point.value_iterated_to(), point.count_since_last_iteration()])).collect();
    }
    object
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_name_the_clients_that_differ() {
        let (shared, socket) = (Some(TransportKind::Shared), Some(TransportKind::Socket));
        assert_eq!(transports(&[(0, shared), (1, shared)]), "2 shared");
        assert_eq!(transports(&[(0, shared), (1, shared), (2, socket)]), "2 shared, 1 socket (client 2)");
        assert_eq!(transports(&[(0, socket), (1, socket), (2, None)]), "2 socket, 1 without an answer (client 2)");
    }

    #[test]
    fn a_window_as_json_has_rates_and_counts() {
        let mut window = Window::default();
        window.record(Duration::from_nanos(500), 10, 20, TransportKind::Shared);
        window.record(Duration::from_nanos(500), 10, 20, TransportKind::Shared);
        window.finish(Duration::from_secs(2));
        let object = json("total", 3, &window, true);
        assert_eq!(object["client"], 3);
        assert_eq!(object["transport"], "shared");
        assert_eq!(object["requests_per_s"], 1.0);
        assert_eq!(object["received_bytes_per_s"], 20.0);
        assert_eq!(object["rtt_counts"], json!([[500, 2]]));
        assert!(rates(&window).contains("p50 500 ns"), "{}", rates(&window));
    }
}
