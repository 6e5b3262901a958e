//! Histograms and figures as text.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::{Measured, samples::Samples};
use crate::units::{count, decimal_bytes, nanos};

/// Columns of the longest bar.
const BAR_COLUMNS: usize = 40;

/// Draws one after the other, and compares at the end.
#[derive(Default)]
pub(super) struct Chart {
    p50s: Vec<(&'static str, u64)>,
}

impl Chart {
    /// A picture of what was measured.
    pub(super) fn add(&mut self, measured: &Measured) -> String {
        let bold = Style::new().bold();
        match measured {
            Measured::Trips { engine, title, samples, .. } => {
                self.p50s.push((engine, samples.p50()));
                format!("{bold}{title}{bold:#}\n{}{}\n", figures(samples), bars(samples))
            }
            Measured::Stream { title, carried, .. } => {
                let bytes = decimal_bytes(carried.bytes_per_second());
                let messages = count(carried.messages_per_second());
                format!(
                    "{bold}{title}{bold:#}\n  {bytes}/s, {messages} messages/s; every byte written and summed up\n\n"
                )
            }
        }
    }

    /// How the round trips compare.
    pub(super) fn comparison(&self) -> String {
        let p50 = |name: &str| self.p50s.iter().find(|(engine, _)| *engine == name).map(|(_, p50)| *p50 as f64);
        let mut text = String::new();
        if let (Some(socket), Some(shared)) = (p50("strait-socket"), p50("strait-shm")) {
            let _ = write!(text, "shared memory is {:.1} times as fast as the socket (p50)", socket / shared.max(1.0));
            if let Some(line) = p50("floor-one-line") {
                let _ = write!(text, ", and takes {:.1} times the line alone", shared / line.max(1.0));
            }
            text.push('\n');
        }
        text
    }
}

fn figures(samples: &Samples) -> String {
    let [p50, p99, p999, max] = samples.points().map(|(_, value)| nanos(value));
    format!("  p50 {p50}  p99 {p99}  p99.9 {p999}  max {max}  {}/s\n", count(samples.per_second()))
}

/// A bar for each step of the ladder: as long as its part of all trips, and a trace where there is any.
fn bars(samples: &Samples) -> String {
    let ladder = samples.ladder();
    let most = ladder.iter().map(|step| step.1).fold(0.0, f64::max);
    let colour = AnsiColor::Cyan.on_default();
    let mut text = String::new();
    for (from, part) in ladder {
        let bar = bar(part / most.max(f64::MIN_POSITIVE));
        let percent = if part > 0.0 { format!("{}%", percent(part)) } else { String::new() };
        let from = nanos(from);
        let _ = writeln!(text, "  {from:>8} {colour}{bar}{colour:#} {percent}");
    }
    text
}

/// A bar of eighths of a column, `part` of the longest.
fn bar(part: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let mut eighths = (part * (BAR_COLUMNS * 8) as f64).round() as usize;
    if part > 0.0 {
        eighths = eighths.max(1);
    }
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// Two digits that mean something.
fn percent(part: f64) -> String {
    let percent = part * 100.0;
    let digits = if percent >= 10.0 { 0 } else { (1.0 - percent.log10().floor()).clamp(1.0, 6.0) as usize };
    format!("{percent:.digits$}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bars_are_as_long_as_their_part_and_never_vanish() {
        assert_eq!(bar(1.0), "█".repeat(BAR_COLUMNS));
        assert_eq!(bar(0.5).chars().count(), BAR_COLUMNS / 2);
        assert_eq!((bar(1e-9).as_str(), bar(0.0).as_str()), ("▏", ""));
    }

    #[test]
    fn parts_have_two_digits() {
        assert_eq!([0.987, 0.0512, 0.000_123, 1e-7].map(percent), ["99", "5.1", "0.012", "0.000010"]);
    }

    #[test]
    fn a_picture_has_a_line_for_each_step_and_a_comparison_its_quotients() {
        let trips = |engine, nanos: u64| {
            let mut samples = Samples::new().unwrap();
            samples.add(Duration::from_nanos(nanos));
            Measured::Trips { engine, title: "a title", payload_bytes: 64, samples }
        };
        let mut chart = Chart::default();
        let text = anstream::adapter::strip_str(&chart.add(&trips("floor-one-line", 100))).to_string();
        assert!(text.starts_with("a title\n  p50 100 ns  p99 100 ns") && text.contains("   64 ns ████"), "{text}");
        chart.add(&trips("strait-socket", 6000));
        chart.add(&trips("strait-shm", 300));
        let expected = "shared memory is 20.0 times as fast as the socket (p50), and takes 3.0 times the line alone\n";
        assert_eq!(chart.comparison(), expected);
    }
}
