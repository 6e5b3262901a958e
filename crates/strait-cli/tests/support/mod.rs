//! The command, as a user runs it.
#![allow(dead_code, reason = "each test program uses what it needs")]

pub(crate) mod actor;
pub(crate) mod terminal;

use std::{
    io::Read,
    process::{Child, Command, Output},
};

/// The command with its words.
pub(crate) fn strait(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.args(args).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

/// Runs it to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    strait(args).output().unwrap()
}

/// Its standard output, after it ended with `code`.
#[track_caller]
pub(crate) fn stdout_of(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "standard error: {stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Its standard error, after it ended with `code`.
#[track_caller]
pub(crate) fn stderr_of(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "standard output: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The objects of an output of one JSON object per line.
#[track_caller]
pub(crate) fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A process that is killed where its test ends before it does.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self { child: command.spawn().unwrap() }
    }

    /// Waits for its end. Its standard input stays open meanwhile, if it was kept.
    pub(crate) fn finish(mut self) -> Output {
        let input = self.child.stdin.take();
        let read = |pipe: Option<&mut dyn Read>| {
            let mut bytes = Vec::new();
            pipe.map_or(Ok(0), |pipe| pipe.read_to_end(&mut bytes)).unwrap();
            bytes
        };
        let stderr = read(self.child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
        let stdout = read(self.child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
        let status = self.child.wait().unwrap();
        drop(input);
        Output { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
