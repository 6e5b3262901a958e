//! Looking again and again.

use std::time::{Duration, Instant};

use super::{
    row::Row,
    tracker::{Now, Tracker},
};
use crate::find::{Blind, Finder, ScanError};

/// A look takes one part in so many of the time at most, however many processes there are.
const LOOK_SHARE: u32 = 20;

/// Everything that is remembered from one look to the next.
pub(crate) struct Watch {
    finder: Finder,
    tracker: Tracker,
}

/// What one look has found.
pub(crate) struct Look {
    pub(crate) rows: Vec<Row>,
    pub(crate) blind: Blind,
    /// How long it took.
    took: Duration,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { finder: Finder::new(), tracker: Tracker::default() }
    }

    pub(crate) fn look(&mut self) -> Result<Look, ScanError> {
        let begin = Instant::now();
        let found = self.finder.look()?;
        let rows = self.tracker.look(&self.finder, &found.channels, Now::read());
        Ok(Look { rows, blind: found.blind, took: begin.elapsed() })
    }
}

impl Look {
    /// What a test has found.
    #[cfg(test)]
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        Self { rows, blind: Blind::default(), took: Duration::ZERO }
    }

    /// How long to wait for the next one, where `interval` is wanted.
    pub(crate) fn pause(&self, interval: Duration) -> Duration {
        interval.max(self.took * LOOK_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_take_long_are_taken_less_often() {
        let second = Duration::from_secs(1);
        let look = |took| Look { took, ..Look::of(Vec::new()) };
        assert_eq!(look(Duration::from_millis(5)).pause(second), second);
        assert_eq!(look(Duration::from_millis(200)).pause(second), 4 * second);
    }
}
