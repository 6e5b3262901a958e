//! The processors that this process may use.

use rustix::thread::{CpuSet, sched_getaffinity};

/// Their numbers, in ascending order; none where the system does not say.
pub(crate) fn allowed() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect()
}

/// The numbers in a list of the kernel's: `0-2,8`. What is no number is left out.
pub(crate) fn listed(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok().filter(|last| *last < CpuSet::MAX_CPU)?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(super::listed("0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(super::listed(""), [0; 0]);
        assert_eq!(super::listed("x,1,0-99999999999"), [1]);
    }
}
