//! Channels on standard output: a table for people, an object for scripts.

use comfy_table::CellAlignment;

use super::{
    column::Column,
    json::document,
    notes::{NOTHING, blind, remedies},
    order::order,
    row::Row,
    watch::Look,
};
use crate::{failure::Failure, output};

/// The longest text in a table.
const MAX_CELL_CHARS: usize = 48;

/// Prints the channels in which `filter` occurs, the busiest first: as JSON, or `columns` of them and what is wrong.
///
/// What could not be looked at is in the JSON; beside a table it goes to standard error.
pub(crate) fn print(look: &Look, filter: &str, columns: &[Column], json: bool) -> Result<(), Failure> {
    let order = order(&look.rows, filter, Column::Messages, false);
    let rows: Vec<&Row> = order.into_iter().map(|index| &look.rows[index]).collect();
    if json {
        return output::json(&document(&rows, &look.blind)).map(drop);
    }
    if let Some(notes) = blind(&look.blind) {
        output::complain(format_args!("note: {notes}"));
        remedies(&look.blind).iter().for_each(|remedy| output::complain(format_args!("    {remedy}")));
    }
    if rows.is_empty() {
        let nothing = || format!("No channel has \"{filter}\" in its name, kind, session or commands.");
        output::complain(if look.rows.is_empty() { NOTHING.to_owned() } else { nothing() });
        return Ok(());
    }
    output::print(table(&rows, columns) + &remarks(&rows)).map(drop)
}

fn table(rows: &[&Row], columns: &[Column]) -> String {
    let titles: Vec<_> = columns.iter().map(|column| column.title()).collect();
    let lines = rows.iter().map(|row| columns.iter().map(|column| clipped(column.cell(row))).collect());
    let mut table = output::table(&titles, columns.len(), lines);
    for (column, shown) in columns.iter().zip(table.column_iter_mut()) {
        if column.is_number() {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// A command line may be as long as it likes: the JSON has more of it.
fn clipped(text: String) -> String {
    match text.char_indices().nth(MAX_CELL_CHARS) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// What is wrong with any of them, one line for each.
fn remarks(rows: &[&Row]) -> String {
    let of = |row: &&Row| {
        let name = row.service.clone();
        let trouble = row.trouble.iter().map(|trouble| format!("! {trouble}"));
        let symptoms = row.symptoms.iter().map(|s| format!("{}: {} ({})", s.word(), s.advice(), s.page()));
        trouble.chain(symptoms).map(|remark| format!("{name}: {remark}\n")).collect::<String>()
    };
    rows.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_do_not_break_the_table() {
        assert_eq!(clipped("trader".to_owned()), "trader");
        let clipped = clipped("ä".repeat(500));
        assert_eq!((clipped.chars().count(), clipped.ends_with("ä…")), (MAX_CELL_CHARS + 1, true));
    }
}
