//! What a command prints: text for people, one JSON object per line for scripts; for neither does a reader that goes
//! away change how the command ends.

use std::{
    fmt,
    io::{self, Write},
};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use strait::transport::is_obeyed;

use crate::failure::Failure;

/// Whether anybody still reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As far as is known.
    There,
    /// It has closed its end: whoever prints without end may stop.
    Gone,
}

/// Prints to standard output; styles of `anstyle` in `text` are left out where that is no terminal.
pub(crate) fn print(text: impl fmt::Display) -> Result<Reader, Failure> {
    let mut out = anstream::stdout().lock();
    written(write!(out, "{text}").and_then(|()| out.flush()))
}

/// Prints `value` as JSON on a line of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<Reader, Failure> {
    let line =
        serde_json::to_string(value).map_err(|error| Failure::because("cannot make JSON of the result", error))?;
    let mut out = io::stdout().lock();
    written(writeln!(out, "{line}").and_then(|()| out.flush()))
}

fn written(result: io::Result<()>) -> Result<Reader, Failure> {
    match result {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::because("cannot write to standard output", error)),
    }
}

/// Says something on standard error, as well as that can be done.
pub(crate) fn complain(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Text of another process, such as a name: what a terminal would obey is spelled out.
pub(crate) fn tame(text: &str) -> String {
    let spelled = |c: char| if is_obeyed(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(spelled).collect()
}

/// As [`tame`], for JSON: such characters stand in strings alone, and are spelled out in its own way.
pub(crate) fn tame_json(json: &str) -> String {
    let mut tamed = String::with_capacity(json.len());
    for c in json.chars() {
        // Line breaks are of the layout: in strings they are spelled out already.
        if is_obeyed(c) && c != '\n' {
            tamed.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            tamed.push(c);
        }
    }
    tamed
}

/// A table without lines, as wide as the terminal at most; its columns from `numbers_from` on are numbers.
pub(crate) fn table(header: &[&str], numbers_from: usize, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(columns) = terminal_columns() {
        table.set_width(columns);
    }
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= numbers_from {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// How wide the terminal at standard output is, if that is one.
pub(crate) fn terminal_columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(tame("a\x1b[2J\u{202e}é\n"), "a\\u{1b}[2J\\u{202e}é\\n");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"a\u{9b}\x1b": "b\u{202e}\n\u{7f}"});
        let text = tame_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.chars().any(|c| is_obeyed(c) && c != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_table_has_its_numbers_to_the_right() {
        let rows = [["a", "1"], ["long", "1000"]].map(|row| row.map(str::to_owned).to_vec());
        let text = table(&["name", "bytes"], 1, rows).trim_fmt();
        assert_eq!(text, "name  bytes\na         1\nlong   1000");
    }
}
