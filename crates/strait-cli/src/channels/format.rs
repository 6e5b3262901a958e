//! Numbers as a table shows them: short, right-aligned, comparable down a column.

use std::time::Duration;

/// A count or a rate, in at most five characters up to 999 T: `0`, `0.3`, `9999`, `12.3k`, `4.56M`.
pub(crate) fn count(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return "?".to_owned();
    }
    // Zero has two signs.
    if value == 0.0 {
        return "0".to_owned();
    }
    if value < 9.95 && value.fract() != 0.0 {
        // What is seldom is not nothing.
        return format!("{:.1}", value.max(0.1));
    }
    if value < 9_999.5 {
        return format!("{value:.0}");
    }
    let (mut scaled, mut units) = (value / 1e3, "kMGT".chars());
    let mut unit = units.next().unwrap_or('k');
    while scaled >= 999.5 {
        let Some(next) = units.next() else { break };
        (scaled, unit) = (scaled / 1e3, next);
    }
    let decimals = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    format!("{scaled:.decimals$}{unit}")
}

/// Bytes per second as gigabytes per second.
pub(crate) fn gigabytes(bytes: f64) -> String {
    match bytes / 1e9 {
        none if none <= 0.0 => "0".to_owned(),
        little if little < 0.001 => "<0.001".to_owned(),
        some if some < 99.95 => format!("{some:.3}"),
        much => format!("{much:.1}"),
    }
}

/// A length in bytes, in units of 1024: `0 B`, `96 B`, `256 KiB`, `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let Some(index) = (bytes.checked_ilog2().unwrap_or(0) as usize / 10).checked_sub(1) else {
        return format!("{bytes} B");
    };
    let scaled = bytes as f64 / (1u64 << (10 * (index + 1))) as f64;
    let text = format!("{scaled:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), units[index])
}

/// A share of a whole, in percent. What is more than nothing is at least 1 %.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        none if none <= 0.0 => "0%".to_owned(),
        some => format!("{:.0}%", some.clamp(1.0, 999.0)),
    }
}

/// How long ago something was.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        0 => "<1s".to_owned(),
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A share as a bar of `width` characters, filled by eighths.
pub(crate) fn bar(share: f64, width: usize) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let mut eighths = (share * width as f64 * 8.0).round() as usize;
    if share > 0.0 {
        eighths = eighths.max(1);
    }
    let filled = eighths / 8;
    let rest = (filled < width).then(|| PARTS[eighths % 8]);
    let blank = width.saturating_sub(filled + 1);
    "█".repeat(filled).chars().chain(rest).chain(std::iter::repeat_n(' ', blank)).collect()
}

/// The last `width` of `values` as a line of blocks, the highest of them as the tallest.
pub(crate) fn sparkline(values: &[f64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(width)..];
    let highest = shown.iter().copied().fold(0.0, f64::max);
    let block = |value: f64| match value {
        none if none <= 0.0 || highest <= 0.0 => ' ',
        some => BLOCKS[((some / highest * 7.0).round() as usize).min(7)],
    };
    let blank = width - shown.len();
    std::iter::repeat_n(' ', blank).chain(shown.iter().map(|&value| block(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits_and_their_order_of_size() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (0.01, "0.1"),
            (0.34, "0.3"),
            (5.0, "5"),
            (9.94, "9.9"),
            (9.97, "10"),
            (42.7, "43"),
            (9999.0, "9999"),
            (9999.6, "10.0k"),
            (12_345.0, "12.3k"),
            (999_499.0, "999k"),
            (999_600.0, "1.00M"),
            (4_561_000.0, "4.56M"),
            (2e9, "2.00G"),
            (3e15, "3000T"),
            (f64::NAN, "?"),
            (-1.0, "?"),
            (f64::INFINITY, "?"),
        ];
        for (value, expected) in cases {
            assert_eq!(count(value), expected, "{value}");
        }
    }

    #[test]
    fn bytes_have_units() {
        let rates = [(0.0, "0"), (500.0, "<0.001"), (1.2e6, "0.001"), (1.234e9, "1.234"), (123.4e9, "123.4")];
        for (rate, expected) in rates {
            assert_eq!(gigabytes(rate), expected);
        }
        let lengths = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (262_144, "256 KiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (length, expected) in lengths {
            assert_eq!(bytes(length), expected);
        }
    }

    #[test]
    fn shares_and_ages_never_hide_that_there_is_something() {
        assert_eq!([percent(0.0), percent(0.0001), percent(0.5), percent(1.0)], ["0%", "1%", "50%", "100%"]);
        let ages = [(0, "<1s"), (59, "59s"), (60, "1m"), (7199, "1h"), (172_800, "2d")];
        for (seconds, expected) in ages {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_bar_is_as_wide_as_it_was_asked_to_be() {
        for (share, expected) in
            [(0.0, "    "), (0.001, "▏   "), (0.5, "██  "), (0.53, "██▏ "), (1.0, "████"), (7.0, "████")]
        {
            assert_eq!(bar(share, 4), expected, "{share}");
        }
        assert_eq!(bar(f64::NAN, 2), "  ");
        assert_eq!(bar(0.5, 0), "");
    }

    #[test]
    fn a_sparkline_ends_with_the_latest() {
        assert_eq!(sparkline(&[1.0, 0.0, 4.0, 8.0], 6), "  ▂ ▅█");
        assert_eq!(sparkline(&[9.0, 1.0, 1.0], 2), "██");
        assert_eq!(sparkline(&[0.0, 0.0], 3), "   ");
    }
}
