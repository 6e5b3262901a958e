//! What the tests share: a runtime directory of their own, owners that end with their test, children that are this binary again.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use strait_channel::{
    Options, Raw,
    queue::{Error, Settings, Stats, blocking},
};

/// The queue that every test offers, in a directory of its own.
pub(crate) const NAME: &str = "queue";
/// By how much a call may miss its deadline.
pub(crate) const LATE: Duration = Duration::from_millis(100);
/// Longer than anything here should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Owner = blocking::Owner<[u8], Raw>;
pub(crate) type Producer = blocking::Producer<[u8], Raw>;
pub(crate) type Worker = blocking::Worker<[u8], Raw>;

/// What is measured at 100 ms must not run beside the storms: one test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A runtime directory that goes with the test.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn options(&self) -> Options {
        options_in(self.0.path())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn producer(&self) -> Producer {
        Producer::connect_with(NAME, &self.options()).unwrap()
    }

    pub(crate) fn worker(&self, prefetch: u32) -> Worker {
        Worker::connect_with(NAME, prefetch, &self.options()).unwrap()
    }

    /// Sockets in the runtime directory.
    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.0.path().join("run")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn options_in(dir: &Path) -> Options {
    Options { runtime_dir: Some(dir.join("run")), ..Options::default() }
}

/// An owner in a thread; ends when dropped.
pub(crate) struct Running {
    stop: Box<dyn Fn() + Send>,
    read: Box<dyn Fn() -> Stats + Send>,
    thread: Option<JoinHandle<Result<Stats, Error>>>,
}

impl Running {
    pub(crate) fn start(settings: Settings, options: &Options) -> Self {
        let owner = Owner::bind_with(NAME, settings, options).unwrap();
        let (stop, read) = (owner.handle(), owner.handle());
        let thread = Some(std::thread::spawn(move || owner.serve()));
        Self { stop: Box::new(move || stop.shutdown()), read: Box::new(move || read.stats()), thread }
    }

    /// The same, in a task.
    #[cfg(feature = "tokio")]
    pub(crate) fn start_async(settings: Settings, options: &Options) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let owner = {
            let _inside = runtime.enter();
            strait_channel::queue::Owner::<[u8], Raw>::bind_with(NAME, settings, options).unwrap()
        };
        let (stop, read) = (owner.handle(), owner.handle());
        let thread = Some(std::thread::spawn(move || runtime.block_on(owner.serve())));
        Self { stop: Box::new(move || stop.shutdown()), read: Box::new(move || read.stats()), thread }
    }

    pub(crate) fn stats(&self) -> Stats {
        (self.read)()
    }

    pub(crate) fn end(mut self) -> Stats {
        (self.stop)();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        (self.stop)();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How an owner can be started.
pub(crate) type Start = fn(Settings, &Options) -> Running;

/// All the ways.
pub(crate) const OWNERS: &[(&str, Start)] = &[
    ("blocking", Running::start),
    #[cfg(feature = "tokio")]
    ("async", Running::start_async),
];

/// Waits until `condition` holds; fails after a while.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const ROLE: &str = "STRAIT_TEST_ROLE";
const DIR: &str = "STRAIT_TEST_DIR";

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    if let Ok(role) = std::env::var(ROLE) {
        let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
        super::crash::play(&role, &dir, &options_in(&dir));
    }
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
    /// Runs this binary again, in `role`, whose parts are separated by spaces.
    pub(crate) fn start(role: &str, scratch: &Scratch) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "support::child", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env(DIR, scratch.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
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

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes the child's input and waits for its good end.
    #[track_caller]
    pub(crate) fn ends_well(mut self) {
        self.input = None;
        let start = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return assert!(status.success(), "{status}"),
                None => assert!(start.elapsed() < 3 * PATIENCE, "the child does not end"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
