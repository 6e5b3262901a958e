//! Numbers for people.

use std::time::Duration;

/// `1536` as `1.50 KiB`: three digits, or all of them where there are no more.
pub(crate) fn bytes(count: u64) -> String {
    scaled(count, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// `1536` as `1.54 kB`, for rates.
pub(crate) fn decimal_bytes(count: f64) -> String {
    scale(count, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

/// `1_234_567` as `1.23 M`.
pub(crate) fn count(count: f64) -> String {
    scale(count, 1000.0, &["", "k", "M", "G"]).trim_end().to_owned()
}

/// `1234` ns as `1.23 µs`.
pub(crate) fn nanos(nanos: u64) -> String {
    scaled(nanos, 1000.0, &["ns", "µs", "ms", "s"])
}

/// As [`nanos`].
pub(crate) fn duration(duration: Duration) -> String {
    nanos(duration.as_nanos().try_into().unwrap_or(u64::MAX))
}

fn scaled(value: u64, step: f64, units: &[&str]) -> String {
    if (value as f64) < step { format!("{value} {}", units[0]) } else { scale(value as f64, step, units) }
}

fn scale(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be rounded to the next unit is one of it.
    while value >= step - 0.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_shown() {
        assert_eq!(
            [0, 1023, 1024, 1536, 270_336, 102_400 << 10].map(bytes),
            ["0 B", "1023 B", "1.00 KiB", "1.50 KiB", "264 KiB", "100 MiB"]
        );
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!([999, 1234, 99_960, 1_999_600].map(nanos), ["999 ns", "1.23 µs", "100 µs", "2.00 ms"]);
        assert_eq!([5.0, 1_234_567.0].map(count), ["5.00", "1.23 M"]);
        assert_eq!(decimal_bytes(12_345_678.0), "12.3 MB");
    }
}
