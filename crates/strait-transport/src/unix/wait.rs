//! Waiting on the socket, and on whichever ring is in use already.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::{Unix, upgrade::Upgrade};
#[cfg(feature = "tokio")]
use crate::ring::POLL_TURNS;
use crate::{
    error::Error,
    transport::{Interest, Sleep, Wake},
    waiting::Wants,
};

impl Unix {
    /// Waits until the socket has taken all output.
    pub(crate) fn wait_flushed(&mut self, deadline: Option<Instant>) -> Result<Wake, Error> {
        loop {
            self.publish()?;
            if !self.framed.has_output() {
                return Ok(Wake::Ready);
            }
            let wants = self.link().wants();
            self.link().set_wants(Wants { input: false, output: true, nap: false });
            let woken = self.link().sleep(deadline);
            self.link().set_wants(wants);
            if let ended @ (Wake::TimedOut | Wake::Interrupted) = woken? {
                return Ok(ended);
            }
        }
    }

    pub(crate) fn is_ready(&mut self, interest: Interest) -> bool {
        if interest.data && self.stash.is_empty() {
            let _ = self.look(); // it remembers what it finds
        }
        // Also for who only looks for data: the answer may be to what still waits for the socket.
        if interest.space || self.framed.has_output() {
            self.flush();
        }
        let over = self.ended.is_some() || matches!(self.upgrade, Upgrade::Switched(_));
        over || (interest.data && self.has_data()) || (interest.space && self.has_space())
    }

    fn has_data(&mut self) -> bool {
        !self.stash.is_empty()
            || match &mut self.upgrade {
                Upgrade::Draining(ring) => ring.is_ready(Interest::DATA),
                _ => false,
            }
    }

    fn has_space(&mut self) -> bool {
        if self.output_ended.is_some() {
            return true;
        }
        match &mut self.upgrade {
            Upgrade::HalfWay(ring) => ring.is_ready(Interest::SPACE),
            Upgrade::Leaving(_) | Upgrade::Draining(_) => false,
            _ if self.closed => !self.framed.has_output(),
            _ => self.framed.has_room(self.wanted),
        }
    }

    pub(crate) fn arm(&mut self, interest: Interest) -> Result<bool, Error> {
        let _ = self.publish(); // a failure shows itself as room
        let armed_ring = match &mut self.upgrade {
            Upgrade::HalfWay(ring) if interest.space => Some(ring.arm(Interest::SPACE)?),
            Upgrade::Draining(ring) if interest.data => Some(ring.arm(Interest::DATA)?),
            _ => None,
        };
        if armed_ring == Some(false) || self.is_ready(interest) {
            return Ok(false);
        }
        // A message that waits to be taken keeps what is behind it from being read. Behind it may be the end of the
        // socket's part, and then the doorbell that a writer of the ring waits for.
        let input = self.stash.is_empty();
        let nap = !input && interest.space && matches!(self.upgrade, Upgrade::HalfWay(_));
        self.link().set_wants(Wants { input, output: self.framed.has_output(), nap });
        self.armed = true;
        if armed_ring.is_none() {
            #[cfg(not(strait_loom))]
            self.show_counters();
            self.counters.sleeps(interest);
        }
        Ok(true)
    }

    pub(crate) fn disarm(&mut self) -> Result<(), Error> {
        self.armed = false;
        match &mut self.upgrade {
            // Its doorbells come behind frames: they are no more than bytes to be read.
            Upgrade::HalfWay(ring) => ring.take_back_all(),
            Upgrade::Draining(ring) | Upgrade::Switched(ring) => {
                ring.disarm()?;
                self.flush();
                return Ok(());
            }
            _ => {}
        }
        self.flush();
        let found_before = !self.stash.is_empty();
        if !found_before && self.look().is_err() {
            return Ok(()); // and `try_recv` tells it
        }
        if found_before || (self.stash.is_empty() && !self.upgrade.reads_ring()) {
            self.look_after_peer();
        }
        Ok(())
    }

    /// Nothing that could be read has ended the sleep: perhaps the peer's end has.
    fn look_after_peer(&mut self) {
        if self.link().is_hung_up() {
            self.lose_output(Error::PeerGone);
        }
        if !self.peer_is_dead && self.link().peer_is_dead() {
            self.peer_is_dead = true;
            self.lose_output(Error::PeerGone);
            if self.stash.is_empty() {
                let _ = self.look(); // what it sent before it died is still there
            }
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>, interest: Interest) -> Poll<Result<(), Error>> {
        for _ in 0..POLL_TURNS {
            if !self.arm(interest)? {
                return Poll::Ready(Ok(()));
            }
            match self.link().poll_kickable(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => self.disarm()?,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) fn poll_ready(&mut self, _: &mut Context<'_>, _: Interest) -> Poll<Result<(), Error>> {
        Poll::Ready(Err(Error::Usage("waiting in a task needs the feature `tokio`")))
    }
}
