//! Where an end shows its counters.

use std::sync::{Arc, atomic::Ordering};

use strait_region::OwnRegion;
use strait_sync::WordsMut;

use super::layout;
use crate::{segment::COUNTERS, stats::Stats};

/// The counters in a segment of this side; or nowhere.
pub(crate) struct Board(Option<Arc<OwnRegion>>);

impl Board {
    /// Shows nothing.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Shows the counters in `own`. The caller's contract: one end at a time shows its counters in a segment, and never in a
    /// forked child.
    pub(crate) fn over(own: Arc<OwnRegion>) -> Self {
        Self(Some(own))
    }

    /// Shows one counter.
    #[inline]
    pub(crate) fn show(&self, counter: usize, value: u64) {
        if let Some(own) = &self.0 {
            // ORDERING: Relaxed; for observers only, each word for itself. The protocol never reads it.
            own.store(COUNTERS + counter, value, Ordering::Relaxed);
        }
    }

    /// Shows all of them.
    #[cold]
    pub(crate) fn show_all(&self, stats: &Stats) {
        layout::each(stats, |counter, value| self.show(counter, value));
    }
}
