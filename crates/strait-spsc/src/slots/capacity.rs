//! How many slots a ring may have.

use super::error::CapacityError;

/// A number of slots that can be masked: a power of two.
pub(super) fn check(capacity: usize) -> Result<usize, CapacityError> {
    if capacity.is_power_of_two() {
        return Ok(capacity);
    }
    let above = capacity.checked_next_power_of_two();
    // The bit before the highest that is set; 0 has none.
    let below = capacity.checked_ilog2().map(|bits| 1 << bits);
    Err(CapacityError { capacity, below, above })
}

#[cfg(all(test, not(strait_loom)))]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(capacity: usize, below: Option<usize>, above: Option<usize>) {
        assert_eq!(check(capacity), Err(CapacityError { capacity, below, above }));
    }

    #[test]
    fn powers_of_two_are_capacities() {
        for shift in 0..usize::BITS {
            assert_eq!(check(1 << shift), Ok(1 << shift));
        }
    }

    #[test]
    fn the_nearest_powers_are_named_where_there_are_any() {
        refused(0, None, Some(1));
        refused(3, Some(2), Some(4));
        refused(1000, Some(512), Some(1024));
        refused(usize::MAX, Some(1 << 63), None);
    }
}
