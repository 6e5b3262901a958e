//! The layout cursor against a naive model.

use proptest::prelude::*;
use strait_region::{LayoutCursor, LayoutError};

const MAX_BYTES: u128 = i64::MAX as u128;

/// Looks for the place step by step, in numbers that cannot overflow.
fn naive_place(used: u128, len: u64, align: u64) -> Option<u128> {
    let align = u128::from(align);
    if align == 0 || align & (align - 1) != 0 {
        return None;
    }
    let offset = used + (align - used % align) % align;
    (offset + u128::from(len) <= MAX_BYTES).then_some(offset)
}

fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..10_000, Just(u64::MAX), (0u64..100).prop_map(|less| i64::MAX as u64 - less), any::<u64>()]
}

fn alignments() -> impl Strategy<Value = u64> {
    prop_oneof![8 => (0u32..14).prop_map(|bits| 1u64 << bits), 1 => (0u32..64).prop_map(|bits| 1u64 << bits), 1 => any::<u64>()]
}

proptest! {
    #[test]
    fn places_as_the_naive_model_does(
        steps in proptest::collection::vec((prop_oneof![6 => 0u64..10_000, 1 => lengths()], alignments()), 0..30),
        page in alignments(),
    ) {
        let (mut cursor, mut used) = (LayoutCursor::new(), 0u128);
        for (len, align) in steps {
            match (cursor.place(len, align), naive_place(used, len, align)) {
                (Ok(offset), Some(naive)) => {
                    prop_assert_eq!(u128::from(offset), naive);
                    prop_assert!(u128::from(offset) >= used && offset % align == 0);
                    used = naive + u128::from(len);
                }
                (Err(LayoutError::Alignment { found }), None) => {
                    prop_assert!(found == align && !align.is_power_of_two());
                }
                (Err(LayoutError::TooLarge { used_bytes, .. }), None) => {
                    prop_assert!(align.is_power_of_two());
                    prop_assert_eq!(u128::from(used_bytes), used);
                }
                (real, naive) => prop_assert!(false, "{real:?} but {naive:?}"),
            }
        }
        prop_assert_eq!(cursor.total(page).ok().map(u128::from), naive_place(used, 0, page));
    }
}

#[test]
fn a_refused_thing_takes_no_place() {
    let mut cursor = LayoutCursor::new();
    assert_eq!(cursor.place(100, 1), Ok(0));
    assert_eq!(cursor.place(1, 3), Err(LayoutError::Alignment { found: 3 }));
    assert_eq!(cursor.place(1, 0), Err(LayoutError::Alignment { found: 0 }));
    let max = i64::MAX as u64;
    let error = LayoutError::TooLarge { used_bytes: 100, len_bytes: u64::MAX, align_bytes: 8, max };
    assert_eq!(cursor.place(u64::MAX, 8), Err(error));
    assert_eq!(cursor.place(8, 8), Ok(104));
    assert_eq!(cursor.total(4096), Ok(4096));
}

#[test]
fn the_largest_layout_ends_at_the_end_of_a_file() {
    let mut cursor = LayoutCursor::new();
    assert_eq!(cursor.place(i64::MAX as u64, 1), Ok(0));
    assert_eq!(cursor.place(0, 1), Ok(i64::MAX as u64));
    assert!(cursor.place(1, 1).is_err());
    assert!(cursor.total(4096).is_err(), "the rounding up is checked as well");
}
