//! The processors that this process may use.

use rustix::thread::{CpuSet, sched_getaffinity};

/// Their numbers, in ascending order; none where the system does not say.
pub(crate) fn allowed() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect()
}
