//! One item there and back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use super::{
    Conditions, Failed, Line, Wait,
    flow::{Item, Pop, Push},
};
use crate::engine::Samples;

/// Round trips before those that count.
const WARM_UP: u64 = 2_000;

/// The median round trip in nanoseconds. Each trip reads the clock once, as those of the floors do.
pub(super) fn rtt_p50<T: Item>(
    (mut ask, mut answer): (impl Push<T>, impl Pop<T>),
    (mut reply, mut asked): (impl Push<T>, impl Pop<T>),
    conditions: &Conditions,
) -> Result<f64, Failed> {
    let stop = &Line::<AtomicBool>::default();
    thread::scope(|scope| {
        let echo = scope.spawn(move || {
            let pinned = conditions.cores.pin(1);
            let mut wait = Wait::default();
            // ORDERING: Relaxed; only says when.
            while !stop.0.load(Ordering::Relaxed) {
                match asked.try_pop() {
                    Some(value) => while !reply.try_push(value) {},
                    None => wait.a_little(),
                }
            }
            pinned
        });
        let client = scope.spawn(move || {
            let pinned = conditions.cores.pin(0);
            let mut wrong = false;
            let mut number = 0;
            let mut trip = || {
                while !ask.try_push(T::of(number)) {}
                let mut wait = Wait::default();
                let back = loop {
                    match answer.try_pop() {
                        Some(value) => break value,
                        None => wait.a_little(),
                    }
                };
                wrong |= back.number() != Some(number);
                number += 1;
            };
            (0..WARM_UP).for_each(|_| trip());
            let mut samples = Samples::collect(conditions.time.as_millis() as u64, &[])?;
            loop {
                let begin = Instant::now();
                trip();
                if !samples.add(begin) {
                    break;
                }
            }
            // ORDERING: Relaxed; only says when.
            stop.0.store(true, Ordering::Relaxed);
            pinned?;
            Ok::<_, Failed>((samples.summed_up(String::new())?.rtt_p50, wrong))
        });
        let panicked = |_| Failed::Wrong("a thread panicked".into());
        let measured = client.join().map_err(panicked)?;
        echo.join().map_err(panicked)??;
        match measured? {
            (rtt_p50, false) => Ok(rtt_p50),
            (_, true) => Err(Failed::Wrong("an item did not come back as it went".into())),
        }
    })
}
