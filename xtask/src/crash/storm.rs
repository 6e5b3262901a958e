//! Random victims at random points and moments, several at once.

use std::{
    path::Path,
    sync::{Mutex, PoisonError, mpsc},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    LATE_IN_STORM,
    case::{Action, Case},
    table::Tally,
};
use crate::screen::Screen;

/// The latest moment at which a victim that is not ended at a point is: most are done by then.
const LATEST_MICROS: u64 = 150_000;

pub(super) fn new_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64 % 1_000_000_007)
}

/// Numbers that look random and are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// One of the cases with another signal and pass, or its role at some moment.
    fn case(&mut self, cases: &[Case]) -> Case {
        let Case { role, action } = cases[self.below(cases.len() as u64) as usize].clone();
        let kill = self.below(3) > 0;
        let action = match action {
            Action::AtPoint { point, .. } if self.below(4) > 0 => {
                // Low passes more often: a power of two, and somewhat more.
                let power = 1 << self.below(8);
                Action::AtPoint { point, kill, pass: power + self.below(power) }
            }
            _ => Action::After { kill, micros: self.below(LATEST_MICROS) },
        };
        Case { role, action }
    }
}

/// Runs random cases until then, as many at once as there are processors and one more.
pub(super) fn run(program: &Path, cases: &[Case], seed: u64, until: Instant, tally: &mut Tally, screen: &mut Screen) {
    // The generator's first numbers are near each other for seeds that are.
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    random.below(1);
    let random = Mutex::new(random);
    let (begun, mut ran, mut told) = (Instant::now(), 0_u64, Instant::now());
    let threads = std::thread::available_parallelism().map_or(2, usize::from) + 1;
    let (results, outcomes) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (random, results) = (&random, results.clone());
            scope.spawn(move || {
                while Instant::now() < until {
                    let case = random.lock().unwrap_or_else(PoisonError::into_inner).case(cases);
                    let outcome = case.run(program, LATE_IN_STORM);
                    if results.send((case, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for (case, outcome) in outcomes {
            ran += 1;
            let line = || format!("storm, --seed {seed}: {ran} cases in {:.0} s", begun.elapsed().as_secs_f64());
            screen.live(|| vec![line()]);
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                screen.unless_live(&line());
            }
            // Not each pass is come to: then nobody was ended, and all must be well all the same.
            tally.note(&case, outcome, false, screen);
        }
    });
    screen.line(&format!("storm, --seed {seed}: {ran} cases in {:.0} s", begun.elapsed().as_secs_f64()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::case::Role;

    #[test]
    fn the_same_seed_makes_the_same_storm() {
        let role = Role { scenario: "rpc".into(), name: "server".into() };
        let action = Action::AtPoint { point: "ring.claimed".into(), kill: true, pass: 1 };
        let cases = [Case { role, action }];
        let storm = |seed| {
            let mut random = Random(seed);
            (0..100).map(|_| random.case(&cases).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(storm(7), storm(7));
        assert_ne!(storm(7), storm(8));
        for signal in ["kill", "stop"] {
            assert!(storm(7).iter().any(|case| case.contains(&format!("ring.claimed:{signal}"))));
            assert!(storm(7).iter().any(|case| case.contains(&format!("after:{signal}"))));
        }
    }
}
