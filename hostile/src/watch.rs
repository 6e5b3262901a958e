//! What the kernel says of a process, from outside.

use std::{fs, io, path::PathBuf, time::Duration};

use serde_json::Value;

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) fds: usize,
    /// Mappings of memory that has no name in a file system.
    pub(crate) segments: usize,
    pub(crate) threads: usize,
}

impl Holdings {
    /// What process `pid` holds now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let maps = fs::read_to_string(proc.join("maps"))?;
        Ok(Self {
            fds: fs::read_dir(proc.join("fd"))?.count(),
            segments: maps.lines().filter(|line| line.contains("/memfd:")).count(),
            threads: fs::read_dir(proc.join("task"))?.count(),
        })
    }

    /// Whether this is no more than `other`.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        self.fds <= other.fds && self.segments <= other.segments && self.threads <= other.threads
    }

    /// Waits until process `pid` holds no more than this; what it holds then, or at last.
    pub(crate) fn settle(&self, pid: u32, patience: Duration) -> io::Result<Self> {
        const LOOK: Duration = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        loop {
            let now = Self::of(pid)?;
            if now.fits(self) || waited >= patience {
                return Ok(now);
            }
            std::thread::sleep(LOOK);
            waited += LOOK;
        }
    }
}

/// Nanoseconds as a person reads them.
pub(crate) fn time(ns: &Value) -> String {
    match ns.as_u64().unwrap_or(0) {
        ns @ 0..=9_999 => format!("{ns} ns"),
        ns @ 10_000..=9_999_999 => format!("{} µs", ns / 1_000),
        ns => format!("{} ms", ns / 1_000_000),
    }
}
