//! The table.

use crate::{
    engine::{Engine, Measured},
    rpc,
    runner::{Plan, Row},
};

/// Medians over the runs, as a table, with what they are beside one bounced line and beside strait's default engine in the same run.
pub(crate) fn print(rows: &[Row], plan: &Plan) {
    let mut engines: Vec<&Engine> = Vec::new();
    for row in rows {
        if !engines.contains(&&row.engine) {
            engines.push(&row.engine);
        }
    }
    let line = engines.iter().find(|engine| engine.name == "floor-one-line").copied();
    println!(
        "machine: {}; kernel {}; client on core {}, server on core {}; median of {} runs of {} ms",
        processor(),
        kernel(),
        plan.cores.0,
        plan.cores.1,
        plan.runs,
        plan.millis
    );
    println!(
        "payloads over 20,000 B use rings of 8 MiB, others 256 KiB; -nosum: without checksum and timestamp;\n\
              x strait: beside {}; CPU us and (context) switches: per call, of both processes together\n",
        rpc::REFERENCE
    );
    println!(
        "{:<28} {:>9} {:>10} {:>10} {:>10} {:>11} {:>12} {:>8} {:>9} {:>10} {:>8}  {:>17}",
        "engine",
        "payload B",
        "p50 ns",
        "p99 ns",
        "p99.9 ns",
        "max ns",
        "requests/s",
        "CPU us",
        "switches",
        "x one line",
        "x strait",
        "range of p50"
    );
    let mut scenario = "floor";
    for engine in engines {
        if engine.scenario != scenario {
            scenario = &engine.scenario;
            println!("{}", if scenario == "wake" { "-- wake: each call after 1 ms of rest" } else { "--" });
        }
        let runs: Vec<&Measured> =
            rows.iter().filter(|row| row.engine == *engine).filter_map(|row| row.measured.as_ref()).collect();
        if runs.is_empty() {
            println!("{:<28} {:>9} failed", engine.name, engine.payload_bytes);
            continue;
        }
        let of = |value: fn(&Measured) -> f64| median(runs.iter().map(|run| value(run)).collect());
        let p50s: Vec<f64> = runs.iter().map(|run| run.rtt_p50).collect();
        let (low, high) = p50s.iter().fold((f64::MAX, 0f64), |(low, high), &p50| (low.min(p50), high.max(p50)));
        let p50 = of(|run| run.rtt_p50);
        let reference = Engine { name: rpc::REFERENCE.into(), ..engine.clone() };
        let beside = |base: Option<&Engine>| {
            let ratio = base.and_then(|base| ratio_of_p50(rows, engine, base));
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        };
        println!(
            "{:<28} {:>9} {:>10.0} {:>10.0} {:>10.0} {:>11.0} {:>12.0} {:>8.2} {:>9.3} {:>10} {:>8}  {:>17}",
            engine.name,
            engine.payload_bytes,
            p50,
            of(|run| run.rtt_p99),
            of(|run| run.rtt_p999),
            of(|run| run.rtt_max),
            of(|run| run.requests_per_s),
            of(|run| run.cost.cpu_us),
            of(|run| run.cost.switches),
            beside(line),
            beside(Some(&reference)),
            format!("{low:.0}..{high:.0}"),
        );
    }
}

/// The median, over the runs, of what two engines took in the same run: the machine may change from one to the next.
fn ratio_of_p50(rows: &[Row], engine: &Engine, base: &Engine) -> Option<f64> {
    let of = |engine: &Engine| -> Vec<Option<f64>> {
        rows.iter()
            .filter(|row| row.engine == *engine)
            .map(|row| row.measured.as_ref().map(|run| run.rtt_p50))
            .collect()
    };
    let ratios: Vec<f64> = of(engine).into_iter().zip(of(base)).filter_map(|(p50, base)| Some(p50? / base?)).collect();
    (!ratios.is_empty()).then(|| median(ratios))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown processor".into(), |(_, name)| name.trim().to_owned())
}
