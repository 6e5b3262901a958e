//! Which key does what.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, Command, Page};

/// Rows that a page key moves by.
const PAGE_ROWS: isize = 10;

/// For the page of help: a key, and what it does.
pub(crate) const KEYS: [(&str, &str); 9] = [
    ("↑ ↓ j k, PgUp PgDn, Home End", "select a channel; scroll a page"),
    ("Enter", "all counters of the selected channel"),
    ("← →, < >", "sort by the column before or after"),
    ("r", "reverse the order"),
    ("/", "filter: show only channels in which a text occurs (Enter keeps it, Esc drops it)"),
    ("p", "pause, and go on"),
    ("Esc", "back; without a page, drop the filter"),
    ("?", "this page"),
    ("q, Ctrl-C", "quit"),
];

/// For the footer of a page, the most important first.
pub(crate) fn footer(app: &App) -> &'static [(&'static str, &'static str)] {
    match app.page {
        Page::Table => &[
            ("q", "quit"),
            ("?", "help"),
            ("Enter", "details"),
            ("/", "filter"),
            ("←→", "sort"),
            ("r", "reverse"),
            ("p", "pause"),
        ],
        Page::Detail => &[("Esc", "back"), ("q", "quit"), ("?", "help"), ("↑↓", "scroll"), ("p", "pause")],
        Page::Help => &[("Esc", "back"), ("q", "quit"), ("↑↓", "scroll")],
    }
}

/// What `key` asks for, if anything.
pub(crate) fn command(key: KeyEvent, app: &App) -> Option<Command> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if is_control => Command::Quit,
        KeyCode::Enter => Command::Open,
        KeyCode::Esc => Command::Back,
        KeyCode::Backspace if app.is_typing => Command::Erase,
        KeyCode::Char(c) if app.is_typing && !is_control => Command::Type(c),
        KeyCode::Up | KeyCode::Char('k') => Command::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Command::Move(1),
        KeyCode::PageUp => Command::Move(-PAGE_ROWS),
        KeyCode::PageDown => Command::Move(PAGE_ROWS),
        KeyCode::Home => Command::First,
        KeyCode::End => Command::Last,
        KeyCode::Right | KeyCode::Char('>') => Command::SortNext,
        KeyCode::Left | KeyCode::Char('<') => Command::SortPrevious,
        KeyCode::Char('r') => Command::Reverse,
        KeyCode::Char('/') => Command::Filter,
        KeyCode::Char('p') => Command::Pause,
        KeyCode::Char('?') => Command::Help,
        KeyCode::Char('q') => Command::Quit,
        _ => return None,
    })
}
