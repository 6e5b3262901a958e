//! The terminal shell: draws the state as it changes.

use std::time::{Duration, Instant};

use ratatui::{
    Frame,
    crossterm::event::{self, Event, KeyCode},
    layout::{Constraint, Layout},
    widgets::{Block, Gauge, Paragraph},
};

use crate::{Error, Monitor, Shell, sample::Sample};

/// Draws until `q` is pressed.
pub(crate) fn run(shell: &mut Shell) -> Result<(), Error> {
    let mut terminal = ratatui::try_init()?;
    let outcome = draw_on(shell, &mut terminal);
    ratatui::restore();
    outcome
}

fn draw_on(shell: &mut Shell, terminal: &mut ratatui::DefaultTerminal) -> Result<(), Error> {
    loop {
        let deadline = Instant::now() + Duration::from_millis(200);
        if let Ok(value) = shell.read(deadline) {
            let stale = value.stale_since().map(|since| since.elapsed());
            terminal.draw(|frame| draw(frame, &value, stale))?;
        }
        while event::poll(Duration::ZERO)? {
            if matches!(event::read()?, Event::Key(key) if key.code == KeyCode::Char('q')) {
                return Ok(());
            }
        }
        // The next value, or the next look at the keyboard.
        let _ = shell.changed(deadline);
    }
}

/// One picture.
pub(crate) fn draw(frame: &mut Frame<'_>, sample: &Sample, stale: Option<Duration>) {
    let [cpu, memory, rates] =
        Layout::vertical([Constraint::Length(3), Constraint::Length(3), Constraint::Min(4)]).areas(frame.area());
    let share = |part: f64, all: f64| (part / all.max(1.0)).clamp(0.0, 1.0);
    let gauge = |title, ratio| Gauge::default().block(Block::bordered().title(title)).ratio(ratio);
    frame.render_widget(gauge("processors", share(sample.cpu_percent, 100.0)), cpu);
    let used = share(sample.memory_used_bytes as f64, sample.memory_total_bytes as f64);
    frame.render_widget(gauge("memory", used), memory);
    let title = stale.map_or("live, q ends".to_owned(), |stale| format!("STALE since {} s", stale.as_secs()));
    let kib = |bytes: f64| bytes / 1024.0;
    let text = format!(
        "disk    {:>10.1} KiB/s read  {:>10.1} KiB/s written\nnetwork {:>10.1} KiB/s in    {:>10.1} KiB/s out",
        kib(sample.disk_read_bytes_per_s),
        kib(sample.disk_written_bytes_per_s),
        kib(sample.net_received_bytes_per_s),
        kib(sample.net_sent_bytes_per_s)
    );
    frame.render_widget(Paragraph::new(text).block(Block::bordered().title(title)), rates);
}

/// The same as lines of text, for scripts.
pub(crate) fn once(shell: &mut Shell, json: bool) -> Result<(), Error> {
    let sample = Monitor::first(shell)?;
    if json {
        println!("{}", serde_json::to_string(&sample)?);
    } else {
        let mib = |bytes: u64| bytes >> 20;
        println!("processors {:.1} %", sample.cpu_percent);
        println!("memory {} of {} MiB", mib(sample.memory_used_bytes), mib(sample.memory_total_bytes));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;

    #[test]
    fn the_picture_shows_the_load_and_that_it_is_stale() {
        let sample = Sample { cpu_percent: 42.0, memory_used_bytes: 1, memory_total_bytes: 4, ..Sample::default() };
        let mut terminal = Terminal::new(TestBackend::new(70, 10)).unwrap();
        terminal.draw(|frame| draw(frame, &sample, Some(Duration::from_secs(3)))).unwrap();
        let picture = terminal.backend().to_string();
        for word in ["processors", "42%", "25%", "STALE since 3 s", "KiB/s read"] {
            assert!(picture.contains(word), "no {word} in\n{picture}");
        }
    }
}
