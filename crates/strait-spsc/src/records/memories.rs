//! What a consumer shares with its guards: both memories, and in which order records are released.

use strait_sync::{
    Ringer, Words, WordsMut, fail_point, mutant,
    primitive::{Mutex, Ordering},
};

use super::layout::control;
use crate::storage::OneWord;

/// Kept alive by the consumer and by every guard.
pub(super) struct Memories<Own: WordsMut, Peer: Words> {
    pub(super) own: Own,
    /// Offset of the control block in `own`.
    pub(super) control: usize,
    /// The word HEAD there.
    pub(super) head: OneWord,
    pub(super) peer: Peer,
    /// Offset of the control block in `peer`.
    pub(super) peer_control: usize,
    #[cfg(feature = "alloc")]
    pub(super) log: super::log::ReleaseLog,
    /// Which of the producer's tickets was rung for last: by the consumer, or by a guard that made room.
    pub(super) ringer: Mutex<Ringer>,
}

/// Guards share the memories; without an allocator there are none, and the consumer owns them.
#[cfg(feature = "alloc")]
pub(super) type Kept<Own, Peer> = strait_sync::primitive::Arc<Memories<Own, Peer>>;
#[cfg(not(feature = "alloc"))]
pub(super) type Kept<Own, Peer> = Memories<Own, Peer>;

impl<Own: WordsMut, Peer: Words> Memories<Own, Peer> {
    /// Gives everything before `head` back to the producer.
    #[inline]
    pub(super) fn publish_head(&self, head: u64) {
        // ORDERING: Release; pairs with the acquire fence in `Producer::refresh_head`. The reads of all that is released
        // come before it: this thread's own, and those of other threads through the release log.
        let order = mutant!(head_relaxed, Ordering::Release, Ordering::Relaxed);
        self.head.store(&self.own, head, order);
    }

    /// The producer's ticket as it is now; nonzero where it sleeps until there is room. A hint: nothing orders it.
    #[inline]
    pub(super) fn space_ticket(&self) -> u64 {
        self.peer.load(self.peer_control + control::SPACE_TICKET)
    }

    /// Whether the producer sleeps until there is room and must be woken now: once per sleep, whoever asks.
    #[inline]
    pub(super) fn must_ring_space(&self) -> bool {
        let must_ring = self.ringer.lock().must_ring(&self.peer, self.peer_control + control::SPACE_TICKET);
        if must_ring {
            fail_point!("ring.space_due");
        }
        must_ring
    }
}
