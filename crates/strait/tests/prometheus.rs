//! What Prometheus gets when it scrapes the example, while two processes call its server.
#![cfg(feature = "metrics")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The example; killed when dropped.
struct Example {
    child: Child,
    address: SocketAddr,
    _runtime_dir: tempfile::TempDir,
}

impl Example {
    /// Starts it at a free port: somebody else may take that before the example does, so more than once.
    fn start() -> Self {
        (0..5).find_map(|_| Self::try_start()).expect("the example serves metrics at one of five ports")
    }

    fn try_start() -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let runtime_dir = tempfile::tempdir().unwrap();
        let child = Command::new(path())
            .arg(address.to_string())
            .env("XDG_RUNTIME_DIR", runtime_dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut example = Self { child, address, _runtime_dir: runtime_dir };
        let mut line = String::new();
        BufReader::new(example.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line.starts_with("metrics: ").then_some(example)
    }

    /// All series that `/metrics` has, with their labels.
    fn scrape(&self) -> HashMap<String, f64> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let series = answer.lines().filter(|line| line.starts_with("strait_"));
        let parts = series.filter_map(|line| line.rsplit_once(' '));
        parts.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo puts the examples beside the directory of this test.
fn path() -> PathBuf {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/prometheus");
    if !path.exists() {
        // `cargo test` builds them all, `cargo test --test prometheus` does not.
        let arguments = ["build", "-q", "-p", "strait", "--all-features", "--example", "prometheus"];
        assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
    }
    path
}

#[test]
fn a_server_under_traffic_is_scraped() {
    let mut example = Example::start();
    const DOUBLE: &str = "service=\"arithmetic\",method=\"double\",side=\"server\"";
    const SERVER: &str = "service=\"arithmetic\",side=\"server\"";
    let of = |name: &str, labels: &str| format!("{name}{{{labels}}}");
    let (calls, errors) =
        (of("strait_rpc_calls_total", DOUBLE), of("strait_rpc_errors_total", &format!("{DOUBLE},error=\"handler\"")));
    let upgrades = of("strait_upgrades_total", SERVER);

    let start = Instant::now();
    let first = loop {
        let series = example.scrape();
        let value = |name: &String| series.get(name).copied().unwrap_or(0.0);
        if value(&errors) >= 2.0 && value(&upgrades) == 2.0 {
            break series;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no traffic: {series:#?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let second = loop {
        let series = example.scrape();
        if series[&calls] > first[&calls] + 100.0 {
            break series;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the traffic has stopped: {series:#?}");
        std::thread::sleep(Duration::from_millis(20));
    };

    // A call may end between the readings of two series, so sums are compared loosely.
    for series in [&first, &second] {
        let (calls, errors) = (series[&calls], series[&errors]);
        assert!((errors - calls / 100.0).abs() <= 3.0, "one in a hundred fails: {errors} of {calls}");
        let timed = series[&of("strait_rpc_call_seconds_bucket", &format!("{DOUBLE},le=\"+Inf\""))];
        assert!((timed - calls).abs() <= 4.0, "{timed} of {calls}");
        let bytes = series[&of("strait_rpc_request_bytes_total", DOUBLE)];
        assert!((bytes - 8.0 * calls).abs() <= 32.0, "{bytes} of {calls}");
        assert!(series[&of("strait_rpc_calls_in_flight", DOUBLE)] <= 2.0);
        assert_eq!(series[&of("strait_connections", SERVER)], 2.0);
    }
    let seconds = |series: &HashMap<String, f64>| series[&of("strait_rpc_call_seconds_sum", DOUBLE)];
    assert!(seconds(&second) > seconds(&first));

    drop(example.child.stdin.take());
    assert!(example.child.wait().unwrap().success(), "it ends in good order");
}
