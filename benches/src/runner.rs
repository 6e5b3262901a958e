//! Runs the engines, interleaved, and collects rows.

use std::{io::Read, process::Stdio};

use crate::{
    engine::{self, Engine, Measured, Role, Side},
    floors,
    progress::Progress,
    rows::JsonRow,
    rpc, wake,
};

/// The scenarios there are.
pub(crate) const SCENARIOS: [&str; 12] = [
    "floor",
    "rpc",
    "wake",
    "clients",
    "connections",
    "stream",
    "slow",
    "state",
    "queue",
    "primitives",
    "syscalls",
    "instructions",
];

/// Payloads of calls, where nobody wants numbers.
const QUICK_PAYLOADS: [usize; 3] = [1, 64, 20_000];

/// What to measure.
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<String>,
    pub(crate) runs: u32,
    /// Only what shows that everything works.
    pub(crate) quick: bool,
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
        let chosen = |engine: &Engine| {
            self.chooses(&engine.name, engine.payload_bytes)
                && (!self.quick || QUICK_PAYLOADS.contains(&engine.payload_bytes))
        };
        if !["floor", "rpc", "wake"].iter().any(|scenario| self.wants(scenario)) {
            return Vec::new();
        }
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

/// Runs the plan.
pub(crate) fn run(plan: &Plan, peers: &[rpc::RoundTrip]) -> Vec<Row> {
    let engines = plan.engines(peers);
    let steps = engines.len() * plan.runs as usize;
    let mut progress = Progress::new("calls", steps);
    let mut rows = Vec::with_capacity(steps);
    for run in 1..=plan.runs {
        for engine in &engines {
            progress.step(&format!("{} {} B, run {run} of {}", engine.name, engine.payload_bytes, plan.runs));
            let row = match run_once(plan, engine) {
                Ok(measured) => Row { engine: engine.clone(), measured: Some(measured), failed: None },
                Err(why) => {
                    eprintln!("failed: {} {} B: {why}", engine.name, engine.payload_bytes);
                    Row { engine: engine.clone(), measured: None, failed: Some(why) }
                }
            };
            if let Some(measured) = &row.measured {
                put(engine, measured, run);
            }
            rows.push(row);
        }
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

fn put(engine: &Engine, measured: &Measured, run: u32) {
    let values = [
        ("rtt_p50", measured.rtt_p50, "ns"),
        ("rtt_p99", measured.rtt_p99, "ns"),
        ("rtt_p999", measured.rtt_p999, "ns"),
        ("rtt_max", measured.rtt_max, "ns"),
        ("requests_per_s", measured.requests_per_s, "1/s"),
    ];
    for (metric, value, unit) in values {
        let (scenario, name) = (engine.scenario.as_str(), engine.name.as_str());
        JsonRow { scenario, engine: name, payload_bytes: engine.payload_bytes, metric, value, unit, run }.put();
    }
    measured.cost.put(&engine.scenario, &engine.name, engine.payload_bytes, "request", run);
}
