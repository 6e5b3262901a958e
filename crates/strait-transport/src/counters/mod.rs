//! What an end counts, in private memory, and shows in its segment to whoever looks.
//!
//! The private copy is counted; the shared words are only ever stored to, relaxed, by the one thread that has the connection. Nobody
//! on the other side polls a line that they lie on. Sending is shown once per publication, receiving once per message.

#[cfg(not(strait_loom))]
mod board;
#[cfg(strait_loom)]
#[path = "../modelled/board.rs"]
mod board;
#[cfg_attr(strait_loom, allow(dead_code))]
pub(crate) mod layout;

pub(crate) use board::Board;
#[cfg(not(strait_loom))]
pub use board::LiveStats;

use crate::{
    error::Error,
    stats::{ErrorCode, Stats},
    transport::Interest,
};

/// Where messages carry no time, so many go between two looks at the clock.
const CLOCK_MESSAGES: u64 = 1024;

/// The counters of one end.
pub(crate) struct Counters {
    stats: Stats,
    board: Board,
    /// Messages carry the time.
    stamped: bool,
    sent_clock: Clock,
    received_clock: Clock,
    /// Who looks from another thread.
    #[cfg(not(strait_loom))]
    live: Option<LiveStats>,
}

/// When to look at the clock where messages carry no time.
#[derive(Default)]
struct Clock {
    /// At this count of messages.
    due: u64,
    /// The count that was timed last.
    timed: u64,
}

impl Clock {
    /// The time, for the message that has come to be number `count`.
    fn now(&mut self, count: u64) -> u64 {
        (self.timed, self.due) = (count, count + CLOCK_MESSAGES);
        strait_frame::now_micros()
    }
}

impl Counters {
    /// Counts from nothing, and shows it on `board`.
    pub(crate) fn new(board: Board, stamped: bool) -> Self {
        let stats = Stats { opened_us: strait_frame::now_micros(), ..Stats::default() };
        board.show(layout::OPENED_US, stats.opened_us);
        Self {
            stats,
            board,
            stamped,
            sent_clock: Clock::default(),
            received_clock: Clock::default(),
            #[cfg(not(strait_loom))]
            live: None,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    /// The most of the ring that was found occupied.
    #[inline]
    pub(crate) fn high_water_bytes(&self) -> u64 {
        self.stats.high_water_bytes
    }

    /// Goes on from what the counters of the same end have counted `before`, and shows the sum.
    pub(crate) fn follow(&mut self, before: &mut Self) {
        self.stats = before.stats.plus(&self.stats);
        self.board.show_all(&self.stats);
        #[cfg(not(strait_loom))]
        if let Some(live) = before.live.take() {
            live.follow(&self.board);
            self.live = Some(live);
        }
    }

    /// Shows all of it on `board` from here on.
    #[cfg(not(strait_loom))]
    pub(crate) fn show_on(&mut self, board: Board) {
        self.board = board;
        self.board.show_all(&self.stats);
        if let Some(live) = &self.live {
            live.follow(&self.board);
        }
    }

    /// The same for other threads.
    #[cfg(not(strait_loom))]
    pub(crate) fn live(&mut self) -> LiveStats {
        if matches!(self.board, Board::Nowhere) {
            self.show_on(Board::Private(std::sync::Arc::new(strait_sync::Heap::zeroed(layout::BYTES))));
        }
        self.live.get_or_insert_with(|| LiveStats::of(&self.board)).clone()
    }

    /// A message is in the open batch.
    #[inline]
    pub(crate) fn staged(&mut self, bytes: usize, timestamp: u64) {
        self.stats.sent_messages += 1;
        self.stats.sent_bytes += bytes as u64;
        if self.stamped {
            self.stats.sent_us = timestamp;
        } else if self.stats.sent_messages >= self.sent_clock.due {
            self.stats.sent_us = self.sent_clock.now(self.stats.sent_messages);
        }
    }

    /// The open batch is published.
    #[inline]
    pub(crate) fn published(&self) {
        self.board.show(layout::SENT_MESSAGES, self.stats.sent_messages);
        self.board.show(layout::SENT_BYTES, self.stats.sent_bytes);
        self.board.show(layout::SENT_US, self.stats.sent_us);
    }

    /// A message was received.
    #[inline]
    pub(crate) fn received(&mut self, bytes: usize, timestamp: u64) {
        self.stats.received_messages += 1;
        self.stats.received_bytes += bytes as u64;
        if self.stamped {
            self.stats.received_us = timestamp;
        } else if self.stats.received_messages >= self.received_clock.due {
            self.stats.received_us = self.received_clock.now(self.stats.received_messages);
        }
        self.board.show(layout::RECEIVED_MESSAGES, self.stats.received_messages);
        self.board.show(layout::RECEIVED_BYTES, self.stats.received_bytes);
        self.board.show(layout::RECEIVED_US, self.stats.received_us);
    }

    /// A send found no room; what was staged before is published.
    pub(crate) fn full(&mut self) {
        self.stats.full += 1;
        self.board.show(layout::FULL, self.stats.full);
        self.published();
    }

    /// So much of the ring is occupied.
    pub(crate) fn occupied(&mut self, bytes: u64) {
        if bytes > self.stats.high_water_bytes {
            self.stats.high_water_bytes = bytes;
            self.board.show(layout::HIGH_WATER, bytes);
        }
    }

    /// The reader of this end's ring had to be woken.
    pub(crate) fn data_ring(&mut self) {
        self.stats.data_rings += 1;
        self.board.show(layout::DATA_RINGS, self.stats.data_rings);
    }

    /// The writer of the peer's ring had to be woken.
    pub(crate) fn space_ring(&mut self) {
        self.stats.space_rings += 1;
        self.board.show(layout::SPACE_RINGS, self.stats.space_rings);
    }

    /// This end goes to sleep.
    pub(crate) fn sleeps(&mut self, interest: Interest) {
        let stats = &mut self.stats;
        stats.parks += 1;
        self.board.show(layout::PARKS, stats.parks);
        if interest.data {
            stats.data_parks += 1;
            self.board.show(layout::DATA_PARKS, stats.data_parks);
        }
        if interest.space {
            stats.space_parks += 1;
            self.board.show(layout::SPACE_PARKS, stats.space_parks);
        }
        if !self.stamped && stats.sent_messages != self.sent_clock.timed {
            stats.sent_us = self.sent_clock.now(stats.sent_messages);
            self.board.show(layout::SENT_US, stats.sent_us);
        }
        if !self.stamped && stats.received_messages != self.received_clock.timed {
            stats.received_us = self.received_clock.now(stats.received_messages);
            self.board.show(layout::RECEIVED_US, stats.received_us);
        }
        // The next message each way, which comes after the sleep, is timed.
        (self.sent_clock.due, self.received_clock.due) = (0, 0);
    }

    /// Something went wrong.
    #[cold]
    pub(crate) fn error(&mut self, code: ErrorCode) {
        let stats = &mut self.stats;
        stats.errors += 1;
        stats.checksum_errors += u64::from(code == ErrorCode::CHECKSUM);
        stats.decode_errors += u64::from(code == ErrorCode::DECODE);
        (stats.last_error, stats.last_error_us) = (code, strait_frame::now_micros());
        self.board.show_all(&self.stats);
    }

    /// The connection ended by `error`; an end in good order is none.
    #[cold]
    pub(crate) fn ended(&mut self, error: &Error) {
        match error {
            Error::Corrupt { .. } => self.error(ErrorCode::CORRUPT),
            Error::PeerGone => self.error(ErrorCode::PEER_GONE),
            Error::Io { .. } => self.error(ErrorCode::IO),
            _ => {}
        }
    }

    /// So many calls are in flight.
    #[inline]
    pub(crate) fn set_in_flight(&mut self, calls: u64) {
        if calls != self.stats.in_flight {
            self.stats.in_flight = calls;
            self.board.show(layout::IN_FLIGHT, calls);
        }
    }
}
