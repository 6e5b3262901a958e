//! The two programs, as processes.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

const EXCHANGE: &str = env!("CARGO_BIN_EXE_exchange");
const TRADER: &str = env!("CARGO_BIN_EXE_trader");

/// An exchange in a runtime directory of its own.
struct Exchange {
    process: Child,
    out: BufReader<ChildStdout>,
    directory: tempfile::TempDir,
}

impl Exchange {
    fn open(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(EXCHANGE)
            .args(["--json", "--stop-with-input"])
            .args(arguments)
            .env("XDG_RUNTIME_DIR", directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Self { process, out, directory }
    }

    /// Ends it as `end` says; returns what it summed up.
    fn close(mut self, end: impl FnOnce(&mut Child)) -> Value {
        end(&mut self.process);
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        assert!(self.process.wait().unwrap().success());
        assert!(!self.directory.path().join("strait/exchange.sock").exists());
        serde_json::from_str(&line).unwrap()
    }

    fn trade(&self, arguments: &[&str]) -> Command {
        trader(self.directory.path(), arguments)
    }
}

fn trader(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(TRADER);
    command.args(arguments).env("XDG_RUNTIME_DIR", directory).stdin(Stdio::null());
    command
}

/// Closes the pipe that the exchange reads.
fn input_ends(process: &mut Child) {
    drop(process.stdin.take());
}

/// The totals that a trader printed, one per client.
#[track_caller]
fn totals(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|o| o["event"] == "total").collect()
}

#[test]
fn orders_are_matched_and_counted_and_every_client_reaches_shared_memory() {
    let exchange = Exchange::open(&[]);
    let totals = totals(&exchange.trade(&["2", "orders", "500", "--json"]).output().unwrap());
    assert_eq!(totals.len(), 2);
    for total in &totals {
        assert_eq!((&total["requests"], &total["transport"]), (&500.into(), &"shared".into()));
        assert!(total["over_socket"].as_u64().unwrap() >= 1, "the first call goes over the socket");
    }
    let summary = exchange.close(input_ends);
    assert_eq!((&summary["orders"], &summary["connections"]), (&1000.into(), &2.into()));
    assert!(summary["fills"].as_u64().unwrap() > 0);
}

#[test]
fn switched_off_the_same_calls_go_over_the_socket() {
    let exchange = Exchange::open(&[]);
    let mut trade = exchange.trade(&["1", "bytes", "20000", "--seconds", "0.2", "--json"]);
    let totals = totals(&trade.env("STRAIT_DISABLE_SHM", "1").output().unwrap());
    assert_eq!((&totals[0]["transport"], &totals[0]["over_shared"]), (&"socket".into(), &0.into()));
    assert!(totals[0]["fallback"].is_string());
    let summary = exchange.close(input_ends);
    assert_eq!(summary["requests"], totals[0]["requests"]);
}

#[test]
fn bytes_come_back_in_full_in_place_pinned_and_as_a_digest() {
    let exchange = Exchange::open(&["--in-place", "--pin"]);
    let common = ["--seconds", "0.2", "--json", "--in-place", "--pin"];
    for load in [&["3", "bytes", "20001"][..], &["1", "bytes", "60000", "--reply-bytes", "8"], &["1", "bytes", "1"]] {
        let totals = totals(&exchange.trade(&[load, &common].concat()).output().unwrap());
        assert!(totals.iter().all(|total| total["transport"] == "shared"), "{totals:?}");
    }
    exchange.close(input_ends);
}

#[test]
fn an_exchange_that_polls_serves_all_and_counts_them() {
    let exchange = Exchange::open(&["--polling", "2", "--pin"]);
    let totals = totals(&exchange.trade(&["5", "orders", "200", "--json"]).output().unwrap());
    assert!(totals.iter().all(|total| total["transport"] == "shared"), "{totals:?}");
    let summary = exchange.close(input_ends);
    assert_eq!((&summary["orders"], &summary["connections"]), (&1000.into(), &5.into()));
}

#[test]
fn traders_that_poll_on_their_cores_get_every_answer() {
    let exchange = Exchange::open(&["--polling", "1", "--pin"]);
    let totals = totals(&exchange.trade(&["3", "orders", "200", "--json", "--polling", "--pin"]).output().unwrap());
    assert_eq!(totals.len(), 3);
    assert!(totals.iter().all(|total| (&total["requests"], &total["transport"]) == (&200.into(), &"shared".into())));
    exchange.close(input_ends);
}

#[test]
fn a_termination_signal_closes_the_exchange_in_good_order() {
    let exchange = Exchange::open(&[]);
    let summary = exchange.close(|process| {
        let pid = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    });
    assert_eq!(summary["event"], "summary");
}

#[test]
fn an_exchange_that_goes_away_is_an_error_that_names_client_and_call() {
    let exchange = Exchange::open(&[]);
    let mut trade = exchange.trade(&["1", "bytes", "100", "--json"]);
    let mut trader = trade.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = BufReader::new(trader.stdout.take().unwrap());
    first.read_line(&mut String::new()).unwrap();
    exchange.close(input_ends);
    let output = trader.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("error: client 0, call "), "{message}");
}

#[test]
fn without_an_exchange_or_with_wrong_usage_the_exit_code_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let alone = trader(directory.path(), &["1", "bytes", "100"]).output().unwrap();
    assert_eq!(alone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("no server listens at"));
    for wrong in
        [&["0", "bytes", "8"][..], &["65", "bytes", "8"], &["1", "orders"], &["1", "bytes", "8", "--seconds", "-1"]]
    {
        assert_eq!(trader(directory.path(), wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn the_desk_takes_orders_in_json_into_the_same_book() {
    use strait::{Options, rpc::blocking::Proxy};

    let exchange = Exchange::open(&[]);
    let options = Options { runtime_dir: Some(exchange.directory.path().join("strait")), ..Options::default() };
    let desk: Proxy = Proxy::connect_with("exchange.desk", &options).unwrap();
    let order =
        |id: u64, side: &str| serde_json::json!({"client_order_id": id, "side": side, "price": 101, "quantity": 5});
    desk.call_json("order", &order(1, "Sell")).unwrap();
    let reply = desk.call_json("order", &order(2, "Buy")).unwrap();
    assert_eq!((&reply["client_order_id"], &reply["fills"][0]["quantity"]), (&2.into(), &5.into()));
    assert_eq!(desk.call_json("totals", &Value::Null).unwrap()["traded"], 5);
    drop(desk);
    let summary = exchange.close(input_ends);
    assert_eq!((&summary["orders"], &summary["requests"], &summary["connections"]), (&2.into(), &0.into(), &0.into()));
}
