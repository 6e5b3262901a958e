//! Whether doorbells may go out.

#![allow(unreachable_pub)] // public to the models alone

use strait_sync::{
    mutant,
    primitive::{AtomicU32, Ordering},
};

/// Doorbells go out.
const LOUD: u32 = 0;
/// Frames still wait for the socket, and a doorbell would get between them: none goes out.
const MUTE: u32 = 1;
/// As [`MUTE`], and one is due as soon as it can.
const OWES: u32 = 2;

/// Whether the doorbells of one side may go out; one that may not is held back until it may.
///
/// The thread that has the connection mutes and unmutes; any thread may drop a message that it held, and then rings.
#[derive(Debug)]
pub struct Voice(AtomicU32);

impl Default for Voice {
    fn default() -> Self {
        Self(AtomicU32::new(LOUD))
    }
}

impl Voice {
    /// Holds doorbells back: this side's last frame is still to go out.
    pub fn mute(&self) {
        // ORDERING: Relaxed; nobody else has the bell yet.
        self.0.store(MUTE, Ordering::Relaxed);
    }

    /// Lets doorbells out; whether one is due.
    #[must_use]
    pub fn unmute(&self) -> bool {
        // ORDERING: AcqRel; whoever finds it loud in `may_ring` rings after the frames that are out by now.
        self.0.swap(LOUD, Ordering::AcqRel) == mutant!(voice_forgets_what_it_owes, OWES, LOUD)
    }

    /// Whether a doorbell may go out now; if not, it is due later.
    #[inline]
    pub fn may_ring(&self) -> bool {
        // ORDERING: Acquire; pairs with the swap in `unmute`.
        if self.0.load(Ordering::Acquire) == LOUD {
            return true;
        }
        // ORDERING: AcqRel, Acquire; as above, and the swap sees what was held back.
        self.0.compare_exchange(MUTE, OWES, Ordering::AcqRel, Ordering::Acquire) == Err(LOUD)
    }
}
