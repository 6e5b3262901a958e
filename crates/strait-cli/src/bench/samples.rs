//! Times of round trips.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// Round trips, each with how long it took.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    histogram: Histogram<u64>,
    elapsed: Duration,
}

/// Longest time that is told from longer ones.
const MAX_NANOS: u64 = 60_000_000_000;

impl Samples {
    pub(super) fn new() -> Result<Self, Failure> {
        let histogram = Histogram::new_with_bounds(1, MAX_NANOS, 3);
        let histogram = histogram.map_err(|error| Failure::because("cannot make a histogram", error))?;
        Ok(Self { histogram, elapsed: Duration::ZERO })
    }

    pub(super) fn add(&mut self, trip: Duration) {
        self.histogram.saturating_record(trip.as_nanos().try_into().unwrap_or(MAX_NANOS));
        self.elapsed += trip;
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The figures, in nanoseconds, by the names of the repository's benchmarks.
    pub(super) fn points(&self) -> [(&'static str, u64); 4] {
        let quantile = |part| self.histogram.value_at_quantile(part);
        [
            ("rtt_p50", quantile(0.5)),
            ("rtt_p99", quantile(0.99)),
            ("rtt_p999", quantile(0.999)),
            ("rtt_max", self.histogram.max()),
        ]
    }

    pub(super) fn p50(&self) -> u64 {
        self.histogram.value_at_quantile(0.5)
    }

    pub(super) fn per_second(&self) -> f64 {
        self.histogram.len() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Which part of them lies in each step of a ladder that doubles, as the step's lower end in nanoseconds and the
    /// part.
    pub(super) fn ladder(&self) -> Vec<(u64, f64)> {
        let count = self.histogram.len().max(1) as f64;
        let first = self.histogram.min().max(1).ilog2();
        let last = self.histogram.max().max(1).ilog2();
        let step = |power: u32| {
            let (low, high) = (1_u64 << power, (1_u64 << (power + 1)) - 1);
            (low, self.histogram.count_between(low, high) as f64 / count)
        };
        (first..=last).map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_has_every_sample_once() {
        let mut samples = Samples::new().unwrap();
        for nanos in [400, 450, 500, 700, 90_000] {
            samples.add(Duration::from_nanos(nanos));
        }
        let ladder = samples.ladder();
        assert_eq!((ladder[0], ladder[1]), ((256, 0.6), (512, 0.2)));
        assert_eq!(ladder.last().unwrap().0, 65_536);
        assert!((ladder.iter().map(|step| step.1).sum::<f64>() - 1.0).abs() < 1e-9, "{ladder:?}");
        assert_eq!(samples.p50(), 500);
    }
}
