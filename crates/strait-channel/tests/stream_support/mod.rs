//! What the stream tests share.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../strait-transport/tests/support/child.rs"]
pub mod child;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use strait_channel::{Options, stream::Config};

/// No wait of a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// By which a call of a survivor ends after its deadline. Generous, because these tests kill and stop at random.
pub const STORM: Duration = Duration::from_secs(2);

/// A runtime directory that goes with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("strait-stream-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub fn config(&self) -> Config {
        config(&self.0)
    }

    pub fn files(&self) -> usize {
        std::fs::read_dir(&self.0).map_or(0, Iterator::count)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Shared memory whatever the environment says; small rings, so that they fill and wrap.
pub fn config(dir: &Path) -> Config {
    let options = Options {
        runtime_dir: Some(dir.to_owned()),
        ring_bytes: 16 << 10,
        shared_memory: true,
        limits: strait_channel::Limits { handshake_timeout: PATIENCE, ..Default::default() },
        ..Options::default()
    };
    Config { options, send_timeout: Some(PATIENCE), ..Config::default() }
}

/// Bytes that tell which message they are and how long it is.
pub fn pattern(number: u64) -> Vec<u8> {
    let len = number.wrapping_mul(37) % 3000;
    (0..len).map(|index| (number.wrapping_mul(31).wrapping_add(index * 7) % 251) as u8).collect()
}

pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Tries until it is there.
#[track_caller]
pub fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "never");
        std::thread::sleep(Duration::from_millis(1));
    }
}
