//! The short benchmark: that it runs, checks and reports. What it measures is asserted nowhere.

mod support;

use std::process::Command;

use support::{json_lines, run, stderr_of, stdout_of, strait};

const SHORT: [&str; 3] = ["bench", "--seconds", "0.05"];

#[test]
fn every_figure_is_there_as_json() {
    let rows = json_lines(&stdout_of(&run(&[&SHORT[..], &["--json"]].concat()), 0));
    let value = |engine: &str, metric: &str| {
        let row = rows.iter().find(|row| row["engine"] == engine && row["metric"] == metric);
        row.unwrap_or_else(|| panic!("no {metric} of {engine}: {rows:?}"))["value"].as_f64().unwrap()
    };
    for engine in ["strait-socket", "strait-shm"] {
        let points = ["rtt_p50", "rtt_p99", "rtt_p999", "rtt_max"].map(|metric| value(engine, metric));
        assert!(points[0] > 0.0 && points.is_sorted(), "{engine}: {points:?}");
        assert!(value(engine, "requests_per_s") > 0.0);
    }
    assert!(value("strait-shm-stream", "bytes_per_s") > 0.0);
}

#[test]
fn people_get_histograms_and_where_the_ends_ran() {
    let pinned = stdout_of(&run(&SHORT), 0);
    assert!(pinned.contains("one end on processor") || pinned.contains("not pinned"), "{pinned}");
    assert!(pinned.contains("there and back, shared memory\n  p50 ") && pinned.contains('█'), "{pinned}");
    assert!(!pinned.contains('\x1b'));
    let free = stdout_of(&run(&[&SHORT[..], &["--no-pin"]].concat()), 0);
    assert!(free.starts_with("not pinned: as was asked"), "{free}");
}

#[test]
fn one_processor_is_enough() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first: String = allowed.trim().chars().take_while(char::is_ascii_digit).collect();
    let mut command = Command::new("taskset");
    command.args(["-c", &first, env!("CARGO_BIN_EXE_strait")]).args(SHORT);
    match command.output() {
        Ok(output) => assert!(stdout_of(&output, 0).starts_with("not pinned: there is one processor")),
        Err(error) => eprintln!("skipped: taskset: {error}"),
    }
}

#[test]
fn memory_that_is_not_to_be_had_is_a_failure_with_its_reason() {
    // In units of 512 bytes: less than a segment.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 100; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_strait")]).args(SHORT);
    let complaint = stderr_of(&shell.output().unwrap(), 1);
    assert!(
        complaint.contains("the connection stayed on its socket:") && complaint.contains("strait doctor"),
        "{complaint}"
    );
}

#[test]
fn wrong_words_end_with_2() {
    let complaint = stderr_of(&strait(&["bench", "--seconds", "0"]).output().unwrap(), 2);
    assert!(complaint.contains("expected seconds from 0.05 to 60"), "{complaint}");
}
