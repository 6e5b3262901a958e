//! How much of a server one client, or all together, may take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// How much of a server its clients may take. What is over is answered with [`Code::BUSY`](crate::Code::BUSY), at once and
/// without being executed; a notification that is over is dropped. How many calls one client may have in flight is settled when it connects
/// ([`Options::max_in_flight`](crate::Options)).
///
/// ```
/// use strait_rpc::Policy;
/// let policy = Policy { calls_per_second: Some(10_000), burst: 100, ..Policy::default() };
/// assert_eq!(policy.max_calls, None);
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    /// Calls in flight of all clients together (default: no limit but each client's own).
    pub max_calls: Option<u32>,
    /// Calls per second of one client (default: no limit).
    pub calls_per_second: Option<u32>,
    /// Request bytes per second of one client (default: no limit).
    pub bytes_per_second: Option<u64>,
    /// How far a client may run ahead of its rate, in calls, after a rest (default 64, at least 1). For bytes it is as many
    /// milliseconds' worth.
    pub burst: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_calls: None, calls_per_second: None, bytes_per_second: None, burst: 64 }
    }
}

/// Counts the calls of all clients against the policy's maximum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Total(Arc<AtomicU32>);

/// What one client still may.
#[derive(Debug)]
pub(crate) struct Allowance {
    max_calls: Option<u32>,
    total: Total,
    calls: Option<Bucket>,
    bytes: Option<Bucket>,
    taken: u32,
}

impl Allowance {
    pub(crate) fn new(policy: &Policy, total: &Total) -> Self {
        let burst = policy.burst.max(1);
        let calls = policy.calls_per_second.map(|rate| Bucket::new(rate.into(), burst.into()));
        let bytes = policy.bytes_per_second.map(|rate| Bucket::new(rate, (rate / 1000 * u64::from(burst)).max(1)));
        Self { max_calls: policy.max_calls, total: total.clone(), calls, bytes, taken: 0 }
    }

    /// Takes a call of `bytes`; `Err` says what there is too much of. One that is taken is to be given back.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), &'static str> {
        if self.max_calls.is_none() && self.calls.is_none() && self.bytes.is_none() {
            return Ok(());
        }
        self.take_limited(bytes)
    }

    fn take_limited(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.pass(bytes)?;
        let Some(max) = self.max_calls else { return Ok(()) };
        // ORDERING: Relaxed; a count that guards no other memory.
        let raised = self.total.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            if taken < max { Some(taken + 1) } else { None }
        });
        if raised.is_err() {
            return Err("as many calls in flight as the server takes from all clients");
        }
        self.taken += 1;
        Ok(())
    }

    /// Takes a message of `bytes` that nobody answers: only rates count.
    pub(crate) fn pass(&mut self, bytes: usize) -> Result<(), &'static str> {
        if self.calls.is_none() && self.bytes.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        if self.calls.as_mut().is_some_and(|bucket| !bucket.take(1, now)) {
            return Err("more calls per second than one client may make");
        }
        if self.bytes.as_mut().is_some_and(|bucket| !bucket.take(bytes as u64, now)) {
            return Err("more bytes per second than one client may send");
        }
        Ok(())
    }

    /// Gives a call back that was taken.
    #[inline]
    pub(crate) fn give_back(&mut self) {
        if self.taken > 0 {
            self.taken -= 1;
            // ORDERING: Relaxed; as in `take_limited`.
            self.total.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        // ORDERING: Relaxed; as in `take_limited`.
        self.total.0.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

/// A token bucket: fills at a rate, holds a burst. What is larger than the burst passes when it is full, and is owed.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    burst: u64,
    level: i128,
    filled_at: Instant,
}

impl Bucket {
    /// Units are kept in billionths, so that a slow rate loses nothing to rounding.
    const UNIT: i128 = 1_000_000_000;

    fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst, level: i128::from(burst) * Self::UNIT, filled_at: Instant::now() }
    }

    fn take(&mut self, units: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled_at).min(Duration::from_secs(3600));
        self.filled_at = now;
        let full = i128::from(self.burst) * Self::UNIT;
        self.level = (self.level + elapsed.as_nanos() as i128 * i128::from(self.per_second)).min(full);
        let needed = i128::from(units.min(self.burst)) * Self::UNIT;
        if self.level < needed {
            return false;
        }
        self.level -= i128::from(units) * Self::UNIT;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10, 3);
        let start = bucket.filled_at;
        let taken = |bucket: &mut Bucket, at_ms| bucket.take(1, start + Duration::from_millis(at_ms));
        assert!((0..3).all(|_| taken(&mut bucket, 0)));
        assert!(!taken(&mut bucket, 0));
        assert!(!taken(&mut bucket, 99));
        assert!(taken(&mut bucket, 100));
        assert!(!taken(&mut bucket, 150));
        assert!((0..3).all(|_| taken(&mut bucket, 10_000)), "it holds a burst");
        assert!(!taken(&mut bucket, 10_000), "and no more");
    }

    #[test]
    fn what_is_larger_than_the_burst_passes_and_is_owed() {
        let mut bucket = Bucket::new(1000, 100);
        let start = bucket.filled_at;
        assert!(bucket.take(500, start));
        assert!(!bucket.take(1, start + Duration::from_millis(300)));
        assert!(bucket.take(1, start + Duration::from_millis(402)));
    }

    #[test]
    fn all_clients_share_what_the_server_takes() {
        let (policy, total) = (Policy { max_calls: Some(2), ..Policy::default() }, Total::default());
        let (mut one, mut other) = (Allowance::new(&policy, &total), Allowance::new(&policy, &total));
        assert!(one.take(1).is_ok() && other.take(1).is_ok());
        assert!(one.take(1).is_err());
        other.give_back();
        assert!(one.take(1).is_ok());
        drop(one);
        assert!(other.take(1).is_ok() && other.take(1).is_ok(), "a client that goes gives back what it had");
    }
}
