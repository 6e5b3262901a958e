//! Runs the engines, interleaved, and collects rows.

use std::{
    io::{IsTerminal, Read, Write},
    process::Stdio,
};

use serde::Serialize;

use crate::{
    engine::{self, Engine, Measured, Role, Side},
    floors, rpc, wake,
};

/// The scenarios there are.
pub(crate) const SCENARIOS: [&str; 9] =
    ["floor", "rpc", "wake", "clients", "connections", "stream", "state", "queue", "primitives"];

/// What to measure.
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<String>,
    pub(crate) runs: u32,
    pub(crate) millis: u64,
    pub(crate) engine: Option<String>,
    pub(crate) payload: Option<usize>,
    pub(crate) cores: (usize, usize),
}

/// One run of one engine.
pub(crate) struct Row {
    pub(crate) engine: Engine,
    pub(crate) measured: Option<Measured>,
    pub(crate) failed: Option<String>,
}

/// One measured value, as `--json` prints it.
#[derive(Serialize)]
pub(crate) struct JsonRow<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) engine: &'a str,
    pub(crate) payload_bytes: usize,
    pub(crate) metric: &'a str,
    pub(crate) value: f64,
    pub(crate) unit: &'a str,
    pub(crate) run: u32,
}

impl JsonRow<'_> {
    pub(crate) fn print(&self) {
        let _ = writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(self).unwrap_or_default());
    }
}

impl Plan {
    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario)
    }

    /// Whether an engine with this payload is among those that were asked for.
    pub(crate) fn chooses(&self, engine: &str, payload_bytes: usize) -> bool {
        self.engine.as_ref().is_none_or(|part| engine.contains(part.as_str()))
            && self.payload.is_none_or(|bytes| payload_bytes == bytes)
    }

    /// The engines of the plan; the floors are always beside what is measured.
    fn engines(&self, peers: &[rpc::RoundTrip]) -> Vec<Engine> {
        let chosen = |engine: &Engine| self.chooses(&engine.name, engine.payload_bytes);
        let mut engines = floors::engines();
        if self.wants("rpc") {
            engines.extend(rpc::engines(peers).into_iter().filter(chosen));
        }
        if self.wants("wake") {
            engines.extend(wake::engines(rpc::others(peers).map(|way| way.name)).into_iter().filter(chosen));
        }
        engines
    }
}

/// Runs the plan; with `json`, prints each value as soon as it is there.
pub(crate) fn run(plan: &Plan, peers: &[rpc::RoundTrip], json: bool) -> Vec<Row> {
    let engines = plan.engines(peers);
    let steps = engines.len() * plan.runs as usize;
    let progress = std::io::stderr().is_terminal();
    let mut rows = Vec::with_capacity(steps);
    for run in 1..=plan.runs {
        for engine in &engines {
            if progress {
                let step = rows.len() + 1;
                eprint!(
                    "\r\x1b[2K[{step}/{steps}] {} {} B, run {run} of {}",
                    engine.name, engine.payload_bytes, plan.runs
                );
            }
            let row = match run_once(plan, engine) {
                Ok(measured) => Row { engine: engine.clone(), measured: Some(measured), failed: None },
                Err(why) => {
                    eprintln!(
                        "{}failed: {} {} B: {why}",
                        if progress { "\r\x1b[2K" } else { "" },
                        engine.name,
                        engine.payload_bytes
                    );
                    Row { engine: engine.clone(), measured: None, failed: Some(why) }
                }
            };
            if let (true, Some(measured)) = (json, &row.measured) {
                print_json(engine, measured, run);
            }
            rows.push(row);
        }
    }
    if progress {
        eprint!("\r\x1b[2K");
    }
    rows
}

fn run_once(plan: &Plan, engine: &Engine) -> Result<Measured, String> {
    let meet = std::env::temp_dir().join(format!("strait-bench-{}", std::process::id()));
    let role = Role {
        engine: engine.clone(),
        side: Side::Client,
        cores: plan.cores,
        millis: plan.millis,
        meet: meet.to_string_lossy().into_owned(),
    };
    let outcome = run_client(&role);
    let _ = std::fs::remove_dir_all(&meet);
    outcome
}

fn run_client(role: &Role) -> Result<Measured, String> {
    let mut client =
        engine::spawn(role, Stdio::null(), Stdio::piped()).map_err(|error| format!("cannot start: {error}"))?;
    let mut output = String::new();
    if let Some(stdout) = &mut client.stdout {
        stdout.read_to_string(&mut output).map_err(|error| format!("cannot read its output: {error}"))?;
    }
    let status = client.wait().map_err(|error| format!("cannot wait for it: {error}"))?;
    if !status.success() {
        return Err(format!("its client ended with {status}"));
    }
    serde_json::from_str(&output).map_err(|error| format!("its output is no measurement: {error}"))
}

fn print_json(engine: &Engine, measured: &Measured, run: u32) {
    let values = [
        ("rtt_p50", measured.rtt_p50, "ns"),
        ("rtt_p99", measured.rtt_p99, "ns"),
        ("rtt_p999", measured.rtt_p999, "ns"),
        ("rtt_max", measured.rtt_max, "ns"),
        ("requests_per_s", measured.requests_per_s, "1/s"),
    ];
    for (metric, value, unit) in values {
        let (scenario, name) = (engine.scenario.as_str(), engine.name.as_str());
        JsonRow { scenario, engine: name, payload_bytes: engine.payload_bytes, metric, value, unit, run }.print();
    }
}
