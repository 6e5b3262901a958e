//! Shared memory: rings in two sealed segments, doorbells over the socket that the connection began on.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
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
    waiting::Link,
};

/// One end of a connection in shared memory.
pub(crate) type Shared = RingTransport<Arc<OwnRegion>, Arc<PeerRegion>, Link>;

/// A message that lies in shared memory.
pub(crate) type SharedHeld = Held<Arc<OwnRegion>, Arc<PeerRegion>, Link>;

/// Sets up the rings in both segments.
pub(crate) fn shared(
    segments: Segments,
    settled: &Settled,
    link: Arc<Link>,
    receive: Receive,
) -> Result<Shared, Error> {
    let rings = segment::rings(segments, settled)?;
    Ok(RingTransport::new(rings, link, settled.framing, receive))
}

impl Bell for Link {
    const KIND: TransportKind = TransportKind::Shared;

    fn ring(&self) {
        // A full socket is readable at the other end, which is all that a ring is for; and a dead peer needs none.
        let _ = fds::send(self.fd(), &[1], None);
    }

    fn drain(&self) -> Result<(u64, bool), Error> {
        let mut rings = 0;
        let mut bytes = [0u8; 256];
        loop {
            match rustix::net::recv(self.fd(), &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Ok((rings, true)),
                // A flood ends here too: whoever counts the rings decides.
                Ok((_, received)) if received == bytes.len() => return Ok((rings + received as u64, false)),
                Ok((_, received)) => rings += received as u64,
                Err(Errno::AGAIN) => return Ok((rings, self.peer_is_dead())),
                Err(Errno::INTR) => {}
                Err(error) if is_hang_up(&io::Error::from(error)) => return Ok((rings, true)),
                Err(error) => return Err(Error::io("recv", error)),
            }
        }
    }

    fn check_fork(&self) -> Result<(), Error> {
        Link::check_fork(self)
    }

    fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        #[cfg(feature = "tokio")]
        return self.poll_readable(cx);
        #[cfg(not(feature = "tokio"))]
        {
            let _ = cx;
            Poll::Ready(Err(Error::Usage("waiting in a task needs the feature `tokio`")))
        }
    }

    fn hang_up(&self) {
        self.shutdown();
    }
}
