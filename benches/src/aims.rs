//! The aims beside what was measured: each a ratio of two values of the same run, or one value.

use std::{error::Error, path::PathBuf};

use crate::{
    report::median,
    rows::{self, Row},
};

/// What an aim asks for.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// Where a value stands among the rows: scenario, engine, payload in bytes, metric.
type Place = (&'static str, &'static str, usize, &'static str);

struct Aim {
    of: Place,
    /// What it is divided by.
    beside: Option<Place>,
    bound: Bound,
}

const fn call(engine: &'static str, payload_bytes: usize) -> Place {
    ("rpc", engine, payload_bytes, "rtt_p50")
}

const fn flow(engine: &'static str, payload_bytes: usize) -> Place {
    ("stream", engine, payload_bytes, "messages_per_s")
}

const fn clients(engine: &'static str) -> Place {
    ("clients", engine, 20_000, "requests_per_s")
}

const fn cpu(engine: &'static str) -> Place {
    ("clients", engine, 20_000, "cpu_us_per_request")
}

const fn ratio(of: Place, beside: Place, bound: Bound) -> Aim {
    Aim { of, beside: Some(beside), bound }
}

/// Reads in place of the first and the last word, in other processes.
const fn state(engine: &'static str) -> Place {
    ("state", engine, PINNED, "reads_per_s")
}

/// Reads in place of all words, in other threads.
const fn pinned(engine: &'static str, beside: &'static str) -> Aim {
    const fn place(engine: &'static str) -> Place {
        ("snapshot", engine, PINNED, "reads_per_s")
    }
    ratio(place(engine), place(beside), AtLeast(1.0))
}

const LINE: Place = ("floor", "floor-one-line", 8, "rtt_p50");
const BARE: &str = "strait-shm-blocking-nosum";
const CHECKED: &str = "strait-shm-blocking";
const MIB: usize = 1 << 20;
const PINNED: usize = 256 << 10;

use Bound::{AtLeast, AtMost};

/// In the order of the table in which they were set.
const AIMS: [Aim; 45] = [
    ratio(call(BARE, 32), LINE, AtMost(1.7)),
    ratio(call(CHECKED, 32), LINE, AtMost(1.9)),
    ratio(call(BARE, 64), LINE, AtMost(1.9)),
    ratio(call(CHECKED, 64), LINE, AtMost(2.1)),
    ratio(call("iceoryx2-request", 64), call(BARE, 64), AtLeast(2.8)),
    ratio(call("iceoryx2-publish", 64), call(BARE, 64), AtLeast(2.8)),
    ratio(call("unix-stream-polled", 64), call(BARE, 64), AtLeast(7.0)),
    ratio(call("strait-shm-async", 64), call(CHECKED, 64), AtMost(1.5)),
    ratio(("wake", CHECKED, 64, "rtt_p50"), ("wake", "floor-poll-byte", 1, "rtt_p50"), AtMost(1.15)),
    ratio(call(BARE, 20_000), call("floor-ring-copy", 20_000), AtMost(1.25)),
    ratio(call(CHECKED, 20_000), call("floor-ring-copy", 20_000), AtMost(1.25)),
    ratio(call(BARE, MIB), call("floor-ring-copy", MIB), AtMost(1.25)),
    ratio(call(CHECKED, MIB), call("floor-ring-copy", MIB), AtMost(1.25)),
    ratio(flow("strait-stream", 64), flow("iceoryx2-publish", 64), AtLeast(12.0)),
    ratio(flow("strait-stream", 64), flow("unix-stream", 64), AtLeast(15.0)),
    ratio(flow("strait-stream-nosum", 64), flow("floor-ring-copy", 64), AtLeast(0.5)),
    ratio(flow("strait-stream-batch-nosum", 64), flow("floor-ring-copy", 64), AtLeast(0.5)),
    ratio(flow("strait-stream-batch", 64), flow("pipe-buffered", 64), AtLeast(1.0)),
    ratio(flow("strait-stream-nosum", 1024), flow("floor-ring-copy", 1024), AtLeast(0.85)),
    ratio(flow("strait-stream-nosum", 20_000), flow("floor-ring-copy", 20_000), AtLeast(0.95)),
    ratio(flow("strait-stream-nosum", PINNED), flow("floor-ring-copy", PINNED), AtLeast(0.95)),
    ratio(flow("strait-stream-nosum", MIB), flow("floor-ring-copy", MIB), AtLeast(0.95)),
    ratio(flow("strait-stream", 20_000), flow("floor-ring-copy-crc", 20_000), AtLeast(0.95)),
    ratio(flow("strait-stream", MIB), flow("floor-ring-copy-crc", MIB), AtLeast(0.95)),
    ratio(
        ("seqlock", "seqlock", 64, "reads_per_s"),
        ("snapshot", "strait-seqlock-snapshot", 64, "reads_per_s"),
        AtMost(1.25),
    ),
    Aim { of: ("snapshot", "strait-seqlock-snapshot", PINNED, "memcpy_ratio"), beside: None, bound: AtLeast(0.95) },
    Aim { of: ("state", "strait-shm-read-idle-1", PINNED, "share_of_memcpy"), beside: None, bound: AtLeast(0.95) },
    pinned("strait-seqlock-snapshot-pinned", "mmap-sync"),
    pinned("strait-seqlock-snapshot-pinned-2-readers", "mmap-sync-2-readers"),
    pinned("strait-seqlock-snapshot-pinned-busy", "mmap-sync-busy"),
    pinned("strait-seqlock-snapshot-pinned-2-readers-busy", "mmap-sync-2-readers-busy"),
    ratio(state("strait-shm-pin-idle-1"), state("mmap-sync-pin-idle-1"), AtLeast(1.0)),
    ratio(state("strait-shm-pin-busy-8"), state("mmap-sync-pin-busy-8"), AtLeast(1.0)),
    ratio(clients("strait-shm-blocking-16"), clients("iceoryx2-request-event-16"), AtLeast(1.5)),
    ratio(clients("strait-shm-blocking-16"), clients("unix-stream-16"), AtLeast(1.8)),
    ratio(clients("strait-shm-polling-16"), clients("unix-stream-16"), AtLeast(1.8)),
    ratio(clients("strait-shm-blocking-short-16"), clients("unix-stream-short-16"), AtLeast(1.8)),
    ratio(cpu("strait-shm-blocking-16"), cpu("iceoryx2-request-event-16"), AtMost(0.7)),
    ratio(cpu("strait-shm-blocking-16"), cpu("unix-stream-16"), AtMost(0.7)),
    ratio(cpu("strait-shm-polling-16"), cpu("unix-stream-16"), AtMost(0.7)),
    ratio(cpu("strait-shm-blocking-short-16"), cpu("unix-stream-short-16"), AtMost(0.7)),
    Aim { of: ("connections", CHECKED, 64, "idle_cpu_per_10_s"), beside: None, bound: AtMost(1.0) },
    Aim { of: ("connections", "strait-shm-async", 64, "idle_cpu_per_10_s"), beside: None, bound: AtMost(1.0) },
    // Two rings of 256 KiB, and 16 KiB for each side.
    Aim { of: ("connections", CHECKED, 64, "memory"), beside: None, bound: AtMost(544.0) },
    Aim { of: ("connections", "strait-shm-small", 64, "memory"), beside: None, bound: AtMost(128.0) },
];

impl Aim {
    /// What the runs came to, smallest first: only those in which all of it was measured.
    fn measured(&self, rows: &[Row]) -> Vec<f64> {
        let of = |place: Place| rows.iter().filter(move |row| row.is_at(place));
        let beside = |run: u32| match self.beside {
            None => Some(1.0),
            Some(place) => of(place).find(|row| row.run == run).map(|row| row.value),
        };
        let mut values: Vec<f64> = of(self.of).filter_map(|row| Some(row.value / beside(row.run)?)).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn print(&self, rows: &[Row]) {
        let name = |(scenario, engine, bytes, metric): Place| format!("{scenario} {engine} {bytes} B {metric}");
        let what = match self.beside {
            Some((.., metric)) if metric == self.of.3 => {
                let (scenario, engine, ..) = self.beside.unwrap_or(self.of);
                let other = if scenario == self.of.0 { String::new() } else { format!("{scenario} ") };
                format!("{} / {other}{engine}", name(self.of))
            }
            Some(beside) => format!("{} / {}", name(self.of), name(beside)),
            None => name(self.of),
        };
        let aim = match self.bound {
            AtMost(bound) => format!("<= {bound}"),
            AtLeast(bound) => format!(">= {bound}"),
        };
        let values = self.measured(rows);
        let [Some(low), Some(high)] = [values.first(), values.last()] else {
            println!("{what:<84} {aim:>8} {:>8}  not measured", "");
            return;
        };
        let value = median(values.clone());
        let met = match self.bound {
            AtMost(bound) => value <= bound,
            AtLeast(bound) => value >= bound,
        };
        let verdict = if met { "met" } else { "MISSED" };
        println!("{what:<84} {aim:>8} {value:>8.2}  {verdict:<7} {low:.2}..{high:.2}");
    }
}

/// Prints each aim with what the rows of the files say of it.
pub(crate) fn print(files: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let mut rows = Vec::new();
    for file in files {
        rows.extend(rows::read(file)?);
    }
    println!("{:<84} {:>8} {:>8}          range of the runs", "aim", "", "median");
    AIMS.iter().for_each(|aim| aim.print(&rows));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(engine: &str, run: u32, value: f64) -> Row {
        let [scenario, metric] = ["rpc", "rtt_p50"].map(str::to_owned);
        Row { scenario, engine: engine.to_owned(), payload_bytes: 64, metric, value, run }
    }

    #[test]
    fn an_aim_divides_what_is_of_the_same_run() {
        let rows =
            [row("ours", 1, 30.0), row("ours", 2, 10.0), row("ours", 3, 1.0), row("its", 1, 10.0), row("its", 2, 2.0)];
        let aim = ratio(call("ours", 64), call("its", 64), AtMost(4.0));
        assert_eq!(aim.measured(&rows), [3.0, 5.0]);
        let alone = Aim { beside: None, ..aim };
        assert_eq!(alone.measured(&rows), [1.0, 10.0, 30.0]);
    }
}
