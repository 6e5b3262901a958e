//! The page of one channel: how it did, what is wrong, and every counter of both its ends.

use std::rc::Rc;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Stylize},
    text::{Line, Span},
};
use strait::transport::{StateStats, Stats, observe::Reading};

use super::{app::App, scroll};
use crate::{
    channels::{COUNTERS, EndRow, Moment, Now, Row, View, format},
    find::{Process, Side, Sides},
};

/// The names of counters take so many characters, and each of the four columns beside them.
const LABEL_CHARS: usize = 18;
const VALUE_CHARS: usize = 20;
const RATE_CHARS: usize = 9;
/// Below so many lines there is no place for the curves.
const CURVES_FROM_LINES: u16 = 24;
/// Lines of all curves, one of which stays blank.
const CURVES_LINES: u16 = 4;

/// Draws the channel that was opened.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let Some(row) = app.opened() else { return };
    let curves_lines = if area.height >= CURVES_FROM_LINES { CURVES_LINES } else { 0 };
    let [top, rest] = Layout::vertical([Constraint::Length(curves_lines), Constraint::Min(1)]).areas(area);
    let curves = curves(row, top.width.into());
    let lines = page(row, app.is_gone, Now::read(), area.width.into());
    for (line, place) in curves.into_iter().zip(top.rows()) {
        frame.render_widget(line, place);
    }
    scroll::draw(frame, lines, &mut app.scroll, rest);
}

/// One line for each number whose history is kept.
fn curves(row: &Row, width: usize) -> Vec<Line<'static>> {
    let curve = |name: &str, now: String, of: fn(&Moment) -> f64| {
        let before = format!("{name:<12}{now:>9}  ");
        let blocks = format::sparkline(&row.history.of(of), width.saturating_sub(before.chars().count()));
        Line::from(vec![Span::from(before), Span::from(blocks).fg(Color::Cyan)])
    };
    let unknown = || "-".to_owned();
    let flow = row.flow();
    vec![
        curve("messages/s", flow.map_or_else(unknown, |flow| format::count(flow.messages_per_s)), |moment| {
            moment.messages_per_s
        }),
        curve("GB/s", flow.map_or_else(unknown, |flow| format::gigabytes(flow.bytes_per_s)), |moment| {
            moment.bytes_per_s
        }),
        curve("occupancy", row.occupancy().map_or_else(unknown, format::percent), |moment| moment.occupancy),
    ]
}

/// All lines of the page.
fn page(row: &Row, is_gone: bool, now: Now, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let session = row.session.map(|session| format!(", session {session:032x}")).unwrap_or_default();
    lines.push(
        Line::from(format!("{}: {} over {}{session}", row.service, row.kind_word(), row.transport_word())).bold(),
    );
    if is_gone {
        lines.push(Line::from("This channel is gone: what follows was seen last.").fg(Color::Red));
    }
    if let Some(trouble) = &row.trouble {
        lines.push(Line::from(format!("! {trouble}")).fg(Color::Red));
    }
    for symptom in &row.symptoms {
        lines.push(Line::from(format!("{}: {}", symptom.word(), symptom.advice())).fg(Color::Yellow));
        lines.push(Line::from(format!("    {}", symptom.page())).fg(Color::Yellow));
    }
    lines.push(Line::default());
    for side in Side::BOTH {
        lines.extend(processes(row, side, width));
    }
    lines.push(Line::default());
    lines.extend(numbers(row, now));
    lines
}

/// Who holds the memory of one side, one line for each.
fn processes(row: &Row, side: Side, width: usize) -> Vec<Line<'static>> {
    let Some(end) = row.end(side) else {
        return vec![Line::from(format!("{:<LABEL_CHARS$}{}", side.word(), row.who(side)))];
    };
    let name = |index| if index == 0 { side.word() } else { "" };
    let line = |(index, process): (usize, &Rc<Process>)| {
        let text =
            format!("{:<LABEL_CHARS$}pid {}, user {}: {}", name(index), process.pid, process.user_id, process.command);
        Line::from(text.chars().take(width).collect::<String>())
    };
    end.processes.iter().enumerate().map(line).collect()
}

/// The table of counters, for whatever kind of memory it is.
fn numbers(row: &Row, now: Now) -> Vec<Line<'static>> {
    let views = Sides::each(|side| row.end(side).and_then(EndRow::view));
    let [client, server] = ["client", "server"];
    let mut lines = vec![entry("", [client.to_owned(), "/s".to_owned(), server.to_owned(), "/s".to_owned()]).bold()];
    let mut each = |label: &str, of: &dyn Fn(&View) -> Option<String>| {
        let value = |side| views.of(side).and_then(of).unwrap_or_else(|| "-".to_owned());
        if Side::BOTH.into_iter().any(|side| views.of(side).and_then(of).is_some()) {
            lines.push(entry(label, [value(Side::Client), String::new(), value(Side::Server), String::new()]));
        }
    };
    each("memory", &|view| Some(format::bytes(view.total_bytes)));
    each("ring", &|view| (view.capacity_bytes > 0).then(|| format::bytes(view.capacity_bytes)));
    each("longest message", &|view| (view.max_message_bytes > 0).then(|| format::bytes(view.max_message_bytes)));
    each("occupied", &|view| view.occupied_bytes.map(format::bytes));
    each("high-water mark", &|view| stats(view).map(|stats| format::bytes(stats.high_water_bytes)));
    each("calls in flight", &|view| stats(view).map(|stats| stats.in_flight.to_string()));
    each("condition", &|view| condition(view).map(str::to_owned));
    each("last sent", &|view| stats(view).map(|stats| ago(now, stats.sent_us)));
    each("last received", &|view| stats(view).map(|stats| ago(now, stats.received_us)));
    each("last error", &|view| stats(view).map(|stats| last_error(stats, now)));
    each("open for", &|view| opened_us(view).map(|since| ago(now, since)));
    each("version", &|view| state(view).map(|state| state.version.to_string()));
    each("values published", &|view| state(view).map(|state| state.published.to_string()));
    each("bytes published", &|view| state(view).map(|state| state.published_bytes.to_string()));
    each("last published", &|view| state(view).map(|state| ago(now, state.published_us)));
    each("readers", &|view| state(view).map(|state| state.readers.to_string()));
    each("readers that pin", &|view| state(view).map(|state| state.pins.to_string()));
    each("reads slot", &|view| pin(view).map(|slot| slot.map_or_else(|| "none".to_owned(), |slot| slot.to_string())));
    if Side::BOTH.into_iter().any(|side| views.of(side).and_then(stats).is_some()) {
        lines.extend(COUNTERS.iter().map(|counter| counted(row, counter.label, counter.of)));
    }
    lines
}

/// A counter of both ends, with how fast it grows.
fn counted(row: &Row, label: &str, of: fn(&Stats) -> u64) -> Line<'static> {
    let now = |side| row.end(side)?.stats().map(of).map(|count| count.to_string());
    let rate = |side| {
        let changes = row.changes.as_ref()?;
        let seconds = changes.time.as_secs_f64();
        changes.counted.of(side).as_ref().map(|stats| format::count(of(stats) as f64 / seconds))
    };
    let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let [client, server] = Side::BOTH.map(|side| [shown(now(side)), shown(rate(side))]);
    let [[client, client_rate], [server, server_rate]] = [client, server];
    entry(label, [client, client_rate, server, server_rate])
}

fn entry(label: &str, [client, client_rate, server, server_rate]: [String; 4]) -> Line<'static> {
    let client = format!("{client:>VALUE_CHARS$}{client_rate:>RATE_CHARS$}");
    let server = format!("{server:>VALUE_CHARS$}{server_rate:>RATE_CHARS$}");
    Line::from(format!("{label:<LABEL_CHARS$}{client}{server}"))
}

fn stats(view: &View) -> Option<&Stats> {
    match &view.reading {
        Reading::End(end) => Some(&end.stats),
        _ => None,
    }
}

fn state(view: &View) -> Option<&StateStats> {
    match &view.reading {
        Reading::State(state) => Some(&state.stats),
        _ => None,
    }
}

fn pin(view: &View) -> Option<Option<u64>> {
    match &view.reading {
        Reading::Pin(pin) => Some(pin.slot),
        _ => None,
    }
}

fn opened_us(view: &View) -> Option<u64> {
    stats(view).map(|stats| stats.opened_us).or_else(|| state(view).map(|state| state.opened_us))
}

fn condition(view: &View) -> Option<&'static str> {
    let Reading::End(end) = &view.reading else { return None };
    Some(match (end.closed, end.farewell, end.sleeps_for_data, end.sleeps_for_space) {
        (true, true, ..) => "closed in good order",
        (true, ..) => "closed",
        (_, _, true, true) => "asleep: data, room",
        (_, _, true, _) => "asleep: data",
        (_, _, _, true) => "asleep: room",
        _ => "awake",
    })
}

fn last_error(stats: &Stats, now: Now) -> String {
    if stats.errors == 0 {
        return "none".to_owned();
    }
    // The kind first: the line may end before the rest does.
    format!("{}, {}", stats.last_error, ago(now, stats.last_error_us))
}

fn ago(now: Now, unix_us: u64) -> String {
    match unix_us {
        0 => "never".to_owned(),
        then => now.since(then).map_or_else(|| "in the future".to_owned(), format::age),
    }
}
