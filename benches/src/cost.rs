//! What work costs besides time: processor time and context switches, of all processes that take part.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::rows::JsonRow;

/// What processes have used so far.
#[derive(Clone, Copy, Debug)]
struct Usage {
    cpu_nanos: u64,
    switches: u64,
}

/// What one message cost, over all processes that took part.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) cpu_us: f64,
    pub(crate) switches: f64,
}

impl Cost {
    /// The rows of a scenario whose messages are called `message`.
    pub(crate) fn put(&self, scenario: &str, engine: &str, payload_bytes: usize, message: &str, run: u32) {
        for (metric, value, unit) in [("cpu_us", self.cpu_us, "us"), ("context_switches", self.switches, "")] {
            let metric = &format!("{metric}_per_{message}");
            JsonRow { scenario, engine, payload_bytes, metric, value, unit, run }.put();
        }
    }
}

/// Counts from its start on.
pub(crate) struct Meter<'a> {
    processes: &'a [u32],
    before: Usage,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(processes: &'a [u32]) -> std::io::Result<Self> {
        Ok(Self { processes, before: Usage::of(processes)? })
    }

    /// What each of so many messages cost since the start.
    pub(crate) fn cost(&self, messages: u64) -> std::io::Result<Cost> {
        let (before, after) = (self.before, Usage::of(self.processes)?);
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / messages.max(1) as f64;
        Ok(Cost {
            cpu_us: each(before.cpu_nanos, after.cpu_nanos) / 1000.0,
            switches: each(before.switches, after.switches),
        })
    }
}

impl Usage {
    fn of(processes: &[u32]) -> std::io::Result<Self> {
        let mut sum = Self { cpu_nanos: 0, switches: 0 };
        for pid in processes {
            sum.cpu_nanos += cpu_nanos(*pid)?;
            sum.switches += context_switches(*pid)?;
        }
        Ok(sum)
    }
}

/// Processor time that a process has used so far, over all its threads.
pub(crate) fn cpu_nanos(pid: u32) -> std::io::Result<u64> {
    over_threads(pid, "schedstat", |text| text.split_whitespace().next().and_then(|field| field.parse().ok()))
}

/// How often its threads have given their core away or lost it.
fn context_switches(pid: u32) -> std::io::Result<u64> {
    over_threads(pid, "status", |text| {
        let counts = text.lines().filter(|line| line.contains("voluntary_ctxt_switches:"));
        Some(counts.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
    })
}

fn over_threads(pid: u32, file: &str, count: impl Fn(&str) -> Option<u64>) -> std::io::Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))? {
        // A thread that has just ended has taken its count with it: threads do not come and go while it is measured.
        sum += count(&std::fs::read_to_string(task?.path().join(file)).unwrap_or_default()).unwrap_or(0);
    }
    Ok(sum)
}
