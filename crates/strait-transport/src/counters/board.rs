//! Where an end shows its counters.

use std::sync::{Arc, atomic::Ordering};

use strait_region::OwnRegion;
use strait_sync::{Heap, WordsMut, primitive::Mutex};

use super::layout;
use crate::{segment::COUNTERS, stats::Stats};

/// The counters in a segment of this side, or in private memory; or nowhere.
#[derive(Clone)]
pub(crate) enum Board {
    Nowhere,
    Private(Arc<Heap>),
    Segment(Arc<OwnRegion>),
}

impl Board {
    /// Shows the counters in the segment `own`. Only ever one end does, and never in a forked child.
    pub(crate) fn over(own: Arc<OwnRegion>) -> Self {
        Self::Segment(own)
    }

    /// Shows one counter.
    #[inline]
    pub(crate) fn show(&self, counter: usize, value: u64) {
        match self {
            // ORDERING: Relaxed; for observers only, each word for itself. The protocol never reads it.
            Self::Segment(own) => own.store(COUNTERS + counter, value, Ordering::Relaxed),
            // ORDERING: Relaxed; as above.
            Self::Private(heap) => heap.store(counter, value, Ordering::Relaxed),
            Self::Nowhere => {}
        }
    }

    /// Shows all of them.
    #[cold]
    pub(crate) fn show_all(&self, stats: &Stats) {
        layout::each(stats, |counter, value| self.show(counter, value));
    }

    fn load(&self) -> Stats {
        match self {
            Self::Segment(own) if own.check_fork().is_ok() => layout::load(own, COUNTERS),
            Self::Private(heap) => layout::load(heap, 0),
            Self::Segment(_) | Self::Nowhere => Stats::default(),
        }
    }
}

/// What a connection counts, for other threads than the one that has it: the same words that tools read. Of a connection in shared
/// memory it keeps that memory, so drop it with the connection.
///
/// ```
/// use strait_transport::{Options, local};
///
/// let (mut left, _right) = local::pair(&Options::default())?;
/// let live = left.live_stats();
/// left.send(b"hello").unwrap();
/// assert_eq!(std::thread::spawn(move || live.read().sent_messages).join().unwrap(), 1);
/// # Ok::<(), strait_transport::Error>(())
/// ```
#[derive(Clone)]
pub struct LiveStats(Arc<Mutex<Board>>);

impl LiveStats {
    /// What was counted so far; each number for itself, and after the connection's end what it ended with. Nothing in a forked
    /// child whose parent has the connection.
    pub fn read(&self) -> Stats {
        let board = self.0.lock().clone();
        board.load()
    }

    pub(super) fn of(board: &Board) -> Self {
        Self(Arc::new(Mutex::new(board.clone())))
    }

    /// From here on the counters are shown on `board`.
    pub(super) fn follow(&self, board: &Board) {
        *self.0.lock() = board.clone();
    }
}

impl std::fmt::Debug for LiveStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LiveStats").field(&self.read()).finish()
    }
}
