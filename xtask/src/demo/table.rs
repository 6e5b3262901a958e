//! The results: live rows, the comparison, JSON.

use serde_json::json;

use super::{
    Args,
    tally::{Tally, thousands, time},
};

/// Clients that get a row of their own; the rest is in the sum.
const ROWS: usize = 16;

/// The rows that show how a phase goes: one per client, and their sum.
pub(super) fn live(clients: &[Option<Tally>]) -> Vec<String> {
    let mut lines = vec![format!(
        "  {:<8}{:<12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "client", "transport", "requests/s", "MiB/s out", "MiB/s in", "MiB/s sum", "p50", "p99"
    )];
    for (client, tally) in clients.iter().enumerate().take(ROWS) {
        match tally {
            Some(tally) => lines.push(row(&client.to_string(), &tally.transport, tally)),
            None => lines.push(format!("  {client:<8}{:<12}", "connecting")),
        }
    }
    if clients.len() > ROWS {
        lines.push(format!("  and {} more", clients.len() - ROWS));
    }
    lines.push(row("all", &transports(clients), &Tally::sum(clients.iter().flatten())));
    lines
}

/// The same as one line of text, for what is no terminal.
pub(super) fn second(second: u32, clients: &[Option<Tally>]) -> String {
    let sum = Tally::sum(clients.iter().flatten());
    format!(
        "  {second:>3} s  {}  {} requests/s  {:.1} MiB/s out + {:.1} in = {:.1}  p50 {}  p99 {}",
        transports(clients),
        thousands(sum.requests_per_s),
        sum.out_mib_per_s,
        sum.in_mib_per_s,
        sum.out_mib_per_s + sum.in_mib_per_s,
        time(sum.round_trip(0.5)),
        time(sum.round_trip(0.99)),
    )
}

/// The comparison of the two phases.
pub(super) fn compare(socket: &Tally, shared: &Tally) -> Vec<String> {
    let line = |name: &str, of: fn(&Tally) -> f64, show: fn(f64) -> String, less_is_better: bool| {
        let (before, after) = (of(socket), of(shared));
        let ratio = if less_is_better { before / after } else { after / before };
        let ratio = if ratio.is_finite() { format!("{ratio:.2} x") } else { "-".to_owned() };
        format!("  {name:<24}{:>16}{:>16}{ratio:>12}", show(before), show(after))
    };
    let mib = |rate: f64| format!("{rate:.1}");
    let trip = |nanoseconds: f64| time(Some(nanoseconds as u64));
    vec![
        String::new(),
        format!("  {:<24}{:>16}{:>16}{:>12}", "", "socket", "shared memory", "better"),
        line("requests/s", |tally| tally.requests_per_s, thousands, false),
        line("MiB/s to the exchange", |tally| tally.out_mib_per_s, mib, false),
        line("MiB/s from the exchange", |tally| tally.in_mib_per_s, mib, false),
        line("MiB/s in sum", |tally| tally.out_mib_per_s + tally.in_mib_per_s, mib, false),
        line("round trip, p50", |tally| tally.round_trip(0.5).unwrap_or(0) as f64, trip, true),
        line("round trip, p99", |tally| tally.round_trip(0.99).unwrap_or(0) as f64, trip, true),
        count("calls over the socket", socket.over_socket, shared.over_socket),
        count("calls through memory", socket.over_shared, shared.over_shared),
    ]
}

/// The results of one phase as JSON objects, one per line.
pub(super) fn json(args: &Args, tally: &Tally, engine: &str) {
    let metrics = [
        ("requests_per_s", Some(tally.requests_per_s), "1/s"),
        ("out_bytes_per_s", Some(tally.out_mib_per_s * f64::from(1 << 20)), "B/s"),
        ("in_bytes_per_s", Some(tally.in_mib_per_s * f64::from(1 << 20)), "B/s"),
        ("rtt_p50", tally.round_trip(0.5).map(|ns| ns as f64), "ns"),
        ("rtt_p99", tally.round_trip(0.99).map(|ns| ns as f64), "ns"),
        ("calls_over_socket", Some(tally.over_socket as f64), "calls"),
        ("calls_over_shared", Some(tally.over_shared as f64), "calls"),
    ];
    for (metric, value, unit) in metrics {
        println!(
            "{}",
            json!({
                "scenario": "demo", "engine": engine, "payload_bytes": args.payload_bytes, "clients": args.clients,
                "metric": metric, "value": value, "unit": unit, "run": 1,
            })
        );
    }
}

fn count(name: &str, before: u64, after: u64) -> String {
    format!("  {name:<24}{:>16}{:>16}", thousands(before as f64), thousands(after as f64))
}

fn row(client: &str, transport: &str, tally: &Tally) -> String {
    format!(
        "  {client:<8}{transport:<12}{:>12}{:>12.1}{:>12.1}{:>12.1}{:>12}{:>12}",
        thousands(tally.requests_per_s),
        tally.out_mib_per_s,
        tally.in_mib_per_s,
        tally.out_mib_per_s + tally.in_mib_per_s,
        time(tally.round_trip(0.5)),
        time(tally.round_trip(0.99)),
    )
}

/// How many clients are on which transport, in a few words.
fn transports(clients: &[Option<Tally>]) -> String {
    let on = |wanted: &str| clients.iter().flatten().filter(|tally| tally.transport == wanted).count();
    let parts = ["shared", "socket"].map(|name| (on(name), name));
    let text: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    if text.is_empty() { "-".to_owned() } else { text.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(transport: &str) -> Option<Tally> {
        Some(Tally { transport: transport.to_owned(), requests_per_s: 1000.0, ..Tally::default() })
    }

    #[test]
    fn each_client_has_a_row_and_many_share_one() {
        assert_eq!(live(&[on("socket"), None]).len(), 4);
        let lines = live(&vec![on("shared"); 64]);
        assert_eq!(lines.len(), 19);
        assert!(lines[18].contains("64 shared") && lines[18].contains("64,000"), "{}", lines[18]);
    }

    #[test]
    fn the_comparison_says_how_many_times_better() {
        let tally = |requests_per_s| Tally { requests_per_s, ..Tally::default() };
        let lines = compare(&tally(2000.0), &tally(5000.0));
        assert!(
            lines[2].contains("2,000") && lines[2].contains("5,000") && lines[2].ends_with("2.50 x"),
            "{}",
            lines[2]
        );
        assert!(lines[3].ends_with('-'), "nothing to divide by: {}", lines[3]);
    }
}
