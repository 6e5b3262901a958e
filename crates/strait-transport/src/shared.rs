//! Shared memory: rings in two sealed segments, doorbells over the socket that the connection began on.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use rustix::{io::Errno, net::RecvFlags};
use strait_region::{OwnRegion, PeerRegion};

use crate::{
    error::Error,
    handshake::Settled,
    message::TransportKind,
    options::Receive,
    ring::{Bell, Held, RingTransport},
    segment::{self, Segments},
    socket::{fds, framed::is_hang_up},
    transport::{Sleep, Wake},
    waiting::Link,
};

/// One end of a connection in shared memory.
pub(crate) type Shared = RingTransport<Arc<OwnRegion>, Arc<PeerRegion>, SharedBell>;

/// A message that lies in shared memory.
pub(crate) type SharedHeld = Held<Arc<OwnRegion>, Arc<PeerRegion>, SharedBell>;

/// Sets up the rings in both segments.
pub(crate) fn shared(
    segments: Segments,
    settled: &Settled,
    link: Arc<Link>,
    receive: Receive,
) -> Result<Shared, Error> {
    let (own, peer) = (segments.own.clone(), segments.peer.clone());
    let rings = segment::rings(segments, settled)?;
    let bell = Arc::new(SharedBell { link, own, peer, voice: AtomicU8::new(LOUD) });
    Ok(RingTransport::new(rings, bell, settled.framing, receive))
}

/// Doorbells are bytes on the socket; a farewell is a word in the segment of whoever says it.
pub(crate) struct SharedBell {
    link: Arc<Link>,
    own: Arc<OwnRegion>,
    peer: Arc<PeerRegion>,
    /// [`LOUD`], [`MUTE`] or [`OWES`].
    voice: AtomicU8,
}

/// Doorbells go out.
const LOUD: u8 = 0;
/// Frames still wait for the socket, and a doorbell would get between them: none goes out.
const MUTE: u8 = 1;
/// As [`MUTE`], and one is due as soon as it can.
const OWES: u8 = 2;

impl SharedBell {
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Holds doorbells back: this side's last frame is still to go out.
    pub(crate) fn mute(&self) {
        // ORDERING: Relaxed; nobody else has the bell yet.
        self.voice.store(MUTE, Ordering::Relaxed);
    }

    /// Lets doorbells out, and the one that is due.
    pub(crate) fn unmute(&self) {
        // ORDERING: AcqRel; whoever finds it loud rings after the frames that are out by now.
        if self.voice.swap(LOUD, Ordering::AcqRel) == OWES {
            self.ring();
        }
    }

    /// Whether a doorbell may go out now; if not, it is due later.
    #[inline]
    fn is_loud(&self) -> bool {
        // ORDERING: Acquire; pairs with the swap in `unmute`.
        if self.voice.load(Ordering::Acquire) == LOUD {
            return true;
        }
        // ORDERING: AcqRel, Acquire; as above. A held message may be dropped on another thread at this moment.
        let owed = self.voice.compare_exchange(MUTE, OWES, Ordering::AcqRel, Ordering::Acquire);
        owed == Err(LOUD)
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
        if !self.is_loud() {
            return;
        }
        // A full socket is readable at the other end, which is all that a ring is for; and a dead peer needs none. Where the
        // system lacks memory for a byte, a sleeper would wait for ever: tried again for a second.
        for _ in 0..1000 {
            match fds::send(self.link.fd(), &[1], None) {
                Err(error)
                    if error.kind() == io::ErrorKind::OutOfMemory || error.raw_os_error() == Some(libc::ENOBUFS) =>
                {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                _ => return,
            }
        }
    }

    fn drain(&self) -> Result<(u64, bool), Error> {
        let mut bytes = [0u8; 256];
        loop {
            // One read takes all that a peer in good order has rung. More than that is a flood, which whoever counts the
            // rings ends; what stays in the socket ends the next sleep at once.
            match rustix::net::recv(self.link.fd(), &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Ok((0, true)),
                Ok((_, received)) => return Ok((received as u64, false)),
                Err(Errno::AGAIN) => return Ok((0, self.link.peer_is_dead())),
                Err(Errno::INTR) => {}
                Err(error) if is_hang_up(&io::Error::from(error)) => return Ok((0, true)),
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
