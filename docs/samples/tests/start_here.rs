//! The page "Start here" shows the two programs of this package to the letter, and they do what it says.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

const PAGE: &str = include_str!("../../guide/start-here.md");

/// The server of the page, which ends with the test.
struct Greeter(Child);

impl Greeter {
    /// Starts it, and waits until it says that it serves.
    fn start(runtime_dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greeter"));
        let mut child = command.env("XDG_RUNTIME_DIR", runtime_dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("serving at {}/strait/greeter.sock\n", runtime_dir.display()));
        Self(child)
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn greet(runtime_dir: &Path, name: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greet"));
    command.arg(name).env("XDG_RUNTIME_DIR", runtime_dir).env_remove("STRAIT_DISABLE_SHM").output().unwrap()
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn the_page_shows_the_programs_to_the_letter() {
    for program in [include_str!("../src/bin/greeter.rs"), include_str!("../src/bin/greet.rs")] {
        assert!(PAGE.contains(&format!("```rust,no_run\n{program}```\n")), "the page lacks:\n{program}");
    }
}

#[test]
fn the_programs_say_what_the_page_says() {
    let runtime_dir = tempfile::tempdir().unwrap();
    let greeter = Greeter::start(runtime_dir.path());
    let output = greet(runtime_dir.path(), "Ada");
    assert!(output.status.success(), "{output:?}");
    let shown: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("hello, Ada (")).collect();
    let lines: Vec<&str> = said(&output).lines().collect();
    // The second call is in time for the memory, or not.
    assert_eq!((lines.len(), lines[0], lines[2]), (shown.len(), shown[0], shown[2]), "{lines:?}");

    let output = greet(runtime_dir.path(), " ");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), "the server says: whom shall I greet?\n".repeat(3));

    drop(greeter);
    let output = greet(runtime_dir.path(), "Ada");
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("NoServer"), "{output:?}");
}

#[test]
fn a_server_that_was_killed_does_not_keep_its_name() {
    let runtime_dir = tempfile::tempdir().unwrap();
    drop(Greeter::start(runtime_dir.path()));
    let _next = Greeter::start(runtime_dir.path());
    assert!(greet(runtime_dir.path(), "Ada").status.success());
}
