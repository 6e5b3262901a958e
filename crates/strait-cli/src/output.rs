//! What a command prints: text for people, one JSON object per line for scripts; for neither does a reader that goes away
//! change how the command ends.

use std::{
    fmt,
    io::{self, Write},
};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

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
