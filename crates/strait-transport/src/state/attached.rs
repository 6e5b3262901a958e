//! What goes beside the pair of a connection.

use std::{os::fd::OwnedFd, sync::Arc};

use strait_region::{Header, OwnRegion, PeerRegion};
use strait_sync::{HonestPeer, fail_point};

use super::{
    KIND_STATE, StateMemory, StateReader,
    pin::{self, KIND_PIN, NoPin, OwnPin},
    reader,
};
use crate::{
    error::Error,
    handshake::frames::{Control, Extra},
    socket::framed::{Framed, Rider},
};

/// A peer's published state, or why it was not taken.
pub(crate) type Received = Result<StateReader, String>;

/// What goes beside the pair of a connection.
pub(crate) struct Attached {
    /// A server's state.
    ours: Option<StateMemory>,
    /// What a client was sent.
    theirs: Option<Received>,
    /// A server's: where its client shows what it reads in place, if it asked for a pin.
    their_pin: Option<PeerRegion>,
    /// A client's: the same, or why there is none.
    own_pin: Result<OwnPin, NoPin>,
    /// Whom a client trusts that wants a pin.
    trust: Option<HonestPeer>,
    /// One per side and connection.
    received: bool,
    /// The largest that is taken.
    max_total_bytes: u64,
}

impl Attached {
    pub(crate) fn new() -> Self {
        Self {
            ours: None,
            theirs: None,
            their_pin: None,
            own_pin: Err(NoPin::NotAsked),
            trust: None,
            received: false,
            max_total_bytes: 0,
        }
    }

    /// What a client takes, and whether it wants a pin.
    pub(crate) fn set_wishes(&mut self, max_total_bytes: u64, trust: Option<HonestPeer>) {
        (self.max_total_bytes, self.trust) = (max_total_bytes, trust);
    }

    pub(crate) fn attach(&mut self, memory: StateMemory) {
        self.ours = Some(memory);
    }

    // ---- a client's pin, on its way to the server ----

    /// Queues a client's `Extra` before its `Offer`, where it wants a pin. Without memory for it, it goes without.
    pub(crate) fn ask_for_pin(&mut self, service: &str, framed: &mut Framed) -> Result<(), Error> {
        let Some(trust) = self.trust else { return Ok(()) };
        self.own_pin = match pin::create(service) {
            Ok(region) => {
                let region = Arc::new(region);
                fail_point!("pin.made");
                send(framed, KIND_PIN, &region, (0, 0))?;
                Ok(OwnPin { region, trust })
            }
            Err(why) => {
                tracing::warn!(target: "strait", service, %why, "no memory for a pin");
                Err(NoPin::NoMemory(why))
            }
        };
        Ok(())
    }

    /// Whether a client may ask this server for a pin.
    pub(crate) fn may_be_asked(&self) -> bool {
        self.ours.is_some() && !self.received
    }

    /// Takes a client's `Extra`. One that cannot be opened costs its pin, and not the connection.
    pub(crate) fn receive_pin(&mut self, fd: Result<OwnedFd, String>, extra: &Extra) {
        self.received = true;
        let opened = fd.and_then(|fd| match extra.segment {
            KIND_PIN => pin::open(fd, extra.session),
            other => Err(format!("a segment of kind {other}, expected {KIND_PIN} (a pin)")),
        });
        match opened {
            Ok(region) => {
                fail_point!("pin.taken");
                self.their_pin = Some(region);
            }
            Err(reason) => tracing::warn!(target: "strait", reason, "a client's pin was not taken"),
        }
    }

    // ---- a server's state, on its way to the client ----

    /// Queues a server's `Extra` behind its `Accept`, and grants the client the pin that it asked for, if there is one.
    pub(crate) fn send_state(&mut self, framed: &mut Framed) -> Result<(), Error> {
        let Some(memory) = &self.ours else { return Ok(()) };
        let granted = self.their_pin.take().is_some_and(|pin| memory.grant(pin));
        fail_point!("pin.granted");
        // 61 at most.
        let max_pins = memory.pins.pins() as u8;
        memory.is_sent();
        send(framed, KIND_STATE, &memory.region, (granted.into(), max_pins))
    }

    /// Takes back what was granted to a client that stays on the socket: it gives up its part with its `Decline`.
    pub(crate) fn take_pin_back(&self) {
        if let Some(memory) = &self.ours {
            memory.revoke_pin();
        }
    }

    /// Whether an `Extra` may come to this client.
    pub(crate) fn may_come(&self) -> bool {
        !self.received
    }

    /// Takes a server's `Extra`. One that cannot be opened costs its memory, and not the connection.
    pub(crate) fn receive_state(&mut self, fd: Result<OwnedFd, String>, extra: &Extra) {
        self.received = true;
        let opened = fd.and_then(|fd| match extra.segment {
            KIND_STATE => reader::open(fd, extra.session, self.max_total_bytes),
            other => Err(format!("a segment of kind {other}, expected {KIND_STATE} (state)")),
        });
        if let Err(reason) = &opened {
            tracing::warn!(target: "strait", reason, "the peer's published state was not taken");
        }
        let own_pin = std::mem::replace(&mut self.own_pin, Err(NoPin::Ended));
        let granted = match (own_pin, extra.granted) {
            (Ok(_), 0) => Err(NoPin::Refused { max_pins: extra.max_pins.into() }),
            (own_pin, _) => own_pin,
        };
        fail_point!("state.taken");
        self.theirs = Some(opened.map(|mut reader| {
            reader.set_pin(granted);
            reader
        }));
    }

    pub(crate) fn take(&mut self) -> Option<Received> {
        self.theirs.take()
    }
}

/// Queues an `Extra`; the last two are what is granted, and the most that is.
fn send(framed: &mut Framed, kind: u8, region: &Arc<OwnRegion>, (granted, max_pins): (u8, u8)) -> Result<(), Error> {
    let Header { total_bytes, session, .. } = *region.header();
    let extra = Extra { segment: kind, total_bytes, session, granted, max_pins };
    framed.send_control(&Control::Extra(extra).encode(), Some(Rider::Segment(region.clone())))
}
