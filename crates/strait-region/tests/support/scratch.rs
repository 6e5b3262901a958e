//! Places for named regions, which have to be empty when a test ends.

use std::path::PathBuf;

use strait_region::{NamedRegion, Place};
use strait_sync::HonestPeer;

use super::{expected, header};

/// A place, and names in it that no other test uses. Fails at its end where a name was left behind.
pub struct Scratch {
    pub place: Place,
    prefix: String,
    _directory: Option<tempfile::TempDir>,
}

impl Scratch {
    pub fn shm(test: &str) -> Self {
        Self { place: Place::shm(), prefix: prefix(test), _directory: None }
    }

    pub fn disk(test: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::directory(directory.path());
        Self { place, prefix: prefix(test), _directory: Some(directory) }
    }

    /// One of each kind.
    pub fn both(test: &str) -> [Self; 2] {
        [Self::shm(test), Self::disk(test)]
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(self.name(name))
    }

    pub fn create(&self, name: &str) -> NamedRegion {
        NamedRegion::create(&self.place, &self.name(name), &header()).unwrap()
    }

    /// Leaves `name` as a process does that is killed.
    pub fn leave_stale(&self, name: &str) {
        super::in_child(|| std::mem::forget(self.create(name)));
    }

    pub fn open(&self, name: &str) -> NamedRegion {
        NamedRegion::open(&self.place, &self.name(name), &expected(), honest()).unwrap()
    }

    /// The names that are there, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.place.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_prefix(&self.prefix)?.to_owned())).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let left = self.names();
        for name in &left {
            let _ = std::fs::remove_file(self.path(name));
        }
        assert!(left.is_empty() || std::thread::panicking(), "left behind: {left:?}");
    }
}

/// Other runs of the tests use other prefixes.
fn prefix(test: &str) -> String {
    format!("strait-region-test-{}-{test}-", std::process::id())
}

/// The tests truncate nothing that they go on using.
pub fn honest() -> HonestPeer {
    // SAFETY: only the tests open these names, and they write by the rules.
    unsafe { HonestPeer::assume() }
}
