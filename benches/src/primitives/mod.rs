//! The primitives on their own, between pinned threads of one process.
//!
//! | scenario | what moves | metrics |
//! |---|---|---|
//! | `spsc` | items from one thread to another, single and in chunks; one item there and back | `items_per_s`, `rtt_p50` |
//! | `mpmc` | items from several threads to several | `items_per_s` |
//! | `seqlock`, `snapshot` | the latest value, from one writer to one reader or two | `reads_per_s`, `bytes_per_s`, `writes_per_s` |
//!
//! What is biased, and what is not: every engine is polled, with the same wait between looks; none sleeps. Every item has
//! its number all over it, which the consumer checks. Every value that was read is summed up, where it lies if the
//! engine lends it and after the copy if it copies. A busy writer writes every 2 µs, where it can keep up. Engines that belong to one comparison run one after the other, in each run anew.

pub mod ablations;
pub mod flow;
pub mod latest;
pub mod mpmc;
mod paired;
mod ping_pong;
pub mod snapshot;
pub mod spsc;
mod table;

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{pin::Cores, progress::Progress, rows::JsonRow, runner::Plan};

/// What an engine is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of strait's.
    Ours,
    /// Another library's, or the standard library's: what ours are compared with.
    Peer,
    /// What the machine allows.
    Floor,
    /// Ours in small, with one decision taken the other way.
    Ablation,
}

/// One engine in one shape with one payload.
pub struct Bench {
    scenario: &'static str,
    /// How many threads do what. Engines of one scenario, shape, payload and metric are compared.
    shape: Shape,
    engine: &'static str,
    kind: Kind,
    payload_bytes: usize,
    run: Run,
}

/// Measures once.
type Run = Box<dyn Fn(&Conditions) -> Result<Vec<Value>, Failed>>;

/// A shape: how it is called in a heading, and what it adds to the names of engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    title: &'static str,
    suffix: &'static str,
    threads: usize,
}

/// Under which conditions a run measures.
struct Conditions {
    cores: Cores,
    time: Duration,
}

/// One measured value.
struct Value {
    metric: &'static str,
    value: f64,
    unit: &'static str,
}

/// Why there is no value.
#[derive(Debug)]
enum Failed {
    /// The engine cannot do this here.
    Skipped(String),
    /// The engine did it wrong.
    Wrong(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(why) => write!(f, "skipped: {why}"),
            Self::Wrong(why) => write!(f, "wrong: {why}"),
        }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl Bench {
    fn name(&self) -> String {
        format!("{}{}", self.engine, self.shape.suffix)
    }

    /// What a bench is compared under; those who share it stand together.
    fn group(&self) -> (&'static str, &'static str, usize) {
        (self.scenario, self.shape.title, self.payload_bytes)
    }
}

/// What one bench measured: a line of the table for each metric.
struct Measured<'a> {
    bench: &'a Bench,
    values: Vec<Value>,
    failed: Option<Failed>,
}

/// Ours, the standard library's and the floors.
fn own() -> Vec<Bench> {
    [spsc::own(), mpmc::own(), snapshot::own()].into_iter().flatten().collect()
}

/// Runs them all, and prints what they measured. Returns whether every engine gave the right answers.
pub(crate) fn run(peers: Vec<Bench>, plan: &Plan, cores: Cores, quick: bool, json: bool) -> bool {
    let conditions = Conditions { cores, time: Duration::from_millis(if quick { 20 } else { 200 }) };
    let benches = in_groups(own().into_iter().chain(peers).filter(|b| plan.chooses(&b.name(), b.payload_bytes)));
    let mut measured = Vec::new();
    let mut progress = Progress::new("primitives", benches.len() * plan.runs as usize);
    for run in 1..=plan.runs {
        for bench in &benches {
            progress.step(&format!("{} {} B, run {run} of {}", bench.name(), bench.payload_bytes, plan.runs));
            let (values, failed) = match (bench.run)(&conditions) {
                Ok(values) => (values, None),
                Err(failed) => (Vec::new(), Some(failed)),
            };
            let payload_bytes = bench.payload_bytes;
            if let Some(failed) = &failed {
                eprintln!("{} {payload_bytes} B: {failed}", bench.name());
            }
            for &Value { metric, value, unit } in &values {
                let (scenario, engine) = (bench.scenario, &bench.name());
                JsonRow { scenario, engine, payload_bytes, metric, value, unit, run }.put();
            }
            measured.push(Measured { bench, values, failed });
        }
    }
    drop(progress);
    if !json {
        table::print(&measured, plan, &conditions);
    }
    let paired = !plan.chooses(paired::ENGINE, paired::BYTES) || paired::run(&conditions, quick, json);
    // A peer that is wrong is a result; one of ours is a failure.
    let ours_wrong = |one: &Measured<'_>| one.bench.kind != Kind::Peer && matches!(one.failed, Some(Failed::Wrong(_)));
    paired && !measured.iter().any(ours_wrong)
}

/// The same benches with those side by side that are compared.
fn in_groups(benches: impl Iterator<Item = Bench>) -> Vec<Bench> {
    let mut groups: Vec<Vec<Bench>> = Vec::new();
    for bench in benches {
        match groups.iter_mut().find(|group| group[0].group() == bench.group()) {
            Some(group) => group.push(bench),
            None => groups.push(vec![bench]),
        }
    }
    groups.into_iter().flatten().collect()
}

/// When a thread began and ended.
#[derive(Clone, Copy)]
struct Span {
    begin: Instant,
    end: Instant,
}

impl Span {
    /// From when the first of them began until the last one ended.
    fn seconds(spans: impl IntoIterator<Item = Self>) -> f64 {
        let whole =
            spans.into_iter().reduce(|all, one| Self { begin: all.begin.min(one.begin), end: all.end.max(one.end) });
        whole.map_or(f64::NAN, |span| (span.end - span.begin).as_secs_f64())
    }
}

/// What all threads look at and one changes: on a line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

/// Waiting between two looks, the same for all: the processor's hint, and now and then the processor for others.
#[derive(Default)]
struct Wait {
    looks: u32,
}

impl Wait {
    #[inline]
    fn a_little(&mut self) {
        self.looks += 1;
        if self.looks.is_multiple_of(64) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}
