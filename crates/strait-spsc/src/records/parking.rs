//! Tickets: what an end shows before it sleeps, and whether the other end must wake it.
//!
//! An end's tickets lie in its own control block and are read by the other. [`strait_sync::Sleeper`] and
//! [`strait_sync::Ringer`] see to it that no wake-up is lost; who sleeps on what, and how it is woken, is decided above.

use strait_sync::{Words, WordsMut, fail_point};

use super::{consumer::Consumer, layout::control, producer::Producer};

impl<Own: WordsMut, Peer: Words> Producer<Own, Peer> {
    /// Shows that this end is about to sleep until there is room. Look once more ([`has_room`](Self::has_room)) after it,
    /// and only then sleep.
    pub fn arm_space(&mut self) {
        self.sleeper.arm(&self.own, self.ring.control() + control::SPACE_TICKET);
        fail_point!("ring.space_armed");
    }

    /// Shows that this end is awake again. Does nothing where it was not armed.
    pub fn disarm_space(&mut self) {
        self.sleeper.disarm(&self.own, self.ring.control() + control::SPACE_TICKET);
        fail_point!("ring.space_disarmed");
    }

    /// Whether the consumer sleeps until there is data and must be woken now. Ask after publishing; true once per sleep.
    #[inline]
    pub fn must_ring_data(&mut self) -> bool {
        let must_ring = self.ringer.must_ring(&self.peer, self.peer_control + control::DATA_TICKET);
        if must_ring {
            fail_point!("ring.data_due");
        }
        must_ring
    }
}

impl<Own: WordsMut, Peer: Words> Consumer<Own, Peer> {
    /// Shows that this end is about to sleep until there is data. Look once more ([`is_ready`](Self::is_ready),
    /// [`peer_closed`](Self::peer_closed)) after it, and only then sleep.
    pub fn arm_data(&mut self) {
        self.sleeper.arm(&self.memories.own, self.memories.control + control::DATA_TICKET);
        fail_point!("ring.data_armed");
    }

    /// Shows that this end is awake again. Does nothing where it was not armed.
    pub fn disarm_data(&mut self) {
        self.sleeper.disarm(&self.memories.own, self.memories.control + control::DATA_TICKET);
        fail_point!("ring.data_disarmed");
    }

    /// Whether the producer sleeps until there is room and must be woken now. Ask after releasing; true once per sleep.
    ///
    /// Guards that end elsewhere make room too: [`Guard::release`](super::Guard::release) answers this question for them.
    #[inline]
    pub fn must_ring_space(&mut self) -> bool {
        self.memories.must_ring_space()
    }

    /// Whether the producer seems to sleep until there is room. One plain load: a hint that may be behind, for those who ask
    /// [`must_ring_space`](Self::must_ring_space) only now and then.
    #[inline]
    pub fn producer_seems_to_wait(&self) -> bool {
        self.memories.space_ticket() != 0
    }
}
