//! Sentences on the screen.

use super::app::App;
use crate::channels::{Flow, NOTHING, Row, format};

/// What all channels do together.
fn totals(rows: &[Row]) -> String {
    let sum = |of: fn(&Flow) -> f64| rows.iter().filter_map(Row::flow).map(|flow| of(&flow)).sum::<f64>();
    let channels = if rows.len() == 1 { "channel" } else { "channels" };
    format!(
        "{} {channels}, {} messages/s, {} GB/s",
        rows.len(),
        format::count(sum(|flow| flow.messages_per_s)),
        format::gigabytes(sum(|flow| flow.bytes_per_s))
    )
}

/// The first line.
pub(crate) fn summary(app: &App) -> String {
    let mut line = format!("strait top: {}", totals(app.rows()));
    if !app.filter.is_empty() {
        line.push_str(&format!(", {} of them with \"{}\"", app.shown().len(), app.filter));
    }
    let order = if app.is_reversed { ", reversed" } else { "" };
    line.push_str(&format!("; by {}{order}", app.sort.title()));
    if app.is_paused {
        line.push_str("; PAUSED");
    }
    line
}

/// What the table says when it is empty.
pub(crate) fn nothing_found(app: &App) -> String {
    if app.rows().is_empty() {
        return format!("\n{NOTHING}");
    }
    format!("\nNo channel has \"{}\" in its name, kind, session or commands: Esc drops the filter.", app.filter)
}
