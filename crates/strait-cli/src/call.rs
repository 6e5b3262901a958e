//! `strait call`: one call by name, in JSON.

use std::{
    io::{self, IsTerminal, Read},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use strait::{
    rpc::{self, Code, Description, MethodInfo, blocking::Proxy},
    transport,
};

use crate::{failure::Failure, output, service::Service};

/// Call a method of a service by its name, with JSON, and print its reply.
///
/// A service describes itself: --list shows its methods. Those that its author has added with `call_json` can be called
/// without knowing their types. Ends with 2 where there is no such method or the JSON is none of its requests, with 1
/// where the call failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    strait call exchange.desk --list\n  \
    strait call exchange.desk totals\n  \
    strait call exchange.desk order '{\"client_order_id\": 1, \"side\": \"Buy\", \"price\": 100, \"quantity\": 5}'\n  \
    echo '[1, 2, 39]' | strait call json-example sum -\n\n\
    The exchange is this repository's demo: cargo run --release --bin exchange")]
pub(crate) struct Call {
    #[command(flatten)]
    service: Service,
    /// The method to call; see --list.
    #[arg(value_name = "METHOD", required_unless_present_any = ["list", "health"])]
    method: Option<String>,
    /// The request; `-` reads it from standard input.
    #[arg(value_name = "JSON", default_value = "null")]
    request: String,
    /// Show the methods, and what the service says of itself.
    #[arg(long, conflicts_with_all = ["method", "health"])]
    list: bool,
    /// Show how the service is.
    #[arg(long, conflicts_with = "method")]
    health: bool,
    /// How long to wait for the reply.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: u64,
    /// One line of JSON per reply or method, whatever standard output is.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Call) -> Result<(), Failure> {
    // Before the service is bothered.
    let request = args.method.as_ref().map(|_| request(&args.request)).transpose()?;
    let mut service: Proxy = Proxy::connect_with(&args.service.name, &args.service.options()).map_err(failed)?;
    service.set_deadline(Some(Duration::from_secs(args.deadline)));
    match (&args.method, request) {
        (Some(method), Some(request)) => {
            let reply = call(&service, &args.service.name, method, &request)?;
            print(&reply, args.json)
        }
        _ if args.health => print(&service.health().map_err(failed)?, args.json),
        _ => list(service.describe().map_err(failed)?, args.json),
    }
}

fn call(service: &Proxy, name: &str, method: &str, request: &Value) -> Result<Value, Failure> {
    let description = service.describe().map_err(failed)?;
    if description.methods.iter().all(|method| !method.json) {
        return Err(Failure::Usage(format!(
            "{name} has no method that takes JSON: its author adds them with Methods::call_json \
             (`strait call {name} --list` shows what it has)"
        )));
    }
    service.call_json(method, request).map_err(failed)
}

/// What was given as the request, which must be JSON.
fn request(given: &str) -> Result<Value, Failure> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        let read = io::stdin().read_to_string(&mut text);
        read.map_err(|error| Failure::because("standard input cannot be read", error))?;
    }
    serde_json::from_str(&text).map_err(|error| {
        Failure::Usage(format!(
            "the request is no JSON: {error}; expected something like '{{\"a\": 1}}', '[1, 2]', '\"text\"' or null"
        ))
    })
}

fn failed(error: rpc::Error) -> Failure {
    match error {
        rpc::Error::Method { .. }
        | rpc::Error::Call { code: Code::BAD_REQUEST | Code::UNKNOWN_METHOD, .. }
        | rpc::Error::Transport(transport::Error::Name { .. }) => Failure::Usage(error.to_string()),
        error => Failure::DidNotHold(error.to_string()),
    }
}

/// Laid out for a terminal, else on one line.
fn print(value: &impl Serialize, on_one_line: bool) -> Result<(), Failure> {
    let pretty = !on_one_line && io::stdout().is_terminal();
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let text = text.map_err(|error| Failure::because("cannot make JSON of the reply", error))?;
    output::print(output::tame_json(&text) + "\n").map(drop)
}

fn list(description: &Description, json: bool) -> Result<(), Failure> {
    if json {
        return description.methods.iter().try_for_each(|method| print(method, true));
    }
    let row = |method: &MethodInfo| {
        let name = if method.name.is_empty() { "(without a name)".into() } else { output::tame(&method.name) };
        let json = if method.json { "yes" } else { "no" };
        vec![name, format!("{:?}", method.kind).to_lowercase(), json.to_owned(), format!("{:#018x}", method.schema)]
    };
    let rows = description.methods.iter().map(row);
    let table = output::table(&["method", "kind", "takes JSON", "schema"], 4, rows);
    let document = description.document.iter().flat_map(|text| text.lines());
    let document: Vec<_> = document.map(|line| output::tame(line) + "\n").collect();
    let gap = if document.is_empty() { "" } else { "\n" };
    output::print(format!("{}\n{gap}{}", table.trim_fmt(), document.concat())).map(drop)
}
