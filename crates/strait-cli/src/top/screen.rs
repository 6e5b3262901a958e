//! The picture: what frames each page, and the table.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row as TableRow, Table, TableState, Wrap},
};

use super::{
    app::{App, Page},
    detail, help, keys,
    text::{nothing_found, summary},
};
use crate::channels::{Column, Row, blind};

/// Between two columns.
const GAP: u16 = 2;
/// What is said of the selected channel takes so many lines at most.
const HINT_LINES: u16 = 2;

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let notes = blind(&app.blind).map(|notes| format!("{notes} (? says why)"));
    let [title, note, page, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::from(notes.is_some())),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(summary(app)).bold(), title);
    if let Some(notes) = notes {
        frame.render_widget(Line::from(notes).dim(), note);
    }
    match app.page {
        Page::Table => table_page(frame, app, page),
        Page::Detail => detail::draw(frame, app, page),
        Page::Help => help::draw(frame, app, page),
    }
    frame.render_widget(footer_line(app), footer);
}

fn footer_line(app: &App) -> Line<'static> {
    if app.is_typing {
        return Line::from(format!("filter: {}_", app.filter)).reversed();
    }
    let key = |(key, does): &(&'static str, &'static str)| [Span::from(*key).bold(), Span::from(format!(" {does}   "))];
    keys::footer(app).iter().flat_map(key).collect()
}

fn table_page(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let shown = app.shown();
    let Some(selected) = shown.get(app.selected_index()) else {
        frame.render_widget(Paragraph::new(nothing_found(app)).wrap(Wrap { trim: true }), area);
        return;
    };
    let hint = hint(selected);
    let lines = if hint.is_some() { HINT_LINES } else { 0 };
    let [rows, below] = Layout::vertical([Constraint::Min(3), Constraint::Length(lines)]).areas(area);
    let columns = Column::fitting(rows.width.into(), GAP.into());
    let header = columns.iter().map(|(column, width)| header_cell(*column, *width, app));
    let lines = shown.iter().map(|row| table_row(row, &columns));
    let widths = columns.iter().map(|(_, width)| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
    let table = Table::new(lines, widths)
        .header(TableRow::new(header))
        .column_spacing(GAP)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(Some(app.selected_index()));
    frame.render_stateful_widget(table, rows, &mut state);
    if let Some(hint) = hint {
        frame.render_widget(Paragraph::new(hint).wrap(Wrap { trim: true }).fg(Color::Yellow), below);
    }
}

fn header_cell(column: Column, width: usize, app: &App) -> Cell<'static> {
    let title = column.title();
    let cell = Cell::from(if column.is_number() { format!("{title:>width$}") } else { title.to_owned() });
    let style = Style::new().add_modifier(Modifier::BOLD);
    cell.style(if app.sort == column { style.fg(Color::Cyan).add_modifier(Modifier::UNDERLINED) } else { style })
}

fn table_row(row: &Row, columns: &[(Column, usize)]) -> TableRow<'static> {
    let cell = |(column, width): &(Column, usize)| {
        let text = column.cell(row);
        Cell::from(if column.is_number() { format!("{text:>width$}") } else { text })
    };
    let line = TableRow::new(columns.iter().map(cell));
    match (&row.trouble, &row.symptoms[..]) {
        (Some(_), _) => line.style(Style::new().fg(Color::Red)),
        (None, [_, ..]) => line.style(Style::new().fg(Color::Yellow)),
        (None, []) => line,
    }
}

/// What is said of the selected channel.
fn hint(row: &Row) -> Option<String> {
    if let Some(trouble) = &row.trouble {
        return Some(format!("! {trouble}"));
    }
    let symptom = row.symptoms.first()?;
    Some(format!("{}: {} ({})", symptom.word(), symptom.advice(), symptom.page()))
}
