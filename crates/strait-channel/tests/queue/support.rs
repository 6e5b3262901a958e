//! What the tests share: a runtime directory of their own, owners that end with their test, children that are this binary again.

#[path = "../process_support/mod.rs"]
pub(crate) mod process;

use std::{
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::{Duration, Instant},
};

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

/// The entry of the children. As a test, it does nothing.
#[test]
fn child() {
    if let Some((role, dir)) = process::role() {
        super::crash::play(&role, &dir, &options_in(&dir));
    }
}

/// Runs this binary again, in `role`, whose parts are separated by spaces.
pub(crate) fn spawn(role: &str, scratch: &Scratch) -> process::Process {
    process::Process::start("support::child", role, scratch.path())
}
