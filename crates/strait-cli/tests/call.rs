//! Calls by name in JSON, to the desk of the demo's exchange and to services that are otherwise.

mod support;

use std::{
    io::Write,
    process::{Output, Stdio},
    sync::Arc,
    thread::JoinHandle,
};

use serde_json::json;
use strait::{
    Options,
    rpc::{
        Request,
        blocking::{Methods, Server, ServerHandle},
    },
};
use strait_demo::{desk, exchange::Exchange};
use support::{json_lines, stderr_of, stdout_of, strait};

/// A service in a directory of its own, for as long as this lives.
struct Service {
    directory: tempfile::TempDir,
    handle: ServerHandle,
    thread: Option<JoinHandle<Result<(), strait::rpc::Error>>>,
}

impl Service {
    fn start(serve: impl FnOnce(Server) -> Result<(), strait::rpc::Error> + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { runtime_dir: Some(directory.path().join("sockets")), ..Options::default() };
        let server = Server::bind_with("service", &options).unwrap();
        let handle = server.handle();
        let thread = Some(std::thread::spawn(move || serve(server)));
        Self { directory, handle, thread }
    }

    fn desk() -> Self {
        Self::start(|server| server.serve_methods(desk::methods(&Arc::new(Exchange::new(false)))))
    }

    fn call(&self, args: &[&str]) -> Output {
        let sockets = self.directory.path().join("sockets");
        let all = [&["call", "--runtime-dir", sockets.to_str().unwrap(), "service"], args].concat();
        strait(&all).stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.handle.shutdown();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

#[test]
fn orders_are_placed_and_answered() {
    let service = Service::desk();
    let order = |id: u64, side: &str| {
        let order = json!({"client_order_id": id, "side": side, "price": 101, "quantity": 5});
        json_lines(&stdout_of(&service.call(&["order", &order.to_string()]), 0)).remove(0)
    };
    assert_eq!(order(1, "Sell")["resting"], 5);
    assert_eq!(order(2, "Buy")["fills"], json!([{"maker_order_id": 1, "price": 101, "quantity": 5}]));
    let totals = json_lines(&stdout_of(&service.call(&["totals"]), 0)).remove(0);
    assert_eq!(totals, json!({"orders": 2, "fills": 1, "traded": 5, "resting_orders": 0}));
}

#[test]
fn the_request_may_come_from_standard_input() {
    let service = Service::desk();
    let sockets = service.directory.path().join("sockets");
    let mut command = strait(&["call", "--runtime-dir", sockets.to_str().unwrap(), "service", "totals", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b" null\n").unwrap();
    assert!(stdout_of(&child.wait_with_output().unwrap(), 0).contains("\"orders\":0"));
}

#[test]
fn methods_are_listed_for_people_and_for_scripts() {
    let service = Service::desk();
    let table = stdout_of(&service.call(&["--list"]), 0);
    assert!(table.starts_with("method  kind  takes JSON  schema\norder   call  yes"), "{table}");
    assert!(table.contains("totals: null to what happened in the book"), "{table}");
    let rows = json_lines(&stdout_of(&service.call(&["--list", "--json"]), 0));
    assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), ["order", "totals"]);
    let health = json_lines(&stdout_of(&service.call(&["--health"]), 0)).remove(0);
    assert_eq!((&health["serving"], &health["clients"]), (&true.into(), &1.into()));
}

#[test]
fn what_was_used_wrongly_is_told_with_what_there_is() {
    let service = Service::desk();
    for (args, expected) in [
        (&["ordre"][..], "it has: order, totals"),
        (&["order", "{\"side\": \"Up\"}"], "expected `Buy` or `Sell`"),
        (&["order", "{"], "the request is no JSON"),
        (&[], "<METHOD>"),
        (&["order", "--list"], "cannot be used with"),
        (&["order", "--deadline", "0"], "1..=86400"),
    ] {
        let complaint = stderr_of(&service.call(args), 2);
        assert!(complaint.contains(expected), "{args:?}: {complaint}");
    }
}

#[test]
fn a_call_that_fails_ends_with_1() {
    let service = Service::desk();
    let order = json!({"client_order_id": 1, "side": "Buy", "price": 0, "quantity": 5}).to_string();
    assert!(stderr_of(&service.call(&["order", &order]), 1).contains("the order's price is 0, expected 1 tick"));
    let nobody =
        strait(&["call", "--runtime-dir", service.directory.path().join("sockets").to_str().unwrap(), "nobody", "x"]);
    let complaint = stderr_of(&{ nobody }.output().unwrap(), 1);
    assert!(complaint.contains("no server listens at"), "{complaint}");
}

#[test]
fn a_service_without_such_methods_says_how_they_come_about() {
    let service = Service::start(|server| server.serve(|number: Request<u64>| Ok::<u64, String>(number.to_native())));
    assert!(stdout_of(&service.call(&["--list"]), 0).contains("(without a name)"));
    let complaint = stderr_of(&service.call(&["double"]), 2);
    assert!(complaint.contains("its author adds them with Methods::call_json"), "{complaint}");
}

#[test]
fn a_terminal_is_not_at_the_mercy_of_a_services_words() {
    let service = Service::start(|server| {
        let methods = Methods::new()
            .call_json("evil\x1b[2J", |_: Request<()>| Ok::<String, String>("\u{9b}2J\u{202e}".into()))
            .document("\x1b]0;title\x07");
        server.serve_methods(methods)
    });
    let list = stdout_of(&service.call(&["--list"]), 0);
    let reply = stdout_of(&service.call(&["evil\x1b[2J"]), 0);
    let complaint = stderr_of(&service.call(&["other"]), 2);
    for text in [&list, &reply, &complaint] {
        assert!(!text.contains(['\x1b', '\u{9b}', '\u{202e}', '\x07']), "{text:?}");
    }
    assert_eq!(json_lines(&reply), ["\u{9b}2J\u{202e}"], "the same value all the same");
}
