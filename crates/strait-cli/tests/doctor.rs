//! The doctor, on the machine that runs the tests and on what is taken away from it.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use support::{json_lines, run, stderr_of, stdout_of, strait};

/// The doctor behind a shell command, such as a lower limit.
fn after(command: &str, directory: &Path, args: &[&str]) -> Output {
    let script = format!("{command}; exec \"$0\" doctor \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_strait")]).args(args).env("XDG_RUNTIME_DIR", directory);
    shell.output().unwrap()
}

fn finding<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["check"].as_str().unwrap().contains(check));
    found.unwrap_or_else(|| panic!("no finding on {check}: {findings:?}"))
}

#[test]
fn a_machine_that_runs_the_tests_will_do_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = strait(&["doctor", "--json"]);
    let findings = json_lines(&stdout_of(&command.env("XDG_RUNTIME_DIR", directory.path()).output().unwrap(), 0));
    assert_eq!(finding(&findings, "another process")["state"], "ok");
    assert_eq!(finding(&findings, "seals")["found"], "yes: a write was refused");
    assert!(findings.iter().all(|finding| finding["state"] != "will_not_work"));
    // Whoever is not well is told what to do.
    assert!(findings.iter().all(|finding| finding["state"] == "ok" || finding["change"].is_string()), "{findings:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "the runtime directory was made");
}

#[test]
fn people_get_a_table_and_reasons_where_they_ask() {
    let directory = tempfile::tempdir().unwrap();
    let doctor = |args: &[&str]| {
        let mut command = strait(&[&["doctor"], args].concat());
        stdout_of(&command.env("XDG_RUNTIME_DIR", directory.path()).output().unwrap(), 0)
    };
    let (short, long) = (doctor(&[]), doctor(&["--explain"]));
    assert!(short.starts_with("kernel\n  ok      anonymous memory"), "{short}");
    assert!(short.trim_end().ends_with("0 will not work"), "{short}");
    assert!(!short.contains('\x1b'));
    assert!(!short.contains("every segment is a memfd") && long.contains("every segment is a memfd"));
}

#[test]
fn a_directory_that_others_may_enter_will_not_do() {
    let directory = tempfile::tempdir().unwrap();
    let sockets = directory.path().join("strait");
    fs::create_dir(&sockets).unwrap();
    fs::set_permissions(&sockets, fs::Permissions::from_mode(0o755)).unwrap();
    let output = after(":", directory.path(), &["--json"]);
    assert!(stderr_of(&output, 1).contains("will not work here: runtime directory"));
    let findings = json_lines(std::str::from_utf8(&output.stdout).unwrap());
    assert!(finding(&findings, "runtime directory")["found"].as_str().unwrap().contains("has mode 755, expected 700"));
}

#[test]
fn memory_that_is_switched_off_could_be_better_and_says_how() {
    let directory = tempfile::tempdir().unwrap();
    let output = after("export STRAIT_DISABLE_SHM=1", directory.path(), &["--json"]);
    let findings = json_lines(&stdout_of(&output, 0));
    let connection = finding(&findings, "another process");
    assert_eq!(
        (&connection["state"], &connection["change"]),
        (&"could_be_better".into(), &"unset STRAIT_DISABLE_SHM".into())
    );
}

#[test]
fn limits_that_are_too_low_are_found_by_number_and_by_trying() {
    let directory = tempfile::tempdir().unwrap();
    let findings = json_lines(&stdout_of(&after("ulimit -n 300", directory.path(), &["--json"]), 0));
    assert_eq!(finding(&findings, "RLIMIT_NOFILE")["change"], "ulimit -n 4096");
    // In units of 512 bytes: less than a segment.
    let output = after("ulimit -f 100", directory.path(), &["--json"]);
    let complaint = stderr_of(&output, 1);
    assert!(complaint.contains("RLIMIT_FSIZE") && complaint.contains("a connection to another process"), "{complaint}");
    let findings = json_lines(std::str::from_utf8(&output.stdout).unwrap());
    assert!(finding(&findings, "another process")["found"].as_str().unwrap().contains("stays on its socket"));
}

#[test]
fn wrong_words_end_with_2() {
    assert!(stderr_of(&run(&["doctor", "--fix"]), 2).contains("--fix"));
}
