//! A snapshot beside `memcpy`, pair by pair: a ratio within a pair survives a machine whose speed changes between pairs.

use super::{
    Conditions, Failed,
    latest::{Latest, Look, Roles, measure},
    snapshot::{Copied, Memcpy},
};
use crate::{report::median, rows::JsonRow};

pub(super) const ENGINE: &str = Copied::NAME;
pub(super) const BYTES: usize = 256 << 10;

/// Pairs, and where nobody wants numbers.
const PAIRS: u32 = 11;
const QUICK_PAIRS: u32 = 3;

/// Measures the pairs and prints them. Returns whether all answers were right.
pub(super) fn run(conditions: &Conditions, quick: bool, json: bool) -> bool {
    let pairs = if quick { QUICK_PAIRS } else { PAIRS };
    let (mut ratios, mut gains, mut memcpy_gains) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=pairs {
        let pair = match Pair::measure(conditions) {
            Ok(pair) => pair,
            Err(failed) => {
                eprintln!("{ENGINE} beside memcpy: {failed}");
                return false;
            }
        };
        ratios.push(pair.ratio());
        gains.push(pair.gain());
        memcpy_gains.push(pair.memcpy_gain());
        let rows = [
            (ENGINE, "memcpy_ratio", pair.ratio()),
            (ENGINE, "two_readers_gain", pair.gain()),
            (Memcpy::NAME, "two_readers_gain", pair.memcpy_gain()),
        ];
        for (engine, metric, value) in rows {
            JsonRow { scenario: "snapshot", engine, payload_bytes: BYTES, metric, value, unit: "1", run }.put();
        }
    }
    if !json {
        println!("\nsnapshot of {BYTES} B beside memcpy, {pairs} pairs: median (range)");
        print("copied reads / memcpy", ratios, "aim >= 0.95");
        print("two readers / one reader", gains, "aim: as memcpy's");
        print("two memcpy / one memcpy", memcpy_gains, "");
    }
    true
}

fn print(what: &str, values: Vec<f64>, aim: &str) {
    let (low, high) = values.iter().fold((f64::MAX, 0f64), |(low, high), &value| (low.min(value), high.max(value)));
    println!("  {what:<26} {:>6.3}  ({low:.3}..{high:.3})  {aim}", median(values));
}

/// Reads a second of both, with one thread and with two.
struct Pair {
    memcpy: [f64; 2],
    snapshot: [f64; 2],
}

impl Pair {
    fn measure(conditions: &Conditions) -> Result<Self, Failed> {
        let mut pair = Self { memcpy: [0.0; 2], snapshot: [0.0; 2] };
        for readers in [1, 2] {
            let roles = Roles { readers, busy: false };
            pair.memcpy[readers - 1] = measure::<Memcpy>(BYTES, roles, Look::Ends, conditions)?.reads_per_s;
            pair.snapshot[readers - 1] = measure::<Copied>(BYTES, roles, Look::Ends, conditions)?.reads_per_s;
        }
        Ok(pair)
    }

    fn ratio(&self) -> f64 {
        self.snapshot[0] / self.memcpy[0]
    }

    fn gain(&self) -> f64 {
        self.snapshot[1] / self.snapshot[0]
    }

    fn memcpy_gain(&self) -> f64 {
        self.memcpy[1] / self.memcpy[0]
    }
}
