//! Text that may be longer than its place.

use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

/// Draws `lines` from the one numbered `from` on, which is set back where less than a page would follow.
pub(crate) fn draw(frame: &mut Frame<'_>, lines: Vec<Line<'_>>, from: &mut usize, area: Rect) {
    *from = (*from).min(lines.len().saturating_sub(area.height.into()));
    let from = u16::try_from(*from).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(lines).scroll((from, 0)), area);
}
