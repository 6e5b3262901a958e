//! What the tests of published state share: options in a directory of their own, and what children find there.

#![allow(dead_code)]

#[path = "../process_support/mod.rs"]
pub(crate) mod process;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use strait_channel::{Limits, Options, state::Config};

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
    process::role().map(|(role, runtime_dir)| (role, options_at(runtime_dir)))
}

/// Runs the test `child` of this binary, in `role`.
pub(crate) fn spawn(role: &str, options: &Options) -> process::Process {
    process::Process::start("child", role, options.runtime_dir.as_deref().unwrap())
}

/// Open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
