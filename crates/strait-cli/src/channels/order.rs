//! Which rows are shown, and in which order.

use super::{column::Column, row::Row};

/// Where the rows in which `filter` occurs stand in `rows`, ordered by `sort`.
pub(crate) fn order(rows: &[Row], filter: &str, sort: Column, is_reversed: bool) -> Vec<usize> {
    let filter = filter.to_lowercase();
    let matching = rows.iter().enumerate().filter(|(_, row)| filter.is_empty() || row.mentions(&filter));
    let mut keyed: Vec<_> = matching.map(|(index, row)| (sort.key(row), row, index)).collect();
    keyed.sort_by(|((number, text), row, _), ((other_number, other_text), other, _)| {
        let by_key = other_number.total_cmp(number).then_with(|| text.cmp(other_text));
        // Rows that are alike keep their places from one look to the next.
        by_key.then_with(|| (&row.service, &row.id).cmp(&(&other.service, &other.id)))
    });
    if is_reversed {
        keyed.reverse();
    }
    keyed.into_iter().map(|(_, _, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::row_for_test as row;

    #[test]
    fn numbers_fall_text_rises_and_equals_keep_their_places() {
        let rows = [row("c", 5.0), row("a", 5.0), row("b", 9.0)];
        assert_eq!(order(&rows, "", Column::Messages, false), [2, 1, 0]);
        assert_eq!(order(&rows, "", Column::Service, false), [1, 2, 0]);
        assert_eq!(order(&rows, "", Column::Service, true), [0, 2, 1]);
        assert_eq!(order(&rows, "", Column::Occupancy, false), [1, 2, 0]);
    }

    #[test]
    fn a_filter_looks_at_what_people_know_a_channel_by() {
        let rows = [row("Orders", 5.0), row("books", 5.0)];
        for (filter, expected) in [("oRD", &[0][..]), ("connection", &[0, 1]), ("00007", &[0, 1]), ("nothing", &[])] {
            assert_eq!(order(&rows, filter, Column::Service, false), expected, "{filter}");
        }
    }
}
