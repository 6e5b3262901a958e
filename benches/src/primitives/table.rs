//! The table.

use super::{Bench, Conditions, Failed, Kind, Measured, Value};
use crate::{report::median, runner::Plan};

/// Medians over the runs, a section for each comparison.
pub(super) fn print(measured: &[Measured<'_>], plan: &Plan, conditions: &Conditions) {
    println!(
        "\nprimitives: threads of one process, pinned in turn to cores {}; median of {} runs of {} ms",
        conditions.cores,
        plan.runs,
        conditions.time.as_millis()
    );
    println!(
        "x best peer: how many times as good as the best peer of its section; above 1 is better, also for round trips"
    );
    println!("busy writer: a write every 2 us, where it can keep up; every value that is read is summed up");
    for section in sections(measured) {
        let (scenario, shape, payload_bytes) = section.key;
        let shared = if section.threads > conditions.cores.count() { "; more threads than cores" } else { "" };
        println!("\n{scenario}, {payload_bytes} B, {shape}{shared}");
        println!("  {:<46} {:>18} {:>12}  range", "engine", "median", "x best peer");
        for metric in ["items_per_s", "rtt_p50", "reads_per_s", "writes_per_s"] {
            print_metric(&section, metric);
        }
        for (bench, failed) in &section.failed {
            println!("  {:<46} {failed}", bench.name());
        }
    }
}

/// What is compared with each other.
struct Section<'a> {
    key: (&'static str, &'static str, usize),
    threads: usize,
    /// Each bench with what its runs measured.
    benches: Vec<(&'a Bench, Vec<&'a Value>)>,
    failed: Vec<(&'a Bench, &'a Failed)>,
}

fn sections<'a>(measured: &'a [Measured<'a>]) -> Vec<Section<'a>> {
    let mut sections: Vec<Section<'a>> = Vec::new();
    for one in measured {
        let key = one.bench.group();
        let at = sections.iter().position(|section| section.key == key).unwrap_or_else(|| {
            sections.push(Section { key, threads: one.bench.shape.threads, benches: Vec::new(), failed: Vec::new() });
            sections.len() - 1
        });
        let section = &mut sections[at];
        match section.benches.iter_mut().find(|(bench, _)| std::ptr::eq(*bench, one.bench)) {
            Some((_, values)) => values.extend(&one.values),
            None => section.benches.push((one.bench, one.values.iter().collect())),
        }
        if let Some(failed) = &one.failed
            && section.failed.iter().all(|(bench, _)| !std::ptr::eq(*bench, one.bench))
        {
            section.failed.push((one.bench, failed));
        }
    }
    sections
}

fn print_metric(section: &Section<'_>, metric: &str) {
    let smaller_is_better = metric == "rtt_p50";
    let medians: Vec<(&Bench, f64, Vec<f64>)> = section
        .benches
        .iter()
        .filter_map(|(bench, values)| {
            let runs: Vec<f64> =
                values.iter().filter(|value| value.metric == metric).map(|value| value.value).collect();
            (!runs.is_empty()).then(|| (*bench, median(runs.clone()), runs))
        })
        .collect();
    // One that was wrong is nothing to be compared with.
    let right = |one: &Bench| section.failed.iter().all(|(bench, _)| !std::ptr::eq(*bench, one));
    let peers =
        medians.iter().filter(|(bench, ..)| bench.kind == Kind::Peer && right(bench)).map(|(_, median, _)| *median);
    let best = peers.reduce(|best, one| if (one < best) == smaller_is_better { one } else { best });
    for (bench, median, runs) in medians {
        let ratio = best.filter(|best| *best > 0.0).map_or_else(String::new, |best| {
            format!("{:.2}", if smaller_is_better { best / median } else { median / best })
        });
        let (low, high) = runs.iter().fold((f64::MAX, 0f64), |(low, high), &run| (low.min(run), high.max(run)));
        let unit = Unit::of(metric, median);
        let range = format!("{}..{}", unit.show(low), unit.show(high));
        let median = format!("{} {}{}", unit.show(median), unit.prefix, unit.name);
        println!("  {:<46} {median:>18} {ratio:>12}  {range}", bench.name());
    }
}

/// In what a value is shown.
struct Unit {
    name: &'static str,
    prefix: &'static str,
    scale: f64,
}

impl Unit {
    fn of(metric: &str, value: f64) -> Self {
        let name = match metric {
            "rtt_p50" => return Self { name: "ns", prefix: "", scale: 1.0 },
            "items_per_s" => "items/s",
            "writes_per_s" => "writes/s",
            _ => "reads/s",
        };
        let (prefix, scale) = if value >= 1e6 { ("M ", 1e6) } else { ("k ", 1e3) };
        Self { name, prefix, scale }
    }

    fn show(&self, value: f64) -> String {
        let digits = if self.scale > 1.0 { 1 } else { 0 };
        format!("{:.digits$}", value / self.scale)
    }
}
