//! Shared memory: rings in two sealed segments, doorbells over the socket that the connection began on.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use strait_sync::fail_point;

use crate::{
    counters::{Board, Counters},
    error::Error,
    handshake::Settled,
    message::TransportKind,
    options::Receive,
    ring::{Bell, Held, RingTransport},
    segment::{self, Own, Peer, Segments},
    socket::{fds, framed::is_hang_up},
    transport::{Sleep, Wake},
    voice::Voice,
    waiting::Link,
};

/// One end of a connection in shared memory.
pub(crate) type Shared = RingTransport<Own, Peer, SharedBell>;

/// A message that lies in shared memory.
pub(crate) type SharedHeld = Held<Own, Peer, SharedBell>;

/// Sets up the rings in both segments.
pub(crate) fn shared(
    segments: Segments,
    settled: &Settled,
    link: Arc<Link>,
    receive: Receive,
) -> Result<Shared, Error> {
    let (own, peer) = (segments.own.clone(), segments.peer.clone());
    let rings = segment::rings(segments, settled)?;
    let counters = Counters::new(Board::over(own.clone()), settled.framing.timestamp);
    let bell = Arc::new(SharedBell { link, own, peer, voice: Voice::default() });
    Ok(RingTransport::new(rings, bell, settled.framing, receive, counters))
}

/// Doorbells are bytes on the socket; a farewell is a word in the segment of whoever says it.
pub(crate) struct SharedBell {
    link: Arc<Link>,
    own: Own,
    peer: Peer,
    voice: Voice,
}

impl SharedBell {
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Holds doorbells back: this side's last frame is still to go out.
    pub(crate) fn mute(&self) {
        self.voice.mute();
    }

    /// Lets doorbells out, and the one that is due.
    pub(crate) fn unmute(&self) {
        if self.voice.unmute() {
            self.ring();
        }
    }
}

impl Sleep for SharedBell {
    fn sleep(&self, deadline: Option<Instant>) -> Result<Wake, Error> {
        self.link.sleep(deadline)
    }
}

impl Bell for SharedBell {
    const KIND: TransportKind = TransportKind::Shared;

    fn ring(&self) {
        if !self.voice.may_ring() {
            return;
        }
        fail_point!("doorbell.ringing");
        // A full socket is readable at the other end, which is all that a ring is for; and a dead peer needs none. Where the
        // system lacks memory for a byte, a sleeper would wait for ever: tried again for a second.
        for _ in 0..1000 {
            match fds::send(self.link.fd(), &[1], None) {
                Err(error) if fds::lacks_memory(&error) => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                _ => break,
            }
        }
        fail_point!("doorbell.rung");
    }

    fn drain(&self) -> Result<(u64, bool), Error> {
        let mut bytes = [0u8; 256];
        loop {
            // One read takes all that a peer in good order has rung. More than that is a flood, which whoever counts the
            // rings ends; what stays in the socket ends the next sleep at once.
            match fds::receive_bytes(self.link.fd(), &mut bytes) {
                Ok(0) => return Ok((0, true)),
                Ok(received) => {
                    fail_point!("doorbell.drained");
                    return Ok((received as u64, false));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((0, self.link.peer_is_dead())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_hang_up(&error) => return Ok((0, true)),
                Err(error) => return Err(Error::io("recv", error)),
            }
        }
    }

    fn check_fork(&self) -> Result<(), Error> {
        self.link.check_fork()
    }

    fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        #[cfg(feature = "tokio")]
        return self.link.poll_readable(cx);
        #[cfg(not(feature = "tokio"))]
        {
            let _ = cx;
            Poll::Ready(Err(Error::Usage("waiting in a task needs the feature `tokio`")))
        }
    }

    fn hang_up(&self) {
        self.link.shutdown();
    }

    fn say_farewell(&self) {
        segment::say_farewell(&self.own);
    }

    fn heard_farewell(&self) -> bool {
        segment::heard_farewell(&self.peer)
    }
}
