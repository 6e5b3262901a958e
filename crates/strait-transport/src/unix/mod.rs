//! A connection on its socket, up to and through its switch to shared memory.
//!
//! Both directions fail on their own: a peer that reads no more may have sent much that can still be read.

mod upgrade;
mod wait;

use std::{collections::VecDeque, sync::Arc};

use strait_sync::{fail_point, mutant};

#[cfg(not(strait_loom))]
use crate::segment::{self, Side};
use crate::{
    buffer,
    connection::Permit,
    counters::{Board, Counters},
    error::{Error, SendError},
    handshake::{Settled, client, frames::Control, server},
    message::Message,
    meters::{End, Fallback},
    options::Receive,
    ring::CLOSED_HERE,
    shared::Shared,
    socket::framed::{Frame, Framed},
    stats::{ErrorCode, Stats},
    transport::Fill,
    waiting::{Link, Wants},
};
use upgrade::Upgrade;

/// How much is read ahead where the peer reads no more. A socket whose peer is gone holds less; a peer that lives may go on sending.
const BEHIND_BYTES: usize = 1 << 20;

/// Connections of this process whose counters lie in memory of their own.
#[cfg(not(strait_loom))]
static SHOWN: std::sync::LazyLock<Arc<std::sync::atomic::AtomicU32>> = std::sync::LazyLock::new(Arc::default);

/// Whether the counters of a connection on its socket lie in memory of their own.
#[cfg_attr(strait_loom, allow(dead_code))]
enum Shown {
    No,
    /// They will, unless so many do already.
    AtSleep {
        max: u32,
    },
    /// They do, for as long as this is kept.
    Yes {
        _permit: Permit,
    },
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
    /// A published state, to be sent with this side's segment or as the peer has sent it, and the pin on it.
    #[cfg(not(strait_loom))]
    state: crate::state::Attached,
    /// What a look for readiness found: one message, or all that a peer that has hung up has sent.
    stash: VecDeque<Result<Message, Error>>,
    wanted: usize,
    /// A message was sent or received since the last look at whether to offer shared memory.
    talked: bool,
    /// This side sends no more.
    closed: bool,
    /// Somebody sleeps, or is about to.
    armed: bool,
    /// The peer's process is dead; a child of it may still keep the socket open.
    peer_is_dead: bool,
    /// Nothing more comes.
    ended: Option<Error>,
    /// Nothing more can be sent.
    output_ended: Option<Error>,
    /// A message was lost with that.
    lost_message: bool,
    counters: Counters,
    shown: Shown,
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
            #[cfg(not(strait_loom))]
            state: crate::state::Attached::new(),
            stash: VecDeque::new(),
            wanted: 0,
            talked: false,
            closed: false,
            armed: false,
            peer_is_dead: false,
            ended: None,
            output_ended: None,
            lost_message: false,
            counters: Counters::new(Board::Nowhere, settled.framing.timestamp),
            shown: Shown::No,
        };
        if !settled.shared_memory {
            let (kind, why) = match wanted {
                true => (Fallback::OffAtPeer, "switched off by the peer"),
                false => (Fallback::OffHere, "switched off here (option or STRAIT_DISABLE_SHM)"),
            };
            unix.fall_back(kind, why.into());
        }
        unix
    }

    pub(crate) fn settled(&self) -> &Settled {
        &self.settled
    }

    pub(crate) fn service(&self) -> &Arc<str> {
        &self.service
    }

    pub(crate) fn which_end(&self) -> End<'_> {
        End { service: &self.service, is_client: self.is_client }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        self.framed.link()
    }

    pub(crate) fn stats(&self) -> Stats {
        let stats = self.counters.stats();
        self.upgrade.ring().map_or(stats, |ring| stats.plus(&ring.counters().stats()))
    }

    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Lets tools see the counters from the first sleep here on, unless `max` connections of this process do so already.
    #[cfg(not(strait_loom))]
    pub(crate) fn show_at_sleep(&mut self, max: u32) {
        self.shown = Shown::AtSleep { max };
    }

    /// Shows the counters in memory of their own, until the connection has moved to shared memory. Before a sleep, where nobody waits
    /// for this thread; and not while the upgrade is under way, which is over soon. Without a descriptor or memory nothing is
    /// shown.
    #[cfg(not(strait_loom))]
    fn show_counters(&mut self) {
        let Shown::AtSleep { max } = self.shown else { return };
        if !matches!(self.upgrade, Upgrade::Client(_) | Upgrade::Server(_) | Upgrade::Off) {
            return;
        }
        let Some(permit) = Permit::take(&SHOWN, max) else { return };
        let side = if self.is_client { Side::Client } else { Side::Server };
        let session = self.framed.session(self.is_client);
        match segment::create_for_socket(&self.settled, &self.service, side, session) {
            Ok(own) => {
                self.counters.show_on(Board::over(own));
                self.shown = Shown::Yes { _permit: permit };
            }
            Err(error) => {
                tracing::debug!(target: "strait", %error, "no memory for the counters of a socket");
                self.shown = Shown::No;
            }
        }
    }

    /// Why the connection stays on its socket.
    pub(crate) fn fallback(&self) -> Option<&Arc<str>> {
        self.fallback.as_ref()
    }

    /// Sends `memory` along once this server has shared memory with its client.
    #[cfg(not(strait_loom))]
    pub(crate) fn attach(&mut self, memory: crate::state::StateMemory) {
        self.state.attach(memory);
    }

    /// Takes the peer's published state, or why it could not be opened.
    #[cfg(not(strait_loom))]
    pub(crate) fn take_state(&mut self) -> Option<crate::state::Received> {
        self.state.take()
    }

    /// Says what published state is taken from the peer, and whether to ask for a pin on it.
    #[cfg(not(strait_loom))]
    pub(crate) fn set_state_wishes(&mut self, options: &crate::Options) {
        self.state.set_wishes(options.limits.max_state_bytes, options.state_pin);
    }

    /// The connection in shared memory, once both directions have switched.
    pub(crate) fn take_switched(&mut self) -> Option<Box<Shared>> {
        if !matches!(self.upgrade, Upgrade::Switched(_)) || !self.stash.is_empty() {
            return None;
        }
        match std::mem::replace(&mut self.upgrade, Upgrade::Off) {
            Upgrade::Switched(mut shared) => {
                shared.counters_mut().follow(&mut self.counters);
                self.link().set_wants(Wants::INPUT);
                mutant!(switch_wakes_no_sleeper, self.link().unshare(), ());
                Some(shared)
            }
            _ => None,
        }
    }

    // ---- out ----

    pub(crate) fn try_send(&mut self, max_bytes: usize, fill: &mut Fill<'_>) -> Result<(), SendError> {
        self.link().check_fork()?;
        if let Some(ended) = self.how_output_ended() {
            return Err(ended.into());
        }
        if self.closed {
            return Err(CLOSED_HERE.into());
        }
        let fits = max_bytes <= self.settled.limits.max_send_bytes;
        let sent = match &mut self.upgrade {
            Upgrade::HalfWay(ring) | Upgrade::Switched(ring) => return ring.try_send(max_bytes, fill),
            Upgrade::Leaving(_) | Upgrade::Draining(_) if fits => Err(SendError::Full),
            _ => self.framed.try_send(max_bytes, fill),
        };
        match sent {
            Ok((size, timestamp)) => {
                self.wanted = 0;
                self.talked = true;
                self.counters.staged(size, timestamp);
                self.counters.published();
                Ok(())
            }
            Err(SendError::Full) => {
                // What waits is as good as published, and a wait for room begins with what the socket takes now.
                self.wanted = self.wanted.max(max_bytes);
                self.counters.full();
                self.flush();
                Err(SendError::Full)
            }
            Err(SendError::Failed(Error::PeerGone)) => {
                self.lose_output(Error::PeerGone);
                Err(self.how_output_ended().unwrap_or(Error::PeerGone).into())
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn publish(&mut self) -> Result<(), Error> {
        if let Upgrade::HalfWay(ring) | Upgrade::Switched(ring) = &mut self.upgrade {
            return ring.publish();
        }
        let ended_before = self.output_ended.is_some();
        self.offer()?;
        self.flush();
        // What the upgrade alone has lost is no failure of the messages before it: the next one meets it.
        let is_told = mutant!(upgrade_fails_the_message, ended_before || self.lost_message, true);
        let published = if is_told { self.how_output_ended().map_or(Ok(()), Err) } else { Ok(()) };
        // Who only ever sends must find the peer's part of the upgrade too. What that meets is for the next call. Not while
        // another thread sleeps on the socket: it waits for those very bytes.
        if self.upgrade.is_under_way() && self.stash.is_empty() && !self.armed {
            let _ = self.look();
        }
        published
    }

    /// Hands the socket what it takes, and moves on where that was the last of it.
    fn flush(&mut self) {
        if self.framed.has_output()
            && let Err(error) = self.framed.flush()
        {
            self.lose_output(error);
        }
        let (output, mut wants) = (self.framed.has_output(), self.link().wants());
        if wants.output != output {
            wants.output = output;
            self.link().set_wants(wants);
            if output && self.armed {
                self.link().kick();
            }
        }
        if !output {
            self.output_is_flushed();
        }
    }

    /// Nobody reads what this side sends. What the peer has sent can still be received.
    fn lose_output(&mut self, error: Error) {
        self.lost_message |= self.framed.discard_output();
        if self.output_ended.is_none() {
            self.output_ended = Some(error);
            mutant!(end_without_a_look_behind, self.look_behind(), ());
        }
    }

    /// How the connection ended, or what became of the output.
    fn how_output_ended(&self) -> Option<Error> {
        self.ended.as_ref().or(self.output_ended.as_ref()).cloned()
    }

    /// Reads what the peer has sent before it hung up: behind that may be its `Close`, and it has ended in good order.
    fn look_behind(&mut self) {
        // Not the newest: it may be as long as one likes, and what is behind it still counts.
        let (mut before_bytes, mut newest_bytes) = (0, 0);
        while self.ended.is_none() && !self.upgrade.reads_ring() && before_bytes < BEHIND_BYTES {
            let known = self.stash.len();
            if !matches!(self.look_once(), Ok(true)) {
                break;
            }
            if self.stash.len() > known {
                before_bytes += newest_bytes;
                let len = self.stash.back().and_then(|found| found.as_ref().ok()).map_or(0, Message::len);
                newest_bytes = len.max(buffer::MIN_BYTES);
            }
        }
    }

    // ---- in ----

    pub(crate) fn try_recv(&mut self) -> Result<Option<Message>, Error> {
        self.link().check_fork()?;
        if self.stash.is_empty() {
            self.look()?;
        }
        if let Some(found) = self.stash.pop_front() {
            return self.count(found).map(Some);
        }
        match &mut self.upgrade {
            Upgrade::Draining(ring) | Upgrade::Switched(ring) => ring.try_recv(),
            Upgrade::HalfWay(ring) if mutant!(switch_reads_the_ring_early, false, true) => ring.try_recv(),
            _ => Ok(None),
        }
    }

    fn count(&mut self, found: Result<Message, Error>) -> Result<Message, Error> {
        match found {
            Ok(message) => {
                self.counters.received(message.len(), message.timestamp());
                Ok(message)
            }
            Err(error) => {
                self.counters.error(ErrorCode::CHECKSUM);
                Err(error)
            }
        }
    }

    /// Reads the socket up to the next message, handling what comes before it.
    fn look(&mut self) -> Result<(), Error> {
        while self.stash.is_empty() && !self.upgrade.reads_ring() && self.look_once()? {}
        match &self.ended {
            Some(ended) if self.stash.is_empty() => Err(ended.clone()),
            _ => Ok(()),
        }
    }

    /// Takes the next frame in; `false` where there is none for now.
    fn look_once(&mut self) -> Result<bool, Error> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        match self.next_frame() {
            Ok(false) if self.peer_is_dead => self.end(Error::PeerGone),
            Ok(is_there) => Ok(is_there),
            Err(error @ Error::Checksum { .. }) => {
                self.stash.push_back(Err(error));
                Ok(true)
            }
            Err(error) => self.end(error),
        }
    }

    fn end(&mut self, error: Error) -> Result<bool, Error> {
        if matches!(error, Error::Corrupt { .. }) {
            // The peer learns by a hang-up that nobody listens to it any more.
            self.link().shutdown();
        }
        self.counters.ended(&error);
        self.ended = Some(error.clone());
        // Another thread may sleep until that comes which was just taken out of the socket.
        self.link().kick();
        Err(error)
    }

    fn next_frame(&mut self) -> Result<bool, Error> {
        match self.framed.next()? {
            None => return Ok(false),
            Some(Frame::Data(message)) => {
                self.stash.push_back(Ok(message));
                self.talked = true;
                self.offer()?;
            }
            Some(Frame::Control(buffer, size, fds, truncated)) => {
                let control = Control::decode(&buffer.bytes()[..size])?;
                self.on_control(control, fds, truncated)?;
            }
        }
        self.flush();
        Ok(true)
    }

    /// Tells the peer that no more comes.
    pub(crate) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        match &mut self.upgrade {
            Upgrade::HalfWay(ring) | Upgrade::Switched(ring) => return ring.close(),
            // This side's last frame is queued already: the ring is closed once that is out.
            Upgrade::Leaving(_) | Upgrade::Draining(_) => {}
            // A control frame of one byte is never too large.
            _ => drop(self.framed.send_control(&Control::Close.encode(), None)),
        }
        fail_point!("close.queued");
        self.flush();
        fail_point!("close.sent");
    }
}
