//! The memory calculator.

mod support;

use support::{json_lines, run, stderr_of, stdout_of};

#[track_caller]
fn json(args: &[&str]) -> serde_json::Value {
    let mut lines = json_lines(&stdout_of(&run(&[&["size", "--json"], args].concat()), 0));
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn the_table_is_what_the_library_reckons() {
    let required = strait::Config::balanced().memory_required().unwrap();
    let found = json(&["--preset", "balanced", "--clients", "7"]);
    assert_eq!(found["memory"]["segments_bytes"], required.segment_bytes(7));
    assert!(found["advice"].is_null());
    let table = stdout_of(&run(&["size", "--preset", "balanced", "--clients", "7"]), 0);
    assert!(table.contains("ring to the server") && table.contains("calls, 7 clients:"), "{table}");
    assert!(!table.contains('\x1b'));
}

#[test]
fn a_file_and_knobs_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("service.toml");
    std::fs::write(&path, "ring_bytes = 65536\n").unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(json(&["--config", path])["ring_bytes"], 65_536);
    assert_eq!(json(&["--config", path, "--set", "ring_bytes=1048576"])["ring_bytes"], 1 << 20);
    std::fs::write(path, "ring_byte = 65536\n").unwrap();
    assert!(stderr_of(&run(&["size", "--config", path]), 2).contains("unknown field `ring_byte`"));
    assert!(stderr_of(&run(&["size", "--config", "/nowhere.toml"]), 2).contains("cannot read /nowhere.toml"));
}

#[test]
fn what_is_wanted_becomes_a_channel_and_a_preset_with_reasons() {
    let found = json(&["--producers", "4", "--consumers", "12", "--message-bytes", "1000"]);
    assert_eq!((&found["advice"]["channel"], &found["advice"]["preset"]), (&"queue".into(), &"multi_consumer".into()));
    assert_eq!(found["clients"], 16);
    assert!(found["advice"]["reasons"].as_array().unwrap().len() >= 2);
    let text = stdout_of(&run(&["size", "--rate", "1e5", "--message-bytes", "3000000"]), 0);
    assert!(text.starts_with("stream with the preset high-throughput\n  - one producer and one consumer"), "{text}");
}

#[test]
fn wrong_words_end_with_2_and_say_what_was_expected() {
    for (args, expected) in [
        (&["--set", "ring_bytes=5"][..], "a power of two from 4096"),
        (&["--set", "nothing=5"], "there is no knob"),
        (&["--set", "nothing"], "expected KNOB=VALUE"),
        (&["--rate=-1"], "expected a number above 0"),
        (&["--preset", "fast"], "ultra-low-latency"),
        (&["--preset", "balanced", "--rate", "5"], "cannot be used with"),
        (&["--message-bytes", "20000000"], "send it in parts"),
        (&["--clients", "0"], "not in 1.."),
    ] {
        let complaint = stderr_of(&run(&[&["size"], args].concat()), 2);
        assert!(complaint.contains(expected), "{args:?}: {complaint}");
    }
}
