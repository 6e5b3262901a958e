//! Who has a published state, counted in its memory for people and tools.

use std::sync::{Arc, atomic::Ordering};

use strait_region::OwnRegion;
use strait_sync::{WordsMut, primitive::Mutex};

use super::{PINS, READERS};

/// How many clients have the memory, and how many of them a pin.
pub(super) struct Audience {
    memory: Arc<OwnRegion>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) readers: u64,
    pub(super) pins: u64,
}

impl Audience {
    pub(super) fn new(memory: Arc<OwnRegion>) -> Self {
        Self { memory, counts: Mutex::default() }
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        let counts = self.counts.lock();
        (counts.readers, counts.pins)
    }

    /// Changes the counts, and shows them.
    pub(super) fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock();
        change(&mut counts);
        // In a forked child nothing is mapped.
        if self.memory.check_fork().is_ok() {
            // ORDERING: Relaxed, both; for observers only. The lock keeps the last store that of the last change.
            self.memory.store(READERS, counts.readers, Ordering::Relaxed);
            self.memory.store(PINS, counts.pins, Ordering::Relaxed);
        }
    }
}
