//! What the tests of published state share: a directory of their own, and real processes, for which the test binary runs itself
//! again with its role in the environment.

#![allow(dead_code)]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use strait_channel::{Limits, Options, state::Config};

const ROLE: &str = "STRAIT_TEST_ROLE";
const RUNTIME_DIR: &str = "STRAIT_TEST_DIR";

/// Long enough for anything that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Options of a test whose directory is `dir`: sockets lie in one of their own, which only this user may enter.
pub(crate) fn options(dir: &Path) -> Options {
    options_at(dir.join("run"))
}

fn options_at(runtime_dir: PathBuf) -> Options {
    let limits = Limits { max_pending_handshakes: 128, ..Limits::default() };
    Options { runtime_dir: Some(runtime_dir), ring_bytes: 64 << 10, limits, ..Options::default() }
}

pub(crate) fn config(options: &Options) -> Config {
    Config { options: options.clone(), ..Config::default() }
}

/// Fails unless `call` ends by `limit` after `deadline`.
#[track_caller]
pub(crate) fn ends_by<R>(deadline: Instant, limit: Duration, call: impl FnOnce() -> R) -> R {
    let outcome = call();
    let late = Instant::now().saturating_duration_since(deadline);
    assert!(late <= limit, "{late:?} late");
    outcome
}

/// The role that this process was started in, and its options; `None` is the test itself.
pub(crate) fn role() -> Option<(String, Options)> {
    let role = std::env::var(ROLE).ok()?;
    Some((role, options_at(std::env::var_os(RUNTIME_DIR)?.into())))
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

/// A child; killed when dropped.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Runs the test `child` of this binary, in `role`.
    pub(crate) fn start(role: &str, options: &Options) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(RUNTIME_DIR, options.runtime_dir.as_deref().unwrap())
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

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops the child, and returns once it has stopped.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let is_stopped = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        };
        while !is_stopped() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills the child, and returns once it is dead.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes the child's input and waits for its good end.
    #[track_caller]
    pub(crate) fn ends_well(mut self) {
        self.input = None;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One test at a time: descriptors are counted, and processes are many.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
