//! The latest value, from one writer to readers.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Bench, Conditions, Failed, Kind, Line, Shape, Span, Value};

/// The end that values are written to.
pub trait Write: Send {
    /// Makes `words` the latest value.
    fn write(&mut self, words: &[u64]);
}

/// The end that values are read from.
pub trait Read: Send {
    /// Reads the latest value and shows it, where it lies or after a copy. Returns whether it could.
    fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool;
}

/// A place for the latest value.
pub trait Latest: 'static {
    /// How it is called in the results.
    const NAME: &'static str;
    /// The writer.
    type Writer: Write;
    /// A reader.
    type Reader: Read;

    /// Makes one that holds `first`, for this many readers.
    ///
    /// # Errors
    ///
    /// Why it cannot be had here.
    fn open(first: &[u64], readers: usize) -> Result<(Self::Writer, Vec<Self::Reader>), String>;
}

/// Words that lie as those of our memories do, so that no engine gains by where its copy lands.
pub struct Buffer {
    lines: Vec<Aligned>,
    words: usize,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(128))]
struct Aligned([u64; 16]);

impl Buffer {
    /// A copy of `words`.
    pub fn of(words: &[u64]) -> Self {
        let mut buffer = Self { lines: vec![Aligned([0; 16]); words.len().div_ceil(16)], words: words.len() };
        buffer.words_mut().copy_from_slice(words);
        buffer
    }

    /// The words.
    #[inline]
    pub fn words(&self) -> &[u64] {
        &<[u64]>::ref_from_bytes(self.lines.as_bytes()).expect("whole words")[..self.words]
    }

    /// The words.
    #[inline]
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut <[u64]>::mut_from_bytes(self.lines.as_mut_bytes()).expect("whole words")[..self.words]
    }
}

/// How much of a value is looked at after it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All of it is summed up.
    Sum,
    /// Its ends: for engines that have read all of it in order to copy it.
    Ends,
}

/// The time from one write to the next of a writer that is busy, if it can keep up: the same for all engines, for reads that are
/// to be compared must meet as many writes.
const PACE: Duration = Duration::from_micros(2);

/// What was measured.
pub(super) struct Rates {
    pub(super) reads_per_s: f64,
    pub(super) writes_per_s: f64,
}

/// Who does what. Readers are threads 0 and 1, a writer that is busy is the thread after them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roles {
    pub(super) readers: usize,
    pub(super) busy: bool,
}

/// A shape for each of those.
const SHAPES: [(Roles, Shape); 4] = [
    (Roles { readers: 1, busy: false }, Shape { title: "1 reader, idle writer", suffix: "", threads: 1 }),
    (Roles { readers: 2, busy: false }, Shape { title: "2 readers, idle writer", suffix: "-2-readers", threads: 2 }),
    (Roles { readers: 1, busy: true }, Shape { title: "1 reader, busy writer", suffix: "-busy", threads: 2 }),
    (
        Roles { readers: 2, busy: true },
        Shape { title: "2 readers, busy writer", suffix: "-2-readers-busy", threads: 3 },
    ),
];

/// What is measured of an engine with values of `bytes`; without `written`, only with a writer that is idle.
pub fn all<E: Latest>(kind: Kind, scenario: &'static str, bytes: usize, written: bool) -> Vec<Bench> {
    let shapes = SHAPES.into_iter().filter(|(roles, _)| written || !roles.busy);
    let benches = shapes.map(|(roles, shape)| {
        let run = Box::new(move |conditions: &Conditions| {
            let rates = measure::<E>(bytes, roles, Look::Sum, conditions)?;
            let reads = Value { metric: "reads_per_s", value: rates.reads_per_s, unit: "1/s" };
            let read = Value { metric: "bytes_per_s", value: rates.reads_per_s * bytes as f64, unit: "B/s" };
            let writes = Value { metric: "writes_per_s", value: rates.writes_per_s, unit: "1/s" };
            Ok(if roles.busy { vec![reads, read, writes] } else { vec![reads, read] })
        });
        Bench { scenario, shape, engine: E::NAME, kind, payload_bytes: bytes, run }
    });
    benches.collect()
}

/// What the threads of one run share.
struct Shared {
    start: Barrier,
    stop: Line<AtomicBool>,
}

impl Shared {
    #[inline]
    fn stopped(&self) -> bool {
        // ORDERING: Relaxed; only says when.
        self.stop.0.load(Ordering::Relaxed)
    }
}

/// Checks that readers get what was written, then reads for a while.
pub(super) fn measure<E: Latest>(
    bytes: usize,
    roles: Roles,
    look: Look,
    conditions: &Conditions,
) -> Result<Rates, Failed> {
    let mut value = Buffer::of(&vec![1; bytes / 8]);
    let (mut writer, mut readers) = E::open(value.words(), roles.readers).map_err(Failed::Skipped)?;
    if roles.busy {
        value.words_mut().fill(2);
        writer.write(value.words());
    }
    for reader in &mut readers {
        let mut right = false;
        reader.read(&mut |words| right = words == value.words());
        if !right {
            return Err(Failed::Wrong("what was read is not what was written".into()));
        }
    }
    let shared = &Shared { start: Barrier::new(roles.readers + usize::from(roles.busy) + 1), stop: Line::default() };
    let (read, written) = thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .enumerate()
            .map(|(id, reader)| {
                scope.spawn(move || {
                    let pinned = conditions.cores.pin(id);
                    shared.start.wait();
                    let read = read(reader, look, shared);
                    pinned.map(|()| read)
                })
            })
            .collect();
        let writing = roles.busy.then(|| {
            scope.spawn(move || {
                let pinned = conditions.cores.pin(roles.readers);
                shared.start.wait();
                let written = write(writer, value, shared);
                pinned.map(|()| written)
            })
        });
        shared.start.wait();
        thread::sleep(conditions.time);
        // ORDERING: Relaxed; only says when.
        shared.stop.0.store(true, Ordering::Relaxed);
        let read: Vec<_> = threads.into_iter().map(|thread| thread.join().map_err(panicked)).collect();
        (read, writing.map(|thread| thread.join().map_err(panicked)))
    });
    let mut reads_per_s = 0.0;
    for read in read {
        let (span, reads, wrong) = read??;
        if wrong {
            return Err(Failed::Wrong("a value was torn, or older than the one before it".into()));
        }
        reads_per_s += reads as f64 / Span::seconds([span]);
    }
    let writes_per_s = match written {
        Some(written) => {
            let (span, writes) = written??;
            writes as f64 / Span::seconds([span])
        }
        None => 0.0,
    };
    Ok(Rates { reads_per_s, writes_per_s })
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Failed {
    Failed::Wrong("a thread panicked".into())
}

/// One function for all engines: where the compiler makes a loop for each, some of those are twice as fast as others.
#[inline(never)]
fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word))
}

/// Returns when, how many values, and whether something was wrong with them.
fn read(mut reader: impl Read, look: Look, shared: &Shared) -> (Span, u64, bool) {
    let begin = Instant::now();
    let (mut reads, mut newest, mut wrong) = (0, 0, false);
    while !shared.stopped() {
        let could = reader.read(&mut |words| {
            let words = black_box(words);
            // All words of a value are its number. So a mixture of two has another sum than that.
            let number = words[0];
            wrong |= number < newest
                || match look {
                    Look::Sum => sum(words) != number.wrapping_mul(words.len() as u64),
                    Look::Ends => words[words.len() - 1] != number,
                };
            newest = number;
        });
        reads += u64::from(could);
    }
    (Span { begin, end: Instant::now() }, reads, wrong)
}

/// Returns when, and how many values.
fn write(mut writer: impl Write, mut value: Buffer, shared: &Shared) -> (Span, u64) {
    let begin = Instant::now();
    let (mut writes, mut due) = (0, begin);
    while !shared.stopped() {
        let now = Instant::now();
        if now < due {
            std::hint::spin_loop();
            continue;
        }
        due = now + PACE;
        writes += 1;
        value.words_mut().fill(2 + writes);
        writer.write(value.words());
    }
    (Span { begin, end: Instant::now() }, writes)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::pin::Cores;

    /// A lock whose readers see a word of an older value now and then.
    struct Torn;

    type Words = Arc<Mutex<Vec<u64>>>;

    struct TornReader(Words, u64);

    impl Latest for Torn {
        const NAME: &'static str = "torn";
        type Writer = Words;
        type Reader = TornReader;

        fn open(first: &[u64], readers: usize) -> Result<(Words, Vec<TornReader>), String> {
            let words = Words::new(Mutex::new(first.to_vec()));
            let readers = (0..readers).map(|_| TornReader(words.clone(), 0)).collect();
            Ok((words, readers))
        }
    }

    impl Write for Words {
        fn write(&mut self, words: &[u64]) {
            self.lock().unwrap().copy_from_slice(words);
        }
    }

    impl Read for TornReader {
        fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
            let mut words = self.0.lock().unwrap().clone();
            self.1 += 1;
            if self.1.is_multiple_of(16) {
                words[3] -= 1;
            }
            see(&words);
            true
        }
    }

    #[test]
    fn a_torn_value_is_noticed() {
        let conditions = Conditions { cores: Cores::allowed().unwrap(), time: Duration::from_millis(100) };
        for busy in [false, true] {
            let outcome = measure::<Torn>(64, Roles { readers: 1, busy }, Look::Sum, &conditions);
            assert!(matches!(outcome.map(|rates| rates.reads_per_s), Err(Failed::Wrong(_))));
        }
    }
}
