//! A connection on its socket, up to and through its switch to shared memory.

use std::{
    os::fd::OwnedFd,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    error::{Error, SendError},
    handshake::{Settled, client, frames::Control, server},
    message::Message,
    options::Receive,
    segment::Segments,
    shared::{Shared, shared},
    socket::framed::{Frame, Framed},
    transport::{Fill, Interest, Stats},
    waiting::Link,
};

/// How far the upgrade has come.
enum Upgrade {
    /// A client that has not offered yet; it does after its first message.
    Client(client::Ready),
    Offered(client::Offered),
    /// A server that waits for an offer.
    Server(server::Ready),
    Accepted(server::Accepted),
    /// This side's last frame on the socket is queued; what follows goes to the ring once that is flushed.
    Leaving(Segments),
    /// The client writes its ring, but still reads the socket up to `Switched`.
    HalfWay(Box<Shared>),
    /// Both directions are on the rings.
    Switched(Box<Shared>),
    /// It stays on the socket.
    Off,
}

/// A connection on a socket.
pub(crate) struct Unix {
    framed: Framed,
    settled: Settled,
    receive: Receive,
    upgrade: Upgrade,
    is_client: bool,
    fallback: Option<Arc<str>>,
    service: Arc<str>,
    /// What a look for readiness found.
    stash: Option<Result<Message, Error>>,
    wanted: usize,
    unpublished: bool,
    ended: Option<Error>,
    stats: Stats,
}

impl Unix {
    pub(crate) fn client(framed: Framed, settled: Settled, service: Arc<str>, receive: Receive, wanted: bool) -> Self {
        let upgrade = Upgrade::Client(client::Ready { service: service.clone() });
        Self::new(framed, settled, service, receive, upgrade, true, wanted)
    }

    pub(crate) fn server(framed: Framed, settled: Settled, service: Arc<str>, receive: Receive, wanted: bool) -> Self {
        let upgrade = Upgrade::Server(server::Ready { service: service.clone() });
        Self::new(framed, settled, service, receive, upgrade, false, wanted)
    }

    fn new(
        mut framed: Framed,
        settled: Settled,
        service: Arc<str>,
        receive: Receive,
        upgrade: Upgrade,
        is_client: bool,
        wanted: bool,
    ) -> Self {
        framed.settle(settled.framing, settled.limits);
        let mut unix = Self {
            framed,
            settled,
            receive,
            upgrade,
            is_client,
            fallback: None,
            service,
            stash: None,
            wanted: 0,
            unpublished: false,
            ended: None,
            stats: Stats::default(),
        };
        if !settled.shared_memory {
            let why =
                if wanted { "switched off by the peer" } else { "switched off here (option or STRAIT_DISABLE_SHM)" };
            unix.fall_back(why.into());
        }
        unix
    }

    pub(crate) fn settled(&self) -> &Settled {
        &self.settled
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        self.framed.link()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    /// Why the connection stays on its socket.
    pub(crate) fn fallback(&self) -> Option<&Arc<str>> {
        self.fallback.as_ref()
    }

    /// The connection in shared memory, once both directions have switched.
    pub(crate) fn take_switched(&mut self) -> Option<Box<Shared>> {
        if !matches!(self.upgrade, Upgrade::Switched(_)) || self.stash.is_some() {
            return None;
        }
        match std::mem::replace(&mut self.upgrade, Upgrade::Off) {
            Upgrade::Switched(mut shared) => {
                shared.adopt_stats(self.stats);
                Some(shared)
            }
            _ => None,
        }
    }

    fn fall_back(&mut self, reason: String) {
        tracing::info!(target: "strait", service = &*self.service, reason, "stays on the socket");
        self.fallback = Some(reason.into());
        self.upgrade = Upgrade::Off;
    }

    // ---- out ----

    pub(crate) fn try_send(&mut self, max_bytes: usize, fill: &mut Fill<'_>) -> Result<(), SendError> {
        self.link().check_fork()?;
        if let Some(ended) = &self.ended {
            return Err(ended.clone().into());
        }
        let sent = match &mut self.upgrade {
            Upgrade::HalfWay(ring) => return ring.try_send(max_bytes, fill),
            Upgrade::Leaving(_) if max_bytes <= self.settled.limits.max_send_bytes => Err(SendError::Full),
            _ => self.framed.try_send(max_bytes, fill),
        };
        match sent {
            Ok(size) => {
                self.wanted = 0;
                self.unpublished = true;
                self.stats.sent_messages += 1;
                self.stats.sent_bytes += size as u64;
                Ok(())
            }
            Err(error) => {
                if matches!(error, SendError::Full) {
                    self.wanted = if self.wanted == 0 { max_bytes } else { self.wanted.min(max_bytes) };
                    self.stats.full += 1;
                }
                Err(error)
            }
        }
    }

    pub(crate) fn publish(&mut self) -> Result<(), Error> {
        if let Upgrade::HalfWay(ring) = &mut self.upgrade {
            return ring.publish();
        }
        let offer = self.unpublished && matches!(self.upgrade, Upgrade::Client(_));
        self.unpublished = false;
        if offer && let Upgrade::Client(ready) = std::mem::replace(&mut self.upgrade, Upgrade::Off) {
            match ready.offer(&mut self.framed, &self.settled)? {
                Ok(offered) => self.upgrade = Upgrade::Offered(offered),
                Err(reason) => self.fall_back(reason),
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.framed.has_output() {
            self.framed.flush().inspect_err(|error| self.ended = Some(error.clone()))?;
        }
        self.link().set_wants_output(self.framed.has_output());
        if !self.framed.has_output() && matches!(self.upgrade, Upgrade::Leaving(_)) {
            self.leave()?;
        }
        Ok(())
    }

    /// The last frame is flushed: from here on this side writes its ring.
    fn leave(&mut self) -> Result<(), Error> {
        let Upgrade::Leaving(segments) = std::mem::replace(&mut self.upgrade, Upgrade::Off) else { return Ok(()) };
        let ring = Box::new(shared(segments, &self.settled, self.link().clone(), self.receive)?);
        if self.is_client {
            self.upgrade = Upgrade::HalfWay(ring);
            Ok(())
        } else {
            self.switch(ring)
        }
    }

    fn switch(&mut self, mut ring: Box<Shared>) -> Result<(), Error> {
        self.link().stop_passing_pidfds();
        ring.count_rings(self.framed.take_rest() as u64)?;
        tracing::info!(target: "strait", service = &*self.service, ring_bytes = self.settled.own_ring_bytes, "upgraded to shared memory");
        self.upgrade = Upgrade::Switched(ring);
        Ok(())
    }

    // ---- in ----

    pub(crate) fn try_recv(&mut self) -> Result<Option<Message>, Error> {
        self.link().check_fork()?;
        if let Some(found) = self.stash.take() {
            return self.count(found).map(Some);
        }
        self.look()?;
        match self.stash.take() {
            Some(found) => self.count(found).map(Some),
            None => Ok(None),
        }
    }

    fn count(&mut self, found: Result<Message, Error>) -> Result<Message, Error> {
        match found {
            Ok(message) => {
                self.stats.received_messages += 1;
                self.stats.received_bytes += message.len() as u64;
                Ok(message)
            }
            Err(error) => {
                self.stats.checksum_errors += 1;
                Err(error)
            }
        }
    }

    /// Reads the socket up to the next message, handling what comes before it.
    fn look(&mut self) -> Result<(), Error> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        while self.stash.is_none() && !matches!(self.upgrade, Upgrade::Leaving(_) | Upgrade::Switched(_)) {
            match self.next_frame() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error @ Error::Checksum { .. }) => self.stash = Some(Err(error)),
                Err(error) => {
                    self.ended = Some(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn next_frame(&mut self) -> Result<bool, Error> {
        match self.framed.next()? {
            None => return Ok(false),
            Some(Frame::Data(message)) => self.stash = Some(Ok(message)),
            Some(Frame::Control(buffer, size, fds, truncated)) => {
                let control = Control::decode(&buffer.bytes()[..size])?;
                self.on_control(control, fds, truncated)?;
                self.flush()?;
            }
        }
        Ok(true)
    }

    fn on_control(&mut self, control: Control, mut fds: Vec<OwnedFd>, truncated: bool) -> Result<(), Error> {
        let found = fds.len();
        let mut fd = || match (truncated, fds.pop(), found) {
            (true, ..) => Err("the descriptor was lost on the way: too few are left in this process".to_owned()),
            (false, Some(fd), 1) => Ok(fd),
            (false, _, found) => Err(format!("the frame came with {found} descriptors, expected 1")),
        };
        let upgrade = std::mem::replace(&mut self.upgrade, Upgrade::Off);
        match (upgrade, control) {
            (Upgrade::Server(ready), Control::Offer { session, .. }) => {
                match ready.on_offer(fd(), session, &self.settled, &mut self.framed)? {
                    Ok(accepted) => self.upgrade = Upgrade::Accepted(accepted),
                    Err(reason) => self.fall_back(reason),
                }
            }
            // Shared memory was never settled, or the first offer was declined.
            (Upgrade::Off, Control::Offer { .. }) if !self.is_client && !self.settled.shared_memory => {
                let reason = "shared memory is switched off".to_owned();
                self.framed.send_control(&Control::Decline { reason }.encode(), None)?;
            }
            (Upgrade::Offered(offered), Control::Accept { session, .. }) => {
                match offered.on_accept(fd(), session, &self.settled, &mut self.framed)? {
                    Ok(segments) => self.upgrade = Upgrade::Leaving(segments),
                    Err(reason) => self.fall_back(reason),
                }
            }
            (Upgrade::Offered(_) | Upgrade::Accepted(_), Control::Decline { reason }) => self.fall_back(reason),
            (Upgrade::Accepted(accepted), Control::Commit) => {
                self.upgrade = Upgrade::Leaving(accepted.on_commit(&mut self.framed)?);
            }
            (Upgrade::HalfWay(ring), Control::Switched) => self.switch(ring)?,
            (_, control) => {
                return Err(Error::corrupt(format!("a {} frame out of turn", control.name())));
            }
        }
        Ok(())
    }

    // ---- waiting ----

    pub(crate) fn is_ready(&mut self, interest: Interest) -> bool {
        if interest.data && (self.stash.is_some() || self.look().is_err() || self.stash.is_some()) {
            return true;
        }
        if matches!(self.upgrade, Upgrade::Switched(_)) || self.ended.is_some() {
            return true;
        }
        if interest.space {
            return match &mut self.upgrade {
                Upgrade::HalfWay(ring) => ring.is_ready(Interest::SPACE),
                Upgrade::Leaving(_) => false,
                _ => self.flush().is_err() || self.framed.has_room(self.wanted),
            };
        }
        false
    }

    pub(crate) fn arm(&mut self, interest: Interest) -> Result<bool, Error> {
        self.publish()?;
        if let Upgrade::HalfWay(ring) = &mut self.upgrade
            && interest.space
            && !ring.arm(Interest::SPACE)?
        {
            return Ok(false);
        }
        if self.is_ready(interest) {
            return Ok(false);
        }
        self.stats.parks += 1;
        Ok(true)
    }

    pub(crate) fn disarm(&mut self) -> Result<(), Error> {
        self.flush()?;
        if self.ended.is_none() && !self.framed.has_input() && self.link().peer_is_dead() {
            // What it sent before it died is still read: `look` meets the end of the stream after it. Only a forked child of
            // the peer that keeps the socket open would hide that end.
            self.look()?;
            if self.stash.is_none() {
                self.ended = Some(Error::PeerGone);
            }
        }
        Ok(())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>, interest: Interest) -> Poll<Result<(), Error>> {
        loop {
            if !self.arm(interest)? {
                return Poll::Ready(Ok(()));
            }
            match self.link().poll_readable(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => self.disarm()?,
            }
        }
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) fn poll_ready(&mut self, _: &mut Context<'_>, _: Interest) -> Poll<Result<(), Error>> {
        Poll::Ready(Err(Error::Usage("waiting in a task needs the feature `tokio`")))
    }

    pub(crate) fn close(&mut self) {
        let _ = self.publish();
        match &mut self.upgrade {
            Upgrade::HalfWay(ring) | Upgrade::Switched(ring) => ring.close(),
            _ => {
                let _ = rustix::net::shutdown(self.link().fd(), rustix::net::Shutdown::Write);
            }
        }
    }
}
