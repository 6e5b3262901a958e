//! The floor: one cache line that two threads pass to and fro.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use strait::transport::pin_current_thread;

use super::{pair::Cpus, samples::Samples};
use crate::failure::Failure;

/// A line of its own, and the one that processors fetch along with it.
#[repr(align(128))]
struct Line(AtomicU64);

const END: u64 = u64::MAX;
const WARM_UP: u64 = 10_000;

/// `None` where two threads cannot run at once: they would wait for the scheduler.
pub(super) fn measure(cpus: &Cpus, time: Duration) -> Result<Option<Samples>, Failure> {
    if !cpus.are_two() {
        return Ok(None);
    }
    let line = Line(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let pinned = cpus.theirs().map_or(Ok(()), pin_current_thread);
            answer(&line.0);
            pinned
        });
        let samples = ask(&line.0, time);
        // ORDERING: Release; pairs with the Acquire in `answer`, which learns of the end by it.
        line.0.store(END, Ordering::Release);
        match other.join() {
            Ok(Ok(())) => samples.map(Some),
            Ok(Err(error)) => Err(Failure::because("cannot pin", error)),
            Err(_panic) => Err(Failure::DidNotHold("the other thread panicked".into())),
        }
    })
}

/// Odd numbers are questions, the even one after each is its answer.
fn ask(line: &AtomicU64, time: Duration) -> Result<Samples, Failure> {
    let mut samples = Samples::new()?;
    let mut begin = Instant::now();
    for turn in 0.. {
        // ORDERING: Release; pairs with the Acquire in `answer`.
        line.store(2 * turn + 1, Ordering::Release);
        // ORDERING: Acquire; pairs with the Release store in `answer`.
        while line.load(Ordering::Acquire) != 2 * turn + 2 {
            std::hint::spin_loop();
        }
        let end = Instant::now();
        if turn >= WARM_UP {
            samples.add(end - begin);
        }
        begin = end;
        if samples.elapsed() >= time {
            break;
        }
    }
    Ok(samples)
}

fn answer(line: &AtomicU64) {
    let mut last = 0;
    loop {
        // ORDERING: Acquire; pairs with the Release stores in `ask` and `measure`.
        match line.load(Ordering::Acquire) {
            END => return,
            asked if asked % 2 == 1 && asked != last => {
                last = asked;
                // ORDERING: Release; pairs with the Acquire in `ask`. The line is this thread's until it is answered,
                // but for the end, which only comes after the answer.
                line.store(asked + 1, Ordering::Release);
            }
            _ => std::hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_pass_a_line_and_end() {
        let cpus = Cpus::Free { why: "a test", count: 2 };
        let samples = measure(&cpus, Duration::from_millis(5)).unwrap().unwrap();
        assert!(samples.p50() > 0);
        let one = Cpus::Free { why: "a test", count: 1 };
        assert!(measure(&one, Duration::from_millis(5)).unwrap().is_none());
    }
}
