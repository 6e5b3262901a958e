//! When a consumer looks for more.

use core::ops::RangeInclusive;

/// How many values a look finds that came too early. A consumer that keeps up with its producer takes the line of the producer's
/// position from it with every look, and each time is worth dozens of pushes to the producer: the longer it holds back, the
/// more comes with the next one.
const FEW: RangeInclusive<u64> = 2..=256;

/// How long to hold back, in spin-loop hints: some 30 ns each.
const HINTS: u32 = 4;

/// Waits a little where the last look found `found` values, and these were few. One value at a time, as in calls that go there and
/// back, is not held back; nor is a look after one that found nothing.
#[inline]
pub(super) fn hold_back(found: u64, capacity: u64) {
    if is_few(found, capacity) {
        for _ in 0..HINTS {
            core::hint::spin_loop();
        }
    }
}

#[inline]
fn is_few(found: u64, capacity: u64) -> bool {
    FEW.contains(&found) && found <= capacity / 4
}

#[cfg(all(test, not(strait_loom)))]
mod tests {
    use super::*;

    #[test]
    fn calls_there_and_back_and_full_rings_are_not_held_back() {
        assert_eq!([0, 1, 2, 256, 257].map(|found| is_few(found, 1024)), [false, false, true, true, false]);
        assert!(!is_few(2, 4) && is_few(2, 8), "a quarter of a ring is not few");
    }
}
