//! The page of help: keys and columns.

use ratatui::{
    Frame,
    layout::Rect,
    style::Stylize,
    text::{Line, Span},
};

use super::{app::App, keys::KEYS, scroll};
use crate::channels::{Column, remedies};

pub(crate) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let entry = |name: &str, width: usize, text: &'static str| {
        Line::from(vec![Span::from(format!("  {name:<width$}  ")).bold(), Span::from(text)])
    };
    let mut lines = vec![Line::from("Keys").bold()];
    lines.extend(KEYS.iter().map(|(key, does)| entry(key, 28, does)));
    lines.extend([Line::default(), Line::from("Columns").bold()]);
    lines.extend(Column::ALL.iter().map(|column| entry(column.title(), 9, column.meaning())));
    let remedies = remedies(&app.blind);
    if !remedies.is_empty() {
        lines.extend([Line::default(), Line::from("Processes that were not inspected").bold()]);
        lines.extend(remedies.into_iter().map(|remedy| Line::from(format!("  {remedy}"))));
    }
    lines.extend([
        Line::default(),
        Line::from("All of it is read from outside, from memory that its owner may write: it may be untrue."),
    ]);
    scroll::draw(frame, lines, &mut app.scroll, area);
}
