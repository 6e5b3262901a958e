//! The switch from the socket to the rings.
//!
//! ```text
//! client   Client --Offer--> Offered --Accept--> Leaving --flushed--> HalfWay --Switched--> Switched
//!          writes: socket                        (waits)             ring
//!          reads:  socket                                                                  ring
//!
//! server   Server --Offer--> Accepted --Commit--> Draining --flushed--> Switched
//!          writes: socket                         (waits)              ring
//!          reads:  socket                         ring
//! ```
//!
//! Any of the first two states of a side can also go to Off: the connection stays on the socket.

use strait_sync::{fail_point, mutant};

use super::Unix;
use crate::{
    error::Error,
    handshake::{client, frames::Control, server},
    meters::Fallback,
    segment::Segments,
    shared::{Shared, shared},
    socket::fds::Fd,
};

/// How far the upgrade has come.
pub(super) enum Upgrade {
    /// A client that has not offered yet; it does after the first message, whoever sent that.
    Client(client::Ready),
    Offered(client::Offered),
    /// A server that waits for an offer.
    Server(server::Ready),
    Accepted(server::Accepted),
    /// A client whose `Commit` is queued.
    Leaving(Box<Shared>),
    /// A client that writes its ring, and reads the socket up to `Switched`.
    HalfWay(Box<Shared>),
    /// A server that reads the ring, and whose `Switched` is queued.
    Draining(Box<Shared>),
    /// Both directions are on the rings.
    Switched(Box<Shared>),
    /// It stays on the socket.
    Off,
}

impl Upgrade {
    pub(super) fn ring(&self) -> Option<&Shared> {
        match self {
            Self::Leaving(ring) | Self::HalfWay(ring) | Self::Draining(ring) | Self::Switched(ring) => Some(ring),
            _ => None,
        }
    }

    /// Whether messages come by the ring.
    pub(super) fn reads_ring(&self) -> bool {
        matches!(self, Self::Draining(_) | Self::Switched(_))
    }

    /// Whether the socket may bring the peer's next step.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::Offered(_) | Self::Server(_) | Self::Accepted(_) | Self::Leaving(_) | Self::HalfWay(_))
    }
}

impl Unix {
    pub(super) fn fall_back(&mut self, kind: Fallback, reason: String) {
        tracing::info!(target: "strait", service = &*self.service, reason, "stays on the socket");
        self.which_end().fell_back(kind);
        self.fallback = Some(reason.into());
        self.upgrade = Upgrade::Off;
    }

    /// A client offers shared memory after the first message.
    pub(super) fn offer(&mut self) -> Result<(), Error> {
        let due = self.talked && !self.closed;
        if due
            && matches!(self.upgrade, Upgrade::Client(_))
            && let Upgrade::Client(ready) = std::mem::replace(&mut self.upgrade, Upgrade::Off)
        {
            #[cfg(not(strait_loom))]
            self.state.ask_for_pin(&self.service, &mut self.framed)?;
            match ready.offer(&mut self.framed, &self.settled)? {
                Ok(offered) => self.upgrade = Upgrade::Offered(offered),
                Err(reason) => {
                    // So that the server knows why, too.
                    self.framed.send_control(&Control::Decline { reason: reason.clone() }.encode(), None)?;
                    self.fall_back(Fallback::Failed, reason);
                }
            }
        }
        Ok(())
    }

    pub(super) fn on_control(&mut self, control: Control, mut fds: Vec<Fd>, truncated: bool) -> Result<(), Error> {
        let found = fds.len();
        let mut fd = || match (truncated, fds.pop(), found) {
            (true, ..) => Err("the descriptor was lost on the way: too few are left in this process".to_owned()),
            (false, Some(fd), 1) => Ok(fd),
            (false, _, found) => Err(format!("the frame came with {found} descriptors, expected 1")),
        };
        let upgrade = std::mem::replace(&mut self.upgrade, Upgrade::Off);
        match (upgrade, control) {
            (upgrade, Control::Close) => {
                self.upgrade = upgrade;
                return Err(Error::Closed);
            }
            // What this side said last was `Close`: it takes no further step, and the client will read that.
            (Upgrade::Server(_), Control::Offer { .. }) | (Upgrade::Offered(_), Control::Accept { .. })
                if self.closed => {}
            (Upgrade::Server(ready), Control::Offer { session, .. }) => {
                match ready.on_offer(fd(), session, &self.settled, &mut self.framed)? {
                    Ok(accepted) => {
                        self.upgrade = Upgrade::Accepted(accepted);
                        #[cfg(not(strait_loom))]
                        self.state.send_state(&mut self.framed)?;
                    }
                    Err(reason) => self.fall_back(Fallback::Failed, reason),
                }
            }
            (Upgrade::Offered(offered), Control::Accept { session, .. }) => {
                match offered.on_accept(fd(), session, &self.settled, &mut self.framed)? {
                    Ok(segments) => self.upgrade = Upgrade::Leaving(self.rings(segments)?),
                    Err(reason) => self.fall_back(Fallback::Failed, reason),
                }
            }
            // A client that could not even offer says so.
            (Upgrade::Server(_) | Upgrade::Offered(_) | Upgrade::Accepted(_), Control::Decline { reason }) => {
                #[cfg(not(strait_loom))]
                self.state.take_pin_back();
                self.fall_back(Fallback::Declined, reason);
            }
            (Upgrade::Accepted(accepted), Control::Commit) => {
                let segments = accepted.on_commit(&mut self.framed)?;
                let mut ring = self.rings(segments)?;
                self.leave_socket(&mut ring)?;
                mutant!(switch_rings_between_frames, ring.bell().mute(), ());
                self.upgrade = Upgrade::Draining(ring);
                mutant!(switch_wakes_no_sleeper, self.link().kick(), ());
            }
            // It follows Accept at once. A client that could not take the server's segment takes nothing else either.
            #[cfg(not(strait_loom))]
            (upgrade @ (Upgrade::Leaving(_) | Upgrade::HalfWay(_) | Upgrade::Off), Control::Extra(extra))
                if self.is_client && self.state.may_come() =>
            {
                let refused = matches!(upgrade, Upgrade::Off);
                self.upgrade = upgrade;
                let fd = if refused { Err("the connection stays on the socket".to_owned()) } else { fd() };
                self.state.receive_state(fd, &extra);
            }
            // It comes before the Offer.
            #[cfg(not(strait_loom))]
            (upgrade @ Upgrade::Server(_), Control::Extra(extra)) if self.state.may_be_asked() => {
                self.upgrade = upgrade;
                self.state.receive_pin(fd(), &extra);
            }
            (Upgrade::HalfWay(mut ring), Control::Switched) => {
                self.leave_socket(&mut ring)?;
                fail_point!("upgrade.switched_taken");
                self.which_end().upgraded();
                self.upgrade = Upgrade::Switched(ring);
            }
            (_, control) => {
                return Err(Error::corrupt(format!("a {} frame out of turn", control.name())));
            }
        }
        Ok(())
    }

    fn rings(&self, segments: Segments) -> Result<Box<Shared>, Error> {
        Ok(Box::new(shared(segments, &self.settled, self.link().clone(), self.receive)?))
    }

    /// The peer's last frame has been read: what comes from here on are doorbells.
    fn leave_socket(&mut self, ring: &mut Shared) -> Result<(), Error> {
        self.link().stop_passing_pidfds();
        ring.count_rings(self.framed.take_rest() as u64)
    }

    /// All output is out, or lost with a peer that reads no more: from here on this side writes its ring.
    pub(super) fn output_is_flushed(&mut self) {
        if !matches!(self.upgrade, Upgrade::Leaving(_) | Upgrade::Draining(_)) {
            return;
        }
        let (Upgrade::Leaving(mut ring) | Upgrade::Draining(mut ring)) =
            std::mem::replace(&mut self.upgrade, Upgrade::Off)
        else {
            return;
        };
        fail_point!("upgrade.last_frame_out");
        ring.bell().unmute();
        if mutant!(switch_forgets_that_it_was_closed, self.closed, false) {
            ring.close();
        }
        fail_point!("upgrade.ring_open");
        if self.is_client {
            self.upgrade = Upgrade::HalfWay(ring);
        } else {
            tracing::info!(target: "strait", service = &*self.service, ring_bytes = self.settled.own_ring_bytes, "upgraded to shared memory");
            self.which_end().upgraded();
            self.upgrade = Upgrade::Switched(ring);
        }
        mutant!(switch_wakes_no_sleeper, self.link().kick(), ());
    }
}
