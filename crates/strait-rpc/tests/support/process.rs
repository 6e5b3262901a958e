//! Real processes: the test binary runs itself again, with its role in the environment.

#![allow(dead_code)]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use strait_rpc::{Limits, Options};

const ROLE: &str = "STRAIT_TEST_ROLE";
const RUNTIME_DIR: &str = "STRAIT_TEST_DIR";

/// The role that this process was started in; `None` is the test itself.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// The options that the test gave this child.
pub(crate) fn options() -> Options {
    // All clients of a test may come at once.
    let limits = Limits { max_pending_handshakes: 128, ..Limits::default() };
    Options { runtime_dir: Some(std::env::var_os(RUNTIME_DIR).unwrap().into()), limits, ..Options::default() }
}

/// Says one line to the test.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Waits until the test closes this child's input.
pub(crate) fn until_told() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

/// What runs the test `entry` of this binary again, in `role`.
pub(crate) fn command(entry: &str, role: &str, options: &Options) -> Command {
    let dir: &Path = options.runtime_dir.as_deref().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", entry, "--nocapture", "--test-threads=1"]).env(ROLE, role).env(RUNTIME_DIR, dir);
    command
}

/// A child; killed when dropped.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Runs the test `entry` of this binary again, in `role`.
    pub(crate) fn start(entry: &str, role: &str, options: &Options, env: &[(&str, &str)]) -> Self {
        let mut child = command(entry, role, options)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Waits until the child has said `word`, and returns the rest of that line.
    #[track_caller]
    pub(crate) fn hears(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the child ended before it said {word:?}");
            // The test harness writes on the same line.
            if let Some((_, rest)) = line.trim_end().split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops the child, and returns once it has stopped.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let is_stopped = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        };
        while !is_stopped() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Open descriptors of the child.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Closes the child's input and waits for its good end.
    #[track_caller]
    pub(crate) fn ends_well(mut self) {
        self.input = None;
        let start = std::time::Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return assert!(status.success(), "{status}"),
                None => assert!(start.elapsed() < Duration::from_secs(60), "the child does not end"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
