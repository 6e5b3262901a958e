//! How long to wait between attempts to connect.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The pauses between attempts to connect.
///
/// The first attempt after a connection that had answered a call comes at once. Before each further one there is a pause:
/// `initial`, then `factor` times the one before, up to `max`; a random part of up to half is taken off, so that clients
/// of one server don't come in step. A connection that ends without an answer counts as an attempt that failed.
///
/// ```
/// use std::time::Duration;
/// use strait_rpc::Backoff;
///
/// let backoff = Backoff { max: Duration::from_secs(5), ..Backoff::default() };
/// assert_eq!(backoff.initial, Duration::from_millis(10));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// The first pause (default 10 ms).
    pub initial: Duration,
    /// The longest pause (default 1 s).
    pub max: Duration,
    /// By how much each pause is longer than the one before; less than 1 counts as 1 (default 2).
    pub factor: f64,
    /// How long to go on trying before the calls that wait are told of the last error; `None`: until their deadlines (default).
    /// The next call starts over.
    pub max_elapsed: Option<Duration>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(10), max: Duration::from_secs(1), factor: 2.0, max_elapsed: None }
    }
}

impl Backoff {
    /// The pause after so many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let grown = self.initial.as_secs_f64() * self.factor.max(1.0).powi(doublings.min(1 << 10) as i32);
        let pause = Duration::try_from_secs_f64(grown).unwrap_or(Duration::MAX).min(self.max);
        // A hasher's keys are random, which is random enough here.
        let random = RandomState::new().hash_one(failures) as f64 / u64::MAX as f64;
        pause - pause.mul_f64(random / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_at_most_half_is_taken_off() {
        let backoff = Backoff { max: Duration::from_millis(100), ..Backoff::default() };
        for (failures, full) in [(0, 0), (1, 10), (2, 20), (3, 40), (4, 80), (5, 100), (6, 100), (u32::MAX, 100)] {
            let (pause, full) = (backoff.pause(failures), Duration::from_millis(full));
            assert!(full / 2 <= pause && pause <= full, "{failures}: {pause:?}");
        }
    }

    #[test]
    fn numbers_without_sense_do_no_harm() {
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let backoff = Backoff { factor, ..Backoff::default() };
            assert!(backoff.pause(1) <= backoff.initial, "{factor}");
            assert!(backoff.pause(100) <= backoff.max, "{factor}");
        }
        for (initial, max) in
            [(Duration::MAX, Duration::ZERO), (Duration::ZERO, Duration::MAX), (Duration::MAX, Duration::MAX)]
        {
            let backoff = Backoff { initial, max, ..Backoff::default() };
            assert!(backoff.pause(3) <= max);
        }
    }
}
