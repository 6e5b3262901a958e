//! How far it is, on a terminal's standard error; and what the ends of a kernel's pipe can be asked.

use std::{os::fd::BorrowedFd, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::fs::FileType;

/// Redrawn so often.
const TICK: Duration = Duration::from_millis(100);
/// The largest that any user may make a pipe.
const PIPE_BYTES: usize = 1 << 20;

/// A bar where the size is known, else a count. Nothing where standard error is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(hidden: bool, total_bytes: Option<u64>) -> Self {
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(total_bytes, target);
        let shape = match total_bytes {
            Some(_) => "{bar:24} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
            None => "{spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(shape).expect("the shape is a constant, and a good one"));
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self { bar }
    }

    pub(super) fn add(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// Leaves the last count there.
    pub(super) fn finish(self) {
        self.bar.abandon();
    }
}

/// How many bytes are left in a file, from where it is read next.
pub(super) fn bytes_left(input: BorrowedFd<'_>) -> Option<u64> {
    let stat = rustix::fs::fstat(input).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    u64::try_from(stat.st_size).ok()?.checked_sub(rustix::fs::tell(input).ok()?)
}

/// Lets a pipe hold as much as it may, if this is one: fewer and larger steps for whoever is at its other end.
pub(super) fn widen(end: BorrowedFd<'_>) {
    let _ = rustix::pipe::fcntl_setpipe_size(end, PIPE_BYTES);
}
