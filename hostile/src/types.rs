//! What the victim's services are called and speak.

use std::{path::Path, time::Duration};

use strait::{Options, rkyv};

/// Calls, with checksums.
pub(crate) const CALLS: &str = "calls";
/// Calls, without: what an attacker changes after it has committed it reaches the codec.
pub(crate) const BARE: &str = "bare";
/// A published state.
pub(crate) const STATE: &str = "state";
/// A work queue.
pub(crate) const QUEUE: &str = "queue";
/// A stream whose consumer is the victim.
pub(crate) const STREAM: &str = "stream";

pub(crate) const SERVICES: [&str; 5] = [CALLS, BARE, STATE, QUEUE, STREAM];

/// Longest value of the state.
pub(crate) const STATE_BYTES: usize = 4096;

/// How long a handshake may take: short, so that those that stall are many.
pub(crate) const HANDSHAKE: Duration = Duration::from_millis(500);

/// An order with everything that an archive can hold.
#[derive(Clone, rkyv::Archive, rkyv::Serialize)]
#[rkyv(crate = strait::rkyv)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) symbol: String,
    pub(crate) legs: Vec<Leg>,
    pub(crate) note: Option<Box<str>>,
}

/// A part of it.
#[derive(Clone, rkyv::Archive, rkyv::Serialize)]
#[rkyv(crate = strait::rkyv)]
pub(crate) enum Leg {
    Buy { lots: u32, venue: String },
    Sell { lots: u32 },
    Nothing,
}

impl Order {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            symbol: "a symbol that is too long to be inlined".into(),
            legs: vec![
                Leg::Buy { lots: 7, venue: "a venue, also a long one".into() },
                Leg::Sell { lots: 9 },
                Leg::Nothing,
            ],
            note: Some("fill or kill".into()),
        }
    }
}

/// What an order comes to: every byte of it counts.
pub(crate) fn sum(order: &ArchivedOrder) -> u64 {
    let text = |text: &str| text.chars().fold(0u64, |sum, c| sum.wrapping_mul(31).wrapping_add(c.into()));
    let mut sum = order.id.to_native().wrapping_add(text(&order.symbol));
    for leg in order.legs.iter() {
        sum = sum.wrapping_mul(31).wrapping_add(match leg {
            ArchivedLeg::Buy { lots, venue } => text(venue).wrapping_add(lots.to_native().into()),
            ArchivedLeg::Sell { lots } => lots.to_native().into(),
            ArchivedLeg::Nothing => 1,
        });
    }
    order.note.as_ref().map_or(sum, |note| sum ^ text(note))
}

/// What victim and honest clients agree on.
pub(crate) fn options(directory: &Path) -> Options {
    let mut options = Options { runtime_dir: Some(directory.to_owned()), ring_bytes: 64 << 10, ..Options::default() };
    options.limits.handshake_timeout = HANDSHAKE;
    options.limits.max_clients = 64;
    options
}

/// The same without checksum and time.
pub(crate) fn bare_options(directory: &Path) -> Options {
    Options { checksum: false, timestamp: false, ..options(directory) }
}
