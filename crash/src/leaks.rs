//! What must not be left.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// How long threads that are ending may take to close what they have.
const PATIENCE: Duration = Duration::from_secs(3);

/// Descriptors and shared memory of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inventory {
    descriptors: Vec<String>,
    mappings: usize,
}

impl Inventory {
    pub(crate) fn take() -> Self {
        let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let mut descriptors: Vec<String> = entries
            // The one by which the directory is read is none that stays.
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .filter(|target| !target.starts_with("/proc/"))
            .collect();
        descriptors.sort();
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mappings = maps.lines().filter(|line| line.contains("memfd:") || line.contains("/data/")).count();
        Self { descriptors, mappings }
    }

    /// Waits until nothing is left that was not there `before`.
    pub(crate) fn settles_to(before: &Self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let now = Self::take();
            if now.descriptors.len() <= before.descriptors.len() && now.mappings <= before.mappings {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("leaked: {now:?}, before: {before:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The names in `dir`.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
