//! How a channel has done so far.

use std::collections::VecDeque;

/// So many looks are kept: four minutes at one per second.
const MOMENTS: usize = 240;

/// What was seen at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moment {
    pub(crate) messages_per_s: f64,
    pub(crate) bytes_per_s: f64,
    pub(crate) occupancy: f64,
}

/// The last looks, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(VecDeque<Moment>);

impl History {
    pub(crate) fn push(&mut self, moment: Moment) {
        if self.0.len() == MOMENTS {
            self.0.pop_front();
        }
        self.0.push_back(moment);
    }

    /// One number of each look.
    pub(crate) fn of(&self, number: fn(&Moment) -> f64) -> Vec<f64> {
        self.0.iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_looks_make_room_for_the_latest() {
        let mut history = History::default();
        for look in 0..=MOMENTS {
            history.push(Moment { messages_per_s: look as f64, ..Moment::default() });
        }
        let kept = history.of(|moment| moment.messages_per_s);
        assert_eq!((kept.len(), kept[0], kept[MOMENTS - 1]), (MOMENTS, 1.0, MOMENTS as f64));
    }
}
