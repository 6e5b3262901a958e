//! Where the counters of one end lie: three lines, each with one writer, none with a word that the protocol reads.
//!
//! Offsets are from the first of them. docs/PROTOCOL.md has them from the start of the segment; a test compares.

#[cfg(not(strait_loom))]
use crate::stats::{ErrorCode, Stats};

/// The sender's line.
pub(crate) const SENT_MESSAGES: usize = 0;
pub(crate) const SENT_BYTES: usize = 8;
pub(crate) const SENT_US: usize = 16;
pub(crate) const FULL: usize = 24;
pub(crate) const SPACE_PARKS: usize = 32;
pub(crate) const DATA_RINGS: usize = 40;
pub(crate) const HIGH_WATER: usize = 48;

/// The receiver's line.
pub(crate) const RECEIVED_MESSAGES: usize = LINE;
pub(crate) const RECEIVED_BYTES: usize = LINE + 8;
pub(crate) const RECEIVED_US: usize = LINE + 16;
pub(crate) const DATA_PARKS: usize = LINE + 24;
pub(crate) const SPACE_RINGS: usize = LINE + 32;
pub(crate) const CHECKSUM_ERRORS: usize = LINE + 40;
pub(crate) const DECODE_ERRORS: usize = LINE + 48;

/// The line of the whole end, and of whoever made it.
pub(crate) const OWNER_PID: usize = 2 * LINE;
pub(crate) const OWNER_START: usize = 2 * LINE + 8;
pub(crate) const OPENED_US: usize = 2 * LINE + 16;
pub(crate) const PARKS: usize = 2 * LINE + 24;
pub(crate) const IN_FLIGHT: usize = 2 * LINE + 32;
pub(crate) const ERRORS: usize = 2 * LINE + 40;
pub(crate) const LAST_ERROR: usize = 2 * LINE + 48;
pub(crate) const LAST_ERROR_US: usize = 2 * LINE + 56;

/// Length of all three.
pub(crate) const BYTES: usize = 3 * LINE;

const LINE: usize = 128;

const _: () = assert!(HIGH_WATER + 8 <= LINE && DECODE_ERRORS + 8 <= 2 * LINE && LAST_ERROR_US + 8 <= BYTES);

/// Loads each counter once. Whatever stands there is a number, and may be untrue.
#[cfg(not(strait_loom))]
pub(crate) fn load(memory: &impl strait_sync::Words, counters: usize) -> Stats {
    let mut stats = Stats::default();
    for (counter, field) in fields(&mut stats) {
        *field = memory.load(counters + counter);
    }
    let code = memory.load(counters + LAST_ERROR);
    stats.last_error = ErrorCode(u32::try_from(code).unwrap_or(u32::MAX));
    stats
}

/// Hands out each counter with its offset.
#[cfg(not(strait_loom))]
pub(super) fn each(stats: &Stats, mut show: impl FnMut(usize, u64)) {
    for (counter, field) in fields(&mut stats.clone()) {
        show(counter, *field);
    }
    show(LAST_ERROR, stats.last_error.0.into());
}

/// All but the code of the last error, which is no plain number.
#[cfg(not(strait_loom))]
fn fields(stats: &mut Stats) -> [(usize, &mut u64); 19] {
    [
        (SENT_MESSAGES, &mut stats.sent_messages),
        (SENT_BYTES, &mut stats.sent_bytes),
        (SENT_US, &mut stats.sent_us),
        (FULL, &mut stats.full),
        (SPACE_PARKS, &mut stats.space_parks),
        (DATA_RINGS, &mut stats.data_rings),
        (HIGH_WATER, &mut stats.high_water_bytes),
        (RECEIVED_MESSAGES, &mut stats.received_messages),
        (RECEIVED_BYTES, &mut stats.received_bytes),
        (RECEIVED_US, &mut stats.received_us),
        (DATA_PARKS, &mut stats.data_parks),
        (SPACE_RINGS, &mut stats.space_rings),
        (CHECKSUM_ERRORS, &mut stats.checksum_errors),
        (DECODE_ERRORS, &mut stats.decode_errors),
        (OPENED_US, &mut stats.opened_us),
        (PARKS, &mut stats.parks),
        (IN_FLIGHT, &mut stats.in_flight),
        (ERRORS, &mut stats.errors),
        (LAST_ERROR_US, &mut stats.last_error_us),
    ]
}
